package lease

import (
	"context"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// rounds calls turn again and again until it says that it is done, or ctx ends,
// whose cause is returned then: at the moment that turn returned, zero for none, and
// whenever wake has something. When the clock was set back since it was last looked
// at, rewind hears of it first.
func rounds(ctx context.Context, c *clock, wake <-chan struct{}, rewind rewind, turn func(now time.Time) (next time.Time, done bool)) error {
	for {
		next, done := turn(c.look(rewind))
		if done {
			return nil
		}
		if retry.Until(ctx, next, wake) == retry.Ended {
			return context.Cause(ctx)
		}
	}
}

// rewind counts everything by a clock that was set back.
type rewind func(now time.Time, by time.Duration)

// clock remembers when it was last looked at.
type clock struct {
	mu   sync.Mutex
	last time.Time
}

// look returns the time by the wall clock, after rewind heard of it if that was set
// back.
func (c *clock) look(rewind rewind) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if by := retry.SetBackBy(c.last, now); by > 0 {
		rewind(cred.Wall(now), by)
	}
	c.last = now
	return cred.Wall(now)
}
