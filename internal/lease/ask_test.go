package lease

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

func TestWhatIsHeldCostsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1"})
		h := run(t, s, Options{})
		for range 100 {
			if got := h.get(t, "kv/a").Data["value"]; got != "1" {
				t.Fatalf("value is %v", got)
			}
		}
		if n := s.count(""); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestManyWhoAskTheSameMakeOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.delay = time.Second
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		h := run(t, s, Options{})
		var wg sync.WaitGroup
		seen := make([]any, 50)
		for i := range seen {
			wg.Go(func() {
				req := cred.Request{Path: "db/creds/a"}
				for _, res := range h.ReadAll(t.Context(), []cred.Request{req, req}) {
					if res.Err != nil {
						t.Error(res.Err)
						return
					}
					seen[i] = res.Secret.Data["password"]
				}
			})
		}
		wg.Wait()
		for _, p := range seen {
			if p != seen[0] {
				t.Errorf("two passwords: %v, %v", p, seen[0])
			}
		}
		if n := s.count(""); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestWhoGoesAwayDoesNotSpoilTheAnswerOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.delay = time.Second
		s.set("kv/a", thing{value: "1"})
		h := run(t, s, Options{})
		var wg sync.WaitGroup
		brief, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		wg.Go(func() {
			if res := h.ReadAll(brief, []cred.Request{{Path: "kv/a"}}); res[0].Err == nil {
				t.Error("who went away got an answer")
			}
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				if res := h.ReadAll(t.Context(), []cred.Request{{Path: "kv/a"}}); res[0].Err != nil {
					t.Error(res[0].Err)
				}
			})
		}
		wg.Wait()
		if n := s.count(""); n != 2 {
			t.Errorf("%d requests, want the one given up and one more", n)
		}
		if h.log.count("WARN") > 0 {
			t.Errorf("the server is blamed: %s", h.log)
		}
	})
}

func TestAFailureIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		h := run(t, s, Options{})
		for range 3 {
			if res := h.ReadAll(t.Context(), []cred.Request{{Path: "kv/a"}}); !errors.Is(res[0].Err, vault.ErrNotFound) {
				t.Fatal(res[0].Err)
			}
		}
		if n := s.count(""); n != 3 {
			t.Errorf("%d requests, want 3", n)
		}
		s.set("kv/a", thing{value: "1"})
		h.get(t, "kv/a")
		time.Sleep(24 * time.Hour)
		if len(h.Entries()) != 1 {
			t.Errorf("held: %v", h.Entries())
		}
	})
}

func TestAFreshRequestIsPassedThroughAndNeverRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("pki/issue/r", thing{ttl: time.Minute})
		h := run(t, s, Options{})
		req := cred.Request{Op: cred.OpWrite, Path: "pki/issue/r", Fresh: true}
		for range 2 {
			if res := h.ReadAll(t.Context(), []cred.Request{req}); res[0].Err != nil {
				t.Fatal(res[0].Err)
			}
		}
		time.Sleep(time.Hour)
		if n := s.count(""); n != 2 || len(h.Entries()) != 0 {
			t.Errorf("%d requests, held: %v", n, h.Entries())
		}
	})
}

func TestBeforeTheFirstLoginWhoAsksWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1"})
		h := &house{s: s, log: &journal{}, changes: map[string]int{}}
		h.Manager = New(Options{Log: quiet()})
		h.keep(t)
		brief, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if res := h.ReadAll(brief, []cred.Request{{Path: "kv/a"}}); !errors.Is(res[0].Err, context.DeadlineExceeded) {
			t.Errorf("without a login: %+v", res[0])
		}
		var wg sync.WaitGroup
		wg.Go(func() { h.get(t, "kv/a") })
		time.Sleep(time.Hour)
		h.Use(s.login())
		wg.Wait()
	})
}

func TestAnInvalidTokenWaitsForTheNextAndAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1"})
		s.set("kv/b", thing{value: "2"})
		h := run(t, s, Options{})
		s.do(func() { s.revoked[1] = true })
		var good atomic.Int32
		var wg sync.WaitGroup
		for _, path := range []string{"kv/a", "kv/a", "kv/b"} {
			wg.Go(func() {
				if res := h.ReadAll(t.Context(), []cred.Request{{Path: path}}); res[0].Err == nil {
					good.Add(1)
				}
			})
		}
		time.Sleep(5 * time.Second)
		h.Use(s.login())
		wg.Wait()
		if good.Load() != 3 {
			t.Errorf("%d of 3 got an answer", good.Load())
		}
		// At most one refusal for each secret, then one answer.
		if n := s.count(""); n < 3 || n > 4 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestAnInvalidTokenWithoutANextOneIsAnAnswerSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1"})
		h := run(t, s, Options{})
		s.do(func() { s.revoked[1] = true })
		start := time.Now()
		for range 2 {
			res := h.ReadAll(t.Context(), []cred.Request{{Path: "kv/a"}})
			if !errors.Is(res[0].Err, vault.ErrInvalidToken) {
				t.Fatal(res[0].Err)
			}
		}
		if took := time.Since(start); took != 2*patience {
			t.Errorf("took %v", took)
		}
		if n := s.count(""); n != 1 {
			t.Errorf("%d requests with a token that is known to be no good, want 1", n)
		}
	})
}

func TestWhileTheServerIsDownWhoAsksIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		h := run(t, s, Options{})
		s.down = errSealed
		var reqs []cred.Request
		for i := range 100 {
			path := "kv/" + itoa(int64(i))
			s.set(path, thing{value: "1"})
			reqs = append(reqs, cred.Request{Path: path})
		}
		// The first wave meets the sealed server, the next ones the gate.
		h.ReadAll(t.Context(), reqs)
		s.resetCounts()
		for range 20 {
			for _, res := range h.ReadAll(t.Context(), reqs) {
				if !errors.Is(res.Err, vault.ErrSealed) || !vault.Temporary(res.Err) {
					t.Fatal(res.Err)
				}
			}
		}
		if n := s.count(""); n > 1 {
			t.Errorf("%d requests in the same moment", n)
		}
		s.do(func() { s.down = nil })
		time.Sleep(knock)
		for _, res := range h.ReadAll(t.Context(), reqs) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
		}
	})
}

func TestAnswersAreHandedOverAsTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1"})
		s.set("kv/slow", thing{value: "2"})
		h := run(t, s, Options{})
		h.get(t, "kv/a")
		s.do(func() { s.delay = time.Minute })
		start := time.Now()
		at := map[int]time.Duration{}
		h.ReadEach(t.Context(), []cred.Request{{Path: "kv/slow"}, {Path: "kv/a"}, {Path: "kv/slow"}}, func(i int, res cred.Result) {
			at[i] = time.Since(start)
			if res.Err != nil {
				t.Error(res.Err)
			}
		})
		if len(at) != 3 || at[1] != 0 || at[0] != time.Minute || at[2] != time.Minute {
			t.Errorf("answers came at %v", at)
		}
	})
}
