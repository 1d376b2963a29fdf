package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"latchkey/internal/exchange"
)

// question is a request on its way to the server.
type question struct {
	a     *exchange.Ask
	at    place
	k     Key
	path  uint64 // a number for the method and where it is sent
	fresh bool   // nothing from memory
	fetch exchange.Fetch
	// briefly: the answer may be of an age, as Brief says.
	briefly bool
	// From before it was sent: what the store, the family and the clock said then,
	// and the number of all requests, which no clock turns back.
	mark  mark
	since uint64
	sent  int64
	turn  uint64
}

// Do answers from memory, or asks the server with fetch, once for all who ask
// the same at the same time. The error is fetch's, or that of ctx.
//
// fetch may be called for a caller who has hung up, as long as another waits; its
// context says when nobody does. It must not change an Answer that it returned.
func (c *Cache) Do(ctx context.Context, a *exchange.Ask, fetch exchange.Fetch) (*exchange.Answer, error) {
	k, how, briefly := c.way(a)
	q := &question{a: a, at: placeOf(a), k: k, fresh: how != usual, fetch: fetch, briefly: briefly}
	switch how {
	case alone:
		return c.pass(ctx, q)
	case fill, newest:
		return c.obtain(ctx, q).own(c)
	}
	q.path = maphash.String(seed, q.at.full()) ^ maphash.String(seed, a.Method)
	if briefly {
		q.path = ^q.path // they may all have what one gets
	}
	if c.loners.has(q.path) {
		return c.alone(ctx, q)
	}
	return c.together(ctx, q)
}

// seat says who waits for one flight: not those who want a new answer for one that
// may be of an age.
func (q *question) seat() Key {
	k := q.k
	if q.briefly {
		k[0] = ^k[0]
	}
	return k
}

// own is what the one gets who asked the server.
func (o outcome) own(c *Cache) (*exchange.Answer, error) {
	if o.ans == nil && o.err == nil {
		o.ans = o.hit
	}
	if o.ans != nil {
		c.count(o.ans.From)
	}
	return o.ans, o.err
}

// count counts what recall did not.
func (c *Cache) count(from exchange.From) {
	switch from {
	case exchange.Miss:
		c.misses.Add(1)
	case exchange.Hit:
		c.renewed.Add(1)
	case exchange.Stale:
		c.stales.Add(1)
	}
}

// pass asks the server past the cache, and only looks at what was changed.
func (c *Cache) pass(ctx context.Context, q *question) (*exchange.Answer, error) {
	ans, err := q.fetch(ctx)
	c.passed(q, ans, err)
	if err != nil {
		return nil, err
	}
	ans.From = exchange.Miss
	c.misses.Add(1)
	return ans, nil
}

// passed has everybody hear of an answer, before any client does.
func (c *Cache) passed(q *question, ans *exchange.Answer, err error) {
	if err != nil {
		c.Passed(q.a, 0)
		return
	}
	c.wrote(q.a.Method, q.at, ans.Status)
	c.observe(q.a, ans)
}

// alone asks for one that nobody waits for; a stored answer is as good.
func (c *Cache) alone(ctx context.Context, q *question) (*exchange.Answer, error) {
	if e := c.recall(&q.k, usual, q.briefly, time.Now().UnixNano()); e != nil {
		return &e.ans, nil
	}
	return c.obtain(ctx, q).own(c)
}

// together asks once for all who ask the same.
//
// Whoever came before a request was sent may have its answer, even where it is
// not kept; whoever came later might see what was true before he asked. So of a
// thousand who ask for something that is not kept, the first goes, and then one
// for all the others.
func (c *Cache) together(ctx context.Context, q *question) (*exchange.Answer, error) {
	came := c.flights.arrive()
	for {
		if e := c.recall(&q.k, usual, q.briefly, time.Now().UnixNano()); e != nil {
			return &e.ans, nil
		}
		m := mark{}
		if exchange.Reads(q.a.Method) {
			m = c.changes.mark(q.at)
		}
		f, leads := c.flights.join(ctx, q.seat(), m)
		if leads {
			return c.lead(ctx, q, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			c.flights.leave(q.seat(), f)
			return nil, context.Cause(ctx)
		}
		switch out := f.out; {
		case out.hit != nil && q.briefly:
			// It is as old as it is when it is given out, so it is looked at then.
		case out.hit != nil:
			c.count(out.hit.From)
			c.coalesced.Add(1)
			return out.hit, nil
		case !out.share:
			return c.obtain(ctx, q).own(c)
		case came < f.sent || out.err != nil:
			c.coalesced.Add(1)
			return out.own(c)
		}
	}
}

// lead asks the server for all who wait for f.
func (c *Cache) lead(ctx context.Context, q *question, f *flight) (*exchange.Answer, error) {
	// The context of a request does not end before its handler returns but when its
	// client hangs up; for the others, this one goes on.
	stop := context.AfterFunc(ctx, func() { c.flights.leave(q.seat(), f) })
	var out outcome
	defer func() {
		// Where fetch panicked, everybody goes his own way.
		c.flights.land(q.seat(), f, out)
		if out.ans == nil || out.ans.Stream == nil {
			stop()
			f.cancel()
		}
	}()
	// Another's flight may have landed after we looked in memory and before this one
	// began; what it brought is there by now.
	if e := c.recall(&q.k, usual, q.briefly, time.Now().UnixNano()); e != nil {
		out.hit = &e.ans
		return out.hit, nil
	}
	out = c.obtain(f.ctx, q)
	return out.own(c)
}

// obtain asks the server and keeps what may be kept.
func (c *Cache) obtain(ctx context.Context, q *question) outcome {
	q.mark, q.since = c.changes.mark(q.at), c.family.since()
	q.sent, q.turn = time.Now().UnixNano(), c.turns.Add(1)
	if !q.fresh {
		if old := c.store.get(&q.k); old != nil && !old.leased && !old.brief {
			return c.refresh(ctx, q, old)
		}
	}
	ans, err := q.fetch(ctx)
	return c.settle(ctx, q, ans, err)
}

// settle looks at what the server said, and keeps it if it may be kept.
func (c *Cache) settle(ctx context.Context, q *question, ans *exchange.Answer, err error) outcome {
	c.passed(q, ans, err)
	read := exchange.Reads(q.a.Method)
	if err != nil {
		return outcome{err: err, share: read}
	}
	ans.From = exchange.Miss
	t, ok := judge(ans)
	out := outcome{ans: ans, share: read && ans.Stream == nil && (ok || ans.Status >= 300) && t.leaseID == "" && !t.hasAuth && !t.hasWrap}
	if ok {
		out.hit = c.keep(ctx, q, t, ans)
	}
	if out.hit == nil && q.briefly {
		out.hit = c.brief(q, t, ok, ans)
	}
	switch {
	case out.hit != nil:
		c.loners.remove(q.path)
	case read && !c.isAway(ctx, ans, nil):
		c.supersede(q, ans.Status)
	}
	if out.hit == nil && !out.share && ans.Status < 500 {
		c.loners.add(q.path)
	}
	return out
}

// supersede drops what was kept and is not true any more, unless it is newer than
// the answer that says so. Somebody who is refused what he was given before may
// have lost more than that.
func (c *Cache) supersede(q *question, status int) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	old := c.store.get(&q.k)
	if old == nil || old.leased || old.brief && !q.briefly && status < 300 || old.turn > q.turn || !q.mark.stands() || !c.store.drop(old) {
		return
	}
	if status == http.StatusForbidden || status == http.StatusUnauthorized {
		old.holder.strict.Store(time.Now().UnixNano())
	}
}

// judge reads an answer's top level; false for what is nothing to keep.
func judge(ans *exchange.Answer) (top, bool) {
	if ans.Stream != nil || ans.Status < 200 || ans.Status >= 300 || !isJSON(ans.Header) {
		return top{}, false
	}
	return scan(ans.Body)
}

func isJSON(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/json") && h.Get("Content-Encoding") == ""
}

// keep keeps an answer, and gives what others may have of it.
func (c *Cache) keep(ctx context.Context, q *question, t top, ans *exchange.Answer) *exchange.Answer {
	if t.hasWrap {
		return nil
	}
	if t.leaseID == "" && !t.hasAuth {
		return c.static(ctx, q, t, ans)
	}
	if !json.Valid(ans.Body) || never(q.at.path) {
		return nil
	}
	if !c.kept(ctx, q.a, q.k, t, ans, q.since) {
		return nil
	}
	e := c.store.get(&q.k)
	if e == nil {
		return nil // it was revoked right away
	}
	return &e.ans
}

// never says which answers look like leases and are none: those to a renewal.
func never(path string) bool {
	return strings.Contains("/"+path, "/auth/token/renew") || strings.Contains("/"+path, "/auth/token/lookup")
}

// put keeps ans under k until the end of its life. It says whether it did: not
// when it is larger than half of all room. An answer that was there under k is
// replaced, without a word to the family.
func (c *Cache) put(k Key, at place, ans *exchange.Answer, l life) bool {
	e := newEntry(k, at, ans, false)
	if !l.ends.IsZero() {
		e.ends.Store(l.ends.UnixNano())
	}
	c.store.mu.Lock()
	e.dress(&c.store, ans.Header)
	out, ok := c.store.put(e)
	c.store.mu.Unlock()
	c.tell(out)
	return ok
}

// tell has the family hear of what the store dropped. No lock of the store is
// held.
func (c *Cache) tell(keys dropped) {
	for _, k := range keys {
		c.family.forget(k)
	}
}

// extend moves the end of a leased entry; the zero time is no end.
func (c *Cache) extend(k Key, ends time.Time) {
	e := c.store.get(&k)
	switch {
	case e == nil || !e.leased:
	case ends.IsZero():
		e.ends.Store(0)
	default:
		e.ends.Store(ends.UnixNano())
	}
}

// evict drops entries, and says how many there were. The family is not told.
func (c *Cache) evict(keys ...Key) int {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	n := 0
	for i := range keys {
		if e := c.store.get(&keys[i]); e != nil && c.store.drop(e) {
			n++
		}
	}
	return n
}

// evictPaths drops what was asked in namespace below prefix, leased or static,
// however the namespace was spelled. prefix is decoded, without /v1/. The family
// is told.
func (c *Cache) evictPaths(namespace, prefix string) int {
	below := []byte(spaceNamed(namespace) + prefix)
	return c.sweep(func(e *entry) bool { return bytes.HasPrefix(e.path, below) })
}

// evictAll drops everything. The family is told.
func (c *Cache) evictAll() int { return c.sweep(func(*entry) bool { return true }) }

// sweep drops what matches, and has nothing be kept that was asked for before.
func (c *Cache) sweep(match func(*entry) bool) int {
	c.store.mu.Lock()
	c.changes.all.Add(1)
	n := len(c.store.removeIf(&c.store.statics, match))
	out := c.store.removeIf(&c.store.leased, match)
	c.store.mu.Unlock()
	c.tell(out)
	return n + len(out)
}
