package session

import (
	"time"

	"latchkey/internal/retry"
)

// step is what a session does next.
type step int

const (
	rest step = iota // nothing, until somebody says something
	renew
	login
)

// String is the step in the words of State.Next.
func (s step) String() string { return [...]string{"", "renew", "log in"}[s] }

// plan is a step and its moment, which may be past. A rest has none.
type plan struct {
	do step
	at time.Time
}

// next decides what is to be done and when. It looks at nothing but the state
// and the wall clock; all that chance has to say is in the state already.
//
// A renewal and a login are due independently of each other, because a token
// must be kept alive while a login that should replace it keeps failing.
func (s *state) next(now time.Time) plan {
	renewal, entry := s.renewAt(now), s.loginAt(now)
	switch {
	case renewal.IsZero() && entry.IsZero():
		return plan{}
	case entry.IsZero(), !renewal.IsZero() && renewal.Before(entry):
		return plan{renew, renewal}
	}
	return plan{login, entry}
}

// renewAt is the moment of the next renewal, zero for none. Renewals are tried
// to the very end of the lease: a token outlives every outage shorter than what
// is left of it.
func (s *state) renewAt(now time.Time) time.Time { return s.renewals.hold(s.renewDue(now), now) }

// renewDue is renewAt without the pause after a failure.
func (s *state) renewDue(now time.Time) time.Time {
	lease := s.lease()
	if s.invalid || s.fixed || s.usedUp() || s.token.Value.Empty() || lease.Duration <= 0 || lease.Expired(now) {
		return time.Time{}
	}
	if s.doubtful(now) {
		return now
	}
	return lease.RenewAt(renewFrom + (renewTo-renewFrom)*s.dice)
}

// loginAt is the moment of the next login, zero for none.
func (s *state) loginAt(now time.Time) time.Time { return s.logins.hold(s.loginDue(now), now) }

// loginDue is loginAt without the pause after a failure.
func (s *state) loginDue(now time.Time) time.Time {
	lease := s.lease()
	switch {
	case !s.held(), s.invalid, s.wanted, s.usedUp():
		return now
	case s.token.Wrap != nil, lease.Duration <= 0:
		// Who unwraps a token looks after it, and one without an end needs
		// nobody to.
		return time.Time{}
	case !s.fixed && !s.doubted:
		return lease.Expires()
	case s.doubtful(now):
		return now
	}
	left := float64(lease.Expires().Sub(s.fixedAt))
	return s.fixedAt.Add(time.Duration(left * (loginFrom + (loginTo-loginFrom)*s.dice)))
}

// The share of a lease that goes by before something is done about its end.
// The ranges spread those who began together.
const (
	renewFrom, renewTo = 0.60, 2.0 / 3
	loginFrom, loginTo = 2.0 / 3, 0.80
)

// doubtful reports whether nobody knows by the clock how old the token is.
func (s *state) doubtful(now time.Time) bool { return s.setBack || now.Before(s.token.Lease.Issued) }

// floor is the least time between two requests of one kind, whatever the
// leases, the schedule and the server say: nothing here can storm a server.
const floor = 500 * time.Millisecond

// brake holds requests of one kind back.
type brake struct {
	// failures counts those in a row.
	failures int
	// last is when one was last sent, until the end of the pause since.
	last, until time.Time
}

// hold moves a moment behind the pause; one that never comes stays that. A last
// request in the future means that the clock was set back, and then the times of
// the brake mean nothing.
func (b brake) hold(at, now time.Time) time.Time {
	if at.IsZero() || now.Before(b.last) {
		return at
	}
	return latest(at, b.until, b.last.Add(floor))
}

// failed notes a failure, and returns how many there were and the pause.
func (b *brake) failed(now time.Time, s retry.Schedule, err error) (int, time.Duration) {
	b.failures++
	pause := max(s.Pause(b.failures, err), floor)
	b.until = now.Add(pause)
	return b.failures, pause
}

func latest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if u.After(t) {
			t = u
		}
	}
	return t
}
