package lease

import (
	"slices"
	"time"

	"latchkey/internal/cred"
)

// Entry is what is known of one answer, without the answer.
type Entry struct {
	// What is the request for people, such as "read kv/data/app", without the
	// body of a write.
	What string
	// Kind is "static", "lease", "token", "certificate", "rotation" or
	// "secret id".
	Kind string
	// LeaseID is empty for what has no lease.
	LeaseID string
	// Issued is when the answer was given, its lease last renewed, or a static
	// one last looked at; Expires is its end, zero for none.
	Issued, Expires time.Time
	// Next is "look", "renew" or "fetch", and NextAt when; a moment that is past
	// waits for the server, or is being done.
	Next   string
	NextAt time.Time
	// Failures counts the attempts since the last success, Err is why the last
	// one failed, nil after a success.
	Failures int
	Err      error
	ErrAt    time.Time
}

// Entries tells what is held, the soonest due first.
func (m *Manager) Entries() []Entry {
	out := m.list()
	slices.SortFunc(out, func(a, b Entry) int { return a.NextAt.Compare(b.NextAt) })
	return out
}

// list is Entries in no order.
func (m *Manager) list() []Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Entry, 0, len(m.entries))
	for _, e := range m.entries {
		n := Entry{
			What: cred.Request{Op: e.req.Op, Path: e.req.Path, Query: e.req.Query}.String(),
			Kind: e.term.kind.String(), LeaseID: e.lease.ID,
			Issued: e.term.from, Expires: e.term.end,
			Next: e.act.String(), NextAt: e.due, Failures: e.failures, Err: e.err,
		}
		if e.err != nil {
			n.ErrAt = e.errAt
		}
		out = append(out, n)
	}
	return out
}
