package session

import (
	"time"

	"latchkey/internal/cred"
)

// state is all that a session knows. Its methods are the transitions; they send
// nothing and are told what time it is, and what the dice say (0 to 1). What
// follows from a state is in next.go.
type state struct {
	token cred.Token
	// since is when the token was got, renewed when its lease was last extended.
	since, renewed time.Time
	// granted is the longest lease that the token was given. A renewal to less
	// means that its max TTL is near.
	granted time.Duration
	// fixed is set for a token whose end no renewal moves, fixedAt since when
	// that is known.
	fixed   bool
	fixedAt time.Time
	// doubted is set, with fixedAt, for a token that the server failed to renew
	// although it is there: it may never come to it, so a login is made before
	// the end, while renewals go on being tried.
	doubted bool
	dice    float64

	// invalid: the server does not know the token any more.
	invalid bool
	// wanted: another token is wanted, although this one is good.
	wanted bool
	// setBack: the clock was, while the token was held.
	setBack bool
	// short counts the tokens in a row that were declared invalid young.
	short int

	// limited and left are the uses of a token that has a number of them.
	limited       bool
	left, reserve int

	renewals, logins brake
	// refused: the last login was, and no waiting mends that.
	refused bool
	counted struct{ renewals, logins int }

	err   error
	errAt time.Time
	// told is what has been said of the token's end.
	told alarm
	// grace is how long before its end a token is to be replaced at the latest.
	grace time.Duration
}

// young is the age below which an invalid token makes the next login wait.
const young = time.Minute

func (s *state) held() bool { return !s.token.Value.Empty() || s.token.Wrap != nil }

// live reports whether the token can be used as far as anybody knows.
func (s *state) live(now time.Time) bool {
	return s.held() && !s.invalid && !s.usedUp() && (!s.token.Lease.Expired(now) || s.doubtful(now))
}

func (s *state) usedUp() bool { return s.limited && s.left <= 0 }

// lease is the token's without the grace, of which no token has more than half of
// its life.
func (s *state) lease() cred.Lease {
	l := s.token.Lease
	if l.Duration > 0 {
		l.Duration = max(l.Duration-min(s.grace, s.granted/2), 1)
	}
	return l
}

// fresh reports whether the token can be used, and need not be replaced first.
func (s *state) fresh(now time.Time) bool { return s.live(now) && !s.lease().Expired(now) }

// got takes a token from a login and reports whether it is another than before.
func (s *state) got(tok cred.Token, now time.Time, dice float64) bool {
	other := tok.Value.Empty() || !tok.Value.Equal(s.token.Value)
	short := s.short
	if !s.invalid && now.Sub(s.since) >= young {
		short = 0
	}
	*s = state{
		token: tok, since: now, granted: tok.Lease.Duration, dice: dice,
		short: short, counted: s.counted, grace: s.grace,
		logins: brake{last: s.logins.last}, renewals: brake{last: s.renewals.last},
	}
	s.counted.logins++
	s.limit(tok.Uses)
	if !tok.Lease.Renewable || tok.Type == "batch" {
		s.fix(now, dice)
	}
	return other
}

// extended takes the lease of a renewal.
func (s *state) extended(lease cred.Lease, now time.Time, dice float64) {
	s.token.Lease = lease
	s.renewed, s.dice, s.setBack, s.told = now, dice, false, silent
	s.renewals = brake{last: s.renewals.last}
	if s.logins.failures == 0 {
		s.err, s.errAt = nil, time.Time{}
	}
	s.counted.renewals++
	s.doubted = false
	if !lease.Renewable || lease.Duration < s.granted {
		s.fix(now, dice)
	}
	s.granted = max(s.granted, lease.Duration)
}

// fix notes that no renewal will move the token's end.
func (s *state) fix(now time.Time, dice float64) { s.fixed, s.fixedAt, s.dice = true, now, dice }

// doubt notes that the server answered a renewal with a failure of its own.
func (s *state) doubt(now time.Time, dice float64) {
	if !s.fixed && !s.doubted {
		s.doubted, s.fixedAt, s.dice = true, now, dice
	}
}

// lost notes that the server does not know the token any more, and reports
// whether that is news. A login follows at once, unless the token was young: a
// server that takes each one away, or a complaint that is wrong, must not have a
// login for each. pause gives the wait after so many in a row.
func (s *state) lost(now time.Time, pause func(times int) time.Duration) (news bool) {
	if s.invalid {
		return false
	}
	s.invalid = true
	if now.Sub(s.since) >= young {
		s.short = 0
		return true
	}
	s.short++
	s.logins.until = latest(s.logins.until, now.Add(pause(s.short)))
	return true
}

// dismiss notes that the token is not to be used any more, though the server may
// know it. Nothing puts the login off but the pause that there is.
func (s *state) dismiss() { s.invalid = s.held() }

// replace notes that another token is wanted although this one is good, and
// reports whether that is news. What failed so far has no say in it, for the
// credentials are other ones; but least goes by between two logins.
func (s *state) replace(least time.Duration) (news bool) {
	news = !s.wanted
	s.wanted = true
	s.logins.until = s.logins.last.Add(least)
	return news
}

// limit begins to count uses. 0 is no limit; the server says -1 of a token whose
// last use went into asking. A tenth is kept for what is under way when the next
// token is wanted, and that is less than all.
func (s *state) limit(uses int) {
	s.limited, s.left = uses != 0, uses
	s.reserve = min(max(1, uses/10), uses-1)
	s.wanted = uses < 0
}

// use counts one, and reports whether another token is wanted because of it.
func (s *state) use(least time.Duration) (news bool) {
	if !s.limited {
		return false
	}
	s.left--
	return s.left <= s.reserve && !s.wanted && s.replace(least)
}

// back notes that the wall clock was set back: what has an end is to be renewed,
// and no pause can be trusted.
func (s *state) back() {
	s.setBack = s.token.Lease.Duration > 0
	s.renewals.until, s.logins.until = time.Time{}, time.Time{}
}

// wrong keeps a failure for those who ask how things are.
func (s *state) wrong(err error, now time.Time) { s.err, s.errAt = err, now }

// State is how a session is at one moment.
type State struct {
	// Token is zero before the first success. Its Uses are those left as far
	// as this session knows, -1 for a limited token that is used up.
	Token cred.Token
	// Since is when this token was got.
	Since time.Time
	// Renewed is when its lease was last extended, zero for never.
	Renewed time.Time
	// Next is what comes next, "renew", "log in" or "" for nothing, and
	// NextAt when; a moment that is past means that it is under way.
	Next   string
	NextAt time.Time
	// Err is the last failure, nil once what failed has succeeded.
	Err   error
	ErrAt time.Time
	// Valid: the token was not declared invalid and has not expired.
	Valid bool
	// Logins and Renewals count those that succeeded.
	Logins, Renewals int
}

// State may be asked at any time, from anywhere.
func (s *Session) State() (out State) {
	p := s.change(func(st *state, now time.Time) {
		out = State{
			Token: st.token, Since: st.since, Renewed: st.renewed,
			Err: st.err, ErrAt: st.errAt, Valid: st.live(now),
			Logins: st.counted.logins, Renewals: st.counted.renewals,
		}
		switch {
		case st.usedUp():
			out.Token.Uses = -1
		case st.limited:
			out.Token.Uses = st.left
		}
	})
	out.Next, out.NextAt = p.do.String(), p.at
	return out
}

// change is the one door to the state: f looks or alters, the plan that follows
// is returned. f must not call anybody else's code.
func (s *Session) change(f func(st *state, now time.Time)) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := wall()
	f(&s.st, now)
	if s.news != nil && !s.st.lendable(now).Empty() {
		close(s.news)
		s.news = nil
	}
	return s.st.next(now)
}

func wall() time.Time { return cred.Wall(time.Now()) }
