package lease

import (
	"container/heap"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Held is a lease, or a token, whose answer somebody else holds.
type Held struct {
	// Key names it for its holder; holding another under the same key takes its
	// place.
	Key string
	// Lease is what is known of it. Without an ID it is a token; without a
	// Duration it has no end, and nothing is done about it.
	Lease cred.Lease
	// Renew extends it by increment and returns it as it is from now on. It is
	// to speak for the token that the lease belongs to, or for the token itself:
	// when the server does not know that one any more, it has ended. nil is as
	// good as a lease that is not renewable.
	Renew func(ctx context.Context, increment time.Duration) (cred.Lease, error)
	// Soon has it renewed within a minute, however long it has to live: an earlier
	// process left it, and what became of it since only the server knows.
	Soon bool
	// Extended is called with what each renewal brought; nil for nobody.
	Extended func(cred.Lease)
	// Ended is called once: when it is over, or the server knows it no more. It
	// is held no longer by then. nil for nobody.
	Ended func()
}

// hold is a Held that is kept. Its slot is in the queue of renewals.
type hold struct {
	slot
	// last is its slot in the queue of ends.
	last slot
	Held
	term term
	// granted is what it was at first, and what each renewal asks for.
	granted time.Duration
	// working says that somebody renews it at this moment, and puts it back.
	working bool
	// failures counts those since the last success, err is the last.
	failures int
	err      error
}

// ending is a hold in the queue of ends.
type ending hold

func (e *ending) place() *slot { return &e.last }

// Renewer keeps leases and tokens alive whose answers somebody else holds, by the
// rules of a Manager: renewed when two thirds of it have gone by, no more when a
// renewal brings noticeably less than there was at first, one request at a time
// while the server is in trouble. What is not renewable is watched to its end. It
// is safe for concurrent use.
type Renewer struct {
	o    Options
	wake chan struct{}

	mu    sync.Mutex
	holds map[string]*hold
	// queue has what is renewable by when that is due, and ends all that has an
	// end by that: ends come while renewals wait for the gate.
	queue queue[*hold]
	ends  queue[*ending]
	gate  gate
	// tending is held by who is in Tend, clock serves those who come and go.
	tending chan struct{}
	clock   retry.Clock
}

// NewRenewer returns a Renewer that holds nothing. Of the options, those about
// getting other answers are not looked at.
func NewRenewer(o Options) *Renewer {
	o = o.settled()
	return &Renewer{
		o: o, wake: make(chan struct{}, 1), holds: make(map[string]*hold), gate: newGate(o.Backoff, o.Parallel, o.Log),
		tending: make(chan struct{}, 1),
	}
}

// Hold keeps a lease alive until Drop or its end. It never blocks.
func (r *Renewer) Hold(h Held) {
	now := cred.Wall(time.Now())
	if h.Lease.Issued.IsZero() {
		h.Lease.Issued = now
	}
	n := &hold{slot: slot{index: away}, last: slot{index: away}, Held: h, granted: h.Lease.Duration}
	n.lasts(h.Lease, h.Lease.Renewable && h.Renew != nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.holds[h.Key]; old != nil {
		r.forget(old)
	}
	r.holds[h.Key] = n
	n.schedule(now)
	if h.Soon && n.term.renewable {
		// Apart from each other, for there may be thousands.
		n.due = earlier(n.due, now.Add(share(soon, luck())))
	}
	r.place(n)
}

// soon is within what time that is done which is to be done soon.
const soon = time.Minute

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Drop forgets what is held under key, without a word to anybody. An Ended or
// Extended that is being called at this moment is not taken back.
func (r *Renewer) Drop(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holds[key]; h != nil {
		r.forget(h)
	}
}

// Extended says that somebody else renewed what is held under key, or saw it with
// this term. What is not held, or a term without an end, is nothing.
func (r *Renewer) Extended(key string, l cred.Lease) {
	now := cred.Wall(time.Now())
	if l.Issued.IsZero() {
		l.Issued = now
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holds[key]
	if h == nil || l.Duration <= 0 || l.Issued.Before(h.term.from) {
		return
	}
	if h.granted <= 0 {
		h.granted = l.Duration
	}
	h.lasts(l, l.Renewable && h.Renew != nil)
	h.failures, h.err = 0, nil
	h.schedule(now)
	r.place(h)
}

// Len is how many are held.
func (r *Renewer) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.holds)
}

// Run renews what is due until ctx ends, waits for what is under way, and returns
// the cause. Extended and Ended of what is held are called by Run alone, some side
// by side, and without a lock: they may call the Renewer. They should not block.
func (r *Renewer) Run(ctx context.Context) error {
	var crew sync.WaitGroup
	defer crew.Wait()
	return rounds(ctx, &retry.Clock{}, r.wake, r.rewind, func(now time.Time) (time.Time, bool) {
		return r.turn(ctx, crew.Go, now, ahead{}).at, false
	})
}

// turn has start begin what is to be done now.
func (r *Renewer) turn(ctx context.Context, start func(func()), now time.Time, a ahead) errands {
	p := r.plan(now, a)
	r.tell(p.ended)
	for _, h := range p.ended {
		h.end()
	}
	for _, t := range p.tasks {
		start(func() { r.renew(ctx, t) })
	}
	return p
}

// rewind counts everything by a clock that was set back; see Manager.rewind.
func (r *Renewer) rewind(now time.Time, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.o.Log.Warn("the clock was set back: leases of cached answers are renewed now", "by", by)
	r.gate.rewind(by)
	for _, h := range r.holds {
		h.term = h.term.back(by)
		h.Lease.Issued = h.term.from
		h.due, h.last.due = now, h.term.end
	}
	heap.Init(&r.queue)
	heap.Init(&r.ends)
}

// renewal is one thing to do.
type renewal struct {
	h         *hold
	increment time.Duration
	epoch     int
}

// errands are what comes next for a Renewer.
type errands struct {
	ended []*hold
	tasks []renewal
	// at is when to look again without being told to, zero for never.
	at time.Time
	// idle says that nothing is under way.
	idle bool
}

// plan takes what has ended, and of what is to be done as much as may be under way.
func (r *Renewer) plan(now time.Time, a ahead) (p errands) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ends) > 0 && !r.ends[0].last.due.After(now) {
		h := (*hold)(r.ends[0])
		r.forget(h)
		p.ended = append(p.ended, h)
	}
	var left []*hold
	for len(r.queue) > 0 && r.gate.room(now) > 0 && !r.queue[0].due.After(later(now, a.by)) {
		h := heap.Pop(&r.queue).(*hold)
		if !a.due(h.term.from, h.due, now, h.failures) {
			left = append(left, h)
			continue
		}
		h.working = true
		r.gate.busy++
		p.tasks = append(p.tasks, renewal{h, h.granted, r.gate.epoch})
	}
	for _, h := range left {
		r.queue.put(h)
	}
	p.idle = r.gate.busy == 0
	if len(r.ends) > 0 {
		p.at = r.ends[0].last.due
	}
	if len(r.queue) == 0 {
		return p
	}
	// What is due waits for the gate, or for somebody to come back.
	next := later(r.queue[0].due, r.gate.until)
	if (next.After(now) || r.gate.room(now) > 0) && next.Before(p.at) {
		p.at = next
	}
	return p
}

// forget takes out what is not held any more. The lock is held.
func (r *Renewer) forget(h *hold) {
	delete(r.holds, h.Key)
	r.queue.take(h)
	r.ends.take((*ending)(h))
}

// end tells who holds the answer.
func (h *hold) end() {
	if h.Ended != nil {
		h.Ended()
	}
}

// renew does what is due and takes in what came of it.
func (r *Renewer) renew(ctx context.Context, t renewal) {
	began := time.Now()
	l, err := t.h.Renew(ctx, t.increment)
	r.o.Meter.Time("lease.renewal.time", time.Since(began))
	switch r.done(t, l, err, ctx.Err() != nil) {
	case extended:
		if t.h.Extended != nil {
			t.h.Extended(l)
		}
	case ended:
		t.h.end()
	}
	r.nudge()
}

// effect is what a renewal came to for who holds the answer.
type effect uint8

const (
	nothing effect = iota
	extended
	ended
)

func (r *Renewer) done(t renewal, l cred.Lease, err error, stopped bool) effect {
	now := cred.Wall(time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate.busy--
	h := t.h
	h.working = false
	if err != nil && stopped {
		if r.holds[h.Key] == h {
			r.place(h)
		}
		return nothing
	}
	if err != nil && !errors.Is(err, vault.ErrInvalidToken) {
		r.gate.blame(now, err, t.epoch, h.Key)
	} else {
		// Each has a token of its own: that one is unknown says nothing of others.
		r.gate.relieve(t.epoch)
	}
	if r.holds[h.Key] != h {
		return nothing
	}
	if err != nil {
		r.o.Meter.Count("lease.renewal.failure", 1)
		return r.failed(h, err, now)
	}
	r.o.Meter.Count("lease.renewal.success", 1)
	h.failures, h.err = 0, nil
	if l.Issued.IsZero() {
		l.Issued = now
	}
	switch {
	case l.Duration <= 0:
		// The server gave nothing more; what was known holds.
		h.term.renewable = false
	case !l.Issued.Before(h.term.from):
		h.lasts(l, l.Renewable && l.Duration >= share(h.granted, 0.9))
	}
	h.schedule(now)
	r.place(h)
	return extended
}

// failed decides what comes next after a failure; see Manager.failed.
func (r *Renewer) failed(h *hold, err error, now time.Time) effect {
	h.failures++
	if !everybodys(err) && (h.err == nil || everybodys(h.err)) {
		r.o.Log.Warn("the lease of a cached answer is not renewed yet", "lease", h.what(), "error", err)
	}
	h.err = err
	switch {
	case errors.Is(err, vault.ErrInvalidToken), lost(err):
		r.forget(h)
		return ended
	case everybodys(err):
		h.due = h.term.again(rules{}, now, r.gate.schedule.Wait(h.failures))
	case errors.Is(err, vault.ErrDenied), errors.Is(err, vault.ErrBadRequest):
		// No renewal will help it.
		h.term.renewable = false
	default:
		h.due = h.term.again(rules{}, now, r.o.Backoff.Pause(h.failures, err))
	}
	r.place(h)
	return nothing
}

// lasts sets from when to when it is good.
func (h *hold) lasts(l cred.Lease, renewable bool) {
	h.Lease.Duration, h.Lease.Issued = l.Duration, l.Issued
	h.term = term{kind: leased, from: l.Issued, end: l.Issued.Add(l.Duration), renewable: renewable}
}

// schedule decides when it is renewed next, after a success.
func (h *hold) schedule(now time.Time) {
	if h.term.renewable {
		_, at := h.term.next(rules{}, luck())
		h.due = later(at, now.Add(least))
	}
}

// place puts it where it belongs in the queues, or takes it out. The lock is held.
func (r *Renewer) place(h *hold) {
	if h.Lease.Duration <= 0 {
		return // it has no end
	}
	h.last.due = h.term.end
	r.ends.put((*ending)(h))
	switch {
	case !h.term.renewable:
		r.queue.take(h)
	case !h.working:
		r.queue.put(h)
	}
	if h.index == 0 || h.last.index == 0 {
		r.nudge()
	}
}

func (r *Renewer) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// tell logs what came to its end although it was to be renewed.
func (r *Renewer) tell(over []*hold) {
	told := 0
	for _, h := range over {
		if !h.term.renewable {
			continue
		}
		r.o.Meter.Count("lease.expired", 1)
		if told++; told <= lines {
			r.o.Log.Warn("the lease of a cached answer is over, because it could not be renewed", "lease", h.what(), "ended", h.term.end, "error", h.err)
		}
	}
	if more := told - lines; more > 0 {
		r.o.Log.Warn("leases of cached answers are over, because they could not be renewed: more than are listed", "more", more)
	}
}

// what is a lease for people: the path that it is of, without what is its own.
func (h *hold) what() string {
	if h.Lease.ID == "" {
		return "of a token"
	}
	return h.Lease.ID[:max(strings.LastIndexByte(h.Lease.ID, '/'), 0)]
}
