package lease

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// All of these are called with the lock held, and none puts an entry into the
// queue.

// least is the least time between two successes with one entry. It doubles while
// the answers are over as they arrive: a password that the server should have
// changed by now, a certificate that has ended.
const (
	least = 500 * time.Millisecond
	most  = 16 // doublings
)

// take makes what the token of owner was answered in an era the content of an
// entry.
func (m *Manager) take(e *entry, c content, era int, owner string, now time.Time) {
	if m.entries[e.key] == e && (!e.has || !e.same(&c.answer)) {
		m.moved[e.key] = true
	}
	m.recovered(e)
	e.has, e.content, e.granted, e.told = true, c, c.lease.Duration, toldNothing
	e.owner, e.unproven = owner, false
	m.schedule(e, now)
	if era != m.era && e.term.bound && !m.owns(e) {
		e.act, e.due = fetch, now
	}
	m.save(e)
}

// renewed takes in what a renewal brought. One that brings noticeably less than
// there was at first has come near the lease's last moment, and no further one
// brings more.
func (m *Manager) renewed(e *entry, l cred.Lease, now time.Time) {
	m.recovered(e)
	if l.Issued.IsZero() {
		l.Issued = now
	}
	e.lease.Duration, e.lease.Issued = l.Duration, l.Issued
	e.term.from, e.term.end = l.Issued, l.Issued.Add(l.Duration)
	e.term.renewable = l.Renewable && l.Duration >= share(e.granted, 0.9)
	e.told = toldNothing
	m.schedule(e, now)
	m.save(e)
	if !e.term.renewable {
		m.o.Log.Debug("lease reaches its last moment, and will be fetched anew", "request", e.req.String(), "left", l.Duration, "at", e.due)
	}
}

// schedule decides what comes next after a success.
func (m *Manager) schedule(e *entry, now time.Time) {
	e.act, e.due = e.term.next(m.rules, luck())
	if e.term.kind == static || e.term.end.After(e.term.from) {
		e.stale = 0
	} else {
		e.stale = min(e.stale+1, most)
	}
	e.due = later(e.due, now.Add(min(least<<e.stale, m.o.StaticInterval)))
}

// failed decides what comes next after a failure of act.
func (m *Manager) failed(e *entry, act action, err error, now time.Time) {
	level := slog.LevelDebug
	if !everybodys(err) && (e.err == nil || everybodys(e.err)) {
		level = slog.LevelWarn // once, and the gate speaks for everybody
	}
	e.failures++
	e.err, e.errAt = err, now
	m.o.Log.Log(context.Background(), level, "not kept current yet",
		"request", e.req.String(), "action", act.String(), "error", err, "failures", e.failures)
	defer m.remark(e, now)
	switch {
	case everybodys(err):
		// The gate says when anybody may ask, and this that another goes first:
		// a path with a limit of its own is not to be tried all the time.
		e.due = e.term.again(m.rules, now, m.gate.schedule.Wait(e.failures))
		return
	case act == look && notFound(err):
		m.gone(e, now)
		return
	case act == renew && lost(err):
		e.act, e.due = fetch, now
		return
	case act == renew && (errors.Is(err, vault.ErrDenied) || errors.Is(err, vault.ErrBadRequest)):
		// No renewal will help it.
		e.term.renewable = false
		e.act, e.due = e.term.next(m.rules, luck())
		e.due = later(e.due, now.Add(least))
		return
	}
	e.due = e.term.again(m.rules, now, m.o.Backoff.Pause(e.failures, err))
	if e.term.kind == static && !vault.Temporary(err) {
		e.due = now.Add(share(e.term.every(m.rules), 0.85+0.1*luck()))
	}
	if act == renew && now.After(e.term.late()) {
		e.act = fetch
	}
}

// lost reports whether a renewal found no lease. The server says so with the
// status of a bad request, as it does of a lease that cannot be renewed.
func lost(err error) bool {
	var e *vault.Error
	if !errors.As(err, &e) || !notFound(err) && e.Kind != vault.ErrBadRequest {
		return false
	}
	for _, m := range e.Messages {
		if strings.Contains(m, "not renewable") {
			return false
		}
	}
	return true
}

// gone takes in that nothing is there any more. Who used it is told, for a
// template may have another way, and it is looked for as often as before.
func (m *Manager) gone(e *entry, now time.Time) {
	if e.has {
		m.moved[e.key] = true
	}
	e.has, e.content = false, content{term: term{kind: static, from: now}}
	m.unsave(e)
	e.act, e.due = e.term.next(m.rules, luck())
}

// recovered takes in that an attempt went well.
func (m *Manager) recovered(e *entry) {
	if e.err != nil && !everybodys(e.err) {
		m.o.Log.Info("kept current again", "request", e.req.String(), "failures", e.failures)
	}
	e.failures, e.err = 0, nil
}
