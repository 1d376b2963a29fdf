package lease

import (
	"context"
	"time"

	"latchkey/internal/retry"
)

// rounds calls turn again and again until it says that it is done, or ctx ends,
// whose cause is returned then: at the moment that turn returned, zero for none, and
// whenever wake has something. When the clock was set back since it was last looked
// at, rewind hears of it first.
func rounds(ctx context.Context, c *retry.Clock, wake <-chan struct{}, rewind func(now time.Time, by time.Duration), turn func(now time.Time) (next time.Time, done bool)) error {
	for {
		next, done := turn(c.Look(rewind))
		if done {
			return nil
		}
		if retry.Until(ctx, next, wake) == retry.Ended {
			return context.Cause(ctx)
		}
	}
}
