package extension

import (
	"context"
	"time"

	"latchkey/internal/session"
)

// paced are works that are left alone for a while when they failed inside an
// invocation.
type paced []*pacedWork

func paceAll(works []Work) paced {
	p := make(paced, 0, len(works))
	for _, w := range works {
		p = append(p, &pacedWork{Work: w})
	}
	return p
}

// pacedWork is one of them. Who tends it asks it.
type pacedWork struct {
	Work
	// failed says that it did when it was last tended, cut that it was not done in the
	// time it had, tried that this was in this invocation; until is when it is asked
	// again.
	failed, cut, tried bool
	until              time.Time
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
		if w.tried && (w.failed || w.cut) {
			w.until = now.Add(min(leisure*now.Sub(began), longest)).Round(0)
		}
	}
}

// anew begins an invocation.
func (p paced) anew() {
	for _, w := range p {
		w.tried = false
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

// Due is never as long as it is left alone, by the wall clock; where that was set
// back, not much longer.
func (w *pacedWork) Due() time.Time {
	if w.resting() {
		return time.Time{}
	}
	return w.Work.Due()
}

// resting reports whether it is left alone. A request through the proxy logs in by
// itself, so that there may be a token all the same.
func (w *pacedWork) resting() bool {
	if login, ok := w.Work.(*session.Pulled); ok && w.failed && login.Has() {
		w.failed, w.until = false, time.Time{}
	}
	left := time.Until(w.until)
	return left > 0 && left <= longest
}

// Tend implements Work.
func (w *pacedWork) Tend(ctx context.Context, by time.Time) error {
	err := w.Work.Tend(ctx, by)
	w.failed, w.cut, w.tried = err != nil, ctx.Err() != nil, true
	return err
}
