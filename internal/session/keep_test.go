package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

var (
	errDown    = &vault.Error{Kind: vault.ErrUnreachable, Op: "login", Path: "auth/x", Cause: errors.New("connection refused")}
	errDenied  = &vault.Error{Kind: vault.ErrDenied, Op: "renew", Status: 403}
	errInvalid = &vault.Error{Kind: vault.ErrInvalidToken, Op: "renew", Status: 403}
	errRefused = &vault.Error{Kind: vault.ErrBadRequest, Op: "login", Status: 400}
)

// world is a method and the server behind it. Tokens live in fake time.
type world struct {
	mu sync.Mutex
	// ttl, max, fixed, typ and uses are what a login grants.
	ttl, max time.Duration
	fixed    bool
	typ      string
	uses     int
	wrap     bool
	// loginErr and renewErr say how a request fails now, nil for not at all.
	loginErr, renewErr func() error
	hang               bool
	// delay is how long a login takes.
	delay time.Duration

	logins, renewals []time.Time // attempts
	granted          int
	tokens           map[string]*issued
	// delivered and used are credentials.
	delivered, used int
	began           bool
}

type issued struct {
	born, ends time.Time
	revoked    bool
}

func newWorld(ttl, longest time.Duration) *world {
	return &world{ttl: ttl, max: longest, tokens: map[string]*issued{}}
}

func (w *world) Login(ctx context.Context, _ *vault.Client) (cred.Token, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logins = append(w.logins, time.Now())
	w.used = w.delivered
	if w.hang {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return cred.Token{}, &vault.Error{Kind: vault.ErrUnreachable, Cause: ctx.Err()}
	}
	if w.delay > 0 {
		timer := time.NewTimer(w.delay)
		defer timer.Stop()
		w.mu.Unlock()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		w.mu.Lock()
		if ctx.Err() != nil {
			return cred.Token{}, &vault.Error{Kind: vault.ErrUnreachable, Cause: ctx.Err()}
		}
	}
	if w.loginErr != nil {
		if err := w.loginErr(); err != nil {
			return cred.Token{}, err
		}
	}
	w.granted++
	if w.wrap {
		return cred.Token{Wrap: &cred.WrapInfo{Token: cred.Redact("hvs.wrapping"), TTL: time.Minute}}, nil
	}
	now := time.Now()
	id := fmt.Sprintf("hvs.CANARY-%d", w.granted)
	w.tokens[id] = &issued{born: now, ends: now.Add(w.ttl)}
	return cred.Token{
		Value: cred.Redact(id), Accessor: fmt.Sprint("acc-", w.granted), Type: w.typ, Uses: w.uses,
		Lease: cred.Lease{Duration: w.ttl, Renewable: !w.fixed && w.ttl > 0, Issued: cred.Wall(now)},
	}, nil
}

func (w *world) extend(ctx context.Context, tok cred.Redacted) (cred.Lease, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewals = append(w.renewals, time.Now())
	if w.hang {
		w.mu.Unlock()
		<-ctx.Done()
		w.mu.Lock()
		return cred.Lease{}, &vault.Error{Kind: vault.ErrUnreachable, Cause: ctx.Err()}
	}
	if w.renewErr != nil {
		if err := w.renewErr(); err != nil {
			return cred.Lease{}, err
		}
	}
	i := w.tokens[tok.Reveal()]
	now := time.Now()
	if !i.good(now) {
		return cred.Lease{}, errInvalid
	}
	lease := min(w.ttl, i.born.Add(w.max).Sub(now)).Truncate(time.Second)
	i.ends = now.Add(lease)
	return cred.Lease{Duration: lease, Renewable: true, Issued: cred.Wall(now)}, nil
}

func (i *issued) good(now time.Time) bool {
	return i != nil && !i.revoked && (i.ends.Equal(i.born) || now.Before(i.ends))
}

// good reports whether the server would take the session's token.
func (w *world) good(s *Session) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tokens[s.State().Token.Value.Reveal()].good(time.Now())
}

func (w *world) revoke(tok cred.Redacted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens[tok.Reveal()].revoked = true
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) counts() (logins, renewals int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.logins), len(w.renewals)
}

// Fresh and Every make the world a Watcher.
func (w *world) Fresh() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.began {
		w.began, w.used = true, w.delivered
	}
	return w.delivered != w.used
}

func (w *world) Every() time.Duration { return time.Second }

// tally is a Meter that counts.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	gauges map[string]float64
}

func (m *tally) Count(name string, n int, _ ...meter.Label) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[name] += n
}

func (m *tally) Gauge(name string, v float64, _ ...meter.Label) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges[name] = v
}

func (m *tally) Time(name string, _ time.Duration, _ ...meter.Label) { m.Count(name, 1) }

func (m *tally) get(name string) (int, float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[name], m.gauges[name]
}

var forever = retry.Schedule{Attempts: -1, Base: time.Second, Max: 5 * time.Minute, Jitter: 0.25}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// run is a session that is being kept.
type run struct {
	*Session
	w     *world
	meter *tally
	log   *journal
	stop  context.CancelCauseFunc
	done  chan error
	news  atomic.Int64 // calls of changed
}

var errStop = errors.New("told to stop")

// keep starts Keep in the bubble and waits until it has nothing to do at once.
// changed, unless nil, is called for each token.
func keep(t *testing.T, w *world, sched retry.Schedule, changed func(*run, cred.Token)) *run {
	t.Helper()
	ctx, stop := context.WithCancelCause(t.Context())
	r := &run{
		w: w, meter: &tally{counts: map[string]int{}, gauges: map[string]float64{}},
		log: &journal{}, stop: stop, done: make(chan error, 1),
	}
	r.Session = New(w, nil, Options{
		Name: "approle", Mount: "auth/approle", Retry: sched, Meter: r.meter, Reauth: true,
		Observer: func(n retry.Notice) {
			if r.State(); n.Err == nil || n.Next < floor || n.Attempt < 1 {
				t.Errorf("notice %+v", n)
			}
		},
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	})
	r.extend = w.extend
	go func() {
		r.done <- r.Keep(ctx, func(tok cred.Token) {
			r.news.Add(1)
			if changed != nil {
				changed(r, tok)
			}
		})
	}()
	synctest.Wait()
	return r
}

// end stops Keep, which has to come back without a moment going by.
func (r *run) end(t *testing.T) {
	t.Helper()
	start := time.Now()
	r.stop(errStop)
	if err := <-r.done; !errors.Is(err, errStop) {
		t.Errorf("Keep returned %v", err)
	}
	if took := time.Since(start); took != 0 {
		t.Errorf("stopping took %v", took)
	}
	if strings.Contains(r.log.String(), "CANARY") {
		t.Errorf("the log holds a token: %s", r.log)
	}
}

// pass lets time go by, and then everything due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r *run) want(t *testing.T, logins, renewals int) {
	t.Helper()
	if l, n := r.w.counts(); l != logins || n != renewals {
		t.Errorf("%d logins and %d renewals, want %d and %d", l, n, logins, renewals)
	}
}

func TestADayOfTokensThatLiveForSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(5*time.Second, 20*time.Second)
		r := keep(t, w, forever, nil)
		for end := time.Now().Add(24 * time.Hour); time.Now().Before(end); {
			if !w.good(r.Session) {
				t.Fatalf("no good token at %v: %+v", time.Now(), r.State())
			}
			pass(500 * time.Millisecond)
		}
		logins, renewals := w.counts()
		// Each token lives 17 to 20 s and is renewed four to six times.
		if logins < 86400/20 || logins > 86400/16 || renewals < 4*(logins-1) || renewals > 6*logins {
			t.Errorf("%d logins, %d renewals", logins, renewals)
		}
		if st := r.State(); st.Logins != logins || st.Renewals != renewals || int(r.news.Load()) != logins {
			t.Errorf("state counts %d logins and %d renewals, %d were told", st.Logins, st.Renewals, r.news.Load())
		}
		if n, _ := r.meter.get("auth.success"); n != logins {
			t.Errorf("auth.success is %d", n)
		}
		if n, _ := r.meter.get("token.renewal.success"); n != renewals {
			t.Errorf("token.renewal.success is %d", n)
		}
		if _, v := r.meter.get("authenticated"); v != 1 {
			t.Errorf("authenticated is %v", v)
		}
		r.end(t)
	})
}

func TestAnOutageShorterThanTheLeaseCostsNoLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(24*time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		w.set(func() { w.renewErr = func() error { return errDown } })
		pass(22 * time.Hour)
		logins, renewals := w.counts()
		if logins != 1 || renewals < 6*12 || renewals > 10*18 {
			t.Errorf("%d logins, %d renewals tried", logins, renewals)
		}
		if st := r.State(); !st.Valid || st.Next != "renew" || !errors.Is(st.Err, vault.ErrUnreachable) || st.ErrAt.IsZero() {
			t.Errorf("state %+v", st)
		}
		w.set(func() { w.renewErr = nil })
		pass(5*time.Minute + time.Second)
		if st := r.State(); st.Renewals != 1 || st.Err != nil || st.Token.Lease.Left(time.Now()) < 23*time.Hour {
			t.Errorf("after the outage: %+v", st)
		}
		r.end(t)
	})
}

func TestAnOutageLongerThanTheLeaseEndsInALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		down := func() error { return errDown }
		w.set(func() { w.renewErr, w.loginErr = down, down })
		pass(59*time.Minute + 59*time.Second)
		if l, n := w.counts(); l != 1 || n < 5 || n > 20 {
			t.Errorf("before the end: %d logins, %d renewals", l, n)
		}
		pass(5 * time.Hour)
		l, _ := w.counts()
		if l < 5*12 || l > 5*17+10 {
			t.Errorf("%d logins in five hours", l)
		}
		if st := r.State(); st.Valid || st.Next != "log in" || st.Err == nil {
			t.Errorf("state %+v", st)
		}
		if _, v := r.meter.get("authenticated"); v != 0 {
			t.Errorf("authenticated is %v", v)
		}
		w.set(func() { w.renewErr, w.loginErr = nil, nil })
		pass(5*time.Minute + time.Second)
		if st := r.State(); !w.good(r.Session) || st.Err != nil || r.news.Load() != 2 {
			t.Errorf("after the outage: %+v", st)
		}
		r.end(t)
	})
}

func TestATokenThatIsAboutToEndIsToldLoudlyAndOnce(t *testing.T) {
	const near, over = `level=ERROR msg="token about to expire"`, `level=ERROR msg="the token is over, and there is no other yet"`
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		told := func(what string) int { return strings.Count(r.log.String(), what) }
		pass(12 * time.Hour)
		if told("level=ERROR") != 0 {
			t.Errorf("told of a token that is renewed:\n%s", r.log)
		}
		down := func() error { return errDown }
		w.set(func() { w.renewErr, w.loginErr = down, down })
		ends := r.State().Token.Lease.Expires()
		pass(time.Until(ends) - 7*time.Minute)
		if told(near) != 0 {
			t.Errorf("told too early:\n%s", r.log)
		}
		pass(time.Minute + 20*time.Second)
		if told(near) != 1 || told(over) != 0 {
			t.Errorf("near its end:\n%s", r.log)
		}
		pass(2 * time.Hour)
		if told(near) != 1 || told(over) != 1 {
			t.Errorf("after its end: %d, %d\n%s", told(near), told(over), r.log)
		}
		w.set(func() { w.renewErr, w.loginErr = nil, nil })
		pass(12 * time.Hour)
		if told("level=ERROR") != 2 {
			t.Errorf("after the outage:\n%s", r.log)
		}
		r.end(t)
	})
}

func TestATokenIsToldOfAgainInTheNextOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		for range 2 {
			w.set(func() { w.renewErr = func() error { return errDown } })
			pass(time.Until(r.State().Token.Lease.Expires()) - 5*time.Minute)
			w.set(func() { w.renewErr = nil })
			pass(5 * time.Minute)
		}
		if n := strings.Count(r.log.String(), "token about to expire"); n != 2 {
			t.Errorf("told %d times:\n%s", n, r.log)
		}
		r.end(t)
	})
}

func TestADeniedRenewalIsNotRepeated(t *testing.T) {
	for _, err := range []error{errDenied, errRefused, &vault.Error{Kind: vault.ErrNotFound, Status: 404}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(time.Hour, 768*time.Hour)
			w.renewErr = func() error { return err }
			r := keep(t, w, forever, nil)
			pass(24 * time.Hour)
			logins, renewals := w.counts()
			// A token is replaced after 86 to 94 % of its life, with one
			// attempt to renew it.
			if logins < 25 || logins > 29 || renewals < logins-1 || renewals > logins {
				t.Errorf("%v: %d logins, %d renewals", err, logins, renewals)
			}
			if !w.good(r.Session) {
				t.Error("no good token")
			}
			r.end(t)
		})
	}
}

func TestInvalidTokenFromEverywhereIsOneLogin(t *testing.T) {
	for _, age := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(24*time.Hour, 768*time.Hour)
			r := keep(t, w, forever, nil)
			old := r.State().Token.Value
			pass(age)
			w.revoke(old)
			for i := range 100 {
				go func() {
					if i%2 == 0 {
						r.Invalidate(old)
					} else {
						r.Seen(old, fmt.Errorf("read x: %w", errInvalid))
					}
				}()
			}
			synctest.Wait()
			if age > young {
				// At once.
				r.want(t, 2, 0)
			}
			pass(2 * time.Second)
			r.want(t, 2, 0)
			// Complaints that come late are about a token that nobody uses.
			for range 100 {
				r.Invalidate(old)
				r.Seen(old, errInvalid)
			}
			pass(time.Minute)
			r.want(t, 2, 0)
			if !w.good(r.Session) || strings.Count(r.log.String(), "does not know the token") != 1 {
				t.Errorf("state %+v, log %s", r.State(), r.log)
			}
			r.end(t)
		})
	}
}

func TestADenialIsNoReasonToLogIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(24*time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		for _, err := range []error{errDenied, errRefused, errDown, errors.New("else"), nil} {
			r.Seen(r.State().Token.Value, err)
		}
		r.Invalidate(cred.Redacted{})
		r.Invalidate(cred.Redact("another"))
		pass(time.Hour)
		r.want(t, 1, 0)
		r.end(t)
	})
}

func TestATokenThatIsRevokedAtOnceCostsGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, func(r *run, tok cred.Token) {
			r.w.revoke(tok.Value)
			r.Seen(tok.Value, errInvalid)
		})
		pass(24 * time.Hour)
		w.set(func() {
			for i := 1; i < len(w.logins); i++ {
				gap := w.logins[i].Sub(w.logins[i-1])
				most := min(time.Second<<min(i-1, 20), 5*time.Minute)
				if gap > most || gap < most*3/4-time.Millisecond {
					t.Fatalf("pause %d is %v, want up to %v", i, gap, most)
				}
			}
			if n := len(w.logins); n < 200 || n > 24*16+10 {
				t.Errorf("%d logins in a day", n)
			}
		})
		if r.State().Valid {
			t.Error("a revoked token is called valid")
		}
		r.end(t)
	})
}

func TestAnInvalidTokenIsFoundByItsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		w.revoke(r.State().Token.Value)
		pass(41 * time.Minute)
		r.want(t, 2, 1)
		if !w.good(r.Session) {
			t.Error("no good token")
		}
		r.end(t)
	})
}

func TestTokensThatCannotBeRenewed(t *testing.T) {
	for _, typ := range []string{"service", "batch"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(time.Hour, time.Hour)
			w.fixed, w.typ = typ == "service", typ
			r := keep(t, w, forever, nil)
			pass(24 * time.Hour)
			if l, n := w.counts(); n != 0 || l < 24*60/48 || l > 24*60/40+1 {
				t.Errorf("%s: %d logins, %d renewals", typ, l, n)
			}
			r.end(t)
		})
	}
}

func TestARootTokenIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(0, 0)
		r := keep(t, w, forever, nil)
		pass(100 * time.Hour)
		r.want(t, 1, 0)
		if st := r.State(); st.Next != "" || !st.NextAt.IsZero() || !st.Valid {
			t.Errorf("state %+v", st)
		}
		r.Invalidate(r.State().Token.Value)
		synctest.Wait()
		r.want(t, 2, 0)
		r.end(t)
	})
}

func TestAWrappedTokenIsReplacedForNewCredentialsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.wrap = true
		r := keep(t, w, forever, nil)
		pass(100 * time.Hour)
		r.want(t, 1, 0)
		w.set(func() { w.delivered++ })
		pass(time.Second)
		r.want(t, 2, 0)
		if r.news.Load() != 2 {
			t.Errorf("%d tokens were told", r.news.Load())
		}
		r.end(t)
	})
}

func TestATokenOfFewUsesIsReplacedBeforeTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.uses = 10
		r := keep(t, w, forever, nil)
		first := r.State().Token.Value
		// What the server did not take for a use does not count.
		for _, err := range []error{errDown, &vault.Error{Kind: vault.ErrSealed, Status: 503}, &vault.Error{Kind: vault.ErrRateLimited, Status: 429}} {
			r.Seen(first, err)
		}
		for range 8 {
			r.Seen(first, nil)
		}
		pass(time.Minute)
		r.want(t, 1, 0)
		if left := r.State().Token.Uses; left != 2 {
			t.Errorf("%d uses left", left)
		}
		r.Seen(first, errDenied)
		synctest.Wait()
		r.want(t, 2, 0)
		if left := r.State().Token.Uses; left != 10 {
			t.Errorf("%d uses left of the new token", left)
		}
		r.end(t)
	})
}

func TestUsesThatAreUpAtOnceDoNotMakeAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.uses = 1
		r := keep(t, w, forever, func(r *run, tok cred.Token) { r.Seen(tok.Value, nil) })
		pass(time.Minute)
		if l, _ := w.counts(); l > 61 {
			t.Errorf("%d logins in a minute", l)
		}
		if left := r.State().Token.Uses; left != -1 {
			t.Errorf("%d uses left", left)
		}
		r.end(t)
	})
}

func TestNewCredentialsAreUsedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(24*time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		pass(time.Hour)
		w.set(func() { w.delivered++ })
		pass(time.Second)
		r.want(t, 2, 0)
		pass(time.Hour)
		r.want(t, 2, 0)
		r.end(t)
	})
}

func TestNewCredentialsCutABackoffShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(24*time.Hour, 768*time.Hour)
		w.loginErr = func() error { return errRefused }
		r := keep(t, w, forever, nil)
		pass(time.Hour) // the pauses are of minutes by now
		w.set(func() { w.delivered++; w.loginErr = nil })
		pass(2 * time.Second)
		if !w.good(r.Session) {
			t.Errorf("state %+v", r.State())
		}
		r.end(t)
	})
}

func TestNewCredentialsThatDoNotWorkLeaveTheOldTokenInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		old := r.State().Token.Value
		w.set(func() { w.delivered++; w.loginErr = func() error { return errRefused } })
		pass(24 * time.Hour)
		if st := r.State(); !st.Token.Value.Equal(old) || !st.Valid || !w.good(r.Session) || !errors.Is(st.Err, vault.ErrBadRequest) {
			t.Errorf("state %+v", st)
		}
		if l, n := w.counts(); n < 24 || n > 24*2 || l > 24*17+10 {
			t.Errorf("%d logins, %d renewals", l, n)
		}
		w.set(func() { w.loginErr = nil })
		pass(5*time.Minute + time.Second)
		if st := r.State(); st.Token.Value.Equal(old) || st.Err != nil {
			t.Errorf("state %+v", st)
		}
		r.end(t)
	})
}

func TestCredentialsThatNeverRestDoNotMakeAStorm(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(time.Hour, 768*time.Hour)
			w.loginErr = func() error {
				w.delivered++ // the lock is held
				if fails {
					return errRefused
				}
				return nil
			}
			r := keep(t, w, forever, nil)
			pass(time.Hour)
			if l, _ := w.counts(); l > 3601 {
				t.Errorf("%d logins in an hour", l)
			}
			r.end(t)
		})
	}
}

func TestAFailingLoginKeepsTheOldTokenWhileItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.fixed = true
		r := keep(t, w, forever, nil)
		old := r.State().Token.Value
		w.set(func() { w.loginErr = func() error { return errDown } })
		pass(58 * time.Minute)
		if st := r.State(); !st.Valid || !st.Token.Value.Equal(old) || st.Err == nil || r.news.Load() != 1 {
			t.Errorf("state %+v", st)
		}
		w.set(func() { w.loginErr = nil })
		pass(5 * time.Minute)
		if st := r.State(); !st.Valid || st.Token.Value.Equal(old) || st.Err != nil {
			t.Errorf("state %+v", st)
		}
		r.end(t)
	})
}

func TestAServersRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.loginErr = func() error {
			if len(w.logins) > 1 {
				return nil
			}
			return &vault.Error{Kind: vault.ErrRateLimited, Status: 429, After: 4 * time.Minute}
		}
		r := keep(t, w, forever, nil)
		pass(4*time.Minute - time.Second)
		r.want(t, 1, 0)
		pass(3 * time.Second)
		r.want(t, 2, 0)
		r.end(t)
	})
}

func TestGivingUp(t *testing.T) {
	for _, c := range []struct{ attempts, logins int }{{1, 1}, {3, 3}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(time.Hour, time.Hour)
			w.loginErr = func() error { return errRefused }
			r := keep(t, w, retry.Schedule{Attempts: c.attempts, Base: time.Second, Max: time.Minute}, nil)
			err := <-r.done
			if !errors.Is(err, ErrLogin) || !errors.Is(err, vault.ErrBadRequest) {
				t.Errorf("error is %v", err)
			}
			r.want(t, c.logins, 0)
			r.stop(nil)
		})
	}
	// Failing renewals never end it.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.renewErr = func() error { return errDown }
		r := keep(t, w, retry.Schedule{Attempts: 1, Base: time.Second, Max: time.Minute}, nil)
		pass(24 * time.Hour)
		r.end(t)
	})
}

func TestAMethodWithoutATokenIsAFailureToKeep(t *testing.T) {
	s := New(empty{}, nil, Options{Retry: retry.Schedule{Attempts: 1}, Log: slog.New(slog.DiscardHandler)})
	if err := s.Keep(t.Context(), func(cred.Token) { t.Error("told of no token") }); !errors.Is(err, vault.ErrNoToken) {
		t.Errorf("error is %v", err)
	}
}

func TestTheSameTokenAgainIsNoNews(t *testing.T) {
	// A token file that still holds the same token, which cannot be renewed.
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		logins := 0
		m := methodFunc(func() (cred.Token, error) {
			logins++
			left := time.Hour - time.Since(start)
			if left <= 0 {
				return cred.Token{}, errInvalid
			}
			return cred.Token{Value: cred.Redact("hvs.CANARY"), Lease: cred.Lease{Duration: left, Issued: cred.Wall(time.Now())}, Borrowed: true}, nil
		})
		news := 0
		s := New(m, nil, Options{Retry: forever, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithTimeout(t.Context(), 59*time.Minute+59*time.Second)
		defer cancel()
		if err := s.Keep(ctx, func(cred.Token) { news++ }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if news != 1 || logins < 4 || logins > 15 {
			t.Errorf("%d logins, told of %d tokens", logins, news)
		}
	})
}

type methodFunc func() (cred.Token, error)

func (f methodFunc) Login(context.Context, *vault.Client) (cred.Token, error) { return f() }

var _ auth.Watcher = (*world)(nil)

func TestStoppingInEachState(t *testing.T) {
	down := func() error { return errDown }
	for _, c := range []struct {
		name string
		get  func(w *world, r *run)
		next string
	}{
		{"waiting for a renewal", func(*world, *run) {}, "renew"},
		{"waiting for a login", func(w *world, r *run) { r.Invalidate(r.State().Token.Value) }, "log in"},
		{"renewal under way", func(w *world, r *run) {
			w.set(func() { w.hang = true })
			pass(50 * time.Minute)
		}, "renew"},
		{"login under way", func(w *world, r *run) {
			pass(2 * young)
			w.set(func() { w.hang = true })
			r.Invalidate(r.State().Token.Value)
			synctest.Wait()
		}, "log in"},
		{"between two renewals that fail", func(w *world, r *run) {
			w.set(func() { w.renewErr = down })
			pass(50 * time.Minute)
		}, "renew"},
		{"between two logins that fail", func(w *world, r *run) {
			w.set(func() { w.renewErr, w.loginErr = down, down })
			pass(2 * time.Hour)
		}, "log in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(time.Hour, 768*time.Hour)
				r := keep(t, w, forever, nil)
				c.get(w, r)
				if next := r.State().Next; next != c.next {
					t.Errorf("next is %q, want %q", next, c.next)
				}
				r.end(t)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.hang = true
		keep(t, w, forever, nil).end(t) // the first login under way
	})
}

func TestARunThatIsOverBeforeItBeginsSendsNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStop)
	w := newWorld(time.Hour, time.Hour)
	s := New(w, nil, Options{Retry: forever, Log: slog.New(slog.DiscardHandler)})
	if err := s.Keep(ctx, nil); !errors.Is(err, errStop) || len(w.logins) != 0 {
		t.Errorf("%v after %d logins", err, len(w.logins))
	}
}

func TestNobodyWaitsForTheStateWhileALoginHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.hang = true
		r := keep(t, w, forever, nil)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				_ = r.State()
				_ = r.value()
				r.Seen(cred.Redact("x"), nil)
			})
		}
		all.Wait()
		if st := r.State(); st.Valid || !st.Token.Value.Empty() || st.Next != "log in" {
			t.Errorf("state %+v", st)
		}
		r.end(t)
	})
}
