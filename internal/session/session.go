// Package session keeps the one token of a run: it logs in, by the method it
// is given, as often as the schedule says, and hands the token out.
//
// One-shot uses Login and Close alone. Nothing here knows which mode it serves.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// ErrLogin is the kind of every error about logging in; what lies below says
// whether the server refused or could not be reached.
var ErrLogin = errors.New("login failed")

// Options says how to log in.
type Options struct {
	// Name and Mount are for messages: "approle", "auth/approle".
	Name, Mount string
	// Retry is used for what may mend itself: a server that does not answer,
	// a credential file that is not there yet. A refusal is final at once.
	Retry    retry.Schedule
	Observer retry.Observer
	Log      *slog.Logger
}

// Session is the token state of a run. It is not safe for concurrent use.
type Session struct {
	method auth.Method
	client *vault.Client
	o      Options
	token  cred.Token
}

// New returns a session without a token. The client carries the method's
// namespace and response wrapping.
func New(m auth.Method, c *vault.Client, o Options) *Session {
	return &Session{method: m, client: c, o: o}
}

// Login gets a new token. Its error is of kind ErrLogin.
func (s *Session) Login(ctx context.Context) (cred.Token, error) {
	start := time.Now()
	what := fmt.Sprintf("log in by %s at %s", s.o.Name, s.o.Mount)
	err := retry.Do(ctx, s.o.Retry, what, s.o.Observer, func(ctx context.Context) error {
		tok, err := s.method.Login(ctx, s.client)
		if err != nil {
			return classify(err)
		}
		if tok.Value.Empty() && tok.Wrap == nil {
			return retry.Permanent(vault.ErrNoToken)
		}
		s.token = tok
		return nil
	})
	if err != nil {
		return cred.Token{}, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	s.o.Log.InfoContext(ctx, "authentication successful", "method", s.o.Name, "mount", s.o.Mount,
		"token", s.token, "took", time.Since(start).Round(time.Microsecond))
	return s.token, nil
}

// classify marks what no repetition mends: an answer of the server's that is
// not a passing fault. What is no answer at all (a file not there yet) may be
// tried again.
func classify(err error) error {
	var ve *vault.Error
	if errors.As(err, &ve) && !vault.Temporary(err) {
		return retry.Permanent(err)
	}
	return err
}

// Client returns a view of c that carries the session's token.
func (s *Session) Client(c *vault.Client) *vault.Client { return c.As(s.token.Value) }

// Revoke ends the token and every lease it made, and forgets it. Without a
// token it does nothing.
func (s *Session) Revoke(ctx context.Context) error {
	if s.token.Value.Empty() {
		return nil
	}
	if err := s.client.Wrapping(0).As(s.token.Value).RevokeSelf(ctx); err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	s.token = cred.Token{}
	return nil
}

// Close lets go of what the method holds.
func (s *Session) Close() error {
	if c, ok := s.method.(auth.Closer); ok {
		return c.Close()
	}
	return nil
}
