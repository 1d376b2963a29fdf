package lease

import (
	"context"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// rounds calls turn again and again until ctx ends, and returns the cause: at the
// moment that turn returned, zero for none, and whenever wake has something. When
// the clock was set back since the turn before, rewind hears of it first.
func rounds(ctx context.Context, wake <-chan struct{}, rewind func(now time.Time, by time.Duration), turn func(now time.Time) (next time.Time)) error {
	last := time.Now()
	for {
		now := time.Now()
		if by := retry.SetBackBy(last, now); by > 0 {
			rewind(cred.Wall(now), by)
		}
		last = now
		if retry.Until(ctx, turn(cred.Wall(now)), wake) == retry.Ended {
			return context.Cause(ctx)
		}
	}
}
