package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// token returns what is to be lent, and waits for the first; empty where the
// client's own goes along, or none.
func (h *handler) token(ctx context.Context, q *question) (cred.Redacted, error) {
	if q.Who.Lent == "" {
		return cred.Redacted{}, nil
	}
	// Nearly always there is one, and then there is no wait to be bounded.
	if tok, err := h.Identity.Token(ended); err == nil {
		return tok, nil
	}
	return h.patiently(ctx, h.Identity.Token)
}

// ended is the context of who does not want to wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// replace returns another than the token that is invalid.
func (h *handler) replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error) {
	next, err := h.patiently(ctx, func(ctx context.Context) (cred.Redacted, error) { return h.Identity.Replace(ctx, bad) })
	if err == nil {
		h.judge.replaced(next)
	}
	return next, err
}

// Headers of vault-lambda-extension's.
const (
	tokenOptions = "X-Vault-Token-Options"
	cacheControl = "X-Vault-Cache-Control"
)

// relog logs in anew if the client wants a lent token to be given up; the header
// then was for us, and goes no further. The answer is the server's: a cache may hear
// of the login later than those who waited for it.
func (h *handler) relog(ctx context.Context, a *exchange.Ask, wish []string) error {
	renewer, ok := h.Identity.(Renewer)
	if !ok || a.Who.Lent == "" || !says(wish, "revoke") {
		return nil
	}
	if _, err := h.patiently(ctx, renewer.Renewed); err != nil {
		return err
	}
	a.Header = without(a.Header, []string{tokenOptions})
	said, word := a.Header[cacheControl], "nocache"
	if says(said, "cache") || says(said, "recache") {
		word = "recache"
	}
	a.Header[cacheControl] = append(said[:len(said):len(said)], word)
	return nil
}

// says reports whether a word stands in a header, alone or in a list.
func says(values []string, word string) bool {
	for _, list := range values {
		for w := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(w), word) {
				return true
			}
		}
	}
	return false
}

func (h *handler) patiently(ctx context.Context, ask func(context.Context) (cred.Redacted, error)) (cred.Redacted, error) {
	bound, cancel := context.WithTimeout(ctx, h.Patience)
	defer cancel()
	tok, err := ask(bound)
	if err != nil && ctx.Err() != nil {
		return cred.Redacted{}, context.Cause(ctx)
	}
	return tok, err
}

// lost reports whether a 403 says that the server does not know our token.
func (h *handler) lost(ctx context.Context, r *reply, token cred.Redacted) bool {
	err := h.verdict(r)
	switch {
	case errors.Is(err, vault.ErrInvalidToken):
		h.judge.tells()
		return true
	case !r.held || !errors.Is(err, vault.ErrDenied):
		return false
	}
	if !h.judge.invalid(ctx, token, h.Client) {
		return false
	}
	if h.Seen != nil {
		h.Seen(token, &vault.Error{Kind: vault.ErrInvalidToken, Op: "look up", Path: "auth/token/lookup-self", Status: http.StatusForbidden})
	}
	return true
}

// judge finds out whether a token that was denied something is known at all, by
// asking the server about it: some servers say "permission denied" and no more.
// It asks once at a time, and about one token at most every so often; who comes
// meanwhile has the same verdict.
type judge struct {
	turn chan struct{}

	// What follows belongs to who has the turn.
	token cred.Redacted
	at    time.Time
	bad   bool

	// newest came in the place of another that was found bad. When it may not be
	// looked up, either, that says nothing: its policies do not allow it.
	newest atomic.Pointer[cred.Redacted]
	// mute: lookups are of no use, or not needed.
	mute atomic.Bool
}

// between is the time between two lookups of one token.
const between = 30 * time.Second

func newJudge() *judge { return &judge{turn: make(chan struct{}, 1)} }

// invalid asks the server, or remembers.
func (j *judge) invalid(ctx context.Context, token cred.Redacted, c *vault.Client) bool {
	if j.mute.Load() {
		return false
	}
	select {
	case j.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-j.turn }()
	switch {
	case j.mute.Load():
		return false
	case token.Equal(j.token) && time.Since(j.at) < between:
		return j.bad
	}
	_, err := c.As(token).LookupSelf(ctx)
	if ctx.Err() != nil {
		return false
	}
	j.token, j.at = token, time.Now()
	j.bad = errors.Is(err, vault.ErrDenied)
	if n := j.newest.Load(); j.bad && n != nil && token.Equal(*n) && !errors.Is(err, vault.ErrInvalidToken) {
		j.bad = false
		j.mute.Store(true)
	}
	return j.bad
}

// tells notes that the server says by itself when it does not know a token.
func (j *judge) tells() { j.mute.Store(true) }

// replaced notes a token that came in the place of a bad one.
func (j *judge) replaced(token cred.Redacted) { j.newest.Store(&token) }
