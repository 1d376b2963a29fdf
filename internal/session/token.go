package session

import (
	"context"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// Token returns the token in use. Before the first login it waits, and so it
// does while the token is known to be invalid or over. When ctx ends first the
// error is of kind vault.ErrNotLoggedIn, with the last login's failure as cause.
func (s *Session) Token(ctx context.Context) (cred.Redacted, error) {
	return cred.Redacted{}, &vault.Error{Kind: vault.ErrNotLoggedIn}
}

// Replace says that bad is invalid, as Invalidate does, and waits for another
// token as Token does; when bad is not the current one it returns that at once.
// Any number of callers come to one login, which Keep makes.
func (s *Session) Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error) {
	s.Invalidate(bad)
	return s.Token(ctx)
}
