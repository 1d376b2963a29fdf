package daemonmode

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"latchkey/internal/health"
)

// pathClear is where the cache is cleared.
const pathClear = "/agent/v1/cache-clear"

// front is what answers behind the guards of a listener: what it passes on can be
// replaced while it is open.
type front struct {
	own http.Handler        // /agent/v1/
	api atomic.Pointer[api] // nil when nothing is passed on
}

// api is what a front passes requests to.
type api struct{ proxy, clear http.Handler }

// ServeHTTP looks for Vault's API first, for that is what is asked in numbers.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := f.api.Load()
	switch {
	case a != nil && strings.HasPrefix(r.URL.Path, "/v1/"):
		a.proxy.ServeHTTP(w, r)
	case a != nil && r.URL.Path == pathClear:
		a.clear.ServeHTTP(w, r)
	default:
		f.own.ServeHTTP(w, r)
	}
}

// nothingCached answers for a cache that is not there, as vault agent does.
var nothingCached = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// pass has a listener's front pass requests on as a job says.
func (s *server) pass(p Proxy) {
	if s.settings.Role == health.MetricsOnly || p.Handler == nil {
		s.front.api.Store(nil)
		return
	}
	a := &api{p.Handler(s.settings.AutoAuth), nothingCached}
	if p.Cache != nil {
		a.clear = p.Cache.ClearHandler()
	}
	s.front.api.Store(a)
}

// equipProxy makes the proxy ready for its first request: what an earlier run
// left is there before anybody asks.
func (d *daemon) equipProxy(j Job) {
	if c := j.Proxy.Cache; c != nil {
		if n := c.Restore(time.Now()); n > 0 {
			d.log.Info("the cache goes on with what an earlier run left", "entries", n)
		}
	}
}

// passAnew is startProxy for a proxy that takes the place of another.
func (d *daemon) passAnew(j Job) {
	d.equipProxy(j)
	d.startProxy(j)
}

// startProxy has the listeners pass requests on, and keeps what is cached current.
func (d *daemon) startProxy(j Job) {
	p := j.Proxy
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range j.Logins {
		d.lend(l.Name)
	}
	for _, s := range d.servers {
		s.pass(p)
	}
	if p.Tally != nil {
		d.g.start("proxy", p.Tally.Run)
	}
	if p.Cache == nil {
		return
	}
	d.g.start("cache", p.Cache.Keep)
	d.g.start("cached leases", p.Leases.Run)
	if p.Events != nil {
		d.g.start("cache events", func(ctx context.Context) error { return p.Events.Run(ctx, p.Cache.Touch) })
	}
}

// lend tells the cache of an identity's newest token.
func (d *daemon) lend(name string) {
	c := d.job.Proxy.Cache
	if tok := d.tokens[name]; c != nil && !tok.Value.Empty() {
		c.Adopt(name, tok)
	}
}

// startPersist writes what is to outlive the process.
func (d *daemon) startPersist() {
	if d.o.Persist != nil {
		d.g.start("persist", d.o.Persist.Run)
	}
}
