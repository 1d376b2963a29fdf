package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// story runs a test in a bubble, with secret/data/a holding "one".
func story(t *testing.T, o Options, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, o)
		b.set("a", "one")
		time.Sleep(time.Second)
		f(b)
	})
}

func (b *bench) counts(reads, metas, caps int) {
	b.t.Helper()
	if r, m, c := int(b.reads.Load()), int(b.metas.Load()), int(b.caps.Load()); r != reads || m != metas || c != caps {
		b.t.Fatalf("the server saw %d reads, %d of metadata, %d of rights; want %d, %d, %d", r, m, c, reads, metas, caps)
	}
}

func TestASecretIsReadOnceWithinItsTime(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		b.set("a", "two") // nobody told us
		time.Sleep(time.Minute - 1)
		b.want(a, 200, exchange.Hit, "one")
		time.Sleep(time.Nanosecond)
		b.want(a, 200, exchange.Miss, "two")
		b.counts(2, 1, 0)
	})
}

func TestAnUnchangedSecretIsRenewedByItsMetadata(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a, first := get("t", "secret/data/a"), get("t", "secret/data/a?version=1")
		b.want(a, 200, exchange.Miss, "one")
		b.want(first, 200, exchange.Miss, "one")
		for i := range 3 {
			time.Sleep(time.Minute)
			ans, _ := b.ask(a)
			if ans.From != exchange.Hit || !ans.At.Equal(time.Now()) {
				t.Fatalf("%q, looked at %v ago", ans.From, time.Since(ans.At))
			}
			b.want(a, 200, exchange.Hit, "one")
			b.counts(2, i+1, 0)
		}
		b.set("a", "two")
		time.Sleep(time.Minute)
		b.want(a, 200, exchange.Miss, "two")
		b.counts(3, 4, 0)
		// The older version is what it was; the right to it is due by now.
		b.want(first, 200, exchange.Hit, "one")
		b.want(get("t", "secret/data/a?version=2"), 200, exchange.Miss, "two")
	})
}

func TestAThousandWhoFindASecretTooOldLookOnce(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(time.Minute)
		for _, ans := range b.crowd(1000, func(int) *exchange.Ask { return a }, b.fetch(a, "t")) {
			if ans.From != exchange.Hit {
				t.Fatalf("%q", ans.From)
			}
		}
		b.counts(1, 1, 0)
	})
}

func TestMetadataThatMayNotBeReadIsNotAskedForTwice(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		b.blind = true
		a := get("t", "secret/data/a")
		for i := range 4 {
			b.want(a, 200, exchange.Miss, "one")
			b.counts(i+1, min(i, 1), 0)
			time.Sleep(time.Minute)
		}
	})
}

func TestASecretOfVersion1IsReadAgain(t *testing.T) {
	// The time is static_ttl, or less where whoever wrote it said so with ttl.
	for length, after := range map[int]time.Duration{2764800: time.Minute, 20: 20 * time.Second} {
		story(t, Options{}, func(b *bench) {
			a, n := get("t", "kv/a"), 0
			fetch := func(context.Context) (*exchange.Answer, error) {
				n++
				return answer(200, fmt.Sprintf(`{"lease_id":"","lease_duration":%d,"data":{"v":"x"},"mount_type":"kv"}`, length)), nil
			}
			for i := range 9 {
				ans, err := b.Do(b.t.Context(), a, fetch)
				if err != nil || (ans.From == exchange.Hit) != (i%3 != 0) || n != i/3+1 {
					t.Fatalf("%d: %q, %d reads, %v", i, ans.From, n, err)
				}
				time.Sleep([]time.Duration{0, after - 1, 1}[i%3])
			}
			b.counts(0, 0, 0)
		})
	}
}

func TestAnOldSecretIsGivenWhileTheServerIsAway(t *testing.T) {
	for name, away := range map[string]func(*kv){
		"no answer":    func(s *kv) { s.down = unreachable },
		"sealed":       func(s *kv) { s.down = &vault.Error{Kind: vault.ErrSealed, Status: 503} },
		"an error":     func(s *kv) { s.down = errors.New("EOF") },
		"no login yet": func(s *kv) { s.down = &vault.Error{Kind: vault.ErrNotLoggedIn, Cause: unreachable} },
		"503":          func(s *kv) { s.status = 503 },
		"500":          func(s *kv) { s.status = 500 },
		"429":          func(s *kv) { s.status = 429 },
		"slow":         func(s *kv) { s.delay = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{Static: Static{Stale: time.Hour, Capabilities: time.Minute}}, func(b *bench) {
				a := get("t", "secret/data/a")
				b.want(a, 200, exchange.Miss, "one")
				b.with(func() { away(b.kv) })
				time.Sleep(time.Minute)
				for range 5 {
					b.want(a, 200, exchange.Stale, "one")
					time.Sleep(10 * time.Minute)
				}
				time.Sleep(11 * time.Minute)
				// Nothing is older than that.
				ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
				defer cancel()
				if ans, err := b.Do(ctx, a, b.fetch(a, "t")); err == nil && ans.Status == 200 {
					t.Fatalf("%q after %v", ans.From, time.Since(ans.At))
				}
				b.with(func() { b.down, b.status, b.delay = nil, 0, 0 })
				b.want(a, 200, exchange.Miss, "one")
				b.want(a, 200, exchange.Hit, "one")
				if got := b.Stats().Stale; got != 5 {
					t.Errorf("%d stale answers were counted", got)
				}
			})
		})
	}
}

func TestAServerThatIsAwayIsNotAskedByEachRequest(t *testing.T) {
	story(t, Options{Static: Static{Stale: time.Hour}}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(time.Minute)
		b.with(func() { b.down = unreachable })
		for range 100 {
			b.want(a, 200, exchange.Stale, "one")
		}
		b.counts(1, 1, 0)
		time.Sleep(respite)
		b.with(func() { b.down = nil })
		b.want(a, 200, exchange.Hit, "one")
		b.counts(1, 2, 0)
	})
}

func TestNothingOldIsGivenAfterAWriteThatWasSeen(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(time.Minute)
		b.with(func() { b.delay = time.Hour })
		got := make(chan error)
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		go func() {
			_, err := b.Do(ctx, a, b.fetch(a, "t"))
			got <- err
		}()
		time.Sleep(time.Second)
		b.Passed(put("t", "secret/data/a", "{}"), 200)
		if err := <-got; err == nil {
			t.Error("an answer from before")
		}
	})
}

func TestARefusalIsNoAbsence(t *testing.T) {
	for name, c := range map[string]struct {
		refuse func(*kv)
		status int
	}{
		"denied":    {func(s *kv) { s.denied["t"] = true }, 403},
		"not there": {func(s *kv) { s.versions = map[string][]version{} }, 404},
		"no login": {func(s *kv) {
			s.down = &vault.Error{Kind: vault.ErrNotLoggedIn, Cause: &vault.Error{Kind: vault.ErrDenied}}
		}, 0},
		"nobody knows": {func(s *kv) { s.down = &vault.Error{Kind: vault.ErrNotLoggedIn} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{Static: Static{Stale: time.Hour}}, func(b *bench) {
				a := get("t", "secret/data/a")
				b.want(a, 200, exchange.Miss, "one")
				b.with(func() { c.refuse(b.kv) })
				time.Sleep(time.Minute)
				if ans, err := b.ask(a); (err == nil) != (c.status != 0) || err == nil && ans.Status != c.status {
					t.Fatalf("%+v, %v", ans, err)
				}
				if c.status == 0 {
					return
				}
				if n := b.Stats().Entries; n != 0 {
					t.Errorf("%d entries", n)
				}
				b.with(func() { b.down = unreachable })
				if ans, err := b.ask(a); err == nil {
					t.Errorf("%q after a refusal", ans.From)
				}
			})
		})
	}
}

func TestAWriteIsSeenByTheNextRead(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, ns string
		evicts           bool
	}{
		"the same path":        {"PUT", "secret/data/team/a", "", true},
		"escaped":              {"POST", "secret/data/team/%61", "", true},
		"patched":              {"PATCH", "secret/data/team/a", "", true},
		"deleted":              {"DELETE", "secret/data/team/a", "", true},
		"metadata":             {"DELETE", "secret/metadata/team/a", "", true},
		"a version":            {"PUT", "secret/delete/team/a", "", true},
		"undeleted":            {"PUT", "secret/undelete/team/a", "", true},
		"destroyed":            {"PUT", "secret/destroy/team/a", "", true},
		"namespace in the way": {"PUT", "n/secret/data/team/a", "", false},
		// A server without namespaces does not mind the header.
		"another namespace": {"PUT", "secret/data/team/a", "n/", true},
		"another secret":    {"PUT", "secret/data/team/b", "", false},
		"above":             {"PUT", "secret/data/team", "", false},
		"below":             {"PUT", "secret/data/team/a/b", "", false},
		"another mount":     {"PUT", "secrets/data/team/a", "", false},
		"read":              {"GET", "secret/metadata/team/a", "", false},
		"listed":            {"LIST", "secret/metadata/team/a", "", false},
		"the mount":         {"DELETE", "sys/mounts/secret", "", true},
		"tuned":             {"POST", "sys/mounts/secret/tune", "", true},
		"moved":             {"POST", "sys/remount", "", true},
		"restored":          {"POST", "sys/storage/raft/snapshot-force", "", true},
		"somebody's mount":  {"DELETE", "n/sys/mounts/secret", "", true},
		"something else":    {"PUT", "transit/encrypt/a", "", false},
	} {
		for _, status := range []int{200, 204, 400, 403, 404, 500, 0} {
			t.Run(fmt.Sprint(name, status), func(t *testing.T) {
				story(t, Options{}, func(b *bench) {
					b.set("team/a", "one")
					a := get("t", "secret/data/team/a")
					b.want(a, 200, exchange.Miss, "one")
					b.want(a, 200, exchange.Hit, "one")
					w := put("t", c.path, `{}`)
					w.Method, w.Namespace = c.method, c.ns
					b.Passed(w, status)
					want := exchange.Hit
					if c.evicts && status/100 != 4 {
						want = exchange.Miss
					}
					b.want(a, 200, want, "one")
				})
			})
		}
	}
}

func TestANamespaceIsOneHoweverItIsSpelled(t *testing.T) {
	for _, spelling := range []struct{ readNS, readPath, writeNS, writePath string }{
		{"n/", "secret/data/a", "n/", "secret/data/a"},
		{"n/", "secret/data/a", "", "n/secret/data/a"},
		{"", "n/secret/data/a", "n/", "secret/data/a"},
		{"n/", "m/secret/data/a", "n/m/", "secret/data/a"},
	} {
		story(t, Options{}, func(b *bench) {
			a, n := get("t", spelling.readPath), 0
			a.Namespace = spelling.readNS
			read := func(context.Context) (*exchange.Answer, error) {
				n++
				return answer(200, `{"data":{"data":{},"metadata":{}},"mount_type":"kv"}`), nil
			}
			for range 3 {
				_, _ = b.Do(b.t.Context(), a, read)
			}
			w := put("t", spelling.writePath, "{}")
			w.Namespace = spelling.writeNS
			b.Passed(w, 200)
			_, _ = b.Do(b.t.Context(), a, read)
			if n != 2 {
				t.Errorf("%+v: %d reads", spelling, n)
			}
		})
	}
}

func TestAfterAWriteOfUnknownEndNothingIsKeptForAWhile(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		w := put("t", "secret/data/a", "two")
		if _, err := b.Do(b.t.Context(), w, func(context.Context) (*exchange.Answer, error) { return nil, context.Canceled }); err == nil {
			t.Fatal("no error")
		}
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(30 * time.Second)
		b.want(a, 200, exchange.Miss, "one")
		b.set("a", "two") // it was on its way all the time
		b.want(a, 200, exchange.Miss, "two")
		time.Sleep(unsettled)
		b.want(a, 200, exchange.Miss, "two")
		b.want(a, 200, exchange.Hit, "two")
	})
}

func TestAReadThatAWriteOvertookIsNotKept(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a := get("t", "secret/data/a")
		held := make(chan struct{})
		slow := make(chan *exchange.Answer)
		go func() {
			ans, _ := b.Do(context.Background(), a, func(ctx context.Context) (*exchange.Answer, error) {
				old, err := b.fetch(a, "t")(ctx)
				<-held
				return old, err
			})
			slow <- ans
		}()
		synctest.Wait()
		b.want(put("t", "secret/data/a", "two"), 200, exchange.Miss, "version")
		// It does not wait for the slow one either.
		b.want(a, 200, exchange.Miss, "two")
		b.want(a, 200, exchange.Hit, "two")
		close(held)
		if ans := <-slow; !strings.Contains(string(ans.Body), "one") {
			t.Errorf("%s", ans.Body)
		}
		b.want(a, 200, exchange.Hit, "two")
	})
}

func TestNobodyGetsWhatAnotherMayRead(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		b.denied["u"] = true
		lent := get("", "secret/data/a")
		lent.Who = exchange.Who{Lent: "t"}
		b.want(get("t", "secret/data/a"), 200, exchange.Miss, "one")
		b.want(get("u", "secret/data/a"), 403, exchange.Miss, "denied")
		b.want(lent, 200, exchange.Miss, "one")
		b.want(get("u", "secret/data/a"), 403, exchange.Miss, "denied")
		b.want(get("t", "secret/data/a"), 200, exchange.Hit, "one")
		b.want(lent, 200, exchange.Hit, "one")
	})
}

func TestALostRightIsNoticedSoonAfterItIsDue(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour, Capabilities: time.Minute}}, func(b *bench) {
		defer b.keep()()
		b.set("b", "other")
		a, other := get("t", "secret/data/a"), get("t", "secret/data/b")
		b.want(a, 200, exchange.Miss, "one")
		b.want(other, 200, exchange.Miss, "other")
		b.with(func() { b.denied["t secret/data/a"] = true })
		time.Sleep(59 * time.Second)
		b.want(a, 200, exchange.Hit, "one")
		b.counts(2, 0, 0)
		time.Sleep(2 * time.Second)
		b.want(a, 200, exchange.Hit, "one") // the one that is given before the answer is there
		b.want(other, 200, exchange.Hit, "other")
		time.Sleep(time.Second)
		asked := int(b.caps.Load())
		if asked != 1 && asked != 2 {
			t.Errorf("asked for rights %d times; both at once or one after the other is as it comes", asked)
		}
		b.counts(2, 0, asked)
		b.want(a, 403, exchange.Miss, "denied")
		b.want(other, 200, exchange.Hit, "other")
		time.Sleep(30 * time.Second)
		b.want(other, 200, exchange.Hit, "other")
		b.counts(3, 0, asked)
	})
}

func TestAnOptimistIsNotOneForLong(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour, Capabilities: 30 * time.Second}}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		b.with(func() { b.denied["t secret/data/a"] = true })
		time.Sleep(time.Minute) // nobody runs Keep
		b.want(a, 403, exchange.Miss, "denied")
	})
}

func TestAPessimistGivesNothingThatIsNotSure(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour, Capabilities: time.Minute, Pessimistic: true}}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(time.Minute - 1)
		b.want(a, 200, exchange.Hit, "one")
		time.Sleep(time.Nanosecond)
		b.want(a, 200, exchange.Miss, "one") // a read proves it
		b.with(func() { b.down = unreachable })
		time.Sleep(time.Minute)
		if ans, err := b.ask(a); err == nil {
			t.Fatalf("%q", ans.From)
		}
		b.with(func() { b.down, b.denied["t"] = nil, true })
		b.want(a, 403, exchange.Miss, "denied")
	})
}

func TestATokenThatMayNotAskForItsRightsReadsAgain(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour, Capabilities: time.Minute}}, func(b *bench) {
		defer b.keep()()
		b.tight = true
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(61 * time.Second)
		b.want(a, 200, exchange.Hit, "one")
		time.Sleep(time.Second)
		b.want(a, 200, exchange.Miss, "one")
		b.counts(2, 0, 1)
	})
}

func TestRightsAreNotAskedForInAStorm(t *testing.T) {
	story(t, Options{MaxEntries: 10_000, Static: Static{TTL: 10 * time.Hour, Stale: time.Hour, Capabilities: time.Minute}}, func(b *bench) {
		defer b.keep()()
		var asks []*exchange.Ask
		for i := range 500 {
			b.set(fmt.Sprint("s", i), "x")
			asks = append(asks, get("t", fmt.Sprint("secret/data/s", i)))
			b.want(asks[i], 200, exchange.Miss, "x")
		}
		time.Sleep(61 * time.Second)
		for _, a := range asks {
			for range 3 {
				b.want(a, 200, exchange.Hit, "x")
			}
		}
		time.Sleep(10 * time.Second)
		asked := b.caps.Load()
		if asked > 7 { // a hundred paths each, but for the first
			t.Errorf("%d questions about 500 paths", asked)
		}
		b.with(func() { b.down = unreachable })
		time.Sleep(time.Minute)
		for range 60 {
			for _, a := range asks {
				b.want(a, 200, exchange.Hit, "x")
			}
			time.Sleep(500 * time.Millisecond)
		}
		if n := b.caps.Load() - asked; n > 8 {
			t.Errorf("%d questions in half a minute to a server that is away", n)
		}
	})
}

func TestALoginKeepsSecretsAndHasTheRightAskedFor(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour}}, func(b *bench) {
		defer b.keep()()
		b.relogged("main", cred.Token{Value: cred.Redact("lent-main")})
		a := get("", "secret/data/a")
		a.Who = exchange.Who{Lent: "main"}
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(time.Second)
		b.with(func() { b.denied["second secret/data/a"] = true })
		b.relogged("main", cred.Token{Value: cred.Redact("second")})
		b.want(a, 200, exchange.Hit, "one")
		time.Sleep(time.Second)
		b.counts(1, 0, 1)
		if n := b.Stats().Entries; n != 0 {
			t.Errorf("%d entries", n)
		}
	})
}

func TestADeadTokenLeavesNothing(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour}}, func(b *bench) {
		b.set("b", "other")
		b.want(get("t", "secret/data/a"), 200, exchange.Miss, "one")
		b.want(get("t", "secret/data/b"), 200, exchange.Miss, "other")
		b.want(get("u", "secret/data/a"), 200, exchange.Miss, "one")
		// One is under way.
		gate := make(chan struct{})
		b.with(func() { b.gate = gate })
		slow := make(chan struct{})
		go func() {
			defer close(slow)
			_, _ = b.ask(get("t", "secret/data/a?version=1"))
		}()
		synctest.Wait()
		if n := b.dead(cred.Redact("t")); n != 2 {
			t.Errorf("%d entries went", n)
		}
		close(gate)
		<-slow
		if s := b.Stats(); s.Entries != 1 {
			t.Errorf("%d entries are left", s.Entries)
		}
		b.want(get("u", "secret/data/a"), 200, exchange.Hit, "one")
	})
}

func TestATokenRevokedByItsShortSpellingGetsNothing(t *testing.T) {
	// What the server gives out, and what it shows when the token is looked up.
	const long = "hvs.CAESIPE-abgROoPGd3uXvzjnl_uKnelr3VUBrDbghXViCHMqGh4KHGh2cy5EWUtXbmxPblF1U2NmdE1kd2tNUmpSN1E"
	const short = "hvs.DYKWnlOnQuScftMdwkMRjR7Q"
	for _, other := range []string{short, " " + short} {
		story(t, Options{Leases: &idle{}}, func(b *bench) {
			b.want(get(long, "secret/data/a"), 200, exchange.Miss, "one")
			b.want(get(long, "secret/data/a"), 200, exchange.Hit, "one")
			b.Passed(put("root", "auth/token/revoke", `{"token":"`+other+`"}`), 204)
			b.with(func() { b.denied[long] = true })
			b.want(get(long, "secret/data/a"), 403, exchange.Miss, "denied")
		})
	}
}

func TestATokenGoesWithTheOneThatItWasMadeWithElsewhere(t *testing.T) {
	for name, a := range map[string]*exchange.Ask{
		"by its token":    put("root", "auth/token/revoke", `{"token":"parent"}`),
		"by its accessor": put("root", "auth/token/revoke-accessor", `{"accessor":"acc-parent"}`),
		"by itself":       put("parent", "auth/token/revoke-self", ""),
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{Leases: &idle{}, Static: Static{TTL: time.Hour}}, func(b *bench) {
				b.with(func() {
					b.tokens["parent"] = cred.Token{Accessor: "acc-parent"}
					b.tokens["alone"] = cred.Token{Orphan: true}
				})
				for _, tok := range []string{"parent", "child", "alone"} {
					b.want(get(tok, "secret/data/a"), 200, exchange.Miss, "one")
					b.want(get(tok, "secret/data/a"), 200, exchange.Hit, "one")
				}
				b.Passed(a, 204)
				b.with(func() { b.denied["parent"], b.denied["child"] = true, true })
				b.want(get("child", "secret/data/a"), 403, exchange.Miss, "denied")
				b.want(get("alone", "secret/data/a"), 200, exchange.Hit, "one")
			})
		})
	}
}

func TestATokenIsGivenNothingAfterItsEnd(t *testing.T) {
	for _, tok := range []string{"hvs.x", "hvb.x"} {
		for _, leases := range []Leases{nil, &idle{}} {
			story(t, Options{Leases: leases, Static: Static{TTL: time.Hour, Stale: time.Hour, Capabilities: time.Hour}}, func(b *bench) {
				b.tokens[tok] = cred.Token{Lease: cred.Lease{Duration: time.Minute, Issued: time.Now()}}
				a := get(tok, "secret/data/a")
				b.want(a, 200, exchange.Miss, "one")
				time.Sleep(time.Minute - 1)
				b.want(a, 200, exchange.Hit, "one")
				if leases != nil || tok == "hvb.x" {
					b.want(get(tok, "secret/data/a?version=1"), 200, exchange.Miss, "one")
				}
				if n := b.lookups.Load(); n != 1 {
					t.Errorf("%s: %d look-ups", tok, n)
				}
				time.Sleep(time.Nanosecond)
				b.with(func() { b.down = unreachable })
				if ans, err := b.ask(a); err == nil {
					t.Errorf("%s: %q after its end", tok, ans.From)
				}
				// Its owner renewed it, and nobody told us.
				b.with(func() {
					b.down = nil
					b.tokens[tok] = cred.Token{Lease: cred.Lease{Duration: time.Minute, Issued: time.Now()}}
				})
				// What was asked for while the end was noticed is not kept.
				b.want(a, 200, exchange.Miss, "one")
				_, _ = b.ask(a)
				b.want(a, 200, exchange.Hit, "one")
			})
		}
	}
}

func TestATokenWhoseUsesAreCountedIsNotSparedAny(t *testing.T) {
	for _, leases := range []Leases{nil, &idle{}} {
		story(t, Options{Leases: leases}, func(b *bench) {
			b.tokens["t"] = cred.Token{Uses: 3}
			for range 3 {
				b.want(get("t", "secret/data/a"), 200, exchange.Miss, "one")
			}
			if n := b.lookups.Load(); n != 1 {
				t.Errorf("%d look-ups", n)
			}
		})
	}
}

func TestAChangedPolicyCountsAtOnce(t *testing.T) {
	for _, policy := range []string{"sys/policies/acl/app", "sys/policy/app", "n/sys/policy/app", "identity/group/id/1", "identity/entity"} {
		aPolicyChanges(t, policy)
	}
}

func aPolicyChanges(t *testing.T, policy string) {
	story(t, Options{Static: Static{TTL: time.Hour}}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		time.Sleep(time.Second)
		b.Passed(put("root", "identity/oidc/key/a", "{}"), 204)
		b.want(a, 200, exchange.Hit, "one")
		b.denied["t secret/data/a"] = true
		b.Passed(put("root", policy, "{}"), 204)
		b.want(a, 403, exchange.Miss, "denied")
	})
}

func TestAnEventDropsTheSecretInWhateverNamespace(t *testing.T) {
	for touched, evicts := range map[string]bool{
		"secret/data/a": true, "secret/metadata/a": true, "secret/a": true, "secret/data/b": false, "other/data/a": false,
	} {
		for _, spelling := range []*exchange.Ask{get("t", "secret/data/a"), get("t", "n/secret/data/a"), get("t", "secret/data/a")} {
			story(t, Options{}, func(b *bench) {
				read := func(context.Context) (*exchange.Answer, error) {
					return answer(200, `{"data":{"data":{},"metadata":{}},"mount_type":"kv"}`), nil
				}
				_, _ = b.Do(b.t.Context(), spelling, read)
				b.Touch(touched)
				if _, hit := b.Look(spelling); hit == evicts {
					t.Errorf("%s: after a change of %s a hit is %v", spelling.Path, touched, hit)
				}
			})
		}
	}
}

func TestAfterMissedEventsEachSecretIsLookedAt(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour}}, func(b *bench) {
		b.set("b", "other")
		a, other := get("t", "secret/data/a"), get("t", "secret/data/b")
		b.want(a, 200, exchange.Miss, "one")
		b.want(other, 200, exchange.Miss, "other")
		time.Sleep(time.Second)
		b.set("a", "two")
		b.Touch("")
		time.Sleep(time.Second)
		b.want(a, 200, exchange.Miss, "two")
		b.want(other, 200, exchange.Hit, "other")
		b.counts(3, 2, 0)
		b.want(other, 200, exchange.Hit, "other")
		b.counts(3, 2, 0)
	})
}

func TestTheClientSaysHowTheCacheIsUsed(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour}}, func(b *bench) {
		a := get("t", "secret/data/a")
		with := func(name, value string) *exchange.Ask {
			c := get("t", "secret/data/a")
			c.Header.Set(name, value)
			return c
		}
		b.want(with("X-Vault-Cache-Control", "nocache"), 200, exchange.Miss, "one")
		if n := b.Stats().Entries; n != 0 {
			t.Fatal("nocache filled the cache")
		}
		b.want(with("X-Vault-Cache-Control", "cache"), 200, exchange.Miss, "one")
		b.set("a", "two")
		b.want(a, 200, exchange.Hit, "one")
		b.want(with("X-Vault-Cache-Control", "nocache"), 200, exchange.Miss, "two")
		b.want(a, 200, exchange.Hit, "one")
		b.want(with("X-Vault-Cache-Control", "cache, recache"), 200, exchange.Miss, "two")
		b.want(a, 200, exchange.Hit, "two")
		b.set("a", "three")
		b.want(with("X-Vault-Index", "v1:abc"), 200, exchange.Miss, "three")
		b.want(a, 200, exchange.Hit, "three")
	})
}

func TestAServerThatDoesNotNameTheEngineIsAskedOnce(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		b.silent = true
		for i := range 5 {
			b.set(fmt.Sprint("s", i), "x")
			a := get("t", fmt.Sprint("secret/data/s", i))
			b.want(a, 200, exchange.Miss, "x")
			b.want(a, 200, exchange.Hit, "x")
			other, n := get("t", fmt.Sprint("other/keys/", i)), 0
			for range 2 {
				_, _ = b.Do(b.t.Context(), other, func(context.Context) (*exchange.Answer, error) {
					n++
					return answer(200, `{"data":{"keys":{}}}`), nil
				})
			}
			if n != 2 {
				t.Error("another engine's answer was kept")
			}
		}
		if n := b.mounts.Load(); n != 2 {
			t.Errorf("%d questions about the engine", n)
		}
	})
}

func TestWhatIsNoSecretIsNotKept(t *testing.T) {
	secret := `{"lease_id":"","data":{"data":{},"metadata":{}},"mount_type":"kv"}`
	for name, c := range map[string]struct {
		a    *exchange.Ask
		body string
		do   func(*exchange.Answer)
	}{
		"a list":                {get("t", "secret/metadata/?list=true"), `{"data":{"keys":[]},"mount_type":"kv"}`, nil},
		"a list, escaped":       {get("t", "secret/metadata?%6cist=1"), `{"data":{"keys":[]},"mount_type":"kv"}`, nil},
		"help":                  {get("t", "secret/data/a?help=1"), secret, nil},
		"another engine":        {get("t", "pki/cert/ca"), `{"data":{},"mount_type":"pki"}`, nil},
		"a lease":               {get("t", "secret/data/a"), `{"lease_id":"x","data":{},"mount_type":"kv"}`, nil},
		"a login":               {get("t", "secret/data/a"), `{"auth":{"client_token":"x"},"data":{},"mount_type":"kv"}`, nil},
		"wrapped":               {get("t", "secret/data/a"), `{"wrap_info":{"token":"x"},"data":{},"mount_type":"kv"}`, nil},
		"no data":               {get("t", "secret/data/a"), `{"data":null,"mount_type":"kv"}`, nil},
		"no JSON":               {get("t", "secret/data/a"), secret + "x", nil},
		"no JSON inside":        {get("t", "secret/data/a"), `{"data":{"a":nul},"mount_type":"kv"}`, nil},
		"another type":          {get("t", "secret/data/a"), secret, func(a *exchange.Answer) { a.Header.Set("Content-Type", "text/plain") }},
		"compressed":            {get("t", "secret/data/a"), secret, func(a *exchange.Answer) { a.Header.Set("Content-Encoding", "gzip") }},
		"202":                   {get("t", "secret/data/a"), secret, func(a *exchange.Answer) { a.Status = 202 }},
		"a write":               {put("t", "secret/data/a", "{}"), secret, nil},
		"nobody's":              {get("", "secret/data/a"), secret, nil},
		"already over":          {get("t", "secret/data/a"), `{"data":{"data":{},"metadata":{"deletion_time":"2000-01-01T00:00:00Z"}},"mount_type":"kv"}`, nil},
		"the server's own path": {get("t", "sys/internal/x"), secret, nil},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, func(b *bench) {
				for range 2 {
					ans, err := b.Do(b.t.Context(), c.a, func(context.Context) (*exchange.Answer, error) {
						ans := answer(200, c.body)
						if c.do != nil {
							c.do(ans)
						}
						return ans, nil
					})
					if err != nil || ans.From != exchange.Miss {
						t.Errorf("%q, %v", ans.From, err)
					}
				}
				if _, hit := b.Look(c.a); hit {
					t.Error("a hit")
				}
			})
		})
	}
}

func TestAVersionThatDeletesItselfIsNotGivenLater(t *testing.T) {
	story(t, Options{Static: Static{TTL: time.Hour, Stale: time.Hour}}, func(b *bench) {
		a := get("t", "secret/data/a")
		ends := time.Now().Add(10 * time.Second).Format(time.RFC3339Nano)
		away := false
		fetch := func(context.Context) (*exchange.Answer, error) {
			if away {
				return nil, unreachable
			}
			return answer(200, fmt.Sprintf(`{"data":{"data":{},"metadata":{"deletion_time":%q,"version":1}},"mount_type":"kv"}`, ends)), nil
		}
		_, _ = b.Do(b.t.Context(), a, fetch)
		time.Sleep(10*time.Second - 1)
		if _, hit := b.Look(a); !hit {
			t.Error("no hit before its end")
		}
		time.Sleep(time.Nanosecond)
		away = true
		if ans, err := b.Do(b.t.Context(), a, fetch); err == nil {
			t.Errorf("%q after its end", ans.From)
		}
	})
}

func TestHeadersOfOneExchangeAreNotKept(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		b.set("b", "other")
		a, other := get("t", "secret/data/a"), get("t", "secret/data/b")
		b.want(a, 200, exchange.Miss, "one")
		b.want(other, 200, exchange.Miss, "other")
		x, _ := b.ask(a)
		y, _ := b.ask(other)
		if x.Header.Get("Date") != "" || x.Header.Get("Cache-Control") != "no-store" || x.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%v", x.Header)
		}
		x.Header.Set("X-Same", "1") // which nobody but this test does
		if y.Header.Get("X-Same") != "1" {
			t.Error("equal headers are kept twice")
		}
	})
}

func TestStaticsCanBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newKV()
		c := New(Options{Server: s})
		s.set("a", "one")
		a := get("t", "secret/data/a")
		for range 2 {
			if ans, err := c.Do(t.Context(), a, s.fetch(a, "t")); err != nil || ans.From != exchange.Miss {
				t.Errorf("%v %v", ans, err)
			}
		}
		if c.Stats().Entries != 0 || c.Stats().Misses != 2 {
			t.Errorf("%+v", c.Stats())
		}
	})
}

// The clock of a test cannot be set back; what is asked of it can.
func TestAfterTheClockWasSetBackNothingIsFresh(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a := get("t", "secret/data/a")
		b.want(a, 200, exchange.Miss, "one")
		k, _, _ := keyOf(a, nil)
		e := b.store.get(&k)
		now := time.Now()
		for back, fresh := range map[time.Duration]bool{0: true, time.Second: true, 3 * time.Second: false, 24 * time.Hour: false} {
			at := now.Add(-back).UnixNano()
			if b.fresh(e, at) != fresh || (b.right(e, at) == sure) != fresh {
				t.Errorf("set back by %v: fresh %v, right %v", back, b.fresh(e, at), b.right(e, at))
			}
		}
	})
}
