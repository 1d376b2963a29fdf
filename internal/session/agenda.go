package session

import (
	"fmt"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// agenda is what is to be done by who looks ahead.
type agenda struct {
	// plan is a rest when nothing is to be done now.
	plan
	// held says that it has to wait for the end of a pause, which is at then;
	// needed that this is worth waiting for.
	held, needed bool
	// refused says that the step is a login, and that the last one was refused.
	refused bool
	err     error
}

// agenda decides what next leaves open: what of it is to be done already because
// it will be due by by.
func (s *state) agenda(now, by time.Time) agenda {
	a := agenda{plan: s.next(now), err: s.err}
	due, b := s.loginDue(now), s.logins
	if a.do == renew {
		due, b = s.renewDue(now), s.renewals
	}
	if a.do == rest || !cred.DueBy(s.token.Lease.Issued, due, by, now) {
		a.plan = plan{}
		return a
	}
	a.at = b.hold(now, now)
	a.held = a.at.After(now)
	// A token that is good is replaced by who asks once it is not; only where
	// that may not work, because it does not work now, is there any hurry.
	a.needed = !s.fresh(now) || b.failures > 0 && !s.lasts(now, by)
	a.refused = a.held && a.do == login && s.refused
	return a
}

// lasts reports whether a good token needs no replacement before by.
func (s *state) lasts(now, by time.Time) bool {
	return s.token.Lease.Duration <= 0 || s.doubtful(now) || s.lease().Expires().After(by)
}

// step is what is to be done at once.
func (a agenda) step() step {
	if a.held {
		return rest
	}
	return a.do
}

// failed is the error of who could not do what is on the agenda.
func (a agenda) failed(failures int, why error) error {
	if failures > 1 {
		why = &retry.Exhausted{Attempts: failures, Last: why}
	}
	if a.do == renew {
		return fmt.Errorf("renew the token: %w", why)
	}
	return fmt.Errorf("%w: %w", ErrLogin, why)
}
