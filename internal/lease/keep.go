package lease

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Keep does what is due until ctx ends, waits for what is under way, and returns
// the cause. changed is called from here alone, with the keys of the answers whose
// content moved or that are gone; what was only renewed has not changed. It should
// not block, for nothing new is begun meanwhile.
func (m *Manager) Keep(ctx context.Context, changed func(keys []string)) error {
	var crew sync.WaitGroup
	defer crew.Wait()
	return rounds(ctx, &retry.Clock{}, m.wake, m.rewind, func(now time.Time) (time.Time, bool) {
		return m.turn(ctx, crew.Go, now, ahead{}, changed).at, false
	})
}

// turn has start begin what is to be done now, and tells what moved.
func (m *Manager) turn(ctx context.Context, start func(func()), now time.Time, a ahead, changed func([]string)) plan {
	p := m.plan(now, a)
	if len(p.moved) > 0 {
		changed(p.moved)
	}
	for _, t := range p.tasks {
		start(func() { m.do(ctx, t) })
	}
	return p
}

// rewind counts everything by a clock that was set back. What can be renewed is
// renewed now, so that its end is known for certain; getting other credentials,
// and with them another child process, for the sake of a clock would be too much.
func (m *Manager) rewind(now time.Time, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.o.Log.Warn("the clock was set back: leases are renewed now", "by", by)
	m.gate.rewind(by)
	for _, e := range m.entries {
		e.term = e.term.back(by)
		e.lease.Issued = e.lease.Issued.Add(-by)
		switch {
		case e.term.renewable && e.act == renew:
			e.due = now
		case e.term.kind == certificate && e.failures == 0:
			e.act, e.due = e.term.next(m.rules, luck())
		default:
			e.due = e.due.Add(-by)
		}
		m.save(e)
	}
	heap.Init(&m.queue)
}

// task is one thing to do, with what it needs: the entry may change meanwhile.
type task struct {
	e       *entry
	act     action
	id      Identity
	leaseID string
	granted time.Duration
	version string
	blind   bool
	era     int
	epoch   int
}

// plan is what comes next.
type plan struct {
	moved []string
	tasks []task
	// at is when to look again without being told to, zero for never.
	at time.Time
	// idle says that nothing is under way.
	idle bool
}

// overdue is how late the first in the queue may be without anybody looking
// what comes to its end meanwhile.
const overdue = 2 * time.Second

// takeMoved takes the keys that moved and that nobody was told of yet. The lock is
// held.
func (m *Manager) takeMoved() (keys []string) {
	for key := range m.moved {
		keys = append(keys, key)
	}
	clear(m.moved)
	return keys
}

// plan takes from the queue what is to be done, as much as may be under way.
func (m *Manager) plan(now time.Time, a ahead) plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := plan{moved: m.takeMoved(), idle: m.working == 0}
	if m.id == nil {
		return p
	}
	if m.gate.failures > 0 || len(m.queue) > 0 && m.queue[0].due.Before(now.Add(-overdue)) {
		m.watch(now)
	}
	var left []*entry
	for len(m.queue) > 0 && m.gate.room(now) > 0 && !m.queue[0].due.After(later(now, a.by)) {
		e := heap.Pop(&m.queue).(*entry)
		switch f := m.flights[e.key]; {
		case !e.wanted(a, now):
			left = append(left, e)
		case f != nil && f.keeps != e:
			// Somebody asks for it already, and puts it back.
		default:
			p.tasks = append(p.tasks, m.begin(e, now))
		}
	}
	for _, e := range left {
		m.queue.put(e)
	}
	p.idle = m.working == 0
	switch {
	case m.gate.failures > 0:
		// Time goes on for what waits, so it is looked at meanwhile.
		p.at = now.Add(time.Second)
		if m.gate.until.After(now) && m.gate.until.Before(p.at) {
			p.at = m.gate.until
		}
	case len(m.queue) > 0 && m.gate.room(now) > 0:
		p.at = m.queue[0].due
	}
	return p
}

// begin makes a task of an entry that is due. The lock is held.
func (m *Manager) begin(e *entry, now time.Time) task {
	if e.act == renew && e.term.over(now) {
		e.act = fetch
	}
	m.remark(e, now)
	if e.act == fetch {
		e.unproven = false
		m.board(e)
	}
	m.gate.busy++
	m.working++
	return task{
		e: e, act: e.act, id: m.id, leaseID: e.lease.ID, granted: e.granted, version: e.version, blind: e.blind,
		era: m.era, epoch: m.gate.epoch,
	}
}

// do asks what a task is about and takes the answer in.
func (m *Manager) do(ctx context.Context, t task) {
	began := time.Now()
	var o outcome
	switch t.act {
	case renew:
		o.lease, o.err = t.id.Renew(ctx, t.leaseID, t.granted)
		m.o.Meter.Time("lease.renewal.time", time.Since(began))
	case look:
		m.o.Meter.Count("lease.poll", 1)
		o = m.look(ctx, t)
	default:
		o = read(ctx, t)
	}
	m.done(t, o, ctx.Err() != nil)
}

// outcome is what came of a task: a lease, a secret with its content, that it is
// the same, or an error.
type outcome struct {
	secret  *cred.Secret
	content content
	lease   cred.Lease
	same    bool
	err     error
	// blind says that there is no version to be had.
	blind bool
}

// look reads an answer again unless its version says that this is needless.
func (m *Manager) look(ctx context.Context, t task) outcome {
	blind := t.blind || t.e.req.Op != cred.OpRead
	if !blind && t.version != "" {
		v, ok, err := t.id.Version(ctx, t.e.req)
		switch {
		case err != nil:
			return outcome{err: err}
		case ok && v == t.version:
			return outcome{same: true}
		}
		blind = !ok
	}
	o := read(ctx, t)
	o.blind = blind
	return o
}

func read(ctx context.Context, t task) outcome {
	var o outcome
	t.id.ReadEach(ctx, []cred.Request{t.e.req}, func(_ int, res cred.Result) {
		o.secret, o.err = res.Secret, res.Err
	})
	if o.err == nil {
		o.content, o.err = pack(o.secret)
	}
	return o
}

// done takes in what came of a task, and puts the entry back.
func (m *Manager) done(t task, o outcome, ended bool) {
	now := cred.Wall(time.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.nudge()
	m.gate.busy--
	m.working--
	e := t.e
	if t.act == fetch {
		defer m.arrive(e, cred.Result{Secret: o.secret, Err: o.err}, o.err != nil && ended)
	}
	if m.entries[e.key] != e {
		if t.act == renew {
			m.arrive(e, cred.Result{}, true)
		}
		return // nobody wants it any more
	}
	if e.unproven && t.act == renew && !ended && !m.proven(e, o.err) {
		m.gate.blame(now, o.err, t.epoch, e.key)
		return
	}
	defer m.queue.put(e)
	switch {
	case o.err != nil && ended:
		return
	case t.act == renew && e.lease.ID != t.leaseID:
		// Somebody who could not wait has fetched another meanwhile.
		return
	case o.err != nil:
		m.gate.blame(now, o.err, t.epoch, e.key)
		m.failed(e, t.act, o.err, now)
		m.report(t.act, "failure")
		return
	}
	m.gate.relieve(t.epoch)
	e.blind = o.blind
	switch {
	case o.same:
		m.recovered(e)
		e.term.from = now
		m.schedule(e, now)
	case t.act == renew:
		m.renewed(e, o.lease, now)
	default:
		m.take(e, o.content, t.era, ownerOf(t.id), now)
	}
	m.report(t.act, "success")
	if t.era != m.era && e.term.bound && !m.owns(e) {
		e.act, e.due = fetch, now
	}
	if e.touched {
		e.touched = false
		m.hasten(e, now)
	}
}

// report counts what was done with a lease; polls were counted as they began.
func (m *Manager) report(act action, result string) {
	switch act {
	case renew:
		m.o.Meter.Count("lease.renewal."+result, 1)
	case fetch:
		m.o.Meter.Count("lease.refetch."+result, 1)
	}
}

// notFound reports whether the server says that nothing is there.
func notFound(err error) bool { return errors.Is(err, vault.ErrNotFound) }
