package session

import (
	"context"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// Token returns the token in use. Before the first login it waits, and so it
// does while the token is known to be invalid, over or used up. When ctx ends
// first the error is of kind vault.ErrNotLoggedIn, with the last failure as its
// cause. It logs nobody in: that is Keep's.
func (s *Session) Token(ctx context.Context) (cred.Redacted, error) {
	for {
		var value cred.Redacted
		var news <-chan struct{}
		var why error
		s.change(func(st *state, now time.Time) {
			if value = st.lendable(now); value.Empty() {
				if s.news == nil {
					s.news = make(chan struct{})
				}
				news, why = s.news, st.err
			}
		})
		if news == nil {
			return value, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return cred.Redacted{}, &vault.Error{Kind: vault.ErrNotLoggedIn, Op: "lend a token of", Path: s.o.Mount, Cause: why}
		}
	}
}

// Replace says that bad is invalid, as Invalidate does, and waits for another
// token as Token does; when bad is not the one in use, that is returned at once.
// Any number of callers come to one login.
func (s *Session) Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error) {
	s.Invalidate(bad)
	return s.Token(ctx)
}

// lendable is the token as others may use it, empty for none; so is that of a
// wrapped login, which is for who unwraps it.
func (s *state) lendable(now time.Time) cred.Redacted {
	if !s.live(now) {
		return cred.Redacted{}
	}
	return s.token.Value
}
