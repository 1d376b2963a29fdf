// Package session is the one token of a run and the machine that keeps it good.
//
// There are three ways to use it. Login gets a token, as often as the schedule
// says, and that is all; Keep gets one and sees to it that there always is one; a
// Pulled does so whenever it is asked, for a process that may be frozen. What is
// next and when is decided in one place, by a function of the state and the clock
// (next.go); what happens changes the state in one place (state.go); keep.go and
// pull.go wait and ask. Nothing here knows which mode it serves.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/meter"
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
	// Retry is the schedule of logins and of renewals that fail. Login uses it
	// for what may mend itself: a server that does not answer, a credential
	// file that is not there yet; a refusal is final at once. Keep uses it for
	// every failure, because somebody may mend a role or deliver another
	// credential, and only logins use up its Attempts.
	Retry    retry.Schedule
	Observer retry.Observer
	Log      *slog.Logger
	// Meter may be nil.
	Meter meter.Meter
	// Reauth has Keep log in when the method has new credentials.
	Reauth bool
	// Handover keeps the token for a later run; nil for not at all.
	Handover Handover
}

// what is being tried, for messages.
func (o Options) what() string { return fmt.Sprintf("log in by %s at %s", o.Name, o.Mount) }

// Session is the token state of a run. Login, Keep, Pull and Close belong to one
// goroutine; all else is safe for concurrent use.
type Session struct {
	// method is what was given, for its abilities; entry what to log in with.
	method, entry auth.Method
	client        *vault.Client
	o             Options
	// extend asks the server for a longer lease.
	extend func(ctx context.Context, token cred.Redacted) (cred.Lease, error)
	// wake has Keep look at the state anew.
	wake chan struct{}

	mu sync.Mutex
	st state
	// news is closed, and made anew, when there is a token to use that was not
	// there before; nil while nobody waits for one.
	news chan struct{}
}

// New returns a session without a token. The client carries the method's
// namespace and response wrapping.
func New(m auth.Method, c *vault.Client, o Options) *Session {
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	s := &Session{method: m, entry: m, client: c, o: o, wake: make(chan struct{}, 1)}
	if o.Handover != nil {
		s.entry = &remembering{Method: m, kept: o.Handover, log: o.Log}
	}
	s.extend = func(ctx context.Context, token cred.Redacted) (cred.Lease, error) {
		c := s.client
		if b, ok := m.(auth.Bound); ok {
			own, done, err := b.Reach(c)
			if err != nil {
				return cred.Lease{}, err
			}
			defer done()
			c = own
		}
		// The server knows what the role grants; a wish could only be less.
		return c.As(token).RenewSelf(ctx, 0)
	}
	return s
}

// Login gets a new token. Its error is of kind ErrLogin.
func (s *Session) Login(ctx context.Context) (cred.Token, error) {
	start := time.Now()
	var tok cred.Token
	err := retry.Do(ctx, s.o.Retry, s.o.what(), s.o.Observer, func(ctx context.Context) (err error) {
		tok, err = s.attempt(ctx)
		return classify(err)
	})
	if err != nil {
		return cred.Token{}, fmt.Errorf("%w: %w", ErrLogin, err)
	}
	s.change(func(st *state, now time.Time) { st.got(tok, now, retry.Luck()) })
	s.welcome(ctx, tok, start)
	return tok, nil
}

func (s *Session) welcome(ctx context.Context, tok cred.Token, start time.Time, more ...any) {
	s.o.Log.InfoContext(ctx, "authentication successful", append([]any{"method", s.o.Name, "mount", s.o.Mount,
		"token", tok, "took", time.Since(start).Round(time.Microsecond)}, more...)...)
}

// attempt logs in once. An attempt that was broken off is no failure.
func (s *Session) attempt(ctx context.Context) (cred.Token, error) {
	start := time.Now()
	tok, err := s.entry.Login(ctx, s.client)
	if err == nil && tok.Value.Empty() && tok.Wrap == nil {
		err = retry.Permanent(vault.ErrNoToken)
	}
	if err == nil || ctx.Err() == nil {
		s.o.Meter.Time("auth.login.time", time.Since(start))
		s.o.Meter.Count("auth."+outcome(err), 1)
	}
	return tok, err
}

func outcome(err error) string {
	if err != nil {
		return "failure"
	}
	return "success"
}

// upcoming says in a log line what is next, and when.
func upcoming(p plan) slog.Attr {
	if p.do == rest {
		return slog.Attr{}
	}
	return slog.Group("next", "do", p.do.String(), "at", p.at)
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

// Client returns a view of c that carries the current token.
func (s *Session) Client(c *vault.Client) *vault.Client { return c.As(s.value()) }

func (s *Session) value() (value cred.Redacted) {
	s.change(func(st *state, _ time.Time) { value = st.token.Value })
	return value
}

// Revoke ends the token and every lease it made, and forgets it. Without a
// token it does nothing.
func (s *Session) Revoke(ctx context.Context) error {
	value := s.value()
	if value.Empty() {
		return nil
	}
	if err := s.client.Wrapping(0).As(value).RevokeSelf(ctx); err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	s.change(func(st *state, _ time.Time) { *st = state{counted: st.counted, grace: st.grace} })
	if s.o.Handover != nil {
		if err := s.o.Handover.Forget(); err != nil {
			return fmt.Errorf("forget the revoked token: %w", err)
		}
	}
	return nil
}

// Close lets go of what the method holds.
func (s *Session) Close() error {
	if c, ok := s.method.(auth.Closer); ok {
		return c.Close()
	}
	return nil
}
