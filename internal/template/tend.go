package template

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// tended is what a Watch remembers between two calls of Tend.
type tended struct {
	// turn is held by who is in Tend.
	turn  chan struct{}
	clock retry.Clock
	// What follows is under mu. begun says that all templates were due once, by is
	// how far to look ahead, glanced when the files were looked at, and under counts
	// what is under way.
	begun   bool
	by      time.Time
	glanced time.Time
	under   int
}

// Name is what is tended, for messages.
func (w *Watch) Name() string { return "templates" }

// Due is when there is next something to do, zero for never, past before the first
// Tend. A call of Changed brings it nearer.
func (w *Watch) Due() time.Time {
	w.lookAtClock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		return now()
	}
	at := w.next()
	for _, st := range w.templates {
		if len(st.files) > 0 || len(st.outputs) > 0 {
			return earlier(at, w.glanced.Add(glance))
		}
	}
	return at
}

// Tend does what Run does, up to by, and returns when it is done: for a process that
// may be frozen, in which nobody calls Run. The first call renders all templates. A
// change is not put off, and a command not delayed, when that would end before by; a
// certificate is replaced at its moment, when it has a part of its life left. What
// has to be tried again is, by schedule and inside ctx, while a template was never
// rendered and waiting may help; otherwise what was there stays, and the next call
// tries.
//
// It waits for all that it starts, commands too; what ctx breaks off is due again.
// The error joins the templates with ErrorFatal that are not rendered and the
// commands that failed meanwhile. seen is told as by Run. A second caller waits for
// the first.
func (w *Watch) Tend(ctx context.Context, by time.Time, seen func(Report)) error {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for templates that are being rendered: %w", context.Cause(ctx))
	}
	w.lookAtClock()
	w.mu.Lock()
	w.by = cred.Wall(by)
	empty := !w.begun && len(w.templates) == 0
	if !w.begun {
		w.begun = true
		w.all(now())
	}
	w.mu.Unlock()
	w.glimpse()
	var failed []error
	tell := func() {
		rep := w.report()
		for _, o := range rep.Templates {
			if o.Command != "" && o.Err != nil {
				failed = append(failed, o.Err)
			}
		}
		if seen != nil && (len(rep.Templates) > 0 || empty) {
			empty = false
			seen(rep)
		}
	}
	var crew sync.WaitGroup
	w.bustle(ctx, crew.Go, tell)
	crew.Wait()
	tell()
	return errors.Join(append(w.unrendered(ctx), failed...)...)
}

// bustle has begin start what is to be done until there is nothing more, or ctx ends.
func (w *Watch) bustle(ctx context.Context, begin func(func()), tell func()) {
	start := func(f func()) { // mu is held
		w.under++
		begin(func() {
			f()
			w.mu.Lock()
			w.under--
			w.poke()
			w.mu.Unlock()
		})
	}
	for ctx.Err() == nil {
		next := w.begin(ctx, start)
		tell()
		if w.quiet(ctx) {
			return
		}
		retry.Until(ctx, next, w.wake)
		w.lookAtClock()
	}
}

// quiet reports whether nothing is under way, and nothing that was never rendered
// may come right by waiting.
func (w *Watch) quiet(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.under > 0 {
		return false
	}
	end, bounded := ctx.Deadline()
	for _, st := range w.templates {
		if st.renderedAt.IsZero() && st.t.spec.ErrorFatal && !st.retryAt.IsZero() && vault.Temporary(st.err) &&
			(!bounded || st.retryAt.Before(cred.Wall(end))) {
			return false
		}
	}
	return true
}

// unrendered are the errors of the templates that were never rendered, and of one
// that failed too often.
func (w *Watch) unrendered(ctx context.Context) (errs []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	failure := w.failure
	w.failure = nil
	if failure != nil {
		errs = append(errs, failure)
	}
	for _, st := range w.templates {
		if !st.renderedAt.IsZero() || !st.t.spec.ErrorFatal || failure != nil && errors.Is(failure, st.err) {
			continue
		}
		err := cmp.Or(st.err, st.broken)
		if err == nil {
			err = st.t.fail(ErrRender, cmp.Or(context.Cause(ctx), errUndone))
		}
		errs = append(errs, err)
	}
	return errs
}

var errUndone = errors.New("nobody came to it")

// glimpse looks at the files that templates read and wrote, if it is time to.
func (w *Watch) glimpse() {
	w.mu.Lock()
	at := now()
	early := at.Before(w.glanced.Add(glance)) && !at.Before(w.glanced)
	if !early {
		w.glanced = at
	}
	w.mu.Unlock()
	if early {
		return
	}
	var a attention
	a.collect(w)
	a.look()
	a.tell(w)
}

// lookAtClock has what the watch knows go by a clock that was set back.
func (w *Watch) lookAtClock() {
	w.clock.Look(func(time.Time, time.Duration) { w.setBack() })
}
