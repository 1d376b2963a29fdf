package lease

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"latchkey/internal/cred"
)

// answer is a secret as it is held by the thousand: its data as one text, which
// is several times smaller than the maps. It is compared as it stands, so that no
// digest is needed, and each asker gets a copy that he may change.
type answer struct {
	data  []byte
	lease cred.Lease
	auth  *cred.Token
	wrap  *cred.WrapInfo
}

// content is an answer and what can be read off it.
type content struct {
	answer
	term    term
	version string
}

// pack makes content of a secret. Its data came as JSON, so that only a fake
// can have it fail.
func pack(s *cred.Secret) (content, error) {
	now := cred.Wall(time.Now())
	data, err := json.Marshal(s.Data)
	if err != nil {
		return content{}, fmt.Errorf("hold an answer: %w", err)
	}
	a := answer{data: data, lease: s.Lease, auth: s.Auth, wrap: s.Wrap}
	return content{a, termOf(s, now), s.Version(now)}, nil
}

// secret is the answer as the server gave it, with the lease as it is now.
func (a *answer) secret() *cred.Secret {
	s := &cred.Secret{Lease: a.lease, Auth: a.auth, Wrap: a.wrap}
	dec := json.NewDecoder(bytes.NewReader(a.data))
	dec.UseNumber()
	// It was marshalled here.
	_ = dec.Decode(&s.Data)
	return s
}

// same reports whether two answers are alike for a template: the data, the id of
// the lease, what they carry. How long it lasts is not content.
func (a *answer) same(b *answer) bool {
	return bytes.Equal(a.data, b.data) && a.lease.ID == b.lease.ID && sameToken(a.auth, b.auth) && sameWrap(a.wrap, b.wrap)
}

func sameToken(a, b *cred.Token) bool {
	return a == b || a != nil && b != nil && a.Value.Equal(b.Value)
}

func sameWrap(a, b *cred.WrapInfo) bool {
	return a == b || a != nil && b != nil && a.Token.Equal(b.Token)
}
