// Package lease keeps the answers of the server current for as long as somebody
// uses them: it renews what can be renewed, gets another for what ends, and looks
// now and then at what never says when it changes.
//
// A Manager answers from memory what it holds and asks for the rest, each thing
// once however many ask. Give it an Identity for every new token (Use), let Keep
// run beside, and tell it what is still needed (Retain). Nothing is asked of the
// server that is not due: what comes next of each answer is decided in term.go by
// a pure function, the answers wait in a heap, and one loop takes from it.
//
// While the server is in trouble the last good answers stay, one request at a
// time sees whether it is back (gate.go), and what is about to end is told at
// level error before it does.
//
// A Renewer keeps leases alive by the same rules for somebody else who holds the
// answers, as a cache does; it asks for nothing anew. What a Manager holds outlives
// its process where it is given a Store (save.go): the next one goes on with the
// same leases.
package lease

import (
	"container/heap"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
)

// Identity is the server as one token sees it. It is safe for concurrent use.
type Identity interface {
	// ReadEach always asks the server, once, and remembers nothing. each is
	// called once for every request, with its index, never twice at a time.
	ReadEach(ctx context.Context, reqs []cred.Request, each func(i int, res cred.Result))
	// Version is a fingerprint of what a read would answer, without reading
	// it: the one that cred.Secret.Version makes of the answer. ok is false
	// where there is none, and "" is one that equals no other.
	Version(ctx context.Context, req cred.Request) (v string, ok bool, err error)
	// Renew extends a lease and returns it as it is from now on.
	Renew(ctx context.Context, id string, increment time.Duration) (cred.Lease, error)
}

// Owner is an Identity that says which token it speaks for. Answers that end with
// that token are kept when the next Identity speaks for the same one; of an
// Identity that is no Owner nobody can know.
type Owner interface {
	// Accessor is the token's, "" where it has none.
	Accessor() string
}

func ownerOf(id Identity) string {
	if o, ok := id.(Owner); ok {
		return o.Accessor()
	}
	return ""
}

// Options are the habits of a Manager.
type Options struct {
	// StaticInterval is how often an answer without an end is looked at, 5m
	// when 0. A tenth of it, on average, is taken off at random.
	StaticInterval time.Duration
	// Threshold is the share of its life after which what cannot be renewed is
	// got anew, 0.9 when 0; a twentieth more or less at random.
	Threshold float64
	// Backoff is the wait after a failure; its Attempts are not looked at.
	Backoff retry.Schedule
	// Parallel bounds the requests under way at once, 10 when 0.
	Parallel int
	// Store keeps leased answers and child tokens for the next process; nil for
	// not at all. What it holds was put there by this Manager, an earlier one, or
	// Save; nothing else may be in it.
	Store Store
	// Log must be given, Meter may be nil.
	Log   *slog.Logger
	Meter meter.Meter
}

// settled is o with what is left out filled in.
func (o Options) settled() Options {
	if o.StaticInterval <= 0 {
		o.StaticInterval = 5 * time.Minute
	}
	if o.Threshold <= 0 || o.Threshold >= 1 {
		o.Threshold = 0.9
	}
	if o.Parallel <= 0 {
		o.Parallel = 10
	}
	if o.Backoff.Base <= 0 || o.Backoff.Max <= 0 {
		o.Backoff = retry.Schedule{Base: 250 * time.Millisecond, Max: time.Minute, Jitter: 0.25}
	}
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	return o
}

// Manager holds answers and keeps them current. It is safe for concurrent use.
type Manager struct {
	o     Options
	rules rules
	// wake tells Keep that something else may be due.
	wake chan struct{}

	mu      sync.Mutex
	entries map[string]*entry // by Request.Key
	queue   queue[*entry]
	flights map[string]*flight
	// refused are by Request.Key too.
	refused refusals
	gate    gate
	// moved are the keys whose content changed and that nobody was told of yet.
	moved map[string]bool
	// id is who asks, nil before the first Use, and owner the accessor of its
	// token; era counts the calls of Use, and arrival is closed by the next.
	id      Identity
	owner   string
	era     int
	arrival chan struct{}
	// watched is when somebody last looked for what comes to its end.
	watched time.Time
	// working counts the tasks under way.
	working int
	// tending is held by who is in Tend, clock serves those who come and go.
	tending chan struct{}
	clock   retry.Clock
}

// New returns a Manager that holds nothing.
func New(o Options) *Manager {
	o = o.settled()
	return &Manager{
		o: o, rules: rules{o.StaticInterval, o.Threshold}, wake: make(chan struct{}, 1),
		entries: make(map[string]*entry), flights: make(map[string]*flight), refused: refusals{}, moved: make(map[string]bool),
		gate: newGate(o.Backoff, o.Parallel, o.Log), arrival: make(chan struct{}), tending: make(chan struct{}, 1),
	}
}

// Use sets who asks from now on: a new token. What ends with the token before is
// due now, unless this one is the same (see Owner), and so is what failed; all else
// keeps its time. It never blocks.
func (m *Manager) Use(id Identity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id, m.owner = id, ownerOf(id)
	m.era++
	close(m.arrival)
	m.arrival = make(chan struct{})
	m.gate.open()
	clear(m.refused)
	now := cred.Wall(time.Now())
	for _, e := range m.entries {
		e.blind = false // another policy may allow the metadata
		switch ends := e.term.bound && !m.owns(e); {
		case ends && (e.restored || e.unproven):
			m.forget(e)
		case e.restored:
			m.prove(e, now)
		case ends:
			e.act, e.due = fetch, now
		case e.failures > 0:
			e.due = now
		}
	}
	heap.Init(&m.queue)
	m.nudge()
}

// Retain drops every answer whose key is not in keys, without a word to the
// server.
func (m *Manager) Retain(keys map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, e := range m.entries {
		if !keys[key] {
			m.drop(e)
		}
	}
	m.count()
}

// drop lets go of an entry. Who works on it ends its flight. The lock is held.
func (m *Manager) drop(e *entry) {
	delete(m.entries, e.key)
	delete(m.moved, e.key)
	m.unsave(e)
	if e.index != away {
		m.queue.take(e)
		m.arrive(e, cred.Result{}, true)
	}
}

// owns reports whether an entry ends with the token that is in use.
func (m *Manager) owns(e *entry) bool { return e.owner != "" && e.owner == m.owner }

// Touch has the secret at an API path looked at now, and the list that it stands
// in, because somebody says that it changed. Of a version 2 key-value engine the
// path holds data/ or metadata/; the requests may do without. "" is every path, and
// those are looked at within a tenth of StaticInterval: many daemons may have missed
// the same.
func (m *Manager) Touch(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := cred.Wall(time.Now())
	if path == "" {
		for _, e := range m.entries {
			m.touch(e.req, now.Add(share(m.o.StaticInterval, 0.1*luck())))
		}
		return
	}
	for _, p := range aliases(path) {
		m.touch(cred.Request{Path: p}, now)
		if up := strings.LastIndexByte(p, '/'); up > 0 {
			m.touch(cred.Request{Op: cred.OpList, Path: p[:up]}, now)
		}
	}
}

// apart is the least time between two looks at one answer: what changes more
// often is looked at once for several changes.
const apart = time.Second

func (m *Manager) touch(req cred.Request, at time.Time) {
	e := m.entries[req.Key()]
	switch {
	case e == nil || e.term.kind != static, e.failures > 0:
		// After a failure the schedule of repetition says when.
	case e.index == away:
		e.touched = true
	default:
		m.hasten(e, at)
	}
}

// hasten has an entry looked at at a moment, unless that was only just done, or
// comes sooner in any case.
func (m *Manager) hasten(e *entry, at time.Time) {
	e.act = look
	if at = later(at, e.term.from.Add(apart)); at.Before(e.due) {
		e.due = at
	}
	m.queue.put(e)
	m.nudge()
}

// aliases are the paths by which requests may call what stands at an API path:
// as it is, and for each segment data or metadata in it without that one or with
// the other.
func aliases(path string) []string {
	all := []string{path}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if i == 0 || p != "data" && p != "metadata" {
			continue
		}
		head, tail := strings.Join(parts[:i], "/"), strings.Join(parts[i+1:], "/")
		for _, middle := range []string{"", "data", "metadata"} {
			if middle != p {
				all = append(all, strings.Trim(head+"/"+strings.TrimPrefix(middle+"/"+tail, "/"), "/"))
			}
		}
	}
	return all
}

// nudge has Keep look at the queue.
func (m *Manager) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// count reports how many answers are held.
func (m *Manager) count() { m.o.Meter.Gauge("lease.count", float64(len(m.entries))) }

func luck() float64 { return retry.Luck() }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
