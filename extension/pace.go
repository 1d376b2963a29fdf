package extension

import (
	"context"
	"time"
)

// paced are works that are left alone for a while when they failed inside an
// invocation.
type paced []*pacedWork

func pace(works []Work) paced {
	p := make(paced, 0, len(works))
	for _, w := range works {
		p = append(p, &pacedWork{Work: w})
	}
	return p
}

// pacedWork is one of them. Who tends it asks it.
type pacedWork struct {
	Work
	// failed says that it did when it was last tended; until is when it is asked
	// again.
	failed bool
	until  time.Time
}

// An invocation's end waits for what is tended, and that is paid for. What fails
// takes a tenth of the time at most, however often the function is invoked.
const (
	leisure = 10
	longest = 30 * time.Second
)

// rest leaves alone what failed in an invocation.
func (p paced) rest(began, now time.Time) {
	for _, w := range p {
		if w.failed && !w.until.After(now) {
			w.until = now.Add(min(leisure*now.Sub(began), longest)).Round(0)
		}
	}
}

// failing reports whether one failed when it was last tended.
func (p paced) failing() bool {
	for _, w := range p {
		if w.failed {
			return true
		}
	}
	return false
}

// Due is never as long as it is left alone. A clock that was set back does not make
// that longer.
func (w *pacedWork) Due() time.Time {
	if left := time.Until(w.until); left > 0 && left <= longest {
		return time.Time{}
	}
	return w.Work.Due()
}

// Tend implements Work.
func (w *pacedWork) Tend(ctx context.Context, by time.Time) error {
	err := w.Work.Tend(ctx, by)
	w.failed = err != nil
	return err
}
