package session

import (
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// base is when the tokens of the tables were issued.
var base = time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)

func lasting(d time.Duration, renewable bool) cred.Token {
	return cred.Token{
		Value: cred.Redact("hvs.CANARY"), Accessor: "acc",
		Lease: cred.Lease{Duration: d, Renewable: renewable, Issued: base},
	}
}

// holding is the state after a login at base, with even dice, changed by f.
func holding(tok cred.Token, f ...func(*state)) *state {
	s := &state{}
	s.got(tok, base, 0.5)
	for _, g := range f {
		g(s)
	}
	return s
}

func TestNext(t *testing.T) {
	const hour = time.Hour
	var (
		minutes = func(m float64) time.Time { return base.Add(time.Duration(m * float64(time.Minute))) }
		never   time.Time
		// Even dice: renewals at 63 1/3 %, replacements at 73 1/3 %.
		renewal, replacement = minutes(38), minutes(44)
		pause                = func(int) time.Duration { return 30 * time.Second }
	)
	batch := lasting(hour, true)
	batch.Type = "batch"
	wrapped := cred.Token{Wrap: &cred.WrapInfo{TTL: time.Minute}}
	once := lasting(hour, true)
	once.Uses = 1

	for _, c := range []struct {
		name string
		s    *state
		now  time.Time
		do   step
		at   time.Time
	}{
		{"no token yet", &state{}, base, login, base},
		{"no token, and the last login failed", &state{logins: brake{failures: 1, last: base, until: minutes(5)}}, minutes(1), login, minutes(5)},
		{"a fresh token", holding(lasting(hour, true)), base, renew, renewal},
		{"a token that is overdue", holding(lasting(hour, true)), minutes(50), renew, renewal},
		{"a renewal that failed", holding(lasting(hour, true), func(s *state) { s.renewals = brake{1, minutes(39), minutes(41)} }), minutes(40), renew, minutes(41)},
		{"a renewal whose next try comes after the end", holding(lasting(hour, true), func(s *state) { s.renewals = brake{9, minutes(57), minutes(62)} }), minutes(58), login, minutes(60)},
		{"an expired token", holding(lasting(hour, true)), minutes(61), login, minutes(60)},
		{"an expired token after a suspend of days", holding(lasting(hour, true)), base.Add(72 * hour), login, minutes(60)},
		{"renewed to as much as before", holding(lasting(hour, true), func(s *state) {
			s.extended(cred.Lease{Duration: hour, Renewable: true, Issued: minutes(38)}, minutes(38), 0.5)
		}), minutes(38), renew, minutes(76)},
		{"renewed to less: its max TTL is near", holding(lasting(hour, true), func(s *state) {
			s.extended(cred.Lease{Duration: hour / 2, Renewable: true, Issued: minutes(38)}, minutes(38), 0.5)
		}), minutes(38), login, minutes(60)},
		{"renewed, and not renewable any more", holding(lasting(hour, true), func(s *state) {
			s.extended(cred.Lease{Duration: hour, Issued: minutes(38)}, minutes(38), 0.5)
		}), minutes(38), login, minutes(82)},
		{"renewal refused", holding(lasting(hour, true), func(s *state) { s.fix(minutes(30), 0.5) }), minutes(31), login, minutes(52)},
		{"not renewable", holding(lasting(hour, false)), base, login, replacement},
		{"a batch token, whatever it says of itself", holding(batch), base, login, replacement},
		{"not renewable, and the login keeps failing", holding(lasting(hour, false), func(s *state) { s.logins = brake{4, minutes(50), minutes(55)} }), minutes(51), login, minutes(55)},
		{"a root token", holding(lasting(0, false)), base.Add(1000 * hour), rest, never},
		{"a token without an end that is invalid", holding(lasting(0, false), func(s *state) { s.invalid = true }), minutes(3), login, minutes(3)},
		{"a wrapped token", holding(wrapped), base.Add(1000 * hour), rest, never},
		{"a wrapped token and new credentials", holding(wrapped, func(s *state) { s.replace(time.Second) }), minutes(3), login, minutes(3)},
		{"invalid, and it was old", holding(lasting(hour, true), func(s *state) { s.lost(minutes(2), pause) }), minutes(2), login, minutes(2)},
		{"invalid, and it was young", holding(lasting(hour, true), func(s *state) { s.lost(minutes(0.5), pause) }), minutes(0.5), login, minutes(1)},
		{"new credentials", holding(lasting(hour, true), func(s *state) { s.replace(time.Second) }), minutes(3), login, minutes(3)},
		{"new credentials that do not work: the old token is still renewed", holding(lasting(hour, true), func(s *state) {
			s.replace(time.Second)
			s.logins = brake{7, minutes(37), minutes(42)}
		}), minutes(38), renew, renewal},
		{"a token for one use, unused", holding(once), base, renew, renewal},
		{"a token for one use, used", holding(once, func(s *state) { s.use(time.Second) }), minutes(3), login, minutes(3)},
		{"clock set back to before the login", holding(lasting(hour, true)), minutes(-600), renew, minutes(-600)},
		{"clock set back to before the login, not renewable", holding(lasting(hour, false)), minutes(-600), login, minutes(-600)},
		{"clock set back a little", holding(lasting(hour, true), (*state).back), minutes(10), renew, minutes(10)},
		{"clock set back while a renewal waits", holding(lasting(hour, true), func(s *state) {
			s.renewals = brake{1, minutes(39), minutes(41)}
			s.back()
		}), minutes(20), renew, minutes(20)},
		{"clock set back, seen by its brake alone", holding(lasting(hour, true), func(s *state) {
			s.invalid, s.logins = true, brake{1, minutes(39), minutes(44)}
		}), minutes(20), login, minutes(20)},
		{"clock set back, root token", holding(lasting(0, false), (*state).back), minutes(-600), rest, never},
		{"two renewals in one moment", holding(lasting(hour, true), func(s *state) { s.renewals.last = renewal }), renewal, renew, renewal.Add(floor)},
		{"two logins in one moment", holding(lasting(hour, true), func(s *state) { s.logins.last, s.wanted = minutes(3), true }), minutes(3), login, minutes(3).Add(floor)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.s.next(c.now)
			if p.do != c.do || p.at.Sub(c.at).Abs() > time.Microsecond {
				t.Errorf("%q at %v, want %q at %v", p.do, p.at.Sub(base), c.do, c.at.Sub(base))
			}
			if again := c.s.next(c.now); again != p {
				t.Errorf("asked twice: %v, then %v", p, again)
			}
		})
	}
}

// Whatever the dice say, something is done about a token before its end.
func TestNextComesBeforeTheEnd(t *testing.T) {
	for _, d := range []time.Duration{time.Second, 5 * time.Second, time.Minute, 768 * time.Hour, 1<<63 - 1} {
		for _, dice := range []float64{0, 0.25, 0.5, 0.999} {
			for _, renewable := range []bool{true, false} {
				s := &state{}
				s.got(lasting(d, renewable), base, dice)
				p := s.next(base)
				share := float64(p.at.Sub(base)) / float64(d)
				if share < 0.599 || share > 0.801 || p.do == rest {
					t.Errorf("lease %v, dice %v, renewable %v: %s after %.3f of it", d, dice, renewable, p.do, share)
				}
			}
		}
	}
}

func TestUsesAreCountedDownToAReserve(t *testing.T) {
	for _, c := range []struct{ uses, before int }{{1, 1}, {2, 1}, {3, 2}, {10, 9}, {20, 18}, {100, 90}} {
		tok := lasting(time.Hour, true)
		tok.Uses = c.uses
		s := holding(tok)
		n := 1
		for ; !s.use(time.Second); n++ {
			if n > c.uses {
				t.Fatalf("%d uses: never enough", c.uses)
			}
		}
		if n != c.before {
			t.Errorf("%d uses: another token is wanted after %d, want %d", c.uses, n, c.before)
		}
		if s.use(time.Second) {
			t.Errorf("%d uses: told twice", c.uses)
		}
	}
	if s := holding(lasting(time.Hour, true)); s.use(time.Second) || s.wanted {
		t.Error("a token without a limit was counted")
	}
	spent := lasting(time.Hour, true)
	spent.Uses = -1
	if p := holding(spent).next(base); p.do != login {
		t.Errorf("a token whose last use is gone: %v", p.do)
	}
}

func TestShortLivedTokensAreForgivenAfterAMinute(t *testing.T) {
	var asked []int
	pause := func(n int) time.Duration { asked = append(asked, n); return 0 }
	s := &state{}
	at := base
	// One second, one second, an age, a second.
	for _, life := range []time.Duration{time.Second, time.Second, young, time.Second} {
		s.got(lasting(time.Hour, true), at, 0.5)
		at = at.Add(life)
		if !s.lost(at, pause) || s.lost(at, pause) {
			t.Error("lost is news once")
		}
	}
	if len(asked) != 3 || asked[0] != 1 || asked[1] != 2 || asked[2] != 1 {
		t.Errorf("pauses asked for: %v", asked)
	}
}

// A userpass user or a certificate's role that was changed makes the server
// answer renewals with 500 for ever.
func TestATokenThatTheServerFailsToRenewIsReplacedBeforeItsEnd(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lease := cred.Lease{Duration: time.Hour, Renewable: true, Issued: start}
	var s state
	s.got(cred.Token{Value: cred.Redact("t"), Lease: lease}, start, 0.5)
	failed := start.Add(40 * time.Minute)
	s.doubt(failed, 0.5)
	s.renewals.failed(failed, retry.Schedule{Base: 30 * time.Second, Max: 30 * time.Second}, vault.ErrServer)
	if p := s.next(failed); p.do != renew || p.at != failed.Add(30*time.Second) {
		t.Errorf("next is to %v at %v: renewals go on", p.do, p.at)
	}
	at := s.loginAt(failed)
	if at.Before(failed.Add(13*time.Minute)) || at.After(failed.Add(16*time.Minute)) {
		t.Errorf("the login is at %v", at)
	}
	s.extended(cred.Lease{Duration: time.Hour, Renewable: true, Issued: failed}, failed, 0.5)
	if at := s.loginAt(failed); at != failed.Add(time.Hour) {
		t.Errorf("once renewed, the login is at %v", at)
	}
}
