package template

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"latchkey/internal/retry"
)

// glance is how often files are looked at: those that templates read, and those
// that they wrote, which somebody may remove.
const glance = 2 * time.Second

// lookAfter looks at the files until ctx ends. It is a loop of its own, so that a
// file system that hangs holds up nothing but this.
func (w *Watch) lookAfter(ctx context.Context) {
	var a attention
	for retry.Sleep(ctx, glance) {
		a.collect(w)
		a.look()
		a.tell(w)
	}
}

// attention is one look at all files; its memory serves the next.
type attention struct{ items []item }

// item is one path of a template: one that it wrote, or one that it read as was.
type item struct {
	st    *watched
	turn  int
	path  string
	was   *stamp
	now   stamp
	moved bool
}

// collect lists what is to be looked at: nothing of a template in a round.
func (a *attention) collect(w *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(a.items)
	a.items = a.items[:0]
	for _, st := range w.templates {
		if st.round != nil {
			continue
		}
		for path, was := range st.files {
			a.items = append(a.items, item{st: st, turn: st.turn, path: path, was: &was})
		}
		if st.err != nil || st.renderedAt.IsZero() {
			continue // tried again by itself
		}
		for _, path := range st.outputs {
			a.items = append(a.items, item{st: st, turn: st.turn, path: path})
		}
	}
}

func (a *attention) look() {
	for i := range a.items {
		it := &a.items[i]
		if it.was != nil {
			it.now, it.moved = it.was.again(it.path)
		} else {
			_, err := os.Stat(it.path)
			it.moved = errors.Is(err, fs.ErrNotExist)
		}
	}
}

// tell notes what moved, unless the template has been in a round meanwhile.
func (a *attention) tell(w *Watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := now()
	for i := range a.items {
		it := &a.items[i]
		if it.st.round != nil || it.st.turn != it.turn {
			continue
		}
		if it.was != nil {
			it.st.files[it.path] = it.now
		}
		if !it.moved {
			continue
		}
		if it.was != nil {
			it.st.change(at)
		} else {
			it.st.lostAt = at
		}
		w.poke()
	}
}
