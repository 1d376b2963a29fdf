package cache

import (
	"sync/atomic"
	"time"

	"latchkey/internal/exchange"
)

// unsettled is how long nothing is kept of a path after a write whose end nobody
// knows: the server gives up on a request after ninety seconds.
const unsettled = 90 * time.Second

// stripe counts the writes to the paths whose tail falls on it.
type stripe struct {
	writes atomic.Uint32
	// until is when the last write of unknown outcome is surely over.
	until atomic.Int64
}

// changes says what was written, as far as the cache can know.
type changes struct {
	stripes [1024]stripe
	all     atomic.Uint32 // writes that may have changed anything
	until   atomic.Int64  // as of a stripe
	deaths  atomic.Uint32 // of tokens
	any     atomic.Uint32 // all writes
}

// mark is the moment before a request: what was asked for then may be kept as long
// as the mark stands.
type mark struct {
	of                       *changes
	stripe                   *stripe
	writes, all, deaths, any uint32
}

func (c *changes) mark(at place) mark {
	s := c.stripe(at.path)
	return mark{c, s, s.writes.Load(), c.all.Load(), c.deaths.Load(), c.any.Load()}
}

func (c *changes) stripe(path string) *stripe { return &c.stripes[tail(path)%uint64(len(c.stripes))] }

// stands says whether nothing was written since. One without anything to look at
// always does.
func (m mark) stands() bool {
	return m.of == nil || m.stripe.writes.Load() == m.writes && m.of.all.Load() == m.all && m.of.deaths.Load() == m.deaths
}

// quiet says that no write may be under way whose end is not known.
func (m mark) quiet(now int64) bool { return now >= m.stripe.until.Load() && now >= m.of.until.Load() }

// Passed hears that a request which went by the cache was answered with status,
// 0 where nobody knows. Call it before the client sees the answer.
func (c *Cache) Passed(a *exchange.Ask, status int) {
	c.wrote(a.Method, placeOf(a), status)
	c.observe(a, &exchange.Answer{Status: status, Token: a.Who.Token, At: time.Now().Round(0)})
}

// wrote drops what a write may have changed. It is called before anybody hears
// that the write is done; from then on nobody may read what was before.
func (c *Cache) wrote(method string, at place, status int) {
	if exchange.Reads(method) || status >= 400 && status < 500 && status != 408 && status != 499 {
		return
	}
	path := at.full()
	if policies(path) {
		c.doubt()
	}
	s := c.changes.stripe(at.path)
	writes, until := &s.writes, &s.until
	all := upheaval(path)
	if all {
		writes, until = &c.changes.all, &c.changes.until
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	writes.Add(1)
	if status == 0 || status >= 502 {
		until.Store(time.Now().Add(unsettled).UnixNano())
	}
	if all {
		c.store.removeIf(&c.store.statics, func(*entry) bool { return true })
	} else {
		// A server without namespaces takes the header and does not mind it, so
		// that nobody knows in which the write went.
		c.store.at(at.path)
		c.changes.any.Add(1)
		c.store.above(path, at.path)
	}
}

// Touch hears that the secret at this API path changed, in whatever namespace;
// "" says that any may have, and has each looked at again before it is given
// out. It is not told to the family: what it is about has no lease.
func (c *Cache) Touch(path string) {
	if path == "" {
		c.touched.Store(time.Now().UnixNano())
		return
	}
	s := c.changes.stripe(path)
	c.store.mu.Lock()
	s.writes.Add(1)
	c.store.at(path)
	c.changes.any.Add(1)
	c.store.above(path, path)
	c.store.mu.Unlock()
}
