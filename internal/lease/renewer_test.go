package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// ward is a Renewer that runs, with a cache that holds the answers.
type ward struct {
	*Renewer
	s    *server
	log  *journal
	stop func() error

	mu       sync.Mutex
	extended map[string]cred.Lease // the last
	ended    map[string]int
	endedAt  map[string]time.Time
}

func newWard(t *testing.T, s *server, o Options) *ward {
	t.Helper()
	w := &ward{s: s, log: &journal{}, extended: map[string]cred.Lease{}, ended: map[string]int{}, endedAt: map[string]time.Time{}}
	o.Log = slog.New(w.log)
	w.Renewer = NewRenewer(o)
	w.start(t)
	return w
}

func (w *ward) start(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	over := make(chan error, 1)
	go func() { over <- w.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(errStop); return <-over })
	t.Cleanup(func() { _ = w.stop() })
}

// read gets an answer with a lease and has it held; its key is the lease's id.
func (w *ward) read(t *testing.T, id *identity, path string) string {
	t.Helper()
	res := id.read(t.Context(), cred.Request{Path: path})
	if res.Err != nil {
		t.Fatal(res.Err)
	}
	l := res.Secret.Lease
	w.hold(id, l.ID, l)
	return l.ID
}

func (w *ward) hold(id *identity, key string, l cred.Lease) {
	w.Hold(Held{
		Key: key, Lease: l,
		Renew: func(ctx context.Context, d time.Duration) (cred.Lease, error) { return id.Renew(ctx, l.ID, d) },
		Extended: func(l cred.Lease) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.extended[key] = l
		},
		Ended: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended[key]++
			w.endedAt[key] = time.Now()
		},
	})
}

// ends is how often the end of a lease was told.
func (w *ward) ends(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended[key]
}

func (w *ward) last(key string) cred.Lease {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.extended[key]
}

func (w *ward) endAt(key string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.endedAt[key]
}

func TestALeaseOfACachedAnswerLivesForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 1000 * time.Hour})
		w := newWard(t, s, Options{})
		id := w.read(t, s.login(), "db/creds/a")
		for range 300 {
			time.Sleep(time.Hour)
			if !s.alive(id) || w.ends(id) > 0 {
				t.Fatalf("dead at %v\n%s", time.Now(), w.log)
			}
			if l := w.last(id); l.Expired(time.Now()) || l.ID != id {
				t.Fatalf("what was told last is over: %v", l)
			}
		}
		// 300 hours at 36 to 40 minutes each.
		if n := s.count("renew"); n < 449 || n > 501 {
			t.Errorf("%d renewals", n)
		}
	})
}

func TestNearItsLastMomentALeaseIsRenewedNoMoreAndEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: 20 * time.Second, max: 70 * time.Second})
		w := newWard(t, s, Options{})
		began := time.Now()
		id := w.read(t, s.login(), "db/creds/a")
		time.Sleep(10 * time.Minute)
		took := w.endAt(id).Sub(began)
		if n := s.count("renew"); w.ends(id) != 1 || w.Len() != 0 || n < 4 || n > 5 || took < 60*time.Second || took > 71*time.Second {
			t.Errorf("ended %d times, after %v and %d renewals, %d held\n%s", w.ends(id), took, n, w.Len(), w.log)
		}
		if w.log.count("WARN") > 0 {
			t.Errorf("a warning without cause: %s", w.log)
		}
	})
}

func TestWhatIsNotRenewableIsWatchedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("aws/creds/a", thing{ttl: time.Hour})
		w := newWard(t, s, Options{})
		began := time.Now()
		id := w.read(t, s.login(), "aws/creds/a")
		w.Hold(Held{Key: "no renew", Lease: cred.Lease{Duration: time.Hour, Renewable: true}})
		w.Hold(Held{Key: "no end", Lease: cred.Lease{Renewable: true}, Ended: func() { t.Error("what has no end ended") }})
		time.Sleep(2 * time.Hour)
		if w.ends(id) != 1 || w.endAt(id).Sub(began) != time.Hour || s.count("renew") != 0 || w.Len() != 1 {
			t.Errorf("ended %d times after %v, %d held: %s", w.ends(id), w.endAt(id).Sub(began), w.Len(), s.asked())
		}
	})
}

func TestWhatARefusedRenewalMeansForACachedAnswer(t *testing.T) {
	for _, c := range []struct {
		name     string
		err      error
		renewals int
		after    time.Duration // the end, from the first moment, within five minutes
	}{
		{"the server knows the lease no more", errNoLease, 1, 35 * time.Minute},
		{"it is gone without a word", errMissing, 1, 35 * time.Minute},
		{"its token is gone", errInvalid, 1, 35 * time.Minute},
		{"it is not renewable", errNoRenew, 1, 55*time.Minute + time.Second},
		{"the policy does not renew", errDenied, 1, 55*time.Minute + time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.renewalsForbidden = c.err
				s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
				w := newWard(t, s, Options{})
				began := time.Now()
				id := w.read(t, s.login(), "db/creds/a")
				time.Sleep(3 * time.Hour)
				took := w.endAt(id).Sub(began)
				if w.ends(id) != 1 || s.count("renew") != c.renewals || took < c.after || took > c.after+6*time.Minute {
					t.Errorf("ended %d times after %v and %d renewals\n%s", w.ends(id), took, s.count("renew"), w.log)
				}
			})
		})
	}
}

func TestOneUnknownTokenKeepsNobodyElseFromRenewing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
		w := newWard(t, s, Options{Parallel: 2})
		dead, well := s.login(), s.login()
		var lost, kept []string
		for range 50 {
			lost = append(lost, w.read(t, dead, "db/creds/a"))
			kept = append(kept, w.read(t, well, "db/creds/a"))
		}
		s.do(func() { s.revoked[dead.token] = true })
		time.Sleep(50 * time.Minute)
		for i := range lost {
			if w.ends(lost[i]) != 1 || w.ends(kept[i]) != 0 || !s.alive(kept[i]) || w.last(kept[i]).ID == "" {
				t.Fatalf("%d: %d and %d ends\n%s", i, w.ends(lost[i]), w.ends(kept[i]), w.log)
			}
		}
	})
}

func TestAnOutageOutlivesOnlyWhatWasShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/short", thing{ttl: 10 * time.Minute, max: 240 * time.Hour})
		s.set("db/creds/long", thing{ttl: 3 * time.Hour, max: 240 * time.Hour})
		w := newWard(t, s, Options{})
		var short, long []string
		me := s.login()
		for range 100 {
			short = append(short, w.read(t, me, "db/creds/short"))
			long = append(long, w.read(t, me, "db/creds/long"))
		}
		time.Sleep(20 * time.Minute)
		s.do(func() { s.down = errGone })
		s.resetCounts()
		time.Sleep(2*time.Hour + 30*time.Minute)
		// One in fifteen seconds, and a few until it was clear.
		if n := s.count(""); n > 2*3600+1800/10 || n < 300 {
			t.Errorf("%d requests in the outage", n)
		}
		s.do(func() { s.down = nil })
		time.Sleep(2 * time.Minute)
		for i := range short {
			if w.ends(short[i]) != 1 || w.ends(long[i]) != 0 || !s.alive(long[i]) || w.last(long[i]).Expired(time.Now()) {
				t.Fatalf("%d: %d and %d ends\n%s", i, w.ends(short[i]), w.ends(long[i]), w.log)
			}
		}
		if n := w.log.count("WARN the lease of a cached answer is over"); n == 0 || n > 100 {
			t.Errorf("%d lines about what is over\n%s", n, w.log)
		}
		if w.log.count("WARN the server is in trouble") != 1 || w.log.count("the server answers again") != 1 {
			t.Errorf("the outage was not told once: %s", w.log)
		}
	})
}

func TestTheEndIsToldInTheSecondItComesThoughTheServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		w := newWard(t, s, Options{})
		me := s.login()
		ends := map[string]time.Time{}
		for i := range 30 {
			path := fmt.Sprintf("db/creds/%d", i)
			s.set(path, thing{ttl: time.Minute + time.Duration(i)*7*time.Second, max: 240 * time.Hour})
			id := w.read(t, me, path)
			s.do(func() { ends[id] = s.leases[id].expires })
		}
		s.do(func() { s.down = errSealed })
		time.Sleep(time.Hour)
		for id, end := range ends {
			if late := w.endAt(id).Sub(end); w.ends(id) != 1 || late < 0 || late > time.Second {
				t.Errorf("%s ended %d times, %v late", id, w.ends(id), late)
			}
		}
	})
}

func TestARenewalThatFailsAlwaysEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.renewalsForbidden = errBroken
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		w := newWard(t, s, Options{})
		began := time.Now()
		id := w.read(t, s.login(), "db/creds/a")
		time.Sleep(3 * time.Hour)
		if took := w.endAt(id).Sub(began); w.ends(id) != 1 || took != time.Hour {
			t.Errorf("ended %d times after %v", w.ends(id), took)
		}
		// 20 minutes at a minute each, and faster in the beginning and at the end.
		if n := s.count("renew"); n < 20 || n > 60 {
			t.Errorf("%d attempts", n)
		}
		if w.log.count("is not renewed yet") != 1 {
			t.Errorf("%s", w.log)
		}
	})
}

func TestWhatIsDroppedIsForgottenWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		w := newWard(t, s, Options{})
		me := s.login()
		id := w.read(t, me, "db/creds/a")
		s.do(func() { s.delay = time.Minute })
		late := w.read(t, me, "db/creds/a")
		w.Drop(id)
		w.Drop("nobody")
		for s.count("renew") == 0 {
			time.Sleep(time.Second)
		}
		w.Drop(late) // while it is renewed
		time.Sleep(100 * time.Hour)
		if w.ends(id)+w.ends(late) != 0 || w.last(late).ID != "" || s.count("renew") != 1 || w.Len() != 0 {
			t.Errorf("%d ends, %s", w.ends(id)+w.ends(late), s.asked())
		}
	})
}

func TestAnotherUnderTheSameKeyTakesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		s.set("db/creds/b", thing{ttl: 10 * time.Hour, max: 24 * time.Hour})
		w := newWard(t, s, Options{})
		me := s.login()
		for _, path := range []string{"db/creds/a", "db/creds/b"} {
			w.hold(me, "k", me.read(t.Context(), cred.Request{Path: path}).Secret.Lease)
		}
		time.Sleep(5 * time.Hour)
		if w.Len() != 1 || w.ends("k") != 0 || s.count("renew") != 0 {
			t.Errorf("%d held, %d ends, %s", w.Len(), w.ends("k"), s.asked())
		}
	})
}

func TestWhatSomebodyElseRenewedIsNotDueBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		w := newWard(t, s, Options{})
		me := s.login()
		id := w.read(t, me, "db/creds/a")
		for range 10 {
			time.Sleep(30 * time.Minute)
			l, err := me.Renew(t.Context(), id, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			w.Extended(id, l)
			w.Extended(id, cred.Lease{ID: id, Duration: time.Minute, Issued: l.Issued.Add(-time.Hour)}) // late
			w.Extended("nobody", l)
		}
		if n := s.count("renew"); n != 10 {
			t.Errorf("%d renewals", n)
		}
		// Somebody makes it short: it is made long again.
		l, _ := me.Renew(t.Context(), id, time.Minute)
		w.Extended(id, l)
		time.Sleep(2 * time.Minute)
		if !s.alive(id) || w.last(id).Duration != time.Hour {
			t.Errorf("%v\n%s", w.last(id), w.log)
		}
	})
}

func TestTenThousandCachedLeasesForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		s := newServer()
		s.set("db/creds/a", thing{ttl: 6 * time.Hour, max: 240 * time.Hour})
		w := newWard(t, s, Options{Parallel: 16})
		me := s.login()
		ids := make([]string, n)
		for i := range ids {
			ids[i] = w.read(t, me, "db/creds/a")
		}
		s.do(func() { s.delay = 20 * time.Millisecond })
		time.Sleep(11 * time.Hour)
		s.do(func() { s.down = errGone })
		time.Sleep(time.Hour)
		s.do(func() { s.down = nil })
		time.Sleep(12 * time.Hour)
		for _, id := range ids {
			if !s.alive(id) || w.ends(id) != 0 {
				t.Fatalf("%s is dead\n%s", id, w.log)
			}
		}
		// A day at 3.6 to 4 hours each.
		if got := s.count("renew"); got < 5*n || got > 7*n {
			t.Errorf("%d renewals", got)
		}
		if s.together > 16 {
			t.Errorf("%d at a time", s.together)
		}
		s.do(func() { s.down = errGone })
		time.Sleep(7 * time.Hour)
		for _, id := range ids {
			if w.ends(id) != 1 {
				t.Fatalf("%s ended %d times", id, w.ends(id))
			}
		}
		if w.Len() != 0 {
			t.Errorf("%d held", w.Len())
		}
	})
}

func TestAClockThatWasSetBackRenewsCachedLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
		s.set("aws/creds/a", thing{ttl: 2 * time.Hour})
		w := newWard(t, s, Options{})
		me := s.login()
		id, fixed := w.read(t, me, "db/creds/a"), w.read(t, me, "aws/creds/a")
		time.Sleep(10 * time.Minute)
		w.rewind(cred.Wall(time.Now()), 7*time.Minute)
		w.nudge()
		time.Sleep(time.Second)
		if s.count("renew db") != 1 || s.count("renew aws") != 0 {
			t.Errorf("asked %s", s.asked())
		}
		time.Sleep(time.Hour + 43*time.Minute) // two hours but 7 minutes, and a moment
		if w.ends(id) != 0 || w.ends(fixed) != 1 {
			t.Errorf("%d and %d ends", w.ends(id), w.ends(fixed))
		}
	})
}

func TestASuspendedMachineRenewsWhatStillLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/short", thing{ttl: time.Hour, max: 240 * time.Hour})
		s.set("db/creds/long", thing{ttl: 5 * time.Hour, max: 240 * time.Hour})
		s.set("db/creds/stop", thing{ttl: time.Second})
		w := newWard(t, s, Options{})
		me := s.login()
		short, long := w.read(t, me, "db/creds/short"), w.read(t, me, "db/creds/long")
		// The loop stands still in a callback, as it does on a suspended machine.
		w.Hold(Held{Key: "stop", Lease: cred.Lease{Duration: time.Second}, Ended: func() { time.Sleep(4 * time.Hour) }})
		time.Sleep(4*time.Hour + time.Minute)
		if w.ends(short) != 1 || w.ends(long) != 0 || !s.alive(long) || s.count("renew db/creds/long") != 1 || s.count("renew db/creds/short") != 0 {
			t.Errorf("%d and %d ends, %s", w.ends(short), w.ends(long), s.asked())
		}
	})
}

func TestCallbacksMayCallTheRenewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRenewer(Options{Log: quiet()})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Run(ctx) })
		generations := 0
		var again func()
		again = func() {
			generations++
			r.Drop("other")
			r.Hold(Held{
				Key: "k", Lease: cred.Lease{Duration: time.Minute, Renewable: true},
				Renew:    func(context.Context, time.Duration) (cred.Lease, error) { return cred.Lease{}, errNoLease },
				Extended: func(l cred.Lease) { r.Extended("k", l) }, Ended: again,
			})
		}
		again()
		time.Sleep(10 * time.Minute)
		cancel()
		wg.Wait()
		if generations < 14 || generations > 18 || r.Len() != 1 {
			t.Errorf("%d generations", generations)
		}
	})
}

func TestARenewerThatIsStoppedGoesOnWhenItRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
		w := newWard(t, s, Options{})
		id := w.read(t, s.login(), "db/creds/a")
		s.do(func() { s.delay = time.Minute })
		for s.count("renew") == 0 {
			time.Sleep(time.Second)
		}
		if err := w.stop(); !errors.Is(err, errStop) {
			t.Errorf("ended with %v", err)
		}
		w.start(t)
		time.Sleep(3 * time.Hour)
		if w.ends(id) != 0 || !s.alive(id) {
			t.Errorf("%d ends\n%s", w.ends(id), w.log)
		}
	})
}

// What an earlier process left may have been revoked while none was running.
func TestALeaseThatWasLeftIsRenewedWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 1000 * time.Hour})
		s.set("db/creds/b", thing{ttl: time.Hour, max: 1000 * time.Hour})
		w := newWard(t, s, Options{})
		id := s.login()
		left := func(path string) string {
			l := id.read(t.Context(), cred.Request{Path: path}).Secret.Lease
			w.Hold(Held{
				Key: l.ID, Lease: l, Soon: true,
				Renew: func(ctx context.Context, d time.Duration) (cred.Lease, error) { return id.Renew(ctx, l.ID, d) },
				Ended: func() {
					w.mu.Lock()
					defer w.mu.Unlock()
					w.ended[l.ID]++
				},
			})
			return l.ID
		}
		gone, stays := left("db/creds/a"), left("db/creds/b")
		s.do(func() { delete(s.leases, gone) })
		time.Sleep(soon + time.Second)
		if w.ends(gone) != 1 || w.ends(stays) != 0 || w.Len() != 1 {
			t.Errorf("ended %d and %d times, %d held\n%s", w.ends(gone), w.ends(stays), w.Len(), w.log)
		}
	})
}

func TestALeaseThatIsRenewedToNothingIsRenewedNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard(t, newServer(), Options{})
		var asked atomic.Int32
		var over atomic.Bool
		w.Hold(Held{
			Key: "k", Lease: cred.Lease{Duration: time.Hour, Renewable: true},
			Renew: func(context.Context, time.Duration) (cred.Lease, error) {
				asked.Add(1)
				return cred.Lease{Renewable: true}, nil
			},
			Ended: func() { over.Store(true) },
		})
		time.Sleep(59 * time.Minute)
		if over.Load() {
			t.Error("it ended before its end")
		}
		time.Sleep(2 * time.Minute)
		if asked.Load() != 1 || !over.Load() {
			t.Errorf("asked %d times, over %v", asked.Load(), over.Load())
		}
	})
}

func TestAServerThatWantsFewerRequestsIsLeftAloneByCachedLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
		w := newWard(t, s, Options{Backoff: retry.Schedule{Base: time.Second, Max: time.Minute}})
		me := s.login()
		for range 1000 {
			w.read(t, me, "db/creds/a")
		}
		s.do(func() {
			s.down = &vault.Error{Kind: vault.ErrRateLimited, Op: "ask", Path: "x", Status: 429, After: 5 * time.Minute}
		})
		time.Sleep(36 * time.Minute)
		s.resetCounts()
		time.Sleep(20 * time.Minute)
		if n := s.count(""); n > 10+10 {
			t.Errorf("%d requests in 20 minutes", n)
		}
	})
}
