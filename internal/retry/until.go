package retry

import (
	"context"
	"time"
)

// Wake says why Until returned.
type Wake int

// The reasons, in the order in which they are looked for.
const (
	// Ended: the context is over.
	Ended Wake = iota
	// Woken: the wake channel had something.
	Woken
	// SetBack: the wall clock was set back while waiting, so that nobody knows
	// by it how long ago anything was. What has an end should be renewed now.
	SetBack
	// Reached: the wall clock shows the moment, or is past it.
	Reached
)

// tick is how often Until looks at the wall clock. A timer stands still while
// the machine is suspended and knows nothing of a clock that is set, so that no
// wait may rest on one timer alone.
const tick = time.Second

// slack is how far wall clock and monotonic clock may part without anybody
// having set one: what time synchronisation does in small steps.
const slack = 2 * time.Second

// Until waits for a moment of the wall clock, a signal on wake (which may be
// nil), or the end of ctx. The zero time is never reached. After a suspend or a
// clock that was set forward it returns within a second of the machine's going on.
func Until(ctx context.Context, t time.Time, wake <-chan struct{}) Wake {
	start := time.Now()
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for ctx.Err() == nil {
		now := time.Now()
		if SetBackBy(start, now) > 0 {
			return SetBack
		}
		wait := tick
		if !t.IsZero() {
			left := t.Round(0).Sub(now.Round(0))
			if left <= 0 {
				return Reached
			}
			wait = min(wait, left)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-wake:
			return Woken
		case <-timer.C:
		}
	}
	return Ended
}

// SetBackBy returns how far the wall clock was set back between two calls of
// time.Now, 0 when it was not. The other way round, a clock that was set forward or
// a machine that was suspended, needs nothing but looking what is due.
func SetBackBy(from, to time.Time) time.Duration {
	wall, monotonic := to.Round(0).Sub(from.Round(0)), to.Sub(from)
	if !setBack(wall, monotonic) {
		return 0
	}
	return monotonic - wall
}

// setBack compares how far the two clocks went since the same moment.
func setBack(wall, monotonic time.Duration) bool { return wall < monotonic-slack }
