package secretfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"time"

	"latchkey/internal/cred"
)

// shape is an answer as the server's own client for Go prints it: its names, its
// order, and what it leaves out.
type shape struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"`
	Renewable     bool           `json:"renewable"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	Auth          *authShape     `json:"auth,omitempty"`
	Wrap          *wrapShape     `json:"wrap_info,omitempty"`
	MountType     string         `json:"mount_type,omitempty"`
}

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
func encode(s *cred.Secret) ([]byte, error) {
	v := shape{
		RequestID: s.RequestID, LeaseID: s.Lease.ID, LeaseDuration: int64(s.Lease.Duration / time.Second), Renewable: s.Lease.Renewable,
		Data: s.Data, Warnings: s.Warnings, MountType: s.MountType,
	}
	if t := s.Auth; t != nil {
		v.Auth = &authShape{
			ClientToken: t.Value.Reveal(), Accessor: t.Accessor, Policies: t.Policies, TokenPolicies: t.TokenPolicies, IdentityPolicies: t.IdentityPolicies,
			Metadata: t.Metadata, Orphan: t.Orphan, EntityID: t.EntityID, LeaseDuration: int64(t.Lease.Duration / time.Second), Renewable: t.Lease.Renewable,
		}
	}
	if w := s.Wrap; w != nil {
		v.Wrap = &wrapShape{w.Token.Reveal(), w.Accessor, int64(w.TTL / time.Second), w.CreationTime, w.CreationPath, w.WrappedAccessor}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// sumOf identifies what a text says, without the id of the request, which stands in
// its second line and is another one each time.
func sumOf(text []byte) [sha256.Size]byte {
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	_, rest, _ = bytes.Cut(rest, []byte("\n"))
	return sha256.Sum256(rest)
}
