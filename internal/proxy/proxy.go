// Package proxy passes Vault's API on: it settles whose token a request
// carries, asks the cache if there is one, sends the request to the server and
// hands the answer back as it came.
package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Identity has a token to lend; session.Session is one.
type Identity interface {
	// Token returns the token in use, and waits for the first one.
	Token(ctx context.Context) (cred.Redacted, error)
	// Replace says that bad is invalid, and waits for another.
	Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error)
}

// Cache answers from memory what it may; cache.Cache is one.
type Cache interface {
	// Look answers from memory alone, without waiting for anybody.
	Look(a *exchange.Ask) (ans *exchange.Answer, ok bool)
	// Do answers from memory, or with what fetch yields.
	Do(ctx context.Context, a *exchange.Ask, fetch exchange.Fetch) (*exchange.Answer, error)
	// Passed says that a request that went by the cache was answered, with
	// status 0 when nobody knows: a write may have changed what is cached.
	Passed(a *exchange.Ask, status int)
}

// Lend says when a request gets our token.
type Lend string

// When a request gets our token.
const (
	LendNo    Lend = ""      // never
	LendYes   Lend = "true"  // where the client brings none
	LendForce Lend = "force" // always; what the client brings is dropped
)

// Consistency is what is done about standbys of a server that have not caught up.
type Consistency struct {
	// Enforce keeps the newest states that answers told of, and asks for them.
	Enforce bool
	// When says what becomes of a 412: "fail" (or empty) hands it to the
	// client, "retry" tries again, "forward" has the server pass the request
	// to the active node.
	When string
}

// Options are what a Handler works with.
type Options struct {
	// Client carries no token; its namespace goes along where the client of the
	// proxy sent none.
	Client *vault.Client
	Lend   Lend
	// Name is that of the identity lent.
	Name string
	// Identity is nil where there is no auto_auth; then Lend is LendNo.
	Identity Identity
	// Ours reports whether this is a token of ours, of any identity: answers
	// about it are stripped of it. nil for none.
	Ours func(cred.Redacted) bool
	// Seen is told of every request with our token, as vault.Config.Seen is; nil
	// for nobody.
	Seen func(cred.Redacted, error)
	// Cache is nil for none.
	Cache Cache
	// Retry says how often and when a request is tried again.
	Retry retry.Schedule
	// Patience bounds the wait for the first token, 10s when 0.
	Patience time.Duration
	// MaxBuffer bounds, in bytes, the body of a request or an answer that is held
	// in memory; larger ones stream, and are neither tried again nor cached.
	MaxBuffer   int64
	Consistency Consistency
	// Version goes into the User-Agent.
	Version string
	Log     *slog.Logger
	// Meter may be nil.
	Meter meter.Meter
}

// Handler serves /v1/.
func Handler(o Options) http.Handler {
	return http.NotFoundHandler()
}
