package meter

import (
	"context"
	"sync/atomic"
	"time"
)

// Tally is a Meter that adds up what is counted very often and passes on the sum
// now and then, while Run runs; all else it passes on at once. Who listens may take
// a microsecond for each report, and a request that is answered from memory takes
// few more.
type Tally struct {
	Meter
	sums map[string]*atomic.Int64
}

// NewTally returns a Tally of counters without labels in front of m.
func NewTally(m Meter, names ...string) *Tally {
	if m == nil {
		m = Discard
	}
	t := &Tally{Meter: m, sums: make(map[string]*atomic.Int64, len(names))}
	for _, n := range names {
		t.sums[n] = new(atomic.Int64)
	}
	return t
}

// Count implements Meter.
func (t *Tally) Count(name string, n int, labels ...Label) {
	if sum := t.sums[name]; sum != nil && len(labels) == 0 {
		sum.Add(int64(n))
		return
	}
	t.Meter.Count(name, n, labels...)
}

// every is how old a sum may be.
const every = time.Second

// Run passes the sums on until ctx ends, and then once more. It returns the cause.
func (t *Tally) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	defer t.flush()
	for {
		select {
		case <-tick.C:
			t.flush()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (t *Tally) flush() {
	for name, sum := range t.sums {
		if n := sum.Swap(0); n != 0 {
			t.Meter.Count(name, int(n))
		}
	}
}
