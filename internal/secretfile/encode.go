package secretfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"latchkey/internal/cred"
)

type authShape struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	Metadata         map[string]string `json:"metadata"`
	Orphan           bool              `json:"orphan"`
	EntityID         string            `json:"entity_id"`
	LeaseDuration    int64             `json:"lease_duration"`
	Renewable        bool              `json:"renewable"`
	// MFARequirement is null beside a token.
	MFARequirement *struct{} `json:"mfa_requirement"`
}

type wrapShape struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"`
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor"`
}

// encode is the text of the file: two blanks deep, no line break at the end, and <, >
// and & as they are, for those who search in it.
//
// The names, their order and what is left out are those of the server's own client
// for Go. What nearly every answer has is put together by hand: to describe a
// structure to encoding/json takes longer, once, than all of the file.
func encode(s *cred.Secret) ([]byte, error) {
	var p pairs
	p.add("request_id", s.RequestID)
	p.add("lease_id", s.Lease.ID)
	p.raw("lease_duration", strconv.FormatInt(int64(s.Lease.Duration/time.Second), 10))
	p.raw("renewable", strconv.FormatBool(s.Lease.Renewable))
	p.add("data", s.Data)
	if s.Warnings == nil {
		p.raw("warnings", "null")
	} else {
		p.add("warnings", s.Warnings)
	}
	if t := s.Auth; t != nil {
		p.add("auth", authShape{
			ClientToken: t.Value.Reveal(), Accessor: t.Accessor, Policies: t.Policies, TokenPolicies: t.TokenPolicies, IdentityPolicies: t.IdentityPolicies,
			Metadata: t.Metadata, Orphan: t.Orphan, EntityID: t.EntityID, LeaseDuration: int64(t.Lease.Duration / time.Second), Renewable: t.Lease.Renewable,
		})
	}
	if w := s.Wrap; w != nil {
		p.add("wrap_info", wrapShape{w.Token.Reveal(), w.Accessor, int64(w.TTL / time.Second), w.CreationTime, w.CreationPath, w.WrappedAccessor})
	}
	if s.MountType != "" {
		p.add("mount_type", s.MountType)
	}
	return p.text()
}

// pairs are the names and values of an object.
type pairs struct {
	b   bytes.Buffer
	err error
}

// raw adds a value that is JSON already.
func (p *pairs) raw(name, value string) {
	if p.b.Len() == 0 {
		p.b.WriteByte('{')
	} else {
		p.b.WriteByte(',')
	}
	p.b.WriteString(`"` + name + `":` + value)
}

func (p *pairs) add(name string, value any) {
	p.raw(name, "")
	e := json.NewEncoder(&p.b)
	e.SetEscapeHTML(false)
	p.err = errors.Join(p.err, e.Encode(value))
}

// text is the object with each value on a line.
func (p *pairs) text() ([]byte, error) {
	if p.err != nil {
		return nil, p.err
	}
	p.b.WriteByte('}')
	var out bytes.Buffer
	err := json.Indent(&out, p.b.Bytes(), "", "  ")
	return out.Bytes(), err
}

// sumOf identifies what a text says, without the id of the request, which stands in
// its second line and is another one each time.
func sumOf(text []byte) [sha256.Size]byte {
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	_, rest, _ = bytes.Cut(rest, []byte("\n"))
	return sha256.Sum256(rest)
}
