package session

import (
	"errors"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// Invalidate tells the session that the server does not know this token any
// more. About another token than the current one, or when that is known, it
// does nothing; so any number of complaints comes to one login.
func (s *Session) Invalidate(tok cred.Redacted) { s.Seen(tok, vault.ErrInvalidToken) }

// Seen is what vault.Config.Seen is to be given: it learns from any request
// that the token is invalid, and counts the uses of one that has a number of
// them. A plain denial says nothing about the token.
func (s *Session) Seen(tok cred.Redacted, err error) {
	var lost, scarce bool
	var now cred.Token
	p := s.change(func(st *state, at time.Time) {
		now = st.token
		switch {
		case tok.Empty() || !tok.Equal(st.token.Value):
		case errors.Is(err, vault.ErrInvalidToken):
			lost = st.lost(at, s.o.Retry.Wait)
		case spent(err):
			scarce = st.use(s.o.Retry.Base)
		}
	})
	switch {
	case lost:
		s.o.Log.Warn("the server does not know the token any more", "accessor", now.Accessor, upcoming(p))
	case scarce:
		s.o.Log.Info("few uses of the token are left", "accessor", now.Accessor, upcoming(p))
	default:
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// spent reports whether a request with this end took one of the token's uses:
// the server takes it for every request that it hears, refused ones too, and
// not while it is sealed, catching up or over its limit.
func spent(err error) bool {
	var ve *vault.Error
	return err == nil || errors.As(err, &ve) && ve.Status != 0 &&
		!errors.Is(err, vault.ErrSealed) && !errors.Is(err, vault.ErrRateLimited) && !errors.Is(err, vault.ErrNotReady)
}
