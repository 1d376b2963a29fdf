package lease

import (
	"cmp"
	"slices"
	"time"
)

// lines bounds what is told one by one when many leases come to their end
// together.
const lines = 5

// watch looks for answers that are about to end, or have, while the server is in
// trouble or more is due than it can answer. Once a second is enough. The lock is
// held.
func (m *Manager) watch(now time.Time) {
	if since := now.Sub(m.watched); since >= 0 && since < time.Second {
		return
	}
	m.watched = now
	var near []*entry
	for _, e := range m.queue {
		if !e.has || e.failures == 0 && e.due.After(now) {
			continue
		}
		switch late := e.term.late(); {
		case late.IsZero() || now.Before(late):
		case e.told == toldNothing, e.told == toldLate && e.term.over(now):
			near = append(near, e)
		}
	}
	slices.SortFunc(near, func(a, b *entry) int { return cmp.Compare(a.term.end.UnixNano(), b.term.end.UnixNano()) })
	for i, e := range near {
		m.tell(e, now, i < lines)
	}
	if more := len(near) - lines; more > 0 {
		m.o.Log.Error("leases about to expire, or over: more than are listed", "more", more, "last_ends", near[len(near)-1].term.end)
	}
}

// remark tells loudly of one answer that is about to end, or has. The lock is
// held.
func (m *Manager) remark(e *entry, now time.Time) {
	late := e.term.late()
	if !e.has || late.IsZero() || now.Before(late) {
		return
	}
	over := e.term.over(now)
	if e.told == toldNothing && (over || e.failures > 0) || e.told == toldLate && over {
		m.tell(e, now, true)
	}
}

func (m *Manager) tell(e *entry, now time.Time, aloud bool) {
	text := "lease about to expire"
	e.told = toldLate
	if e.term.over(now) {
		text = "lease is over, and there is no other yet"
		e.told = toldOver
		m.o.Meter.Count("lease.expired", 1)
	}
	if !aloud {
		return
	}
	about := []any{"request", e.req.String(), "ends", e.term.end, "left", max(e.term.end.Sub(now), 0)}
	if why := cmp.Or(e.err, m.gate.err); why != nil {
		about = append(about, "error", why)
	}
	m.o.Log.Error(text, about...)
}
