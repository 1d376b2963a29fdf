package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

const app, other = "/v1/db/creds/app", "/v1/db/creds/other"

func TestALeaseIsGivenOutAgainAndKeptAlive(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours")
	body := k.lease("db/creds/app")
	first := k.ask(by("@default", "GET", app, ""), "ours", 200, body)
	again := k.ask(by("@default", "GET", app, ""), "ours", 200, k.lease("db/creds/app"))
	if first.From != exchange.Miss || again.From != exchange.Hit || string(again.Body) != body || k.asked != 1 {
		t.Errorf("first %v, then %v, %d requests, %s", first.From, again.From, k.asked, again.Body)
	}
	k.kept("db/creds/app/lease1")
	if h := k.leases.get(t, "db/creds/app/lease1"); h.Lease.ID != "db/creds/app/lease1" || h.Lease.Duration != time.Minute || !h.Lease.Renewable {
		t.Errorf("kept alive as %+v", h.Lease)
	}
	k.leases.renew(t, "db/creds/app/lease1")
	if got := k.server.renewals; len(got) != 1 || got[0] != "ours  db/creds/app/lease1" {
		t.Errorf("renewed %q", got)
	}
}

func TestALeaseIsGivenOutToItsTokenAlone(t *testing.T) {
	k := newKin(t)
	k.creds("alice", "", app)
	k.cached(true, "alice", app)
	k.cached(false, "bob", app)
	k.cached(false, "@default", app)
	k.creds("bob", "", app)
	k.kept("db/creds/app/lease1", "db/creds/app/lease2", "token acc-alice", "token acc-bob")
}

func TestWhatIsNotKept(t *testing.T) {
	leased := func(k *kin, from, to string) string { return strings.Replace(k.lease("db/creds/app"), from, to, 1) }
	for name, body := range map[string]func(*kin) string{
		"not renewable":   func(k *kin) string { return leased(k, `"renewable":true`, `"renewable":false`) },
		"no time":         func(k *kin) string { return k.leaseFor("db/creds/app", 0) },
		"wrapped":         func(k *kin) string { return leased(k, `"wrap_info":null`, `"wrap_info":{"token":"w"}`) },
		"a batch token":   func(*kin) string { return strings.Replace(loginAnswer("n", 60, true, ""), "service", "batch", 1) },
		"limited uses":    func(*kin) string { return loginAnswer("n", 60, true, `,"num_uses":5`) },
		"a login for mfa": func(*kin) string { return loginAnswer("", 60, true, `,"mfa_requirement":{"mfa_request_id":"x"}`) },
		"a token for ever": func(*kin) string {
			return strings.Replace(loginAnswer("n", 0, true, ""), `"renewable":true`, `"renewable":false`, -1)
		},
		"auth that is no token": func(*kin) string { return `{"auth":{"client_token":7,"renewable":true,"lease_duration":9}}` },
		"auth that is a text":   func(*kin) string { return `{"auth":"client_token"}` },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKin(t)
			k.adopt("default", "ours")
			k.ask(by("@default", "GET", app, ""), "ours", 200, body(k))
			k.cached(false, "@default", app)
			k.kept()
		})
	}
	for _, path := range []string{
		"sys/leases/renew", "sys/leases/renew/db/creds/app/x", "sys/renew", "auth/token/renew", "auth/token/renew-self",
		"auth/token/renew-accessor", "sys/wrapping/unwrap", "ns/sys/leases/renew", "sys/wrapping/rewrap",
	} {
		t.Run(path, func(t *testing.T) {
			k := newKin(t)
			k.adopt("default", "ours")
			for _, body := range []string{k.lease("db/creds/app"), loginAnswer("n", 60, true, "")} {
				a := by("@default", "PUT", "/v1/"+path, `{"x":"y"}`)
				k.ask(a, "ours", 200, body)
				if _, ok := k.c.Look(a); ok {
					t.Errorf("kept %s", body)
				}
			}
			k.kept()
		})
	}
	t.Run("no token", func(t *testing.T) {
		k := newKin(t)
		k.ask(by("", "GET", app, ""), "", 200, k.lease("db/creds/app"))
		k.kept()
	})
	t.Run("nobody keeps leases", func(t *testing.T) {
		k := newKin(t, func(o *Options) { o.Leases = nil })
		k.adopt("default", "ours")
		k.creds("@default", "ours", app)
		k.cached(false, "@default", app)
	})
}

func TestATokenMadeElsewhereIsLookedUpOnce(t *testing.T) {
	k := newKin(t)
	release := make(chan struct{})
	k.server.lookup = func(tok string) (cred.Token, error) {
		<-release
		return cred.Token{Accessor: "a", Type: "service", Lease: cred.Lease{Duration: time.Hour, Issued: cred.Wall(time.Now())}}, nil
	}
	var wg sync.WaitGroup
	for i := range 50 {
		path := fmt.Sprintf("db/creds/app%d", i)
		body := k.lease(path)
		wg.Go(func() {
			_, err := k.c.Do(t.Context(), by("alice", "GET", "/v1/"+path, ""), func(context.Context) (*exchange.Answer, error) {
				return told("alice", 200, body), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	for i := range 50 {
		k.cached(true, "alice", fmt.Sprintf("/v1/db/creds/app%d", i))
	}
	if k.server.lookups != 1 {
		t.Errorf("%d lookups", k.server.lookups)
	}
	if h := k.leases.get(t, "token a"); h.Renew != nil {
		t.Error("a client's token is renewed")
	}
	k.sound()
}

func TestATokenOfNoUseIsNotLookedUpAllTheTime(t *testing.T) {
	long := cred.Lease{Duration: time.Hour}
	for name, tc := range map[string]struct {
		tok   string
		info  cred.Token
		err   error
		first int           // lookups for two leases
		after time.Duration // it is looked up again
	}{
		"limited uses":      {"alice", cred.Token{Uses: 3, Lease: long}, nil, 1, aLongWhile},
		"batch":             {"alice", cred.Token{Type: "batch", Lease: long}, nil, 1, aLongWhile},
		"batch by its name": {"hvb.x", cred.Token{Lease: long}, nil, 0, 0},
		"may not look up":   {"alice", cred.Token{}, &vault.Error{Kind: vault.ErrDenied}, 1, aLongWhile},
		"the server is ill": {"alice", cred.Token{}, &vault.Error{Kind: vault.ErrSealed}, 1, aShortWhile},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newKin(t)
				k.server.lookup = func(string) (cred.Token, error) { return tc.info, tc.err }
				k.creds(tc.tok, "", app)
				k.creds(tc.tok, "", other)
				k.kept()
				if k.server.lookups != tc.first {
					t.Errorf("%d lookups, want %d", k.server.lookups, tc.first)
				}
				if tc.first == 0 {
					return
				}
				time.Sleep(tc.after - time.Second)
				k.creds(tc.tok, "", app)
				time.Sleep(time.Second)
				if k.server.lookups != tc.first {
					t.Error("looked up again too soon")
				}
				k.creds(tc.tok, "", app)
				if k.server.lookups != tc.first+1 {
					t.Error("never looked up again")
				}
			})
		})
	}
}

func TestAClientThatHangsUpDuringTheLookupSpoilsItForNobody(t *testing.T) {
	k := newKin(t)
	ctx, cancel := context.WithCancel(t.Context())
	k.server.lookup = func(string) (cred.Token, error) {
		cancel()
		return cred.Token{}, errors.New("broken off")
	}
	since := k.c.family.since()
	ans := told("alice", 200, k.lease("db/creds/app"))
	t1, _ := scan(ans.Body)
	if k.c.kept(ctx, by("alice", "GET", app, ""), Key{1}, t1, ans, since) {
		t.Error("kept without a token")
	}
	k.server.lookup = nil
	k.creds("alice", "", app)
	k.cached(true, "alice", app)
}

func TestALimitedTokenMadeThroughUsIsNotLookedUp(t *testing.T) {
	k := newKin(t)
	k.ask(by("", "POST", "/v1/auth/x/login", "{}"), "", 200, loginAnswer("limited", 60, true, `,"num_uses":2`))
	k.creds("limited", "", app)
	if k.server.lookups != 0 {
		t.Error("the lookup took one of its uses")
	}
	k.kept()
}

func TestALoginIsGivenOutAgainAndEndsWithAllThatWasMadeWithIt(t *testing.T) {
	k := newKin(t)
	login := by("", "POST", "/v1/auth/userpass/login/u", `{"password":"p"}`)
	k.ask(login, "", 200, loginAnswer("child", 3600, true, ""))
	if ans, ok := k.c.Look(login); !ok || !strings.Contains(string(ans.Body), "child") {
		t.Fatal("the login is not given out again")
	}
	k.creds("child", "", app)
	k.ask(by("child", "POST", "/v1/auth/token/create", `{}`), "", 200, loginAnswer("grandchild", 3600, false, ""))
	k.creds("grandchild", "", other)
	k.kept("token acc-child", "token acc-grandchild", "db/creds/app/lease1", "db/creds/other/lease2")
	if k.server.lookups != 0 {
		t.Error("a token that was made through the cache was looked up")
	}
	k.leases.renew(t, "token acc-grandchild")
	k.leases.over(t, "token acc-grandchild")
	k.cached(false, "grandchild", other)
	k.cached(true, "child", app)
	k.kept("token acc-child", "db/creds/app/lease1")
	k.leases.over(t, "token acc-child")
	if _, ok := k.c.Look(login); ok {
		t.Error("the login outlives its token")
	}
	k.cached(false, "child", app)
	k.kept()
}

func TestATokenThatIsNoOrphanNeedsAParentThatIsKnown(t *testing.T) {
	k := newKin(t)
	k.server.lookup = func(string) (cred.Token, error) { return cred.Token{}, &vault.Error{Kind: vault.ErrDenied} }
	k.ask(by("alice", "POST", "/v1/auth/token/create", `{}`), "", 200, loginAnswer("child", 3600, false, ""))
	k.kept()
	k.ask(by("alice", "POST", "/v1/auth/token/create-orphan", `{}`), "", 200, loginAnswer("orphan", 3600, true, ""))
	k.kept("token acc-orphan")
}

func TestNothingOutlivesTheTokenItWasMadeWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKin(t)
		login := by("", "POST", "/v1/auth/userpass/login/u", `{}`)
		k.ask(login, "", 200, loginAnswer("child", 60, true, ""))
		k.ask(by("child", "GET", app, ""), "", 200, k.leaseFor("db/creds/app", 3600))
		time.Sleep(59 * time.Second)
		k.cached(true, "child", app)
		k.leases.renew(t, "token acc-child") // for a minute from now
		time.Sleep(59 * time.Second)
		k.cached(true, "child", app)
		if _, ok := k.c.Look(login); !ok {
			t.Error("the login is not given out as long as its token lives")
		}
		time.Sleep(time.Second)
		k.cached(false, "child", app)
		if _, ok := k.c.Look(login); ok {
			t.Error("the login outlives its token")
		}
	})
}

func TestATokenMadeElsewhereIsLookedUpAgainAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKin(t)
		k.ask(by("alice", "GET", app, ""), "", 200, k.leaseFor("db/creds/app", 7200))
		time.Sleep(time.Hour)
		k.cached(false, "alice", app)
		k.creds("alice", "", app) // its owner renewed it
		if k.server.lookups != 2 {
			t.Errorf("%d lookups", k.server.lookups)
		}
		k.cached(true, "alice", app)
		k.kept("token acc-alice", "db/creds/app/lease2")
	})
}

func TestALeaseForAgesDoesNotEndAtOnce(t *testing.T) {
	k := newKin(t)
	k.server.lookup = func(string) (cred.Token, error) {
		return cred.Token{Accessor: "a", Lease: cred.Lease{Duration: 1<<63 - 1, Issued: cred.Wall(time.Now())}}, nil
	}
	k.ask(by("alice", "GET", app, ""), "", 200, strings.Replace(k.lease("db/creds/app"), ":60", ":9223372036854775807", 1))
	k.cached(true, "alice", app)
	k.kept("token a", "db/creds/app/lease1")
}

func TestALeaseEndsByTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKin(t)
		k.adopt("default", "ours")
		k.creds("@default", "ours", app)
		time.Sleep(50 * time.Second)
		k.leases.renew(t, "db/creds/app/lease1")
		time.Sleep(59 * time.Second)
		k.cached(true, "@default", app)
		time.Sleep(time.Second)
		k.cached(false, "@default", app)
		// Nobody renewed it, and nobody said that it is over: it is replaced.
		if from := k.creds("@default", "ours", app); from != exchange.Miss {
			t.Errorf("%v", from)
		}
		k.kept("db/creds/app/lease2")
	})
}

func TestALeaseThatCannotBeRenewedIsReplaced(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours")
	k.creds("@default", "ours", app)
	k.leases.over(t, "db/creds/app/lease1")
	k.cached(false, "@default", app)
	k.kept()
	k.creds("@default", "ours", app)
	k.kept("db/creds/app/lease2")
}

func TestAnIdentityThatLogsInAnewGetsNewLeases(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours1")
	k.adopt("batch", "theirs")
	k.creds("@default", "ours1", app)
	k.creds("@batch", "theirs", app)
	k.adopt("default", "ours1") // the same again is nothing
	k.cached(true, "@default", app)
	k.adopt("default", "ours2")
	k.cached(false, "@default", app)
	k.cached(true, "@batch", app)
	k.kept("db/creds/app/lease1", "db/creds/app/lease2")
	k.creds("@default", "ours2", app)
	k.kept("db/creds/app/lease1", "db/creds/app/lease2", "db/creds/app/lease3")
	k.leases.renew(t, "db/creds/app/lease1")
	if got := k.server.renewals; len(got) != 1 || got[0] != "ours1  db/creds/app/lease1" {
		t.Errorf("the old lease was renewed as %q", got)
	}
	k.leases.over(t, "db/creds/app/lease1")
	k.kept("db/creds/app/lease2", "db/creds/app/lease3")
	if n := len(k.c.family.byToken); n != 2 {
		t.Errorf("%d tokens are known, and one of them has nothing any more", n)
	}
	k.c.Adopt("default", cred.Token{})
	k.cached(false, "@default", app)
	if k.creds("@default", "ours2", app); k.asked != 4 {
		t.Errorf("asked %d times", k.asked)
	}
	k.cached(false, "@default", app)
}

func TestTwoIdentitiesMayHaveOneToken(t *testing.T) {
	k := newKin(t)
	k.adopt("a", "ours")
	k.adopt("b", "ours")
	k.creds("@a", "ours", app)
	k.creds("@b", "ours", app)
	k.adopt("a", "ours2")
	k.creds("@b", "ours", app)
	k.cached(true, "@b", app)
	k.adopt("b", "ours3")
	k.cached(false, "@b", app)
	k.sound()
}

func TestALimitedTokenOfOursMakesNothingThatIsKept(t *testing.T) {
	for _, tok := range []cred.Token{{Value: cred.Redact("ours"), Uses: 5}, {Value: cred.Redact("ours"), Type: "batch"}} {
		k := newKin(t)
		k.c.Adopt("default", tok)
		k.creds("@default", "ours", app)
		k.cached(false, "@default", app)
		k.kept()
	}
}

func TestWhatOurTokenMadeEndsWithItThoughNoOtherComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lease atomic.Pointer[cred.Lease]
		lease.Store(&cred.Lease{})
		k := newKin(t, func(o *Options) {
			o.Lent = func(string) cred.Token { return cred.Token{Value: cred.Redact("ours"), Lease: *lease.Load()} }
		})
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go func() { _ = k.c.Keep(ctx) }()
		renewed := func() { lease.Store(&cred.Lease{Duration: time.Minute, Issued: cred.Wall(time.Now())}) }
		k.adopt("default", "ours")
		k.ask(by("@default", "GET", app, ""), "ours", 200, k.leaseFor("db/creds/app", 3600))
		renewed()
		time.Sleep(50 * time.Second)
		k.cached(true, "@default", app)
		renewed()
		time.Sleep(59 * time.Second)
		k.cached(true, "@default", app)
		// A client may renew it, too, and for less.
		k.ask(by("@default", "PUT", "/v1/auth/token/renew-self", ""), "ours", 200, loginAnswer("ours", 30, true, ""))
		time.Sleep(29 * time.Second)
		k.cached(true, "@default", app)
		time.Sleep(time.Second)
		k.cached(false, "@default", app)
		k.sound()
	})
}

func TestWhatWasUnderWayWhenTheIdentityLoggedInAnewIsNotKept(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours1")
	_, err := k.c.Do(t.Context(), by("@default", "GET", app, ""), func(context.Context) (*exchange.Answer, error) {
		k.adopt("default", "ours2")
		return told("ours1", 200, k.lease("db/creds/app")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k.cached(false, "@default", app)
	k.kept()
}

func TestOneLeaseIsNotGivenOutForTwoRequests(t *testing.T) {
	// A server behind another cache may answer so.
	k := newKin(t)
	k.adopt("default", "ours")
	body := k.lease("db/creds/app")
	k.ask(by("@default", "GET", app, ""), "ours", 200, body)
	k.ask(by("@default", "GET", app+"?x=1", ""), "ours", 200, body)
	k.ask(by("alice", "GET", app, ""), "", 200, body)
	k.cached(true, "@default", app)
	k.cached(false, "alice", app)
	k.kept("db/creds/app/lease1", "token acc-alice")
	k.adopt("default", "ours2")
	k.ask(by("@default", "GET", app, ""), "ours2", 200, body)
	k.cached(true, "@default", app)
	k.kept("db/creds/app/lease1", "token acc-alice")
}

func TestWhenThereIsNoRoomTheLogSaysSoOnce(t *testing.T) {
	k := newKin(t, func(o *Options) { o.MaxEntries = 10 })
	k.adopt("default", "ours")
	for i := range 30 {
		k.creds("@default", "ours", fmt.Sprintf("/v1/db/creds/r%d", i))
	}
	if n := len(k.leases.keys()); n != 10 {
		t.Errorf("%d leases are kept alive, want 10", n)
	}
	if n := strings.Count(k.log.String(), "the cache is full"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, k.log)
	}
	k.sound()
}

func TestALoginThatIsDroppedForRoomStillHasItsLeases(t *testing.T) {
	k := newKin(t)
	login := by("", "POST", "/v1/auth/userpass/login/u", `{}`)
	k.ask(login, "", 200, loginAnswer("child", 3600, true, ""))
	k.creds("child", "", app)
	f := &k.c.family
	var key Key
	for other, m := range f.byKey {
		if m.isToken() {
			key = other
		}
	}
	k.c.evict(key)
	f.forget(key)
	k.cached(true, "child", app)
	if h := k.leases.get(t, "token acc-child"); h.Renew != nil {
		t.Error("a login that is given out no more is still renewed")
	}
	k.leases.over(t, "token acc-child")
	k.cached(false, "child", app)
	k.kept()
}

func TestAnAnswerThatIsTooLargeIsPassedOn(t *testing.T) {
	k := newKin(t, func(o *Options) { o.MaxBytes = 8 << 10 })
	k.adopt("default", "ours")
	body := strings.Replace(k.lease("db/creds/app"), `"p1"`, `"`+strings.Repeat("x", 64<<10)+`"`, 1)
	if ans := k.ask(by("@default", "GET", app, ""), "ours", 200, body); string(ans.Body) != body {
		t.Error("another answer")
	}
	k.cached(false, "@default", app)
	k.kept()
}

func TestALeaseIsRenewedInItsNamespace(t *testing.T) {
	for name, tc := range map[string]struct {
		a    *exchange.Ask
		want string
	}{
		"in the header":   {in("team/", by("@default", "GET", "/v1/db/creds/app", "")), "ours team/ db/creds/app/lease1"},
		"in the path":     {by("@default", "GET", "/v1/team/db/creds/app", ""), "ours team/ db/creds/app/lease1"},
		"in both":         {in("a/", by("@default", "GET", "/v1/b/db/creds/app", "")), "ours a/b/ db/creds/app/lease1"},
		"in neither":      {by("@default", "GET", "/v1/db/creds/app", ""), "ours  db/creds/app/lease1"},
		"somewhere else?": {in("team/", by("@default", "GET", "/v1/database/creds/app", "")), "ours team/ db/creds/app/lease1"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKin(t)
			k.adopt("default", "ours")
			k.ask(tc.a, "ours", 200, k.lease("db/creds/app"))
			k.leases.renew(t, "db/creds/app/lease1")
			if got := k.server.renewals; len(got) != 1 || got[0] != tc.want {
				t.Errorf("renewed %q, want %q", got, tc.want)
			}
		})
	}
	k := newKin(t)
	k.ask(in("a/", by("", "POST", "/v1/b/auth/x/login", "{}")), "", 200, loginAnswer("child", 60, true, ""))
	k.leases.renew(t, "token acc-child")
	if got := k.server.renewals; len(got) != 1 || got[0] != "a/b/child" {
		t.Errorf("the token was renewed as %q", got)
	}
}

func TestReadingAgainReplacesALease(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours")
	k.creds("@default", "ours", app)
	again := by("@default", "GET", app, "")
	again.Header.Set("X-Vault-Cache-Control", "recache")
	k.ask(again, "ours", 200, k.lease("db/creds/app"))
	ans, ok := k.c.Look(by("@default", "GET", app, ""))
	if !ok || !strings.Contains(string(ans.Body), "lease2") {
		t.Error("the old lease is still given out")
	}
	k.kept("db/creds/app/lease2")
}

func TestAnIdentityMayUseATokenThatWasMadeThroughTheCache(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours")
	k.ask(by("@default", "POST", "/v1/auth/token/create", "{}"), "ours", 200, loginAnswer("child", 3600, false, ""))
	k.adopt("second", "child")
	k.creds("@second", "child", app)
	k.c.clear(clearing{Type: "all"})
	k.cached(false, "@second", app)
	k.creds("@second", "child", app)
	k.cached(true, "@second", app)
	// The token it was made with is revoked, and everything with it but the
	// standing of what an identity uses: whether that still works, it finds out.
	revoked(k, by("root", "POST", "/v1/auth/token/revoke", `{"token":"ours"}`))
	k.cached(false, "@second", app)
	k.adopt("default", "ours2")
	k.sound()
	k.adopt("second", "ours3")
	k.sound()
}

func TestAParentThatEndsLeavesATokenOfOursStanding(t *testing.T) {
	k := newKin(t)
	k.ask(by("", "POST", "/v1/auth/x/login", "{}"), "", 200, loginAnswer("parent", 3600, true, ""))
	k.ask(by("parent", "POST", "/v1/auth/token/create", "{}"), "", 200, loginAnswer("child", 3600, false, ""))
	k.adopt("default", "child")
	k.creds("@default", "child", app)
	k.leases.over(t, "token acc-parent")
	k.cached(false, "@default", app)
	k.creds("@default", "child", app)
	k.cached(true, "@default", app)
	k.sound()
}

func TestLeasesOfThePastAreNotCollectedForEver(t *testing.T) {
	k := newKin(t, func(o *Options) { o.MaxEntries = 5 })
	for login := range 10 {
		tok := fmt.Sprintf("ours%d", login)
		k.adopt("default", tok)
		for i := range 5 {
			k.creds("@default", tok, fmt.Sprintf("/v1/db/creds/r%d", i))
		}
	}
	if n := len(k.leases.keys()); n > 3*5 {
		t.Errorf("%d leases are kept alive for 5 entries", n)
	}
	k.sound()
}

func TestTokensOfNoUseAreForgottenWhenTheyAreMany(t *testing.T) {
	k := newKin(t)
	f := &k.c.family
	for i := range 3 * manyRefused {
		f.lock()
		f.refuse(tokenID{byte(i), byte(i >> 8), byte(i >> 16)}, aLongWhile)
		f.unlock()
	}
	if n := len(f.refused); n > manyRefused {
		t.Errorf("%d are remembered", n)
	}
}
