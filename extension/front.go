package extension

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"latchkey/internal/exchange"
)

// patience is how long a request waits for what it needs to be in place. A client
// that waits longer than its function may run gains nothing.
const patience = 10 * time.Second

// margin is how long before the end of an invocation its requests are given up, so
// that the function hears of it.
const margin = 100 * time.Millisecond

// gate has requests wait until all is in place, and lets none outlive the
// invocation that it belongs to.
type gate struct {
	// ready is closed when requests may pass.
	ready chan struct{}
	// until is the end of the invocation under way in milliseconds since 1970, 0
	// while there is none.
	until atomic.Int64
}

func newGate() *gate { return &gate{ready: make(chan struct{})} }

// open lets requests pass. It is called once.
func (g *gate) open() { close(g.ready) }

// bounded gives ctx the end of the invocation.
func (g *gate) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	until := g.until.Load()
	if until == 0 {
		return ctx, func() {}
	}
	// The wall clock says how long is left: a deadline of a moment that was fixed by
	// the other clock would not move while the process is frozen.
	return context.WithTimeout(ctx, time.Until(time.UnixMilli(until))-margin)
}

// wait reports whether the request may pass.
func (g *gate) wait(ctx context.Context) bool {
	select {
	case <-g.ready:
		return true
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-g.ready:
		return true
	case <-ctx.Done():
		return false
	}
}

// front is what answers behind the guards of a listener.
type front struct {
	*gate
	api, clear http.Handler // clear may be nil
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := f.bounded(r.Context())
	defer cancel()
	if !f.wait(ctx) {
		w.Header().Set("Retry-After", "1")
		exchange.Refuse(w, http.StatusServiceUnavailable, "latchkey is not ready yet; try again")
		return
	}
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		f.api.ServeHTTP(w, r.WithContext(ctx))
	case r.URL.Path == "/agent/v1/cache-clear" && f.clear != nil:
		f.clear.ServeHTTP(w, r)
	default:
		exchange.Refuse(w, http.StatusNotFound, "this is latchkey's proxy for Vault: its API begins with /v1/")
	}
}
