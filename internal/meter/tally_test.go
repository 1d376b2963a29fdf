package meter

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// listener remembers what it was told.
type listener struct {
	Meter
	mu      sync.Mutex
	reports int
	sums    map[string]int
}

func (l *listener) Count(name string, n int, _ ...Label) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports++
	l.sums[name] += n
}

func (l *listener) told() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reports
}

func TestWhatIsCountedOftenIsToldInSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{Meter: Discard, sums: map[string]int{}}
		tally := NewTally(l, "cache.hit", "cache.miss")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tally.Run(ctx) }()
		for range 1000 {
			tally.Count("cache.hit", 1)
		}
		tally.Count("auth.success", 1)
		if l.told() != 1 {
			t.Errorf("%d reports before the first second is over, want the one that is not summed", l.told())
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		tally.Count("cache.hit", 5)
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("ended with %v", err)
		}
		if want := map[string]int{"cache.hit": 1005, "auth.success": 1}; !maps.Equal(l.sums, want) {
			t.Errorf("told %v, want %v", l.sums, want)
		}
		if l.reports != 3 {
			t.Errorf("%d reports, want 3: a sum of nothing is not told", l.reports)
		}
	})
}
