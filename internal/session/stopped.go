package session

import (
	"sync"
	"time"
)

// pulse is how often stopped looks at the clock, standstill the time between two
// looks from which on the process stood still. A busy machine takes less.
const (
	pulse      = 250 * time.Millisecond
	standstill = pulse + time.Second
)

// stopped runs f and reports whether the process was frozen meanwhile. Only the
// time between two looks at the wall clock tells: whether the other clock goes on
// while a process is frozen is different from place to place, and that f took long
// says nothing.
func stopped(f func()) (still bool) {
	var looking sync.WaitGroup
	done := make(chan struct{})
	looking.Go(func() {
		ticker := time.NewTicker(pulse)
		defer ticker.Stop()
		last, ended := wall(), false
		for !ended {
			select {
			case <-ticker.C:
			case <-done:
				ended = true
			}
			now := wall()
			still = still || now.Sub(last) >= standstill
			last = now
		}
	})
	f()
	close(done)
	looking.Wait()
	return still
}
