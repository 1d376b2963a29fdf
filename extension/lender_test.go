package extension

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestNoRequestWaitsForALoginThatComesAfterItsInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		for name, c := range map[string]struct{ until, want time.Duration }{
			"no invocation yet":      {0, 0},
			"one under way":          {3 * time.Second, 3*time.Second - margin - margin/2},
			"news of a former one":   {-time.Hour, 0},
			"its very last moments":  {margin, 0},
			"one of fifteen minutes": {15 * time.Minute, 15*time.Minute - margin - margin/2},
		} {
			if g.until.Store(0); c.until != 0 {
				g.until.Store(time.Now().Add(c.until).UnixMilli())
			}
			ctx, cancel := g.inTime(context.Background())
			end, has := ctx.Deadline()
			if has != (c.want > 0) || has && time.Until(end) != c.want {
				t.Errorf("%s: until %v, not %v", name, time.Until(end), c.want)
			}
			cancel()
		}
	})
}
