package cache

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

const (
	// report is how often the meter hears what was counted.
	report = time.Second
	// sweepEvery is how often what is over is taken out that nobody asked for.
	sweepEvery = time.Minute
	// manyPaths is how many rights are asked for in one request.
	manyPaths = 100
)

// again is how long rights are not asked for after the server could not say.
var again = retry.Schedule{Base: time.Second, Max: time.Minute, Jitter: 0.25}

// pace is the least time between two questions about rights.
const pace = 20 * time.Millisecond

// keeper is the state of Keep.
type keeper struct {
	c        *Cache
	reported Stats
	// counted and swept are when the meter heard, and when that was done last.
	counted, swept time.Time
	// ready is when rights may be asked for again, failures how often in a row that
	// did not work.
	ready    time.Time
	failures int
}

// Keep asks for the rights of those who were answered optimistically, takes out
// what is over, hears how long our tokens live, and reports to the meter, until
// ctx ends; its error is that of ctx.
func (c *Cache) Keep(ctx context.Context) error {
	k := keeper{c: c, swept: time.Now()}
	for {
		start := time.Now()
		next := start.Add(report)
		if k.ready.Before(next) && c.checks.any() {
			next = k.ready
		}
		wake := retry.Until(ctx, next, c.checks.wake)
		now := time.Now()
		switch wake {
		case retry.Ended:
			k.report()
			return ctx.Err()
		case retry.SetBack:
			c.setBack(retry.SetBackBy(start, now))
			k.ready, k.swept, k.counted = now, now, now
		}
		if !now.Before(k.ready) {
			_ = k.verify(ctx) // it is asked again when somebody needs it
		}
		if now.Sub(k.counted) >= report || wake == retry.SetBack {
			k.report()
			c.terms()
			k.counted = now
		}
		if now.Sub(k.swept) >= sweepEvery {
			c.expire(now)
			k.swept = now
		}
	}
}

// setBack moves moments along with the clock: the ends of leases, so that none is
// later than it was, and what would else be in the future for a long time. Statics
// see for themselves that they are from the future, and are looked at again; what was
// kept briefly is not, and goes.
func (c *Cache) setBack(by time.Duration) {
	back := func(at *atomic.Int64) {
		if was := at.Load(); was != 0 {
			at.CompareAndSwap(was, was-int64(by))
		}
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	for _, e := range c.store.leased.entries {
		back(&e.ends)
	}
	c.store.removeIf(&c.store.statics, func(e *entry) bool { return e.brief })
	for _, h := range c.holders {
		back(&h.strict)
		back(&h.soft)
		back(&h.ends)
	}
	for i := range c.changes.stripes {
		back(&c.changes.stripes[i].until)
	}
	back(&c.changes.until)
	back(&c.strict)
	back(&c.touched)
	c.away.Store(0)
}

// expire takes out what is over, and forgets holders of nothing.
func (c *Cache) expire(now time.Time) {
	over := func(e *entry) bool {
		ends := e.ends.Load()
		return ends != 0 && now.UnixNano() >= ends
	}
	c.store.mu.Lock()
	c.store.removeIf(&c.store.statics, over)
	out := c.store.removeIf(&c.store.leased, over)
	for id, h := range c.holders {
		if h.entries == 0 {
			delete(c.holders, id)
		}
	}
	c.store.mu.Unlock()
	c.tell(out)
}

// report tells the meter what happened since the last time.
func (k *keeper) report() {
	s, meter := k.c.Stats(), k.c.o.Meter
	if n := s.Hits + s.Stale - k.reported.Hits - k.reported.Stale; n > 0 {
		meter.Count("cache.hit", int(n))
	}
	if n := s.Misses - k.reported.Misses; n > 0 {
		meter.Count("cache.miss", int(n))
	}
	meter.Gauge("cache.entries", float64(s.Entries))
	k.reported = s
}

// verify asks whether those who were answered may still read what they got. The
// error says that the server could not tell.
func (k *keeper) verify(ctx context.Context) error {
	at := time.Now().UnixNano()
	waiting := slices.DeleteFunc(k.c.checks.take(), func(e *entry) bool {
		// It may have been answered, or have gone, since it was put there.
		return k.c.right(e, at) != late || k.c.store.get(&e.key) != e
	})
	for len(waiting) > 0 && ctx.Err() == nil {
		var batch []*entry
		batch, waiting = alike(waiting)
		err := k.c.verify(ctx, batch)
		if err != nil {
			k.failures++
			k.ready = time.Now().Add(again.Pause(k.failures, err))
			// Whoever is asked for once more is put on the list again.
			return err
		}
		k.failures = 0
		k.ready = time.Now().Add(pace)
		if len(waiting) > 0 && retry.Until(ctx, k.ready, nil) == retry.Ended {
			return ctx.Err()
		}
	}
	return nil
}

// alike takes those out that one question can be about: of one holder, in one
// namespace.
func alike(all []*entry) (batch, rest []*entry) {
	first := all[0]
	for _, e := range all {
		if len(batch) < manyPaths && e.holder == first.holder && e.namespace() == first.namespace() {
			batch = append(batch, e)
		} else {
			rest = append(rest, e)
		}
	}
	return batch, rest
}

// verify asks for one holder's rights. The error says that the server could not
// tell; a refusal to tell is no error, but then nothing is kept for him any
// longer than he was last believed.
func (c *Cache) verify(ctx context.Context, batch []*entry) error {
	first := batch[0]
	h := first.holder
	tok, ok := c.token(h.who)
	if !ok || c.o.Server == nil {
		return nil // there is nobody to ask for; the next read waits for a login
	}
	paths := make([]string, 0, len(batch))
	for _, e := range batch {
		paths = append(paths, string(e.path[e.in:]))
	}
	asked := time.Now().UnixNano()
	slices.Sort(paths)
	granted, err := c.o.Server.Capabilities(ctx, tok, first.namespace(), slices.Compact(paths))
	switch {
	case err == nil:
	case errors.Is(err, vault.ErrInvalidToken) && h.who.Lent == "":
		c.family.unknown(tok)
		return nil
	case absent(err):
		return err
	default:
		// A token that may not ask: its next read tells.
		c.withdraw(batch)
		return nil
	}
	var lost []*entry
	for _, e := range batch {
		can := granted[string(e.path[e.in:])]
		if slices.Contains(can, "read") || slices.Contains(can, "root") {
			e.checked.Store(asked)
		} else {
			lost = append(lost, e)
		}
	}
	c.withdraw(lost)
	return nil
}

// withdraw drops statics whose holders may not read them, as far as is known.
func (c *Cache) withdraw(batch []*entry) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	for _, e := range batch {
		c.store.drop(e)
	}
}
