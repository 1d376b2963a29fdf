package lease

import (
	"context"
	"sync"
	"time"

	"latchkey/internal/cred"
)

// Due is when there is next something to do, zero for never. Whatever is done with
// the Manager meanwhile may bring that nearer.
func (m *Manager) Due() time.Time {
	now := m.clock.Look(m.rewind)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.moved) > 0:
		return now
	case m.id == nil || len(m.queue) == 0:
		return time.Time{}
	}
	return later(m.queue[0].due, m.gate.until)
}

// Tend does what Keep does, up to by, and returns when it is done: for a process
// that may be frozen, in which nobody calls Keep. What lies ahead is done as
// cred.DueBy says, and each thing once, except that the server changes a password
// when it will. Failures of what is over by then are repeated by schedule inside
// ctx, where that may help; what lasts is tried once. The error says what does not
// last and could not be kept. changed is called from here alone.
//
// A second caller waits for the first.
func (m *Manager) Tend(ctx context.Context, by time.Time, changed func(keys []string)) error {
	leave, err := enter(ctx, m.tending)
	if err != nil {
		return err
	}
	defer leave()
	var crew sync.WaitGroup
	a := ahead{by: cred.Wall(by), since: cred.Wall(time.Now())}
	err = rounds(ctx, &m.clock, m.wake, m.rewind, func(now time.Time) (time.Time, bool) {
		p := m.turn(ctx, crew.Go, now, a, changed)
		o := m.owes(now, a)
		return o.next(now), p.idle && !o.hopeful(ctx)
	})
	crew.Wait()
	now := cred.Wall(time.Now())
	m.mu.Lock()
	moved := m.takeMoved()
	m.mu.Unlock()
	if len(moved) > 0 {
		changed(moved)
	}
	return m.owes(now, a).wrap(err)
}

// wanted reports whether an entry is to be taken care of now.
func (e *entry) wanted(a ahead, now time.Time) bool {
	if e.term.kind == rotation {
		a.by = time.Time{}
	}
	return a.due(e.term.from, e.due, now, e.failures)
}

// owes is what is over by then, and should have been replaced.
func (m *Manager) owes(now time.Time, a ahead) (o owed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.id == nil {
		return o
	}
	for _, e := range m.queue {
		end := a.by
		if e.term.kind == rotation {
			end = now
		}
		if e.term.kind == static || e.term.end.After(end) || a.done(e.term.from) || e.failures == 0 && e.due.After(now) {
			continue
		}
		err := e.err
		if m.gate.failures > 0 {
			err = m.gate.err
		}
		o.add(e.req.String(), later(e.due, m.gate.until), err)
	}
	return o
}

// Due is when there is next something to do, zero for never. Whatever is done with
// the Renewer meanwhile may bring that nearer.
func (r *Renewer) Due() (at time.Time) {
	r.clock.Look(r.rewind)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ends) > 0 {
		at = r.ends[0].last.due
	}
	if len(r.queue) > 0 {
		at = earlier(at, later(r.queue[0].due, r.gate.until))
	}
	return at
}

// Tend does what Run does, up to by, and returns when it is done, as Manager.Tend
// does. What comes to its end later than now, though before by, is not over yet.
func (r *Renewer) Tend(ctx context.Context, by time.Time) error {
	leave, err := enter(ctx, r.tending)
	if err != nil {
		return err
	}
	defer leave()
	var crew sync.WaitGroup
	a := ahead{by: cred.Wall(by), since: cred.Wall(time.Now())}
	err = rounds(ctx, &r.clock, r.wake, r.rewind, func(now time.Time) (time.Time, bool) {
		p := r.turn(ctx, crew.Go, now, a)
		o := r.owes(now, a)
		return o.next(now), p.idle && !o.hopeful(ctx)
	})
	crew.Wait()
	return r.owes(cred.Wall(time.Now()), a).wrap(err)
}

// owes is what is over by then, and should have been renewed.
func (r *Renewer) owes(now time.Time, a ahead) (o owed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.queue {
		if h.term.end.After(a.by) || a.done(h.term.from) || h.failures == 0 && h.due.After(now) {
			continue
		}
		err := h.err
		if r.gate.failures > 0 {
			err = r.gate.err
		}
		o.add("lease "+h.what(), later(h.due, r.gate.until), err)
	}
	return o
}
