package cache

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// round is the state of Tend.
type round struct {
	// turn is held by who tends, and what follows belongs to him.
	turn   chan struct{}
	keeper keeper
	clock  retry.Clock
	// For Due: when what is over was taken out last, and when rights may be asked
	// for; nanoseconds of the wall clock.
	swept, ready atomic.Int64
}

// Name says what Tend keeps, in messages.
func (c *Cache) Name() string { return "cache" }

// Due is when there is next something for Tend to do, the zero time while the cache
// holds nothing.
func (c *Cache) Due() time.Time {
	if c.checks.any() {
		return time.Unix(0, c.round.ready.Load())
	}
	if c.store.entries.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(0, c.round.swept.Load()).Add(sweepEvery)
}

// Tend does once what Keep does all the time, for who has no place for a loop: it
// asks for the rights of those who were answered optimistically, if that may be
// done up to by, and takes out what is over. Nothing that it starts outlives it. A
// second caller waits for the first. Nobody calls Keep, then.
//
// No answer is wrong because Tend was late: what may be given out is decided when
// it is. The error says that the server could not tell a right; it is asked again
// when somebody next needs it.
func (c *Cache) Tend(ctx context.Context, by time.Time) error {
	r := &c.round
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the cache to be tended: %w", context.Cause(ctx))
	}
	defer func() { <-r.turn }()
	k := &r.keeper
	k.c = c
	r.clock.Look(func(now time.Time, back time.Duration) {
		c.setBack(back)
		k.ready, k.swept = now, time.Time{}
	})
	c.terms()
	err := r.ask(ctx, by)
	if now := cred.Wall(time.Now()); now.Sub(k.swept) >= sweepEvery {
		c.expire(now)
		k.swept = now
		r.swept.Store(now.UnixNano())
	}
	k.report()
	return err
}

// ask asks for rights until nobody waits for that any more.
func (r *round) ask(ctx context.Context, by time.Time) error {
	k := &r.keeper
	for k.c.checks.any() {
		if now := cred.Wall(time.Now()); k.ready.Round(0).After(now) {
			if k.ready.Round(0).After(cred.Wall(by)) {
				return nil
			}
			retry.Until(ctx, k.ready, nil)
		}
		err := context.Cause(ctx)
		if err == nil {
			err = k.verify(ctx)
			r.ready.Store(k.ready.UnixNano())
		}
		if err != nil {
			return fmt.Errorf("ask whether what is cached may still be read: %w", err)
		}
	}
	return nil
}
