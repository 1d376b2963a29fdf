package session

import (
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Each row is a state and two moments of the wall clock; what another clock did
// meanwhile has no say in it.
func TestAgenda(t *testing.T) {
	const hour = time.Hour
	minutes := func(m float64) time.Time { return base.Add(time.Duration(m * float64(time.Minute))) }
	graced := func(s *state) { s.grace = 10 * time.Minute }
	failing := func(s *state) {
		s.renewals.failed(minutes(40), retry.Schedule{Base: 2 * time.Minute, Max: 2 * time.Minute}, vault.ErrServer)
		s.renewals.last = minutes(40)
	}
	for _, c := range []struct {
		name         string
		s            *state
		now, by      time.Time
		do           step
		held, needed bool
	}{
		{"no token", &state{}, base, base, login, false, true},
		{"a fresh token", holding(lasting(hour, true)), minutes(1), minutes(1), rest, false, false},
		{"a fresh token, and one looks far ahead", holding(lasting(hour, true)), minutes(1), minutes(600), rest, false, false},
		{"half of the time until its renewal, and one looks ahead", holding(lasting(hour, true)), minutes(19), minutes(38), renew, false, false},
		{"not due by then", holding(lasting(hour, true)), minutes(36), minutes(37), rest, false, false},
		{"a freeze of 50 minutes", holding(lasting(hour, true)), minutes(50), minutes(50), renew, false, false},
		{"a freeze of an hour", holding(lasting(hour, true)), minutes(60), minutes(60), login, false, true},
		{"a freeze of days", holding(lasting(hour, true)), minutes(6000), minutes(6000), login, false, true},
		{"in its grace", holding(lasting(hour, true), graced), minutes(50), minutes(50), login, false, true},
		{"the grace makes a renewal due sooner", holding(lasting(hour, true), graced), minutes(32), minutes(32), renew, false, false},
		{"not renewable, ahead", holding(lasting(hour, false)), minutes(25), minutes(45), login, false, false},
		{"a renewal that failed, of a token that lasts", holding(lasting(hour, true), failing), minutes(41), minutes(50), renew, true, false},
		{"a renewal that failed, of one that does not", holding(lasting(hour, true), failing), minutes(41), minutes(60), renew, true, true},
		{"a renewal that failed, and its pause is over", holding(lasting(hour, true), failing), minutes(42), minutes(42), renew, false, false},
		{"put away just after the login", holding(lasting(hour, true), func(s *state) { s.logins.last = base; s.dismiss() }), base, base, login, true, true},
		{"without an end", holding(lasting(0, false)), minutes(6000), minutes(60000), rest, false, false},
		{"without an end, put away", holding(lasting(0, false), (*state).dismiss), minutes(1), minutes(1), login, false, true},
		{"the clock was set back", holding(lasting(hour, true), (*state).back), minutes(1), minutes(1), renew, false, false},
		{"the clock was set back to before the login", holding(lasting(hour, true)), minutes(-60), minutes(-60), renew, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := c.s.agenda(c.now, c.by)
			if a.do != c.do || a.held != c.held || a.needed != c.needed {
				t.Errorf("%q, held %v, needed %v, want %q, %v, %v", a.do, a.held, a.needed, c.do, c.held, c.needed)
			}
			if next := c.s.next(c.now); a.do != rest && a.do != next.do {
				t.Errorf("next says %q", next.do)
			}
		})
	}
}

func TestNoGraceTakesMoreThanHalfOfALife(t *testing.T) {
	for _, life := range []time.Duration{1, time.Second, time.Minute, 1<<63 - 1} {
		for _, grace := range []time.Duration{0, time.Second, time.Hour, 1<<63 - 1} {
			s := &state{grace: grace}
			s.got(lasting(life, true), base, 0.5)
			if d := s.lease().Duration; d < life/2 || d > life || d <= 0 || grace <= life/2 && life > 1 && d != life-grace {
				t.Errorf("of %v a grace of %v leaves %v", life, grace, d)
			}
		}
	}
	// What a renewal near the last moment leaves may be all grace.
	s := &state{grace: 10 * time.Second}
	s.got(lasting(time.Minute, true), base, 0.5)
	s.extended(cred.Lease{Duration: 5 * time.Second, Renewable: true, Issued: base}, base, 0.5)
	if now := base.Add(time.Second); s.fresh(now) || s.next(now).do != login {
		t.Errorf("%+v", s.next(now))
	}
}
