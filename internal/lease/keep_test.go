package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestARenewedLeaseIsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
		h := run(t, s, Options{})
		first := h.get(t, "db/creds/a")
		time.Sleep(100 * time.Hour)
		again := h.get(t, "db/creds/a")
		if again.Data["password"] != first.Data["password"] || h.allMoves() != 0 {
			t.Errorf("%v became %v, %d changes", first.Data, again.Data, h.allMoves())
		}
		if again.Lease.Expired(time.Now()) || !s.alive(again.Lease.ID) {
			t.Error("the lease that is given is over")
		}
		// 100 hours at 36 to 40 minutes each.
		if n := s.count("renew"); n < 149 || n > 168 {
			t.Errorf("%d renewals", n)
		}
		if n := s.count("read"); n != 1 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestALeaseIsReplacedBeforeItsLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: 20 * time.Second, max: 70 * time.Second})
		h := run(t, s, Options{})
		for range 600 {
			if got := h.get(t, "db/creds/a"); !s.alive(got.Lease.ID) {
				t.Fatalf("a dead lease is given: %s\n%s", got.Lease.ID, h.log)
			}
			time.Sleep(time.Second)
		}
		// Each of them lived for 60 to 69 seconds.
		if n := s.count("read"); n < 9 || n > 11 || h.moves("db/creds/a") != n-1 {
			t.Errorf("%d reads, %d changes", n, h.moves("db/creds/a"))
		}
		if h.log.count("ERROR") > 0 {
			t.Errorf("alarm without cause: %s", h.log)
		}
	})
}

func TestALeaseThatCannotBeRenewedIsFetchedNearItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("aws/creds/a", thing{ttl: time.Hour})
		h := run(t, s, Options{})
		first := h.get(t, "aws/creds/a")
		time.Sleep(51*time.Minute - time.Second)
		if s.count("") != 1 {
			t.Error("asked too soon")
		}
		time.Sleep(6*time.Minute + 2*time.Second) // beyond 95 % of the hour
		if got := h.get(t, "aws/creds/a"); got.Lease.ID == first.Lease.ID || s.count("") != 2 || h.moves("aws/creds/a") != 1 {
			t.Errorf("%s after %d requests and %d changes", got.Lease.ID, s.count(""), h.moves("aws/creds/a"))
		}
	})
}

func TestWhatARefusedRenewalMeans(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		at      time.Duration // when there is another, counted from the first
		renewed int
	}{
		{"a lease that is not there is replaced at once", errNoLease, 41 * time.Minute, 1},
		{"one that was lost without a word too", refusal(vault.ErrNotFound, 404), 41 * time.Minute, 1},
		{"one that is not renewable lives until its end", errNoRenew, 58 * time.Minute, 1},
		{"one that our policy does not renew too", errDenied, 58 * time.Minute, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.renewalsForbidden = c.err
				s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
				h := run(t, s, Options{})
				h.get(t, "db/creds/a")
				time.Sleep(c.at - 10*time.Minute)
				if n := s.count("read"); n != 1 {
					t.Fatalf("%d reads too soon", n)
				}
				time.Sleep(10 * time.Minute)
				if n, r := s.count("read"), s.count("renew"); n != 2 || r != c.renewed {
					t.Errorf("%d reads, %d renewals\n%s", n, r, h.log)
				}
			})
		})
	}
}

func TestARenewalThatAlwaysFailsIsReplacedBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.renewalsForbidden = errBroken
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		h := run(t, s, Options{})
		first := h.get(t, "db/creds/a").Lease.ID
		time.Sleep(50 * time.Minute)
		if h.get(t, "db/creds/a").Lease.ID != first {
			t.Error("replaced although it could still be renewed")
		}
		time.Sleep(9 * time.Minute)
		if h.get(t, "db/creds/a").Lease.ID == first {
			t.Errorf("kept until it ends\n%s", h.log)
		}
		if n := s.count("renew"); n > 30 {
			t.Errorf("%d renewals tried", n)
		}
		if h.log.count("lease is over") > 0 || h.log.count("ERROR lease about to expire") != 1 {
			t.Errorf("%s", h.log)
		}
	})
}

func TestAKeyValueSecretIsReadAgainOnlyWhenItsVersionMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/data/a", thing{value: "1", version: 1, kv2: true})
		h := run(t, s, Options{StaticInterval: time.Minute})
		h.get(t, "kv/data/a")
		time.Sleep(time.Hour)
		if r, v := s.count("read"), s.count("version"); r != 1 || v < 63 || v > 71 {
			t.Errorf("%d reads, %d looks at the version in an hour", r, v)
		}
		s.change("kv/data/a", "2")
		time.Sleep(time.Minute)
		if got := h.get(t, "kv/data/a").Data["data"].(map[string]any)["value"]; got != "2" || s.count("read") != 2 || h.moves("kv/data/a") != 1 {
			t.Errorf("value %v after %d reads and %d changes", got, s.count("read"), h.moves("kv/data/a"))
		}
	})
}

func TestWithoutMetadataTheDataAreLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/data/a", thing{value: "1", version: 1, kv2: true, noMeta: true})
		s.set("old/a", thing{value: "1"})
		h := run(t, s, Options{StaticInterval: time.Minute})
		h.get(t, "kv/data/a")
		h.get(t, "old/a")
		time.Sleep(time.Hour)
		if r, v := s.count("read kv/data/a"), s.count("version"); v != 1 || r < 63 || r > 72 {
			t.Errorf("%d reads, %d looks at metadata that are denied", r, v)
		}
		if r := s.count("read old/a"); r < 63 || r > 72 {
			t.Errorf("%d reads of an old engine's secret in an hour", r)
		}
		if h.allMoves() != 0 {
			t.Errorf("%d changes of what did not change", h.allMoves())
		}
		s.resetCounts()
		h.Use(s.login())
		time.Sleep(2 * time.Minute)
		if v := s.count("version kv"); v != 1 {
			t.Errorf("another token may read the metadata, and was asked to %d times", v)
		}
		s.change("kv/data/a", "2")
		s.change("old/a", "2")
		time.Sleep(time.Minute)
		if h.moves("kv/data/a") != 1 || h.moves("old/a") != 1 {
			t.Errorf("changes not seen: %d", h.allMoves())
		}
	})
}

func TestASecretThatIsDeletedIsAChangeAndSoIsItsReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/data/a", thing{value: "1", version: 1, kv2: true})
		h := run(t, s, Options{StaticInterval: time.Minute})
		h.get(t, "kv/data/a")
		s.do(func() { s.things["kv/data/a"].deleted = true })
		time.Sleep(time.Hour)
		res := h.ReadAll(t.Context(), []cred.Request{{Path: "kv/data/a"}})
		if !errors.Is(res[0].Err, vault.ErrNotFound) || h.moves("kv/data/a") != 1 {
			t.Errorf("%v after %d changes", res[0].Err, h.moves("kv/data/a"))
		}
		if n := s.count("read"); n > 75 {
			t.Errorf("%d reads of what is not there", n)
		}
		s.change("kv/data/a", "2")
		time.Sleep(time.Minute)
		if h.get(t, "kv/data/a"); h.moves("kv/data/a") != 2 {
			t.Errorf("%d changes", h.moves("kv/data/a"))
		}
	})
}

func TestADenialKeepsTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1"})
		s.set("kv/b", thing{value: "1"})
		h := run(t, s, Options{StaticInterval: time.Minute})
		h.get(t, "kv/a")
		h.get(t, "kv/b")
		s.do(func() { s.failing["kv/a"] = errDenied })
		s.resetCounts()
		time.Sleep(time.Hour)
		h.get(t, "kv/a")
		if n := s.count("read kv/a"); n < 60 || n > 72 || h.allMoves() != 0 {
			t.Errorf("%d reads, %d changes", n, h.allMoves())
		}
		if n := s.count("read kv/b"); n < 60 {
			t.Errorf("%d reads of the other", n)
		}
		if e := h.entry("kv/a"); !errors.Is(e.Err, vault.ErrDenied) || e.Failures < 60 {
			t.Errorf("status says %+v", e)
		}
		if n := h.log.count("WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, h.log)
		}
		s.do(func() { delete(s.failing, "kv/a") })
		time.Sleep(time.Minute)
		if e := h.entry("kv/a"); e.Err != nil || h.log.count("kept current again") != 1 {
			t.Errorf("status says %+v", e)
		}
	})
}

func TestANewTokenFetchesWhatEndedWithTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		s.set("kv/a", thing{value: "1"})
		s.set("auth/token/create", thing{auth: &cred.Token{Value: cred.Redact("child"), Lease: cred.Lease{Duration: time.Hour}}})
		s.set("auth/token/create-orphan", thing{auth: &cred.Token{Value: cred.Redact("orphan"), Orphan: true, Lease: cred.Lease{Duration: time.Hour}}})
		s.set("pki/issue/r", thing{extra: map[string]any{"certificate": "c", "expiration": number64(time.Now().Add(time.Hour).Unix())}})
		h := run(t, s, Options{StaticInterval: time.Hour})
		for _, p := range paths(s.things) {
			h.get(t, p)
		}
		time.Sleep(time.Minute)
		s.resetCounts()
		h.Use(s.login())
		s.do(func() { s.revoked[1] = true })
		time.Sleep(time.Minute)
		if got := s.asked(); got != "map[read auth/token/create:1 read db/creds/a:1]" {
			t.Errorf("requests after a new token: %s", got)
		}
		if !s.alive(h.get(t, "db/creds/a").Lease.ID) || h.moves("db/creds/a") != 1 {
			t.Error("the credentials of the old token are still given")
		}
	})
}

func TestARevokedTokenIsNotTriedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		for i := range 100 {
			path := fmt.Sprintf("db/creds/%d", i)
			s.set(path, thing{ttl: time.Hour, max: 24 * time.Hour})
		}
		h := run(t, s, Options{Parallel: 4})
		for p := range s.things {
			h.get(t, p)
		}
		s.do(func() { s.revoked[1] = true })
		s.resetCounts()
		time.Sleep(50 * time.Minute)
		if n := s.count(""); n > 25 {
			t.Errorf("%d requests with a token that is no good", n)
		}
		h.Use(s.login())
		time.Sleep(10 * time.Second)
		for p := range s.things {
			if !s.alive(h.get(t, p).Lease.ID) {
				t.Fatalf("%s is dead", p)
			}
		}
	})
}

func TestAnOutageKeepsTheLastAnswersAndSaysSo(t *testing.T) {
	for name, down := range map[string]error{"sealed": errSealed, "gone": errGone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer()
				s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
				s.set("kv/a", thing{value: "1"})
				h := run(t, s, Options{StaticInterval: time.Minute})
				first := h.get(t, "db/creds/a").Lease.ID
				h.get(t, "kv/a")
				s.do(func() { s.down = down })
				s.resetCounts()
				time.Sleep(50 * time.Minute)
				if h.get(t, "db/creds/a").Lease.ID != first || h.get(t, "kv/a").Data["value"] != "1" {
					t.Error("the last good answers are gone")
				}
				if n := s.count(""); n > 50*6 {
					t.Errorf("%d requests in 50 minutes", n)
				}
				if h.log.count("ERROR") > 0 || h.log.count("the server is in trouble") != 1 {
					t.Errorf("%s", h.log)
				}
				time.Sleep(5 * time.Minute)
				if h.log.count("ERROR lease about to expire") != 1 || h.log.count("lease is over") != 0 {
					t.Errorf("nobody told before the end:\n%s", h.log)
				}
				time.Sleep(10 * time.Minute)
				if h.log.count("ERROR lease is over") != 1 {
					t.Errorf("nobody told at the end:\n%s", h.log)
				}
				s.do(func() { s.down = nil })
				time.Sleep(2*knock + time.Second)
				if got := h.get(t, "db/creds/a"); !s.alive(got.Lease.ID) || h.moves("db/creds/a") != 1 {
					t.Errorf("not replaced after the outage\n%s", h.log)
				}
				if h.log.count("the server answers again") != 1 || h.log.count("ERROR") != 2 {
					t.Errorf("%s", h.log)
				}
			})
		})
	}
}

func TestAShortOutageCostsNoNewCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		h := run(t, s, Options{})
		first := h.get(t, "db/creds/a").Lease.ID
		time.Sleep(30 * time.Minute)
		s.do(func() { s.down = errGone })
		time.Sleep(25 * time.Minute)
		s.do(func() { s.down = nil })
		time.Sleep(10 * time.Minute)
		if got := h.get(t, "db/creds/a").Lease.ID; got != first || !s.alive(got) || h.allMoves() != 0 {
			t.Errorf("%s became %s", first, got)
		}
	})
}

func TestTenThousandLeasesDoNotStormAServerThatComesBack(t *testing.T) {
	const n = 10_000
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		var reqs []cred.Request
		for i := range n {
			path := fmt.Sprintf("db/creds/%d", i)
			s.set(path, thing{ttl: time.Hour, max: 24 * time.Hour})
			reqs = append(reqs, cred.Request{Path: path})
		}
		h := run(t, s, Options{Parallel: 16})
		h.ReadAll(t.Context(), reqs)
		s.do(func() {
			s.down, s.delay = errSealed, 10*time.Millisecond
			s.together = 0
		})
		s.resetCounts()
		time.Sleep(50 * time.Minute)
		if c := s.count(""); c > 50*6 {
			t.Errorf("%d requests while it was sealed", c)
		}
		busy := refusal(vault.ErrRateLimited, 429).(*vault.Error)
		busy.After = time.Minute
		s.do(func() { s.down = busy })
		time.Sleep(knock + time.Second)
		s.resetCounts()
		time.Sleep(3 * time.Minute)
		if c := s.count(""); c > 4 {
			t.Errorf("%d requests in three minutes, though it said to wait for one", c)
		}
		s.do(func() { s.down = nil })
		s.resetCounts()
		time.Sleep(2 * time.Minute)
		if c := s.count("renew"); c != n {
			t.Errorf("%d renewals, want %d", c, n)
		}
		together := 0
		s.do(func() { together = s.together })
		if c := s.count(""); c != n || together > 16 {
			t.Errorf("%d requests, up to %d together", c, together)
		}
		if lines := h.log.count("ERROR"); lines > 20 {
			t.Errorf("%d lines at level error", lines)
		}
	})
}

func TestOneBrokenPathDoesNotKeepTheOthersFromBeingCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/broken", thing{ttl: 10 * time.Second})
		s.set("db/creds/a", thing{ttl: 10 * time.Second, max: 24 * time.Hour})
		h := run(t, s, Options{})
		h.get(t, "db/creds/broken")
		h.get(t, "db/creds/a")
		s.do(func() { s.failing["db/creds/broken"] = errBroken })
		s.resetCounts()
		for range 600 {
			time.Sleep(time.Second)
			if got := h.get(t, "db/creds/a"); !s.alive(got.Lease.ID) {
				t.Fatalf("dead\n%s", h.log)
			}
		}
		// The default schedule ends at a minute.
		if n := s.count("read db/creds/broken"); n < 10 || n > 40 {
			t.Errorf("%d tries in ten minutes", n)
		}
	})
}

func TestASlowPathDoesNotKeepTheOthersFromBeingCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: 3 * time.Second, max: 24 * time.Hour})
		h := run(t, s, Options{})
		h.get(t, "db/creds/a")
		for i := range 5 {
			path := fmt.Sprintf("db/creds/slow-%d", i)
			s.set(path, thing{ttl: 10 * time.Second})
			h.get(t, path)
		}
		h.Use(&tarpit{Identity: h.id, prefix: "db/creds/slow"})
		time.Sleep(time.Second)
		for range 600 {
			time.Sleep(time.Second)
			if e := h.entry("db/creds/a"); time.Now().After(e.Expires) {
				t.Fatalf("over\n%s", h.log)
			}
		}
	})
}

func TestAPathWithALimitOfItsOwnDoesNotKeepTheOthersFromBeingCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/limited", thing{value: "1"})
		s.set("db/creds/a", thing{ttl: 10 * time.Second, max: 24 * time.Hour})
		h := run(t, s, Options{StaticInterval: time.Minute})
		h.get(t, "kv/limited")
		h.get(t, "db/creds/a")
		s.do(func() { s.failing["kv/limited"] = refusal(vault.ErrRateLimited, 429) })
		s.resetCounts()
		for range 600 {
			time.Sleep(time.Second)
			if got := h.get(t, "db/creds/a"); !s.alive(got.Lease.ID) {
				t.Fatalf("dead\n%s", h.log)
			}
		}
		if n := s.count("read kv/limited"); n > 60 {
			t.Errorf("%d tries in ten minutes", n)
		}
	})
}

func TestARenewalThatComesTooLateDoesNotSpoilWhatCameMeanwhile(t *testing.T) {
	for _, err := range []error{nil, errNoLease} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			s.set("db/creds/a", thing{ttl: 10 * time.Second, max: 24 * time.Hour})
			h := run(t, s, Options{})
			first := h.get(t, "db/creds/a").Lease.ID
			h.Use(&lateRenewal{Identity: h.id, err: err})
			time.Sleep(time.Second)
			s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
			second := h.get(t, "db/creds/a").Lease.ID
			time.Sleep(15 * time.Second)
			third := h.get(t, "db/creds/a").Lease
			time.Sleep(20 * time.Second)
			got := h.get(t, "db/creds/a").Lease
			if first == second || second == third.ID || got.ID != third.ID || got.Duration != time.Hour || s.count("read") != 3 {
				t.Errorf("%s, %s, then %+v became %+v after %d reads", first, second, third, got, s.count("read"))
			}
		})
	}
}

func TestWhatARotationBrings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		rotated := func(password string, ttl int64) thing {
			return thing{extra: map[string]any{"password": password, "rotation_period": number64(3600), "ttl": number64(ttl)}}
		}
		s.set("db/static-creds/a", rotated("1", 600))
		h := run(t, s, Options{})
		h.get(t, "db/static-creds/a")
		time.Sleep(10 * time.Minute)
		if s.count("") != 1 {
			t.Error("read before it was rotated")
		}
		s.set("db/static-creds/a", rotated("2", 3600))
		time.Sleep(2 * time.Second)
		if got := h.get(t, "db/static-creds/a").Data["password"]; got != "2" || s.count("") != 2 {
			t.Errorf("password %v after %d reads", got, s.count(""))
		}
		// A server that does not come to rotating is asked more and more seldom.
		s.set("db/static-creds/a", rotated("2", 0))
		s.resetCounts()
		time.Sleep(3 * time.Hour)
		if n := s.count(""); n < 10 || n > 45 {
			t.Errorf("%d reads in two hours of a rotation that does not come", n)
		}
		if h.log.count("ERROR") > 0 {
			t.Errorf("%s", h.log)
		}
	})
}

func TestWhatNobodyUsesIsDroppedWithoutARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		s.set("db/creds/b", thing{ttl: time.Hour, max: 24 * time.Hour})
		h := run(t, s, Options{})
		h.get(t, "db/creds/a")
		h.get(t, "db/creds/b")
		s.resetCounts()
		h.Retain(map[string]bool{cred.Request{Path: "db/creds/b"}.Key(): true})
		time.Sleep(39 * time.Minute)
		if s.count("") > 1 || s.count("renew db/creds/a") > 0 || len(h.Entries()) != 1 {
			t.Errorf("%s, held %v", s.asked(), h.Entries())
		}
		h.Retain(nil)
		s.resetCounts()
		time.Sleep(100 * time.Hour)
		if s.count("") != 0 || len(h.Entries()) != 0 {
			t.Errorf("%s, held %v", s.asked(), h.Entries())
		}
	})
}

func TestAnAnswerThatIsDroppedWhileItIsFetchedStaysDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour})
		h := run(t, s, Options{})
		h.get(t, "db/creds/a")
		s.do(func() { s.delay = time.Minute })
		h.Use(s.login())
		time.Sleep(30 * time.Second)
		h.Retain(nil)
		time.Sleep(time.Hour)
		if len(h.Entries()) != 0 || h.allMoves() != 0 || len(h.flights) != 0 {
			t.Errorf("held %v, %d changes", h.Entries(), h.allMoves())
		}
	})
}

func TestAnAnswerThatIsWantedAgainWhileItIsFetchedIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("aws/creds/a", thing{ttl: time.Hour})
		h := run(t, s, Options{})
		h.get(t, "aws/creds/a")
		s.do(func() { s.delay = 20 * time.Minute })
		h.Use(s.login())
		time.Sleep(time.Minute)
		h.Retain(nil)
		h.get(t, "aws/creds/a")
		time.Sleep(20 * time.Minute)
		s.do(func() { s.delay = 0 })
		s.resetCounts()
		time.Sleep(4 * time.Hour)
		if got := h.get(t, "aws/creds/a"); !s.alive(got.Lease.ID) || s.count("") < 4 || len(h.Entries()) != 1 {
			t.Errorf("after %s it is no longer kept", s.asked())
		}
	})
}

func TestEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.delay = 50 * time.Millisecond
		var reqs []cred.Request
		for i := range 30 {
			s.set(fmt.Sprintf("db/creds/%d", i), thing{ttl: 5 * time.Second, max: 20 * time.Second})
			s.set(fmt.Sprintf("kv/data/%d", i), thing{value: "1", kv2: true})
			reqs = append(reqs, cred.Request{Path: fmt.Sprintf("db/creds/%d", i)}, cred.Request{Path: fmt.Sprintf("kv/data/%d", i)})
		}
		h := run(t, s, Options{Parallel: 8, StaticInterval: 2 * time.Second})
		var wg sync.WaitGroup
		for n := range 6 {
			wg.Go(func() {
				for i := range 300 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i%5)*20*time.Millisecond)
					h.ReadAll(ctx, reqs[(n*7+i)%50:][:10])
					cancel()
					time.Sleep(time.Duration(10+n) * time.Millisecond)
				}
			})
		}
		wg.Go(func() {
			for i := range 100 {
				keys := map[string]bool{}
				for _, r := range reqs[i%30 : i%30+20] {
					keys[r.Key()] = true
				}
				h.Retain(keys)
				h.Touch(reqs[i%60].Path)
				h.Entries()
				s.do(func() { s.down = []error{nil, nil, errSealed, errBroken, nil}[i%5] })
				if i%25 == 0 {
					h.Use(s.login())
					h.rewind(time.Now(), 3*time.Second)
				}
				time.Sleep(100 * time.Millisecond)
			}
			s.do(func() { s.down = nil })
		})
		wg.Wait()
		time.Sleep(time.Minute)
		for _, r := range reqs {
			if got := h.get(t, r.Path); got.Lease.ID != "" && !s.alive(got.Lease.ID) {
				t.Errorf("%s is dead", got.Lease.ID)
			}
		}
		s.do(func() { s.delay = 0 })
		time.Sleep(time.Minute)
		synctest.Wait()
		h.mu.Lock()
		h.Manager.mu.Lock()
		defer h.mu.Unlock()
		defer h.Manager.mu.Unlock()
		if len(h.queue)+h.gate.busy != len(h.entries) || len(h.entries) != len(reqs) || len(h.flights) != 0 {
			t.Errorf("%d answers, %d in the queue, %d under way, %d flights", len(h.entries), len(h.queue), h.gate.busy, len(h.flights))
		}
	})
}

func TestAfterMissedEventsAllAreLookedAtOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many, interval = 300, time.Hour
		s := newServer()
		h := run(t, s, Options{StaticInterval: interval})
		for i := range many {
			path := fmt.Sprint("kv/", i)
			s.set(path, thing{value: "x"})
			h.get(t, path)
		}
		time.Sleep(time.Minute)
		s.resetCounts()
		h.Touch("")
		synctest.Wait()
		if n := s.count(""); n > many/10 {
			t.Errorf("%d requests in one moment", n)
		}
		time.Sleep(interval/10 + time.Second)
		if n := s.count(""); n != many {
			t.Errorf("%d requests in a tenth of the interval for %d secrets", n, many)
		}
	})
}

func TestAnEventHasItsSecretLookedAtNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1", version: 1, kv2: true})
		s.set("kv/list", thing{value: "x"})
		s.set("db/creds/a", thing{ttl: time.Hour, max: 24 * time.Hour})
		h := run(t, s, Options{StaticInterval: time.Hour})
		h.get(t, "kv/a")
		h.get(t, "db/creds/a")
		time.Sleep(time.Minute)
		s.resetCounts()
		s.change("kv/a", "2")
		h.Touch("kv/data/a")
		synctest.Wait()
		if h.moves("kv/a") != 1 {
			t.Errorf("not seen at once: %s", s.asked())
		}
		// A thousand events in ten seconds are ten looks at most.
		s.resetCounts()
		for range 1000 {
			h.Touch("kv/data/a")
			time.Sleep(10 * time.Millisecond)
		}
		if n := s.count(""); n < 8 || n > 11 {
			t.Errorf("%d requests for a thousand events", n)
		}
		time.Sleep(2 * apart)
		s.resetCounts()
		h.Touch("kv/data/b")
		h.Touch("db/creds/a")
		time.Sleep(time.Minute)
		if n := s.count(""); n != 0 {
			t.Errorf("%d requests for events that concern nothing here", n)
		}
	})
}

func TestALookUnderWayIsRepeatedForAnEventThatComesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("kv/a", thing{value: "1", version: 1, kv2: true})
		h := run(t, s, Options{StaticInterval: time.Hour})
		h.get(t, "kv/a")
		time.Sleep(time.Minute)
		s.do(func() { s.delay = 10 * time.Second })
		h.Touch("kv/data/a")
		time.Sleep(10*time.Second - time.Millisecond)
		h.Touch("kv/data/a")
		s.resetCounts()
		time.Sleep(30 * time.Second)
		if n := s.count(""); n != 1 {
			t.Errorf("%d looks after the event, want 1", n)
		}
	})
}

func TestAMachineThatSleptDoesWhatIsDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		for i := range 20 {
			s.set(fmt.Sprintf("db/creds/%d", i), thing{ttl: time.Hour, max: 240 * time.Hour})
		}
		s.set("kv/a", thing{value: "1"})
		h := &house{s: s, log: &journal{}, changes: map[string]int{}}
		h.Manager = New(Options{Log: slog.New(h.log), StaticInterval: time.Minute})
		h.Use(s.login())
		// The loop stands still in a callback that takes eight hours: time goes on
		// and nothing is done, as when a machine is suspended.
		asleep := true
		h.keepWith(t, func(keys []string) {
			h.changed(keys)
			if asleep {
				asleep = false
				time.Sleep(8 * time.Hour)
			}
		})
		for p := range s.things {
			h.get(t, p)
		}
		s.change("kv/a", "2")
		time.Sleep(8*time.Hour + 2*time.Minute)
		if e := h.Entries()[0]; e.NextAt.Before(time.Now()) {
			t.Errorf("still due: %+v", e)
		}
		for p, thing := range s.things {
			if got := h.get(t, p); thing.ttl > 0 && (!s.alive(got.Lease.ID) || h.moves(p) != 1) {
				t.Errorf("%s: the lease is dead", p)
			}
		}
		if n := h.log.count("ERROR"); n == 0 || n > lines+1 {
			t.Errorf("%d alarms:\n%s", n, h.log)
		}
	})
}

func TestAClockSetBackRenewsWhatCanBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
		s.set("aws/creds/a", thing{ttl: time.Hour})
		s.set("kv/a", thing{value: "1"})
		s.set("pki/issue/r", thing{extra: map[string]any{"certificate": "c", "expiration": number64(time.Now().Add(time.Hour).Unix())}})
		h := run(t, s, Options{StaticInterval: time.Hour})
		before := map[string]Entry{}
		for p := range s.things {
			h.get(t, p)
			before[p] = h.entry(p)
		}
		s.resetCounts()
		h.rewind(time.Now(), 10*time.Minute)
		h.nudge()
		time.Sleep(time.Minute)
		if got := s.asked(); got != "map[renew db/creds/a:1]" {
			t.Errorf("requests: %s", got)
		}
		for p, moved := range map[string]time.Duration{"aws/creds/a": -10 * time.Minute, "kv/a": -10 * time.Minute} {
			if e := h.entry(p); !e.NextAt.Equal(before[p].NextAt.Add(moved)) {
				t.Errorf("%s is due at %v, was at %v", p, e.NextAt, before[p].NextAt)
			}
		}
		if e := h.entry("pki/issue/r"); !e.Expires.Equal(before["pki/issue/r"].Expires) {
			t.Error("a certificate's end moved")
		}
		if h.allMoves() != 0 {
			t.Errorf("%d changes", h.allMoves())
		}
	})
}

func TestASetBackClockIsTold(t *testing.T) {
	now := time.Now()
	if d := retry.SetBackBy(now, now.Add(time.Hour)); d != 0 {
		t.Errorf("an hour that goes by is set back by %v", d)
	}
}

func TestKeepEndsAtOnceAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("db/creds/a", thing{ttl: time.Hour})
		h := run(t, s, Options{Backoff: retry.Schedule{Base: time.Hour, Max: time.Hour}})
		h.get(t, "db/creds/a")
		s.do(func() { s.delay = time.Hour })
		h.Use(s.login())
		time.Sleep(time.Minute)
		start := time.Now()
		if err := h.stop(); !errors.Is(err, errStop) || time.Since(start) != 0 {
			t.Errorf("ended with %v after %v", err, time.Since(start))
		}
		if h.log.count("WARN")+h.log.count("ERROR") > 0 {
			t.Errorf("the end is told as a failure: %s", h.log)
		}
	})
}

func TestStatusShowsNoBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		s.set("pki/issue/r", thing{ttl: time.Hour, max: 2 * time.Hour})
		h := run(t, s, Options{})
		req := cred.Request{Op: cred.OpWrite, Path: "pki/issue/r", Body: map[string]any{"common_name": "hush"}}
		h.ReadAll(t.Context(), []cred.Request{req})
		e := h.Entries()[0]
		if e.What != "write pki/issue/r" || e.Kind != "lease" || e.Next != "renew" || e.LeaseID != "pki/issue/r/1" ||
			e.Expires.Sub(e.Issued) != time.Hour || e.Err != nil {
			t.Errorf("%+v", e)
		}
	})
}
