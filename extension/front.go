package extension

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
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
	// until is the end of the newest invocation in milliseconds since 1970, 0 before
	// the first one and where the platform tells of none.
	until atomic.Int64
}

func newGate() *gate { return &gate{ready: make(chan struct{})} }

// open lets requests pass. It is called once.
func (g *gate) open() { close(g.ready) }

// errOver ends a request whose invocation is over.
var errOver = errors.New("the invocation is over")

// bounded gives ctx the end of the invocation. It is looked at anew when it has come:
// a request may come before we hear of the invocation that it belongs to.
func (g *gate) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.until.Load() == 0 {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{gate: g, cancel: cancel}
	w.mu.Lock()
	defer w.mu.Unlock()
	left := g.left()
	if left <= 0 {
		left = grace
	}
	w.timer = time.AfterFunc(left, w.look)
	return ctx, w.stop
}

// grace is how long a request may be ahead of the news of its invocation.
const grace = time.Second

// left is how long requests have, by the wall clock: the other one may have stood
// still.
func (g *gate) left() time.Duration { return time.Until(time.UnixMilli(g.until.Load())) - margin }

// watch looks whether the invocation of a request is over.
type watch struct {
	*gate
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
}

func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := w.left(); left > 0 {
		w.timer.Reset(left)
		return
	}
	w.cancel(errOver)
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.cancel(nil)
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
