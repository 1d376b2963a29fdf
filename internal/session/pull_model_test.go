package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// FuzzPulled lets a Pulled go through whatever may happen to it, one byte of the
// script at a time, and holds what it does against what it may do at most and has
// to do at least. The first three bytes say what tokens are like.
func FuzzPulled(f *testing.F) {
	f.Add([]byte{1, 1, 1, 0, 4, 20, 0, 30, 1, 8, 0, 40, 2})
	f.Add([]byte{0, 0, 0, 0, 0, 40, 0, 1})
	f.Add([]byte{2, 9, 3, 0, 5, 0, 6, 0, 30, 7, 0, 1, 2, 3})
	f.Add([]byte("1000]0"))           // the clock is set back, and then the token ends
	f.Add([]byte("AA00000=.07$0M07")) // the clock is set back twice, and between there is another token
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		script := make([]byte, 120)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 3 || len(script) > 500 {
			return
		}
		synctest.Test(t, func(t *testing.T) { follow(t, script) })
	})
}

// lives are the tokens that there may be.
var lives = []time.Duration{0, time.Second, 7 * time.Second, time.Minute, 20 * time.Minute, 24 * time.Hour}

// model is what one knows of a Pulled from outside.
type model struct {
	*puller
	ttl, grace time.Duration
	ok         bool // the server takes logins and renewals
	last       string
	// away is set for a token that is not to be given again.
	away map[string]bool
}

func follow(t *testing.T, script []byte) {
	ttl := lives[int(script[0])%len(lives)]
	w := newWorld(ttl, []time.Duration{ttl, 3 * ttl, 768 * time.Hour}[script[1]%3])
	if w.fixed = script[1]&16 != 0; script[1]&32 != 0 {
		w.typ = "batch"
	}
	m := &model{ttl: ttl, grace: time.Duration(script[2]) * time.Second, ok: true, away: map[string]bool{}}
	m.puller = pull(t, w, PullOptions{Grace: m.grace})
	for _, b := range script[3:] {
		m.step(t, b)
		m.check(t)
	}
	// Whatever happened, it ends well once the server is well.
	w.set(func() { w.loginErr, w.renewErr, w.hang = nil, nil, false })
	pass(10 * time.Minute)
	if tok, err := m.Token(t.Context()); err != nil || m.away[tok.Reveal()] || !w.good(m.s) {
		t.Errorf("in the end: %v, %+v", err, m.s.State())
	}
	if err := m.Tend(t.Context(), time.Now()); err != nil {
		t.Errorf("in the end: %v", err)
	}
}

func (m *model) step(t *testing.T, b byte) {
	within := time.Duration(b>>4) * 700 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	logins, renewals := m.w.counts()
	switch b % 16 {
	case 0, 1, 2:
		good := m.fresh()
		tok, err := m.Token(ctx)
		m.given(t, tok, err)
		if l, n := m.w.counts(); n != renewals || good && l != logins {
			t.Errorf("a request with a good token: %d logins, %d renewals", l-logins, n-renewals)
		}
		if good && (err != nil || time.Since(start) != 0) {
			t.Errorf("a good token after %v: %v", time.Since(start), err)
		}
	case 3:
		tok, err := m.Replace(ctx, cred.Redact(m.last))
		m.given(t, tok, err)
	case 4:
		m.away[m.held()] = true
		tok, err := m.Renewed(ctx)
		m.given(t, tok, err)
	case 5, 6, 7:
		m.tend(t, ctx, start.Add(time.Duration(b>>4)*time.Minute))
	case 8:
		m.w.set(func() { m.w.loginErr, m.w.renewErr, m.ok = down, down, false })
	case 9:
		m.w.set(func() { m.w.loginErr, m.ok = refusal, false })
	case 10:
		m.w.set(func() { m.w.hang, m.ok = true, false })
	case 11:
		m.w.set(func() { m.w.loginErr, m.w.renewErr, m.w.hang, m.ok = nil, nil, false, true })
	case 12:
		if held := cred.Redact(m.held()); !held.Empty() {
			m.w.revoke(held)
			m.away[held.Reveal()] = true
			m.s.Seen(held, errInvalid)
		}
	case 13:
		m.s.setBack(t.Context())
	case 14:
		pass(within)
	case 15:
		pass(within * within / time.Second * 10)
	}
	if took := time.Since(start); b%16 < 8 && took > within {
		t.Errorf("took %v of %v", took, within)
	}
}

// fresh reports whether the token has to be given at once.
func (m *model) fresh() bool {
	st := m.s.State()
	left := st.Token.Lease.Left(time.Now())
	return st.Valid && (st.Token.Lease.Duration == 0 || left > m.grace && left > m.ttl/2)
}

func (m *model) held() string { return m.s.State().Token.Value.Reveal() }

func (m *model) given(t *testing.T, tok cred.Redacted, err error) {
	t.Helper()
	if err != nil {
		if !tok.Empty() || !errors.Is(err, vault.ErrNotLoggedIn) {
			t.Errorf("%q with %v", tok.Reveal(), err)
		}
		return
	}
	if m.last = tok.Reveal(); m.last == "" || m.away[m.last] {
		t.Errorf("given %q", m.last)
	}
	if st := m.s.State(); !st.Valid {
		t.Errorf("given a token that is over: %+v", st)
	}
}

func (m *model) tend(t *testing.T, ctx context.Context, by time.Time) {
	t.Helper()
	due := m.Due()
	logins, renewals := m.w.counts()
	err := m.Tend(ctx, by)
	l, n := m.w.counts()
	// One request, and those that the pauses allow, which are half a second at
	// least: a renewal may end in a login.
	if (due.IsZero() || due.After(by)) && l+n > logins+renewals {
		t.Errorf("%d requests, though nothing was due", l+n-logins-renewals)
	}
	if m.ok && err == nil && ctx.Err() == nil && !m.s.State().Valid {
		t.Errorf("tended, and there is no token: %+v", m.s.State())
	}
	if m.ok && (l-logins > 1 || n-renewals > 1) {
		t.Errorf("%d logins and %d renewals at once", l-logins, n-renewals)
	}
	if err == nil && !m.s.State().Valid {
		t.Errorf("no error, and no token: %+v", m.s.State())
	}
}

func (m *model) check(t *testing.T) {
	t.Helper()
	st := m.s.State()
	if due := m.Due(); due.IsZero() != (st.Valid && st.Token.Lease.Duration == 0) {
		t.Errorf("due %v, %+v", due, st)
	}
	m.w.set(func() {
		for _, times := range [][]time.Time{m.w.logins, m.w.renewals} {
			if n := len(times); n > 1 && times[n-1].Sub(times[n-2]) < floor {
				t.Errorf("two requests within %v", times[n-1].Sub(times[n-2]))
			}
		}
	})
	if len(m.news) != st.Logins {
		t.Errorf("told of %d tokens, got %d", len(m.news), st.Logins)
	}
}
