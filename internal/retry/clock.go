package retry

import (
	"sync"
	"time"
)

// Clock is the wall clock for who looks at it now and then, without a loop, and has to
// hear when it was set back meanwhile. The zero Clock is one that nobody has looked at.
// It is safe for concurrent use.
type Clock struct {
	mu sync.Mutex
	// last is with its monotonic part.
	last time.Time
}

// Look returns the time. When the clock was set back since the last Look, back is
// called first; nobody's Look returns before that has.
func (c *Clock) Look(back func(now time.Time, by time.Duration)) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if by := SetBackBy(c.last, now); by > 0 {
		back(now.Round(0), by)
	}
	c.last = now
	return now.Round(0)
}
