package persist

import (
	"errors"
	"fmt"

	"latchkey/internal/cred"
)

// Handover is one token in a File, for the next process to go on with; it is what
// a session keeps its token in. Unlike a Bucket it waits for the disk: a token that
// could be got only once must not be lost.
type Handover struct {
	b    Bucket
	name string
}

// Handover returns the place of the token with this name: the name of an identity,
// with a digest of how it logs in, so that a token that was got in another way is
// not found.
func (f *File) Handover(name string) Handover { return Handover{f.Bucket("token"), name} }

// Load returns the token of an earlier run, empty and nil when there is none.
func (h Handover) Load() (cred.Redacted, error) {
	value, _, err := h.b.get(h.name)
	if err != nil {
		return cred.Redacted{}, fmt.Errorf("read a token from %s: %w", h.b.f.o.Path, err)
	}
	return cred.Redact(string(value)), nil
}

// Save takes the place of what was saved before. After an error it may be written
// later.
func (h Handover) Save(tok cred.Token) error {
	if tok.Value.Empty() {
		return errors.New("there is no token to keep")
	}
	h.b.Put(h.name, []byte(tok.Value.Reveal()))
	if err := h.b.f.Flush(); err != nil {
		return fmt.Errorf("write a token to %s: %w", h.b.f.o.Path, err)
	}
	return nil
}

// Forget removes it. That there is none is no error.
func (h Handover) Forget() error {
	h.b.Delete(h.name)
	if err := h.b.f.Flush(); err != nil {
		return fmt.Errorf("remove a token from %s: %w", h.b.f.o.Path, err)
	}
	return nil
}
