package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// tended is a house whose manager nobody runs: it is tended.
func tended(s *server, o Options) *house {
	h := &house{s: s, log: &journal{}, changes: map[string]int{}}
	o.Log = slog.New(h.log)
	h.Manager = New(o)
	h.Use(s.login())
	return h
}

// tend tends within a time, looking ahead by so much.
func (h *house) tend(t *testing.T, within, by time.Duration) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	err := h.Tend(ctx, start.Add(by), h.changed)
	return time.Since(start), err
}

// unwatched is a ward whose renewer nobody runs.
func unwatched(s *server, o Options) *ward {
	w := &ward{s: s, log: &journal{}, extended: map[string]cred.Lease{}, ended: map[string]int{}, endedAt: map[string]time.Time{}}
	o.Log = slog.New(w.log)
	w.Renewer = NewRenewer(o)
	return w
}

func (w *ward) tend(t *testing.T, within, by time.Duration) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	err := w.Tend(ctx, start.Add(by))
	return time.Since(start), err
}

func TestWhereNothingIsHeldNothingIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		h := &house{Manager: New(Options{Log: quiet()}), s: s, changes: map[string]int{}}
		if took, err := h.tend(t, time.Hour, time.Hour); err != nil || took != 0 || !h.Due().IsZero() {
			t.Errorf("without a token: due %v, %v after %v", h.Due(), err, took)
		}
		h.Use(s.login())
		w := unwatched(s, Options{})
		for _, f := range []func(*testing.T, time.Duration, time.Duration) (time.Duration, error){h.tend, w.tend} {
			if took, err := f(t, time.Hour, time.Hour); err != nil || took != 0 {
				t.Errorf("%v after %v", err, took)
			}
		}
		if !h.Due().IsZero() || !w.Due().IsZero() {
			t.Errorf("due %v and %v", h.Due(), w.Due())
		}
	})
}

func TestAfterAnHourInIceEachAnswerIsTakenCareOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/long", thing{ttl: 90 * time.Minute, max: 768 * time.Hour})
		s.set("db/creds/over", thing{ttl: 30 * time.Minute, max: 768 * time.Hour})
		s.set("aws/creds/fixed", thing{ttl: 45 * time.Minute})
		s.set("db/creds/day", thing{ttl: 24 * time.Hour, max: 768 * time.Hour})
		s.set("kv/same", thing{kv2: true, value: "a", version: 1})
		s.set("kv/other", thing{kv2: true, value: "a", version: 1})
		h := tended(s, Options{})
		for _, p := range paths(s.things) {
			h.get(t, p)
		}
		if due := time.Until(h.Due()); due < 4*time.Minute || due > 5*time.Minute {
			t.Errorf("due in %v", due)
		}
		s.resetCounts()
		time.Sleep(time.Hour)
		s.change("kv/other", "b")
		if took, err := h.tend(t, time.Minute, 0); err != nil || took != 0 {
			t.Errorf("%v after %v", err, took)
		}
		if got, want := s.asked(), "map[read aws/creds/fixed:1 read db/creds/over:1 read kv/other:1 renew db/creds/long:1 version kv/other:1 version kv/same:1]"; got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
		for p, want := range map[string]int{"db/creds/over": 1, "aws/creds/fixed": 1, "kv/other": 1, "db/creds/long": 0, "kv/same": 0, "db/creds/day": 0} {
			if got := h.moves(p); got != want {
				t.Errorf("%s moved %d times, want %d", p, got, want)
			}
			if id := h.get(t, p).Lease.ID; id != "" && !s.alive(id) {
				t.Errorf("the lease of %s is dead", p)
			}
		}
		if !h.Due().After(time.Now()) {
			t.Error("still due")
		}
	})
}

func TestWhatFallsDueAheadIsDoneEarlyAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 768 * time.Hour})
		h, w := tended(s, Options{}), unwatched(s, Options{})
		h.get(t, "db/creds/a")
		me := s.login()
		key := w.read(t, me, "db/creds/a")
		both := func(by time.Duration) int {
			s.resetCounts()
			for range 3 {
				for _, f := range []func(*testing.T, time.Duration, time.Duration) (time.Duration, error){h.tend, w.tend} {
					if took, err := f(t, time.Minute, by); err != nil || took != 0 {
						t.Errorf("%v after %v", err, took)
					}
				}
			}
			return s.count("renew")
		}
		time.Sleep(10 * time.Minute)
		if n := both(4 * time.Hour); n != 0 {
			t.Errorf("renewed %d times, though hardly any time has gone by", n)
		}
		time.Sleep(20 * time.Minute)
		if n := both(5 * time.Minute); n != 0 {
			t.Errorf("renewed %d times, though it is not due by then", n)
		}
		if n := both(15 * time.Minute); n != 2 {
			t.Errorf("renewed %d times, want each once", n)
		}
		if left := w.last(key).Left(time.Now()); left != time.Hour {
			t.Errorf("the cache was told of %v", left)
		}
	})
}

// A password that the server changes when it will is not read ahead: it would be the
// old one.
func TestARotationIsNotAnticipated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/static/a", thing{extra: map[string]any{"ttl": number64(600), "rotation_period": number64(3600)}})
		h := tended(s, Options{})
		h.get(t, "db/static/a")
		time.Sleep(8 * time.Minute)
		if _, err := h.tend(t, time.Minute, time.Hour); err != nil || s.count("read") != 1 {
			t.Errorf("%v, %s", err, s.asked())
		}
		time.Sleep(2*time.Minute + time.Second)
		if _, err := h.tend(t, time.Minute, 0); err != nil || s.count("read") != 2 {
			t.Errorf("%v, %s", err, s.asked())
		}
	})
}

// A function that is invoked all the time and may run for a quarter of an hour.
func TestAnswersShorterThanTheInvocationAreNotAskedForEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: 3 * time.Minute, max: 768 * time.Hour})
		s.set("aws/creds/a", thing{ttl: 3 * time.Minute})
		s.set("kv/a", thing{kv2: true, value: "a", version: 1})
		h, w := tended(s, Options{}), unwatched(s, Options{})
		me := s.login()
		w.read(t, me, "db/creds/a")
		for _, p := range paths(s.things) {
			h.get(t, p)
		}
		s.resetCounts()
		const hours = 3
		for start := time.Now(); time.Since(start) < hours*time.Hour; time.Sleep(300 * time.Millisecond) {
			for _, f := range []func(*testing.T, time.Duration, time.Duration) (time.Duration, error){h.tend, w.tend} {
				if took, err := f(t, 15*time.Minute, 15*time.Minute); err != nil || took != 0 {
					t.Fatalf("%v after %v", err, took)
				}
			}
		}
		// Renewed at a third of its life, fetched at half, looked at at half of the
		// interval.
		for what, most := range map[string]int{"renew db": 2*hours*64 + 4, "read aws": hours*60*2/3 + 60, "version kv": hours*60/2 + 10} {
			if n := s.count(what); n > most || n < most/4 {
				t.Errorf("%s: %d times, want at most %d", what, n, most)
			}
		}
	})
}

func TestOnlyWhatDoesNotLastIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 768 * time.Hour})
		s.set("kv/a", thing{kv2: true, value: "a", version: 1})
		h, w := tended(s, Options{}), unwatched(s, Options{})
		for _, p := range paths(s.things) {
			h.get(t, p)
		}
		me := s.login()
		w.read(t, me, "db/creds/a")
		s.do(func() { s.down = errGone })
		time.Sleep(45 * time.Minute)
		for _, f := range []func(*testing.T, time.Duration, time.Duration) (time.Duration, error){h.tend, w.tend} {
			s.resetCounts()
			if took, err := f(t, 10*time.Second, 10*time.Second); err != nil || took != 0 || s.count("") > 2 {
				t.Errorf("it lasts: %v after %v, asked %s", err, took, s.asked())
			}
		}
		s.resetCounts()
		took, err := h.tend(t, 16*time.Minute, 16*time.Minute)
		if !errors.Is(err, vault.ErrUnreachable) || took < 15*time.Minute {
			t.Errorf("it does not last: %v after %v", err, took)
		}
		if n := s.count(""); n < 20 || n > 200 {
			t.Errorf("asked %d times: %s", n, s.asked())
		}
	})
}

func TestALeaseThatIsAboutToEndIsWaitedForUntilTheServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 768 * time.Hour})
		w := unwatched(s, Options{})
		me := s.login()
		key := w.read(t, me, "db/creds/a")
		time.Sleep(55 * time.Minute)
		s.do(func() { s.down = errSealed })
		if took, err := w.tend(t, 3*time.Second, 10*time.Minute); !errors.Is(err, vault.ErrSealed) || took > 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		var wg sync.WaitGroup
		wg.Go(func() { time.Sleep(time.Minute); s.do(func() { s.down = nil }) })
		if took, err := w.tend(t, 5*time.Minute, 10*time.Minute); err != nil || took < time.Minute || took > 2*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		wg.Wait()
		if !s.alive(key) || w.ends(key) != 0 {
			t.Error("the lease is dead")
		}
	})
}

func TestARefusalIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("aws/creds/a", thing{ttl: time.Hour})
		h := tended(s, Options{})
		h.get(t, "aws/creds/a")
		s.do(func() { s.failing["aws/creds/a"] = errDenied })
		time.Sleep(2 * time.Hour)
		if took, err := h.tend(t, time.Minute, 0); !errors.Is(err, vault.ErrDenied) || took != 0 || !strings.Contains(err.Error(), "aws/creds/a") {
			t.Errorf("%v after %v", err, took)
		}
		s.do(func() { clear(s.failing) })
		time.Sleep(10 * time.Minute)
		if _, err := h.tend(t, time.Minute, 0); err != nil || !s.alive(h.get(t, "aws/creds/a").Lease.ID) {
			t.Error(err)
		}
	})
}

func TestWhatEndedIsToldWhenTendedAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("aws/creds/a", thing{ttl: time.Hour})
		w := unwatched(s, Options{})
		me := s.login()
		key := w.read(t, me, "aws/creds/a")
		if due := time.Until(w.Due()); due != time.Hour {
			t.Errorf("due in %v", due)
		}
		if _, err := w.tend(t, time.Minute, 2*time.Hour); err != nil || w.ends(key) != 0 {
			t.Errorf("%v, ended %d times before its end", err, w.ends(key))
		}
		time.Sleep(time.Hour)
		if _, err := w.tend(t, time.Minute, 0); err != nil || w.ends(key) != 1 || w.Len() != 0 || !w.Due().IsZero() {
			t.Errorf("%v, ended %d times, due %v", err, w.ends(key), w.Due())
		}
	})
}

func TestTendingLeavesNothingBehindWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 768 * time.Hour})
		s.set("kv/a", thing{kv2: true, value: "a", version: 1})
		h, w := tended(s, Options{}), unwatched(s, Options{})
		for _, p := range paths(s.things) {
			h.get(t, p)
		}
		me := s.login()
		key := w.read(t, me, "db/creds/a")
		time.Sleep(50 * time.Minute)
		s.do(func() { s.delay = time.Hour })
		for _, f := range []func(*testing.T, time.Duration, time.Duration) (time.Duration, error){h.tend, w.tend} {
			if took, _ := f(t, 3*time.Second, 0); took != 3*time.Second {
				t.Errorf("took %v", took)
			}
			// What was broken off is still due, and no failure.
		}
		s.do(func() { s.delay = 0 })
		if h.Due().After(time.Now()) || w.Due().After(time.Now()) {
			t.Errorf("due in %v and %v", time.Until(h.Due()), time.Until(w.Due()))
		}
		for _, f := range []func(*testing.T, time.Duration, time.Duration) (time.Duration, error){h.tend, w.tend} {
			if took, err := f(t, 3*time.Second, 0); err != nil || took != 0 {
				t.Errorf("%v after %v", err, took)
			}
		}
		if !s.alive(key) || !h.Due().After(time.Now()) || !w.Due().After(time.Now()) {
			t.Error("not renewed")
		}
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errStop)
		s.resetCounts()
		if err := errors.Join(h.Tend(ended, time.Now(), h.changed), w.Tend(ended, time.Now())); !errors.Is(err, errStop) || s.count("") != 0 {
			t.Errorf("%v, asked %s", err, s.asked())
		}
	})
}

func TestTheSecondWhoTendsWaitsAndFindsItDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		for i := range 50 {
			s.set(fmt.Sprintf("db/creds/%d", i), thing{ttl: time.Hour, max: 768 * time.Hour})
		}
		h := tended(s, Options{Parallel: 5})
		for _, p := range paths(s.things) {
			h.get(t, p)
		}
		s.resetCounts()
		time.Sleep(50 * time.Minute)
		s.do(func() { s.delay, s.together = 100*time.Millisecond, 0 })
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if took, err := h.tend(t, time.Minute, 0); err != nil || took != time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		all.Wait()
		if n := s.count("renew"); n != 50 || s.together > 5 {
			t.Errorf("%d renewals, %d at a time", n, s.together)
		}
	})
}

func TestWhatANewTokenMakesDueIsDoneWhenTended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 768 * time.Hour})
		h := tended(s, Options{})
		h.get(t, "db/creds/a")
		_, _ = h.tend(t, time.Second, 0)
		h.Use(s.login())
		if h.Due().After(time.Now()) {
			t.Errorf("due in %v", time.Until(h.Due()))
		}
		time.Sleep(time.Second)
		if _, err := h.tend(t, time.Second, 0); err != nil || s.count("read") != 2 || h.moves("db/creds/a") != 1 {
			t.Errorf("%v, asked %s, %d moves", err, s.asked(), h.moves("db/creds/a"))
		}
	})
}
