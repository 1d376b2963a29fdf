package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// Handover keeps a token from one run to the next, so that a credential that
// can be used only once survives a restart.
type Handover interface {
	// Load returns the token of an earlier run, empty and nil when there is none.
	Load() (cred.Redacted, error)
	// Save takes the place of what was saved before.
	Save(tok cred.Token) error
	// Forget removes it. Without one it does nothing.
	Forget() error
}

// remembering is a method whose first login is to ask the server about the
// token of an earlier run. What goes wrong with keeping a token is logged and
// changes nothing else: there is still the method.
type remembering struct {
	auth.Method
	kept  Handover
	log   *slog.Logger
	asked bool
}

func (m *remembering) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	if !m.asked {
		tok, err := m.earlier(ctx, c)
		if err != nil {
			return cred.Token{}, fmt.Errorf("look up the token of an earlier run: %w", err)
		}
		m.asked = true
		if !tok.Value.Empty() {
			return tok, nil
		}
	}
	tok, err := m.Method.Login(ctx, c)
	// A token that was there before the run has a place of its own, and a
	// wrapped one is for somebody else.
	if err == nil && !tok.Value.Empty() && !tok.Borrowed {
		if err := m.kept.Save(tok); err != nil {
			m.log.WarnContext(ctx, "cannot keep the token for a later run", "error", err)
		}
	}
	return tok, err
}

// earlier returns the token of an earlier run when the server still takes it,
// an empty one when there is none or it does not, and an error when the server
// could not say.
func (m *remembering) earlier(ctx context.Context, c *vault.Client) (cred.Token, error) {
	value, err := m.kept.Load()
	if err != nil {
		m.log.WarnContext(ctx, "cannot use the token of an earlier run", "error", err)
		return cred.Token{}, nil
	}
	if value.Empty() {
		return cred.Token{}, nil
	}
	tok, err := c.As(value).LookupSelf(ctx)
	// Only an answer about the token takes it away, not one of a place that
	// is no server.
	no := errors.Is(err, vault.ErrDenied) || errors.Is(err, vault.ErrBadRequest)
	switch {
	case err != nil && !no:
		return cred.Token{}, err
	case no || tok.Uses < 0:
		m.log.InfoContext(ctx, "the token of an earlier run is not good any more", "error", err)
		if err := m.kept.Forget(); err != nil {
			m.log.WarnContext(ctx, "cannot remove the token of an earlier run", "error", err)
		}
		return cred.Token{}, nil
	}
	m.log.InfoContext(ctx, "going on with the token of an earlier run", "token", tok)
	return tok, nil
}
