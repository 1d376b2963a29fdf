package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// puller is a session that is kept by asking.
type puller struct {
	*Pulled
	w   *world
	log *journal

	mu   sync.Mutex
	news []string // tokens that Changed was called with
}

func pull(t *testing.T, w *world, o PullOptions, change ...func(*Options)) *puller {
	t.Helper()
	r := &puller{w: w, log: &journal{}}
	so := Options{Name: "aws", Mount: "auth/aws", Retry: forever, Log: slog.New(slog.NewTextHandler(r.log, nil))}
	for _, f := range change {
		f(&so)
	}
	s := New(w, nil, so)
	s.extend = w.extend
	o.Changed = func(tok cred.Token) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.news = append(r.news, tok.Value.Reveal())
	}
	r.Pulled = s.Pull(o)
	t.Cleanup(func() {
		if strings.Contains(r.log.String(), "CANARY") {
			t.Errorf("the log holds a token: %s", r.log)
		}
	})
	return r
}

// must returns the token, which has to be there without a moment going by.
func (r *puller) must(t *testing.T) string {
	t.Helper()
	start := time.Now()
	tok, err := r.Token(t.Context())
	if err != nil || time.Since(start) != 0 {
		t.Fatalf("no token after %v: %v", time.Since(start), err)
	}
	return tok.Reveal()
}

// tend tends within a time, looking ahead by so much.
func (r *puller) tend(t *testing.T, within, by time.Duration) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	err := r.Tend(ctx, start.Add(by))
	return time.Since(start), err
}

func (r *puller) want(t *testing.T, logins, renewals int) {
	t.Helper()
	if l, n := r.w.counts(); l != logins || n != renewals {
		t.Errorf("%d logins and %d renewals, want %d and %d", l, n, logins, renewals)
	}
}

func down() error    { return errDown }
func refusal() error { return errRefused }

func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestTheFirstWhoAsksLogsInAndTheRestAreGivenThatToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		pass(24 * time.Hour)
		r.want(t, 0, 0)
		for range 1000 {
			r.must(t)
		}
		r.want(t, 1, 0)
		if !slices.Equal(r.news, []string{"hvs.CANARY-1"}) {
			t.Errorf("told of %q", r.news)
		}
	})
}

func TestAHundredWhoAskTogetherAreOneLogin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.delay = 2 * time.Second
		r := pull(t, w, PullOptions{})
		for _, f := range []func() (cred.Redacted, error){
			func() (cred.Redacted, error) { return r.Token(t.Context()) },
			func() (cred.Redacted, error) { return r.Renewed(t.Context()) },
			func() (cred.Redacted, error) { return r.Replace(t.Context(), cred.Redact("hvs.CANARY-2")) },
		} {
			before, _ := w.counts()
			pass(2 * young)
			for _, g := range together(100, f)() {
				if want := fmt.Sprint("hvs.CANARY-", before+1); g.err != nil || g.tok.Reveal() != want || g.took != 2*time.Second {
					t.Errorf("%q, %v, after %v, want %s", g.tok.Reveal(), g.err, g.took, want)
				}
			}
			r.want(t, before+1, 0)
		}
	})
}

func TestAfterAnHourInIceTheClockDecides(t *testing.T) {
	for _, c := range []struct {
		name             string
		ttl, grace, ice  time.Duration
		fixed            bool
		logins, renewals int // of the Token, of the Tend
		tends            [2]int
	}{
		{"a token that ended meanwhile is replaced by who asks", time.Hour, 0, time.Hour, false, 2, 0, [2]int{2, 0}},
		{"one that will be over in a moment, too", time.Hour, 10 * time.Second, time.Hour - 5*time.Second, false, 2, 0, [2]int{2, 0}},
		{"one that lives is given, and renewed when tended", 90 * time.Minute, 10 * time.Second, time.Hour, false, 1, 0, [2]int{1, 1}},
		{"one that lives long is not touched", 24 * time.Hour, 10 * time.Second, time.Hour, false, 1, 0, [2]int{1, 0}},
		{"one that cannot be renewed is replaced when tended", 75 * time.Minute, 10 * time.Second, time.Hour, true, 1, 0, [2]int{2, 0}},
		{"one without an end stays", 0, 10 * time.Second, time.Hour, false, 1, 0, [2]int{1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(c.ttl, 768*time.Hour)
				w.fixed = c.fixed
				r := pull(t, w, PullOptions{Grace: c.grace})
				r.must(t)
				pass(c.ice)
				r.must(t)
				r.want(t, c.logins, c.renewals)
				if took, err := r.tend(t, time.Second, 0); err != nil || took != 0 {
					t.Errorf("tending took %v: %v", took, err)
				}
				r.want(t, c.tends[0], c.tends[1])
				if !w.good(r.s) || (c.ttl > 0) == r.Due().IsZero() {
					t.Errorf("due %v, state %+v", r.Due(), r.s.State())
				}
			})
		})
	}
}

func TestATokenWithoutAnEndIsOneLogin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(0, 0)
		r := pull(t, w, PullOptions{Grace: 10 * time.Second})
		for range 1000 {
			r.must(t)
			if _, err := r.tend(t, time.Second, 15*time.Minute); err != nil || !r.Due().IsZero() {
				t.Fatalf("due %v: %v", r.Due(), err)
			}
			pass(time.Minute)
		}
		r.want(t, 1, 0)
	})
}

func TestAGraceLongerThanTheLifeIsNotALoginForEachRequest(t *testing.T) {
	for _, ttl := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		bubble(t, func(t *testing.T) {
			w := newWorld(ttl, 768*time.Hour)
			w.fixed = true
			r := pull(t, w, PullOptions{Grace: time.Hour})
			const n = 1200
			for range n {
				if _, err := r.Token(t.Context()); err != nil || !w.good(r.s) {
					t.Fatal(err)
				}
				pass(100 * time.Millisecond)
			}
			logins, _ := w.counts()
			if most := int(n*100*time.Millisecond/(ttl/2)) + 1; logins > most || logins < most/2 {
				t.Errorf("a token of %v: %d logins in two minutes", ttl, logins)
			}
		})
	}
}

func TestATokenInItsGraceIsBetterThanNone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.fixed = true
		r := pull(t, w, PullOptions{Grace: time.Minute})
		r.must(t)
		w.set(func() { w.loginErr = down })
		pass(59*time.Minute + 30*time.Second)
		for range 100 {
			if tok := r.must(t); tok != "hvs.CANARY-1" {
				t.Errorf("given %q", tok)
			}
		}
		r.want(t, 2, 0)
		pass(31 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if tok, err := r.Token(ctx); !tok.Empty() || !errors.Is(err, vault.ErrNotLoggedIn) || !errors.Is(err, vault.ErrUnreachable) {
			t.Errorf("once it is over: %q, %v", tok.Reveal(), err)
		}
	})
}

func TestWhoHangsUpLeavesTheLoginToTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.hang = true
		r := pull(t, w, PullOptions{})
		short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		first := together(1, func() (cred.Redacted, error) { return r.Token(short) })
		synctest.Wait()
		rest := together(20, func() (cred.Redacted, error) { return r.Token(t.Context()) })
		pass(time.Second)
		w.set(func() { w.hang = false })
		if g := first()[0]; !errors.Is(g.err, vault.ErrNotLoggedIn) || !errors.Is(g.err, context.DeadlineExceeded) || g.took != 3*time.Second {
			t.Errorf("who hung up: %v after %v", g.err, g.took)
		}
		for _, g := range rest() {
			if g.err != nil || g.took != 3*time.Second {
				t.Errorf("who waited: %v after %v", g.err, g.took)
			}
		}
		r.want(t, 2, 0)
		if st := r.s.State(); st.Err != nil || st.Logins != 1 {
			t.Errorf("who hangs up is no failure: %+v", st)
		}
	})
}

func TestWhoHasNoTimeIsToldAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.loginErr = down
		r := pull(t, w, PullOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		start := time.Now()
		_, err := r.Token(ctx)
		// At 0, about 1 and about 3 s; the next would be after 4.
		if l, _ := w.counts(); l != 3 || !errors.Is(err, vault.ErrNotLoggedIn) || !errors.Is(err, vault.ErrUnreachable) {
			t.Errorf("%d logins, %v", l, err)
		}
		if took := time.Since(start); took >= 4*time.Second || took < 2*time.Second {
			t.Errorf("waited %v, though there was nothing to wait for", took)
		}
		start = time.Now()
		short, cancel2 := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel2()
		if _, err := r.Token(short); time.Since(start) != 0 || !errors.Is(err, vault.ErrUnreachable) {
			t.Errorf("the next waited %v: %v", time.Since(start), err)
		}
		// Who has the time waits, and is served by the first login that works.
		w.set(func() { w.loginErr = nil })
		if tok, err := r.Token(t.Context()); err != nil || tok.Empty() {
			t.Error(err)
		}
		r.want(t, 4, 0)
	})
}

func TestARefusalIsNotWaitedForAndTriedByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.loginErr = refusal
		r := pull(t, w, PullOptions{})
		start := time.Now()
		for range 100 {
			if _, err := r.Token(t.Context()); !errors.Is(err, vault.ErrNotLoggedIn) || !errors.Is(err, vault.ErrBadRequest) {
				t.Fatal(err)
			}
			if err := r.Tend(t.Context(), time.Now()); !errors.Is(err, ErrLogin) || !errors.Is(err, vault.ErrBadRequest) {
				t.Fatal(err)
			}
		}
		r.want(t, 1, 0)
		if time.Since(start) != 0 {
			t.Errorf("waited %v", time.Since(start))
		}
		for range 1000 {
			_, _ = r.Token(t.Context())
			pass(time.Second)
		}
		if l, _ := w.counts(); l < 9 || l > 16 {
			t.Errorf("%d logins in 1000 s", l)
		}
		w.set(func() { w.loginErr = nil })
		pass(5 * time.Minute)
		r.must(t)
	})
}

func TestATokenThatWasTakenAwayIsReplacedByWhoAsks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(24*time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		old := cred.Redact(r.must(t))
		pass(2 * young)
		w.revoke(old)
		for range 50 {
			r.s.Seen(old, fmt.Errorf("read x: %w", errInvalid))
		}
		if due := r.Due(); due.After(time.Now()) {
			t.Errorf("due in %v", time.Until(due))
		}
		r.want(t, 1, 0)
		if tok := r.must(t); tok != "hvs.CANARY-2" {
			t.Errorf("given %q", tok)
		}
		// A late complaint is about a token that nobody uses.
		if tok, err := r.Replace(t.Context(), old); err != nil || tok.Reveal() != "hvs.CANARY-2" {
			t.Errorf("%q, %v", tok.Reveal(), err)
		}
		r.want(t, 2, 0)
		// A server that takes each away gets pauses that grow, not a login for
		// each request.
		start := time.Now()
		for range 5 {
			tok, err := r.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			r.s.Invalidate(tok)
		}
		if _, err := r.Token(t.Context()); err != nil || time.Since(start) < 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.want(t, 7, 0)
	})
}

func TestATokenThatIsPutAwayIsNotGivenAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(24*time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		if tok, err := r.Renewed(t.Context()); err != nil || tok.Reveal() != "hvs.CANARY-1" {
			t.Errorf("without a token: %q, %v", tok.Reveal(), err)
		}
		start := time.Now()
		for i := range 10 {
			tok, err := r.Renewed(t.Context())
			if want := fmt.Sprint("hvs.CANARY-", i+2); err != nil || tok.Reveal() != want {
				t.Errorf("%q, %v, want %s", tok.Reveal(), err, want)
			}
		}
		if took := time.Since(start); took != 10*floor {
			t.Errorf("ten logins in %v", took)
		}
		w.set(func() { w.loginErr = down })
		pass(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if tok, err := r.Renewed(ctx); !tok.Empty() || !errors.Is(err, vault.ErrNotLoggedIn) {
			t.Errorf("while nobody can log in: %q, %v", tok.Reveal(), err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 0)
		defer cancel()
		if tok, err := r.Token(ctx); !tok.Empty() || err == nil {
			t.Errorf("given again: %q", tok.Reveal())
		}
	})
}

func TestWhoHasHungUpBeforeSendsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		for range 100 {
			if _, err := r.Token(ended); !errors.Is(err, vault.ErrNotLoggedIn) || !errors.Is(err, errStop) {
				t.Fatal(err)
			}
			if err := r.Tend(ended, time.Now()); !errors.Is(err, ErrLogin) || !errors.Is(err, errStop) {
				t.Fatal(err)
			}
		}
		r.want(t, 0, 0)
		want := r.must(t)
		if tok, err := r.Token(ended); err != nil || tok.Reveal() != want {
			t.Errorf("what is there is not given: %v", err)
		}
	})
}

func TestALoginThatWasFrozenIsMadeOnceMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.loginErr = down
		r := pull(t, w, PullOptions{})
		times := 0
		r.stopped = func(f func()) bool { f(); times++; return times == 1 }
		w.loginErr = func() error {
			if len(w.logins) == 1 {
				return &vault.Error{Kind: vault.ErrUnreachable, Cause: context.DeadlineExceeded}
			}
			return nil
		}
		r.must(t)
		r.want(t, 2, 0)
		if st := r.s.State(); st.Err != nil || !strings.Contains(r.log.String(), "stood still") {
			t.Errorf("%+v\n%s", st, r.log)
		}
		// Once more, and not again and again.
		w.set(func() { w.loginErr = down })
		times = 0
		pass(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/4)
		defer cancel()
		if _, err := r.Token(ctx); !errors.Is(err, vault.ErrUnreachable) {
			t.Error(err)
		}
		r.want(t, 4, 0)
	})
}

func TestOnlyWhoStoodStillIsCalledFrozen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		if stopped(func() { pass(time.Hour) }) {
			t.Error("a login that takes an hour is no freeze")
		}
	})
	// In the bubble nothing stands still; the rule does not know that.
	var p pulse
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{0, false}, {every, false}, {every + 900*time.Millisecond, false}, {0, false}, {every + time.Second, true}, {every, true}} {
		at = at.Add(c.after)
		if p.beat(at); p.still != c.want {
			t.Errorf("after %v: %v", c.after, p.still)
		}
	}
}

func TestWhatIsDueAheadIsDoneEarlyAndOnce(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			w := newWorld(time.Hour, 768*time.Hour)
			w.fixed = fixed
			r := pull(t, w, PullOptions{Grace: 10 * time.Second})
			count := func() int { l, n := w.counts(); return l + n }
			if _, err := r.tend(t, time.Second, 0); err != nil || count() != 1 {
				t.Fatalf("the first: %v, %d requests", err, count())
			}
			pass(10 * time.Minute)
			_, _ = r.tend(t, time.Second, 20*time.Minute)
			if count() != 1 {
				t.Error("done although it is not due by then")
			}
			pass(20 * time.Minute)
			for range 3 {
				if took, err := r.tend(t, time.Second, 20*time.Minute); err != nil || took != 0 {
					t.Errorf("after %v: %v", took, err)
				}
			}
			if count() != 2 {
				t.Errorf("%d requests, want 2", count())
			}
		})
	}
}

// A function that is invoked all the time and may run for a quarter of an hour, with
// a token that never lasts so long.
func TestATokenShorterThanTheInvocationIsNotRenewedEachTime(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, time.Minute, 5 * time.Minute} {
		bubble(t, func(t *testing.T) {
			w := newWorld(ttl, 768*time.Hour)
			r := pull(t, w, PullOptions{Grace: 10 * time.Second})
			start := time.Now()
			n := 0
			for ; time.Since(start) < time.Hour; n++ {
				if r.Due().Before(time.Now().Add(15 * time.Minute)) {
					if took, err := r.tend(t, 15*time.Minute, 15*time.Minute); err != nil || took != 0 {
						t.Fatalf("after %v: %v", took, err)
					}
				}
				r.must(t)
				pass(200 * time.Millisecond)
			}
			logins, renewals := w.counts()
			// Of the part of its life that is not grace, a token is renewed at a
			// third at the earliest.
			if most := int(6*time.Hour/ttl) + 2; logins != 1 || renewals > most || renewals < most/8 {
				t.Errorf("tokens of %v: %d logins and %d renewals for %d invocations", ttl, logins, renewals, n)
			}
		})
	}
}

func TestWhileTheServerIsAwayOnlyWhatDoesNotLastIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		r.must(t)
		w.set(func() { w.renewErr, w.loginErr = down, down })
		pass(45 * time.Minute)
		// It lasts for this invocation: one attempt, and the function goes on.
		for range 3 {
			if took, err := r.tend(t, 10*time.Second, 10*time.Second); err != nil || took != 0 {
				t.Errorf("after %v: %v", took, err)
			}
		}
		r.want(t, 1, 1)
		// It does not last for this one: tried by schedule, until the end.
		took, err := r.tend(t, 20*time.Minute, 20*time.Minute)
		logins, renewals := w.counts()
		if !errors.Is(err, vault.ErrUnreachable) || took < 14*time.Minute || took > 20*time.Minute || renewals < 6 || renewals > 14 || logins > 14 {
			t.Errorf("after %v, %d logins, %d renewals: %v", took, logins, renewals, err)
		}
		var ex *retry.Exhausted
		if !errors.As(err, &ex) || ex.Attempts < 5 {
			t.Errorf("does not say how often it was tried: %v", err)
		}
		w.set(func() { w.renewErr, w.loginErr = nil, nil })
		if _, err := r.tend(t, 10*time.Minute, 0); err != nil || !w.good(r.s) {
			t.Errorf("once the server is back: %v", err)
		}
	})
}

func TestTendingEndsWithItsTime(t *testing.T) {
	for _, c := range []struct {
		name string
		err  func() error
		hang bool
		want error
	}{
		{"the server is away", down, false, vault.ErrUnreachable},
		{"the server hangs", nil, true, context.DeadlineExceeded},
		{"the server refuses", refusal, false, vault.ErrBadRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(time.Hour, 768*time.Hour)
				w.loginErr, w.hang = c.err, c.hang
				r := pull(t, w, PullOptions{})
				took, err := r.tend(t, 8*time.Second, 0)
				if !errors.Is(err, ErrLogin) || !errors.Is(err, c.want) || took > 8*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				if l, _ := w.counts(); l > 5 || c.err != nil && c.want == vault.ErrUnreachable && l < 3 {
					t.Errorf("%d logins", l)
				}
			})
		})
	}
}

func TestARenewalThatIsRefusedIsFollowedByALoginInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.renewErr = func() error { return errDenied }
		r := pull(t, w, PullOptions{})
		for range 24 * 60 {
			if took, err := r.tend(t, time.Second, 0); err != nil || took != 0 {
				t.Fatalf("after %v: %v", took, err)
			}
			pass(time.Minute)
		}
		if l, n := w.counts(); l < 25 || l > 29 || n < l-1 || n > l {
			t.Errorf("%d logins, %d renewals", l, n)
		}
	})
}

func TestARenewalFindsThatTheTokenIsGoneAndALoginFollowsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		w.revoke(cred.Redact(r.must(t)))
		pass(45 * time.Minute)
		if took, err := r.tend(t, time.Second, 0); err != nil || took != 0 || !w.good(r.s) {
			t.Errorf("after %v: %v", took, err)
		}
		r.want(t, 2, 1)
	})
}

func TestNearItsLastMomentATokenIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(10*time.Second, 15*time.Second)
		r := pull(t, w, PullOptions{Grace: 100 * time.Millisecond})
		start := time.Now()
		for time.Since(start) < 10*time.Minute {
			r.must(t)
			if !w.good(r.s) {
				t.Fatalf("a token that is over: %+v", r.s.State())
			}
			if took, err := r.tend(t, time.Second, 0); err != nil || took > floor {
				t.Fatalf("after %v: %v", took, err)
			}
			pass(100 * time.Millisecond)
		}
		if l, n := w.counts(); l < 40 || l > 60 || n < l-1 || n > 2*l {
			t.Errorf("%d logins, %d renewals in ten minutes", l, n)
		}
		if l := len(r.news); l != r.s.State().Logins {
			t.Errorf("told of %d tokens", l)
		}
	})
}

func TestABatchTokenIsReplacedNotRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.typ = "batch"
		r := pull(t, w, PullOptions{})
		for range 10 * 60 {
			if _, err := r.tend(t, time.Second, 0); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
		}
		if l, n := w.counts(); n != 0 || l < 12 || l > 16 {
			t.Errorf("%d logins, %d renewals", l, n)
		}
	})
}

func TestTheSecondWhoTendsFindsItDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.delay = 2 * time.Second
		r := pull(t, w, PullOptions{})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if took, err := r.tend(t, 3*time.Second, 0); err != nil || took != 2*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
		synctest.Wait()
		if took, err := r.tend(t, time.Second, 0); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
			t.Errorf("who has less time: after %v: %v", took, err)
		}
		all.Wait()
		r.want(t, 1, 0)
	})
}

func TestAfterTheClockWasSetBackTheTokenIsRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{})
		r.must(t)
		pass(time.Minute)
		r.s.setBack(t.Context())
		if due := r.Due(); due.After(time.Now()) {
			t.Errorf("due in %v", time.Until(due))
		}
		r.must(t)
		r.want(t, 1, 0)
		if _, err := r.tend(t, time.Second, 0); err != nil {
			t.Error(err)
		}
		r.want(t, 1, 1)
	})
}

func TestNewCredentialsAreNoticedWhenTended(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := pull(t, w, PullOptions{}, func(o *Options) { o.Reauth = true })
		for range 60 {
			_, _ = r.tend(t, time.Second, 0)
			pass(time.Second)
		}
		r.want(t, 1, 0)
		w.set(func() { w.delivered++ })
		if _, err := r.tend(t, time.Second, 0); err != nil {
			t.Error(err)
		}
		r.want(t, 2, 0)
	})
}

func TestATokenWithANumberOfUsesIsReplacedInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.uses = 10
		r := pull(t, w, PullOptions{})
		tok := cred.Redact(r.must(t))
		pass(time.Minute)
		for range 9 {
			r.s.Seen(tok, nil)
		}
		if due := r.Due(); due.After(time.Now()) || r.must(t) != tok.Reveal() {
			t.Errorf("due %v", due)
		}
		r.s.Seen(tok, nil)
		if got := r.must(t); got != "hvs.CANARY-2" {
			t.Errorf("used up, and given: %q", got)
		}
	})
}

func TestAWrappedTokenIsNotLentAndNotWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.wrap = true
		r := pull(t, w, PullOptions{})
		if _, err := r.tend(t, time.Second, time.Hour); err != nil || !r.Due().IsZero() {
			t.Errorf("due %v: %v", r.Due(), err)
		}
		start := time.Now()
		if tok, err := r.Token(t.Context()); !tok.Empty() || !errors.Is(err, vault.ErrNotLoggedIn) || time.Since(start) != 0 {
			t.Errorf("%q, %v, after %v", tok.Reveal(), err, time.Since(start))
		}
		r.want(t, 1, 0)
	})
}

func TestChangedMayAskForTheToken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		s := New(w, nil, Options{Retry: forever, Log: slog.New(slog.DiscardHandler)})
		s.extend = w.extend
		var p *Pulled
		var got cred.Redacted
		p = s.Pull(PullOptions{Changed: func(tok cred.Token) {
			var err error
			if got, err = p.Token(t.Context()); err != nil || !got.Equal(tok.Value) {
				t.Errorf("%q, %v", got.Reveal(), err)
			}
		}})
		if _, err := p.Token(t.Context()); err != nil || got.Empty() {
			t.Error(err)
		}
	})
}
