package cache

import (
	"context"
	"fmt"
	"net/http"
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

// desk answers any request, and counts.
type desk struct {
	mu     sync.Mutex
	status int
	body   string
	kind   string
	lends  string // what lent requests are made with
	delay  time.Duration
	gate   chan struct{}
	asked  atomic.Int64
}

func (d *desk) fetch(a *exchange.Ask) exchange.Fetch {
	return func(ctx context.Context) (*exchange.Answer, error) {
		n := d.asked.Add(1)
		d.mu.Lock()
		status, body, kind, tok, delay, gate := d.status, d.body, d.kind, d.lends, d.delay, d.gate
		d.mu.Unlock()
		if a.Who.Lent == "" {
			tok = a.Who.Token.Reveal()
		}
		if gate != nil {
			<-gate
		}
		if delay > 0 {
			time.Sleep(delay)
		}
		ans := answer(status, strings.ReplaceAll(body, "N", fmt.Sprint(n)))
		if body == "" {
			ans.Header.Del("Content-Type")
		}
		if kind != "" {
			ans.Header.Set("Content-Type", kind)
		}
		ans.Token = cred.Redact(tok)
		return ans, ctx.Err()
	}
}

func (d *desk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// till is a cache before a desk.
type till struct {
	t *testing.T
	*desk
	*Cache
}

const plainBody = `{"lease_id":"","lease_duration":0,"data":{"n":"N"},"mount_type":"cubbyhole"}`

func newTill(t *testing.T, b Brief) *till {
	return &till{t, &desk{status: 200, body: plainBody, lends: "lent-1"}, New(Options{Brief: b})}
}

func (c *till) ask(a *exchange.Ask) (*exchange.Answer, error) {
	if ans, ok := c.Look(a); ok {
		return ans, nil
	}
	return c.Do(context.Background(), a, c.fetch(a))
}

// from asks and says from where the answer came; it has to be what the desk said at
// its nth request.
func (c *till) from(a *exchange.Ask, want exchange.From, n int) {
	c.t.Helper()
	ans, err := c.ask(a)
	if err != nil {
		c.t.Fatal(err)
	}
	if got := c.asked.Load(); ans.From != want || got != int64(n) {
		c.t.Fatalf("%s %s?%s: %q after %d requests, want %q after %d: %s", a.Method, a.Path, a.Query, ans.From, got, want, n, ans.Body)
	}
}

// with adds words for the cache to a request.
func with(a *exchange.Ask, words ...string) *exchange.Ask {
	a.Header = a.Header.Clone()
	a.Header["X-Vault-Cache-Control"] = words
	return a
}

func lent(path string) *exchange.Ask {
	a := get("", path)
	a.Who = exchange.Who{Lent: "default"}
	return a
}

func method(m string, a *exchange.Ask) *exchange.Ask { a.Method = m; return a }

func TestAClientDecidesWhatIsKeptBriefly(t *testing.T) {
	for _, tc := range []struct {
		name  string
		every bool
		words []string
		keeps bool // leaves an answer
		takes bool // has one that was left
	}{
		{"no word", false, nil, false, false},
		{"cache", false, []string{"cache"}, true, true},
		{"in any case", false, []string{"CaChe"}, true, true},
		{"recache", false, []string{"recache"}, true, false},
		{"nocache", false, []string{"nocache"}, false, false},
		{"cache and recache", false, []string{"cache, recache"}, true, false},
		{"the same as two headers", false, []string{"recache", "cache"}, true, false},
		{"with blanks", false, []string{" cache\t,\trecache "}, true, false},
		{"nocache beats cache", false, []string{"cache,nocache"}, false, false},
		{"nocache beats all", false, []string{"recache", "cache , NOCACHE"}, false, false},
		{"unknown words", false, []string{"max-age=5, please"}, false, false},
		{"unknown words beside", false, []string{"please,cache,,"}, true, true},
		{"every, no word", true, nil, true, true},
		{"every, unknown", true, []string{"please"}, true, true},
		{"every, nocache", true, []string{"nocache"}, false, false},
		{"every, recache", true, []string{"recache"}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTill(t, Brief{TTL: time.Minute, Every: tc.every})
			c.from(with(get("a", "x/y"), tc.words...), exchange.Miss, 1)
			if tc.keeps {
				c.from(with(get("a", "x/y"), "cache"), exchange.Hit, 1)
			} else {
				c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 2)
			}
			n := int(c.asked.Load())
			if tc.takes {
				c.from(with(get("a", "x/y"), tc.words...), exchange.Hit, n)
			} else {
				c.from(with(get("a", "x/y"), tc.words...), exchange.Miss, n+1)
			}
		})
	}
}

func TestWithoutATimeTheWordCacheKeepsNothing(t *testing.T) {
	c := newTill(t, Brief{Every: true})
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 1)
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 2)
}

func TestNocacheAndRecacheHoldForWhatTheCacheKeepsAnyway(t *testing.T) {
	b := newBench(t, Options{})
	b.set("app", "one")
	b.want(get("a", "secret/data/app"), 200, exchange.Miss, `"one"`)
	b.want(with(get("a", "secret/data/app"), "cache"), 200, exchange.Hit, `"one"`)
	b.set("app", "two")
	b.want(with(get("a", "secret/data/app"), "nocache"), 200, exchange.Miss, `"two"`)
	b.want(get("a", "secret/data/app"), 200, exchange.Hit, `"one"`)
	b.want(with(get("a", "secret/data/app"), "cache , recache"), 200, exchange.Miss, `"two"`)
	b.want(get("a", "secret/data/app"), 200, exchange.Hit, `"two"`)
}

func TestStaticSecretsAreKeptByTheirOwnRulesBesideBriefOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{Brief: Brief{TTL: time.Hour}, Static: Static{TTL: time.Minute}})
		b.set("app", "one")
		b.want(with(get("a", "secret/data/app"), "cache"), 200, exchange.Miss, `"one"`)
		b.want(get("a", "secret/data/app"), 200, exchange.Hit, `"one"`)
		b.set("app", "two")
		time.Sleep(time.Minute)
		b.want(with(get("a", "secret/data/app"), "cache"), 200, exchange.Miss, `"two"`)
	})
}

func TestOnlyAGetIsKeptBriefly(t *testing.T) {
	for _, tc := range []struct {
		name   string
		a      func() *exchange.Ask
		status int
		body   string
		kept   bool
	}{
		{"a read", func() *exchange.Ask { return get("a", "x/y") }, 200, plainBody, true},
		{"a list by GET", func() *exchange.Ask { return get("a", "secret/metadata?list=true") }, 200, plainBody, true},
		{"a list", func() *exchange.Ask { return method("LIST", get("a", "secret/metadata")) }, 200, plainBody, false},
		{"a scan", func() *exchange.Ask { return method("SCAN", get("a", "secret/metadata")) }, 200, plainBody, false},
		{"a head", func() *exchange.Ask { return method("HEAD", get("a", "x/y")) }, 200, "", false},
		{"a write", func() *exchange.Ask { return put("a", "x/y", "{}") }, 200, plainBody, false},
		{"a post", func() *exchange.Ask { return method("POST", get("a", "x/y")) }, 200, plainBody, false},
		{"nothing inside", func() *exchange.Ask { return get("a", "x/y") }, 204, "", true},
		{"not there", func() *exchange.Ask { return get("a", "x/y") }, 404, `{"errors":[]}`, false},
		{"a redirect", func() *exchange.Ask { return get("a", "x/y") }, 307, "", false},
		{"denied", func() *exchange.Ask { return get("a", "x/y") }, 403, `{"errors":["permission denied"]}`, false},
		{"sealed", func() *exchange.Ask { return get("a", "x/y") }, 503, `{"errors":["sealed"]}`, false},
		{"a login", func() *exchange.Ask { return get("a", "auth/oidc/callback") }, 200, `{"auth":{"client_token":"t","lease_duration":60}}`, false},
		{"wrapped", func() *exchange.Ask { return get("a", "x/y") }, 200, `{"wrap_info":{"token":"t"}}`, false},
		{"the server's own affairs", func() *exchange.Ask { return get("a", "sys/health") }, 200, `{"sealed":false}`, false},
		{"half an answer", func() *exchange.Ask { return get("a", "x/y") }, 200, `{"data":{`, false},
		{"a lease without an end", func() *exchange.Ask { return get("a", "x/y") }, 200, `{"lease_id":"x/y/1","lease_duration":0,"data":{}}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTill(t, Brief{TTL: time.Minute})
			c.status, c.body = tc.status, tc.body
			c.from(with(tc.a(), "cache"), exchange.Miss, 1)
			if tc.kept {
				c.from(with(tc.a(), "cache"), exchange.Hit, 1)
			} else {
				c.from(with(tc.a(), "cache"), exchange.Miss, 2)
			}
		})
	}
	t.Run("text", func(t *testing.T) {
		c := newTill(t, Brief{TTL: time.Minute})
		c.body, c.kind = "-----BEGIN CERTIFICATE-----", "application/pem-certificate-chain"
		c.from(with(get("a", "pki/ca/pem"), "cache"), exchange.Miss, 1)
		c.from(with(get("a", "pki/ca/pem"), "cache"), exchange.Hit, 1)
	})
}

func TestABriefAnswerIsNeverOlderThanItsTimeNorItsLease(t *testing.T) {
	ends := func(after time.Duration) string { return fmt.Sprint(time.Now().Add(after).Unix()) }
	for _, tc := range []struct {
		name string
		body func() string
		good time.Duration
	}{
		{"no lease", func() string { return plainBody }, time.Minute},
		{"a longer lease", func() string {
			return `{"lease_id":"database/creds/a/1","lease_duration":3600,"renewable":true,"data":{"n":1}}`
		}, time.Minute},
		{"a shorter lease", func() string {
			return `{"lease_id":"database/creds/a/1","lease_duration":20,"renewable":true,"data":{"n":1}}`
		}, 20 * time.Second},
		{"a secret of version 1 with a ttl", func() string { return `{"lease_id":"","lease_duration":10,"data":{"ttl":"10s"},"mount_type":"kv"}` }, 10 * time.Second},
		{"a password that is rotated", func() string {
			return `{"lease_id":"","lease_duration":0,"data":{"ttl":7,"rotation_period":86400,"password":"p"}}`
		}, 7 * time.Second},
		{"a ttl that is only a field", func() string { return `{"lease_id":"","lease_duration":0,"data":{"ttl":7,"password":"p"}}` }, time.Minute},
		{"a certificate", func() string {
			return `{"lease_id":"","lease_duration":0,"data":{"certificate":"c","expiration":` + ends(30*time.Second) + `}}`
		}, 30 * time.Second},
		{"a certificate, and a field of another kind", func() string {
			return `{"lease_id":"","lease_duration":0,"data":{"ttl":"10s","rotation_period":"x","certificate":"c","expiration":` + ends(30*time.Second) + `}}`
		}, 30 * time.Second},
		{"a version that is deleted", func() string {
			return `{"lease_id":"","data":{"data":{},"metadata":{"deletion_time":"` + time.Now().Add(5*time.Second).UTC().Format(time.RFC3339Nano) + `"}},"mount_type":"kv"}`
		}, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTill(t, Brief{TTL: time.Minute})
				c.body = tc.body()
				a := func() *exchange.Ask { return with(get("a", "database/creds/a"), "cache") }
				c.from(a(), exchange.Miss, 1)
				time.Sleep(tc.good - time.Millisecond)
				c.from(a(), exchange.Hit, 1)
				time.Sleep(time.Millisecond)
				c.from(a(), exchange.Miss, 2)
			})
		})
	}
}

// A process that is frozen with a request under way gets its answer an hour later.
func TestAnAnswerThatWasOnItsWayForAnHourIsGivenToNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTill(t, Brief{TTL: time.Minute})
		c.body = `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`
		c.delay = time.Hour
		var all sync.WaitGroup
		var seen sync.Map
		for range 5 {
			all.Go(func() {
				ans, err := c.ask(with(get("a", "database/creds/a"), "cache"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := seen.LoadOrStore(string(ans.Body), true); twice {
					t.Errorf("given to two: %s", ans.Body)
				}
			})
		}
		all.Wait()
	})
}

func TestWhoAskedIsPartOfABriefAnswersKey(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")})
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 1)
	c.from(with(get("b", "x/y"), "cache"), exchange.Miss, 2)
	c.from(with(lent("x/y"), "cache"), exchange.Miss, 3)
	c.from(with(get("", "x/y"), "cache"), exchange.Miss, 4)
	for _, a := range []*exchange.Ask{get("a", "x/y"), get("b", "x/y"), lent("x/y"), get("", "x/y")} {
		c.from(with(a, "cache"), exchange.Hit, 4)
	}
	other := with(get("a", "x/y"), "cache")
	other.Namespace = "team/"
	c.from(other, exchange.Miss, 5)
}

func TestTracingHeadersDoNotCostABriefHit(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute, Every: true})
	for i := range 3 {
		a := get("a", "x/y")
		a.Header = http.Header{
			"X-Amzn-Trace-Id": {fmt.Sprint("Root=", i)}, "Traceparent": {fmt.Sprint(i)}, "X-Datadog-Trace-Id": {fmt.Sprint(i)}, "User-Agent": {fmt.Sprint(i)},
		}
		c.from(a, [...]exchange.From{exchange.Miss, exchange.Hit, exchange.Hit}[i], 1)
	}
}

func TestAReadAfterAWriteIsAsNewAsThatWrite(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 1)
	a := with(get("a", "x/y"), "cache")
	a.Header["X-Vault-Index"] = []string{"v1:x"}
	c.from(a, exchange.Miss, 2)
	c.from(with(get("a", "x/y"), "cache"), exchange.Hit, 2)
}

func TestANewLoginGivesOutNothingOfTheOldOne(t *testing.T) {
	for name, body := range map[string]string{
		"leased":  `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`,
		"without": plainBody,
	} {
		t.Run(name, func(t *testing.T) {
			c := newTill(t, Brief{TTL: time.Minute})
			c.body = body
			a := func() *exchange.Ask { return with(lent("database/creds/a"), "cache") }
			c.from(a(), exchange.Miss, 1)
			c.from(a(), exchange.Miss, 2) // nobody said whose token that was
			c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")})
			c.from(a(), exchange.Miss, 3)
			c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")}) // the same once more
			c.from(a(), exchange.Hit, 3)
			c.lends = "lent-2"
			c.Adopt("default", cred.Token{Value: cred.Redact("lent-2")})
			c.from(a(), exchange.Miss, 4)
			c.from(a(), exchange.Hit, 4)
			c.Adopt("default", cred.Token{}) // logged out
			c.from(a(), exchange.Miss, 5)
		})
	}
}

// Nobody asks for the token when an answer comes from memory, so that the answer has
// to know when its lease ended with it.
func TestAfterAFreezeNothingIsGivenOutWhoseTokenEndedMeanwhile(t *testing.T) {
	leased := `{"lease_id":"database/creds/a/N","lease_duration":7200,"renewable":true,"data":{"n":"N"}}`
	for _, tc := range []struct {
		name, body string
		token      time.Duration // of the login
		renewed    time.Duration // what is known of it when it is asked for
		good       time.Duration
	}{
		{"leased", leased, 10 * time.Minute, 0, 10 * time.Minute},
		{"leased, and the token was renewed", leased, 10 * time.Minute, 30 * time.Minute, 30 * time.Minute},
		{"leased, with a token without an end", leased, 0, 0, time.Hour},
		{"without a lease", plainBody, 10 * time.Minute, 0, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTill(t, Brief{TTL: time.Hour})
				c.body = tc.body
				login := cred.Token{Value: cred.Redact("lent-1"), Lease: cred.Lease{Duration: tc.token, Issued: time.Now().Round(0)}}
				c.Adopt("default", login)
				if tc.renewed > 0 {
					login.Lease.Duration = tc.renewed
					c.o.Lent = func(string) cred.Token { return login }
				}
				c.from(with(lent("database/creds/a"), "cache"), exchange.Miss, 1)
				time.Sleep(tc.good - time.Second)
				c.from(with(lent("database/creds/a"), "cache"), exchange.Hit, 1)
				time.Sleep(time.Second)
				c.from(with(lent("database/creds/a"), "cache"), exchange.Miss, 2)
			})
		})
	}
}

func TestAnAnswerThatComesAfterANewLoginIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTill(t, Brief{TTL: time.Minute})
		c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")})
		c.gate = make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.ask(with(lent("x/y"), "cache"))
		}()
		synctest.Wait()
		c.Adopt("default", cred.Token{Value: cred.Redact("lent-2")})
		close(c.gate)
		<-done
		c.set(func() { c.gate, c.lends = nil, "lent-2" })
		c.from(with(lent("x/y"), "cache"), exchange.Miss, 2)
	})
}

func TestABatchTokenThatIsLentIsNoReasonToKeepNothing(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.Adopt("default", cred.Token{Value: cred.Redact("lent-1"), Type: "batch"})
	c.from(with(lent("x/y"), "cache"), exchange.Miss, 1)
	c.from(with(lent("x/y"), "cache"), exchange.Hit, 1)
}

func TestWhatIsRevokedThroughTheProxyIsNotGivenOutBriefly(t *testing.T) {
	leased := `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`
	own := func() *exchange.Ask { return with(get("mine", "database/creds/a"), "cache") }
	ours := func() *exchange.Ask { return with(lent("database/creds/a"), "cache") }
	revoke := func(path, body string) *exchange.Ask { return put("admin", path, body) }
	for _, tc := range []struct {
		name string
		a    func() *exchange.Ask
		deed *exchange.Ask
		body string // of what is cached
		stay bool
	}{
		{"the lease", own, revoke("sys/leases/revoke", `{"lease_id":"database/creds/a/1"}`), leased, false},
		{"all leases below", own, revoke("sys/leases/revoke-prefix/database", ``), leased, false},
		{"a lease, and a secret without one", own, revoke("sys/leases/revoke", `{"lease_id":"other/1"}`), plainBody, true},
		{"the token", own, revoke("auth/token/revoke", `{"token":"mine"}`), plainBody, false},
		{"the token by its accessor", own, revoke("auth/token/revoke-accessor", `{"accessor":"x"}`), plainBody, false},
		{"by itself", own, put("mine", "auth/token/revoke-self", ""), plainBody, false},
		{"ours", ours, revoke("auth/token/revoke", `{"token":"lent-1"}`), plainBody, false},
		{"ours by itself", ours, method("PUT", lent("auth/token/revoke-self")), plainBody, false},
		{"a policy", own, revoke("sys/policies/acl/x", `{}`), plainBody, false},
		{"a mount", own, method("DELETE", get("admin", "sys/mounts/database")), plainBody, false},
		{"the secret was written", own, revoke("database/creds/a", `{}`), plainBody, false},
		{"another was written", own, revoke("database/creds/b", `{}`), plainBody, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTill(t, Brief{TTL: time.Minute})
			c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")})
			c.body = tc.body
			c.from(tc.a(), exchange.Miss, 1)
			c.from(tc.a(), exchange.Hit, 1)
			c.set(func() { c.status, c.body = 204, "" })
			if _, err := c.ask(tc.deed); err != nil {
				t.Fatal(err)
			}
			c.set(func() { c.status, c.body = 200, tc.body })
			if tc.stay {
				c.from(tc.a(), exchange.Hit, 2)
			} else {
				c.from(tc.a(), exchange.Miss, 3)
			}
		})
	}
}

func TestATokenOfOursThatTheServerDoesNotKnowTakesItsBriefAnswersAlong(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")})
	c.from(with(lent("x/y"), "cache"), exchange.Miss, 1)
	c.set(func() { c.status, c.body = 403, `{"errors":["permission denied","invalid token"]}` })
	c.from(lent("x/z"), exchange.Miss, 2)
	c.set(func() { c.status, c.body = 200, plainBody })
	c.from(with(lent("x/y"), "cache"), exchange.Miss, 3)
}

func TestClearingTakesBriefAnswers(t *testing.T) {
	leased := `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`
	for name, what := range map[string]clearing{
		"path": {Type: "request_path", Value: "/v1/database"}, "all": {Type: "all"},
		"token": {Type: "token", Value: "lent-1"}, "lease": {Type: "lease", Value: "database/creds/a/1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTill(t, Brief{TTL: time.Minute})
			c.body = leased
			c.Adopt("default", cred.Token{Value: cred.Redact("lent-1")})
			c.from(with(lent("database/creds/a"), "cache"), exchange.Miss, 1)
			if n := c.clear(what); n != 1 {
				t.Errorf("%d went", n)
			}
			c.from(with(lent("database/creds/a"), "cache"), exchange.Miss, 2)
		})
	}
}

func TestARefusalEndsABriefAnswerAndAnotherReadDoesNot(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 1)
	c.from(get("a", "x/y"), exchange.Miss, 2)
	c.from(with(get("a", "x/y"), "cache"), exchange.Hit, 2)
	c.set(func() { c.status = 404 })
	c.from(get("a", "x/y"), exchange.Miss, 3)
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 4)
}

func TestWhatIsWrittenIsInTheNextList(t *testing.T) {
	for _, tc := range []struct {
		list, write string
		gone        bool
	}{
		{"secret/metadata?list=true", "secret/data/new", true},
		{"secret/metadata/?list=true", "secret/data/team/new", true},
		{"secret/metadata/team?list=true", "secret/data/team/new", true},
		{"secret/metadata/other?list=true", "secret/data/team/new", false},
		{"secret/metadata?list=true", "transit/encrypt/key", false},
		{"kv1/?list=true", "kv1/a/b", true},
	} {
		t.Run(tc.list+" and "+tc.write, func(t *testing.T) {
			c := newTill(t, Brief{TTL: time.Minute})
			c.from(with(get("a", tc.list), "cache"), exchange.Miss, 1)
			c.from(put("b", tc.write, "{}"), exchange.Miss, 2)
			if tc.gone {
				c.from(with(get("a", tc.list), "cache"), exchange.Miss, 3)
			} else {
				c.from(with(get("a", tc.list), "cache"), exchange.Hit, 2)
			}
		})
	}
}

func TestAListFromBeforeAWriteIsNotKeptAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTill(t, Brief{TTL: time.Minute})
		c.gate = make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.ask(with(get("a", "secret/metadata?list=true"), "cache"))
		}()
		synctest.Wait()
		c.Passed(put("a", "secret/data/new", "{}"), 200)
		close(c.gate)
		<-done
		c.set(func() { c.gate = nil })
		c.from(with(get("a", "secret/metadata?list=true"), "cache"), exchange.Miss, 2)
	})
}

func TestAHundredWhoSayCacheAtOnceAreOneRequest(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.body = `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`
	c.gate = make(chan struct{})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if ans, err := c.ask(with(get("a", "database/creds/a"), "cache")); err != nil || !strings.Contains(string(ans.Body), "/a/1") {
				t.Error(ans, err)
			}
		})
	}
	close(c.gate)
	all.Wait()
	if n := c.asked.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// Who does not say cache does not get the credentials of somebody who did, nor may
// they be kept for him.
func TestWhoDoesNotSayCacheGetsCredentialsOfHisOwn(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.body = `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`
	var all sync.WaitGroup
	var own, shared sync.Map
	for i := range 200 {
		all.Go(func() {
			a, into := get("a", "database/creds/a"), &own
			if i%2 == 0 {
				a, into = with(a, "cache"), &shared
			}
			ans, err := c.ask(a)
			if err != nil {
				t.Error(err)
				return
			}
			if _, twice := into.LoadOrStore(string(ans.Body), true); twice && i%2 == 1 {
				t.Errorf("given twice: %s", ans.Body)
			}
		})
	}
	all.Wait()
	shared.Range(func(k, _ any) bool {
		if _, both := own.Load(k); both {
			t.Errorf("given to one who said cache and one who did not: %s", k)
		}
		return true
	})
}

func TestBriefAnswersMeetLoginsWritesAndRevocations(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.body = `{"lease_id":"database/creds/a/N","lease_duration":600,"renewable":true,"data":{"n":"N"}}`
	var current atomic.Int64
	relog := func(n int64) {
		tok := fmt.Sprint("lent-", n)
		c.set(func() { c.lends = tok })
		c.Adopt("default", cred.Token{Value: cred.Redact(tok)})
		current.Store(n)
	}
	relog(1)
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sure := current.Load() // the login of before has been told to all by now
				ans, err := c.ask(with(lent("database/creds/a"), "cache"))
				if err != nil {
					t.Error(err)
					return
				}
				var n int64
				_, _ = fmt.Sscanf(ans.Token.Reveal(), "lent-%d", &n)
				if ans.From == exchange.Hit && n < sure {
					t.Errorf("token %d after login %d", n, sure)
					return
				}
			}
		})
	}
	for n := int64(2); n < 200; n++ {
		relog(n)
		c.Passed(put("a", "database/creds/a", "{}"), 200)
		c.Passed(put("a", "sys/leases/revoke", `{"lease_id":"x/1"}`), 204)
		_ = c.Tend(t.Context(), time.Now())
	}
	close(stop)
	all.Wait()
}

func TestABriefHitAllocatesNothing(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Hour})
	a := with(get("a", "x/y"), "cache")
	c.from(a, exchange.Miss, 1)
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := c.Look(a); !ok {
			t.Fatal("no hit")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAClockThatWasSetBackLeavesNoBriefAnswer(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 1)
	c.setBack(time.Minute)
	c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 2)
}

func TestTendDoesWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{Brief: Brief{TTL: time.Minute}, Static: Static{TTL: time.Hour, Capabilities: time.Minute}})
		if !b.Due().IsZero() {
			t.Error("there is something to do for nothing")
		}
		b.set("app", "one")
		b.want(get("a", "secret/data/app"), 200, exchange.Miss, `"one"`)
		if err := b.Tend(t.Context(), time.Now()); err != nil {
			t.Error(err)
		}
		if due := b.Due(); !due.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("due at %v", due)
		}
		time.Sleep(time.Minute + time.Second)
		b.want(get("a", "secret/data/app"), 200, exchange.Hit, `"one"`)
		if due := b.Due(); due.After(time.Now()) {
			t.Errorf("a right is in question, and due at %v", due)
		}
		b.with(func() { b.denied["a secret/data/app"] = true })
		if err := b.Tend(t.Context(), time.Now()); err != nil || b.caps.Load() != 1 {
			t.Error(err, b.caps.Load())
		}
		b.want(get("a", "secret/data/app"), 403, exchange.Miss, "denied")
		if b.Stats().Entries != 0 || !b.Due().IsZero() {
			t.Error(b.Stats(), b.Due())
		}
	})
}

func TestTendSaysWhenTheServerCannotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{Static: Static{TTL: time.Hour, Capabilities: time.Minute}})
		b.set("app", "one")
		b.want(get("a", "secret/data/app"), 200, exchange.Miss, `"one"`)
		time.Sleep(time.Minute + time.Second)
		b.want(get("a", "secret/data/app"), 200, exchange.Hit, `"one"`)
		b.with(func() { b.down = unreachable })
		if err := b.Tend(t.Context(), time.Now()); !vault.Temporary(err) {
			t.Error(err)
		}
		// The next question waits for its turn, which is not in this round.
		b.want(get("a", "secret/data/app"), 200, exchange.Hit, `"one"`)
		if due := b.Due(); !due.After(time.Now()) {
			t.Errorf("due at %v", due)
		}
		if err := b.Tend(t.Context(), time.Now()); err != nil || b.caps.Load() != 1 {
			t.Error(err, b.caps.Load())
		}
		b.with(func() { b.down = nil })
		if err := b.Tend(t.Context(), time.Now().Add(time.Hour)); err != nil || b.caps.Load() != 2 {
			t.Error(err, b.caps.Load())
		}
	})
}

func TestTendTakesOutWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTill(t, Brief{TTL: time.Minute})
		c.from(with(get("a", "x/y"), "cache"), exchange.Miss, 1)
		time.Sleep(time.Hour)
		if due := c.Due(); due.After(time.Now()) {
			t.Errorf("due at %v", due)
		}
		if err := c.Tend(t.Context(), time.Now()); err != nil || c.Stats().Entries != 0 {
			t.Error(err, c.Stats())
		}
	})
}

func TestWhoTendsBesideAnotherWaitsNoLongerThanHeMay(t *testing.T) {
	c := newTill(t, Brief{TTL: time.Minute})
	c.round.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Tend(ctx, time.Now()); err == nil {
		t.Error("he had the turn of another")
	}
}
