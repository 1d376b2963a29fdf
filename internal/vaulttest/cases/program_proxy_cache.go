//go:build unix

package cases

import (
	"fmt"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

// Tokens and leases that a listener's clients get from memory.
var _ = add(map[string]func(*Kit){
	"proxy: a token that is made twice is one":                        tokenTwice,
	"proxy: a login that is made twice is one":                        loginTwice,
	"proxy: a token revoked through us is made anew":                  tokenRevoked,
	"proxy: a token revoked without its children gets nothing more":   tokenOrphans,
	"proxy: what is cleared is made anew and not revoked":             cleared,
	"proxy: a token revoked outside is gone at its renewal":           tokenRevokedOutside,
	"proxy: a leased secret is one lease and stays alive":             leaseKept,
	"proxy: a lease revoked through us is got anew":                   leaseRevoked,
	"proxy: a lease ends with the token that it was got with":         leaseOfClient,
	"proxy: a renewal that a client asks for is always made":          renewalNotCached,
	"proxy: the lease of a token from elsewhere is cached":            foreignToken,
	"proxy: what a token with counted uses gets is not cached":        countedUses,
	"proxy: a client says what the cache may do":                      cacheControl,
	"proxy: tracing headers and the order of a query change no thing": sameRequest,
	"proxy: two hundred that ask the same are one request":            herd,
	"proxy: nothing is cached without a cache":                        noCache,
})

// serveAll is serve for a token that may do all that a case does.
func (k *Kit) serveAll(more ...string) (*Daemon, *vaulttest.Admin) {
	k.Helper()
	cfg := k.lent()
	k.mayAll()
	return k.serve(cfg + lends + strings.Join(more, "") + tcpListener)
}

// create makes a token through a listener.
func (k *Kit) create(client *vaulttest.Admin, from string, fields m) string {
	k.Helper()
	return k.is(client.Do("POST", "auth/token/create", fields), 200, from).Str("auth.client_token")
}

func tokenTwice(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	fields := m{"ttl": "1h"}
	one := k.create(client, "MISS", fields)
	if two := k.create(client, "HIT", fields); one != two {
		k.Error("two tokens")
	}
	if k.create(client, "MISS", m{"ttl": "2h"}) == one {
		k.Error("one token for two wishes")
	}
	// Another who asks gets another.
	own := k.token(nil)
	theirs := k.create(client.As(own), "MISS", fields)
	if theirs == one || k.create(client.As(own), "HIT", fields) != theirs {
		k.Error("a token of one was given to the other")
	}
	k.Asked(3, "PUT", "auth/token/create")
	// What a batch token is, nobody renews, and so nobody keeps.
	batch := m{"type": "batch", "ttl": "1h"}
	first := k.create(client, "MISS", batch)
	if k.create(client, "MISS", batch) == first {
		k.Error("a batch token was cached")
	}
	d.Stops()
}

func loginTwice(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	credentials := m{"role_id": strings.TrimSpace(k.Read("role_id")), "secret_id": k.Site.SecretID(k.name, "app")}
	path := "auth/" + k.name + "/login"
	login := func(from string) string {
		return k.is(client.Do("POST", path, credentials), 200, from).Str("auth.client_token")
	}
	one := login("MISS")
	if login("HIT") != one || one == k.Read("token") {
		k.Error("another token, or our own")
	}
	k.Asked(2, "PUT", path)
	// Its own end through the proxy is the end of the answer.
	client.As(one).OK("PUT", "auth/token/revoke-self", nil)
	if login("MISS") == one {
		k.Error("the token was revoked and is given out")
	}
	// A login that is refused is asked again each time.
	credentials["secret_id"] = "not-a-secret-id"
	for range 2 {
		k.is(client.Do("POST", path, credentials), 400, "")
	}
	k.Asked(5, "PUT", path)
	d.Stops()
}

func tokenRevoked(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	fields := m{"ttl": "1h"}
	accessor := func(token string) string {
		return k.Site.As(token).OK("GET", "auth/token/lookup-self", nil).Str("data.accessor")
	}
	for what, revoke := range map[string]func(token string){
		"revoke":          func(t string) { client.OK("PUT", "auth/token/revoke", m{"token": t}) },
		"revoke-self":     func(t string) { client.As(t).OK("PUT", "auth/token/revoke-self", nil) },
		"revoke-orphan":   func(t string) { client.OK("PUT", "auth/token/revoke-orphan", m{"token": t}) },
		"revoke-accessor": func(t string) { client.OK("PUT", "auth/token/revoke-accessor", m{"accessor": accessor(t)}) },
	} {
		old := k.create(client, "MISS", fields)
		child := k.create(client.As(old), "MISS", fields)
		if k.create(client, "HIT", fields) != old || k.create(client.As(old), "HIT", fields) != child {
			k.Errorf("before %s: another token", what)
		}
		revoke(old)
		if k.create(client, "MISS", fields) == old {
			k.Errorf("after %s: the token is given out", what)
		}
		if what != "revoke-orphan" {
			k.is(client.As(old).Do("POST", "auth/token/create", fields), 403, "")
		}
		if token := k.create(client, "HIT", fields); token == old {
			k.Errorf("after %s: the token is given out", what)
		} else {
			client.OK("PUT", "auth/token/revoke", m{"token": token})
		}
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// tokenOrphans: what it had made lives on, and is for others to use.
func tokenOrphans(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	fields := m{"ttl": "1h"}
	old := k.create(client, "MISS", fields)
	child := k.create(client.As(old), "MISS", fields)
	k.is(client.As(child).Do("GET", k.name+"/data/app", nil), 200, "MISS")
	client.OK("PUT", "auth/token/revoke-orphan", m{"token": old})
	k.is(client.As(child).Do("GET", k.name+"/data/app", nil), 200, "HIT")
	k.is(client.As(old).Do("POST", "auth/token/create", fields), 403, "")
	d.Stops()
}

func cleared(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	creds := k.moreLeases("1h", "2h")
	fields, data := m{"ttl": "1h"}, k.name+"/data/app"
	ours := k.Read("token")
	type held struct{ token, lease string }
	now := func(tokenFrom, leaseFrom, dataFrom string) held {
		k.is(client.Do("GET", data, nil), 200, dataFrom)
		return held{k.create(client, tokenFrom, fields), k.is(client.Do("GET", creds, nil), 200, leaseFrom).Str("lease_id")}
	}
	first := now("MISS", "MISS", "MISS")
	if now("HIT", "HIT", "HIT") != first {
		k.Error("not what was cached")
	}
	step := func(what m, tokenFrom, leaseFrom, dataFrom string) {
		k.Helper()
		before := now("HIT", "HIT", "HIT")
		k.clear(client, what)
		after := now(tokenFrom, leaseFrom, dataFrom)
		if (after.token != before.token) != (tokenFrom == "MISS") || (after.lease != before.lease) != (leaseFrom == "MISS") {
			k.Errorf("clear %v: what should be new is old, or the other way about", what["type"])
		}
		// Nothing was revoked.
		k.Site.As(before.token).OK("GET", "auth/token/lookup-self", nil)
		k.Site.OK("PUT", "sys/leases/lookup", m{"lease_id": before.lease})
	}
	step(m{"type": "request_path", "value": "/v1/auth/token/create"}, "MISS", "HIT", "HIT")
	step(m{"type": "request_path", "value": "/v1/" + k.name + "/da"}, "HIT", "HIT", "MISS")
	step(m{"type": "request_path", "value": "/v1/" + creds, "namespace": "other"}, "HIT", "HIT", "HIT")
	step(m{"type": "request_path", "value": "/v1/" + creds, "namespace": "root"}, "HIT", "MISS", "HIT")
	step(m{"type": "lease", "value": k.is(client.Do("GET", creds, nil), 200, "HIT").Str("lease_id")}, "HIT", "MISS", "HIT")
	token := k.create(client, "HIT", fields)
	step(m{"type": "token", "value": token}, "MISS", "HIT", "HIT")
	token = k.create(client, "HIT", fields)
	step(m{"type": "token_accessor", "value": k.Site.As(token).OK("GET", "auth/token/lookup-self", nil).Str("data.accessor")}, "MISS", "HIT", "HIT")
	step(m{"type": "token", "value": "hvs.nobody's-token-at-all"}, "HIT", "HIT", "HIT")
	step(m{"type": "all"}, "MISS", "MISS", "MISS")
	now("HIT", "HIT", "HIT")
	if k.Read("token") != ours {
		k.Error("our own token was cleared")
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	for body, status := range map[string]int{`{"type":"nothing"}`: 400, `{}`: 400, `x`: 400, ``: 400, `{"type":"token"}`: 500} {
		if ans := client.Do("POST", "/agent/v1/cache-clear", body); ans.Status != status || len(ans.Errors()) != 1 {
			k.Errorf("cache-clear %s: %d %s", body, ans.Status, ans.Body)
		}
	}
	now("HIT", "HIT", "HIT")
	d.Stops()
}

// moreLeases makes a leased engine beside the mount of the case, which the policy
// of mayAll may read, and returns the path to read.
func (k *Kit) moreLeases(ttl, limit string) string {
	k.Helper()
	broker, mount := NewBroker(k.T), k.name+"-mq"
	k.Site.Mount(mount, "rabbitmq", nil)
	k.Site.OK("POST", mount+"/config/connection", m{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	k.Site.OK("POST", mount+"/config/lease", m{"ttl": ttl, "max_ttl": limit})
	k.Site.OK("POST", mount+"/roles/app", m{"vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	return mount + "/creds/app"
}

// tokenRevokedOutside: nobody tells us, so that it is found out by the renewal.
func tokenRevokedOutside(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	fields := m{"ttl": "3s"}
	old := k.create(client, "MISS", fields)
	k.create(client, "HIT", fields)
	k.Site.Revoke(old)
	k.Soon("there is another token", func() bool {
		return client.OK("POST", "auth/token/create", fields).Str("auth.client_token") != old
	})
	k.bore("auth/token/renew-self", old)
	k.Asked(2, "PUT", "auth/token/create")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func leaseKept(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("3s", "10m")
	first := k.is(client.Do("GET", path, nil), 200, "MISS")
	lease := first.Str("lease_id")
	issued := time.Now()
	k.Until("it is older than it was meant to be", func() bool {
		ans := k.is(client.Do("GET", path, nil), 200, "HIT")
		if ans.Str("lease_id") != lease || ans.Str("data.password") != first.Str("data.password") {
			k.Fatal("another lease")
		}
		return time.Since(issued) > 3*time.Second+slack
	})
	k.Site.OK("PUT", "sys/leases/lookup", m{"lease_id": lease})
	k.bore("sys/leases/renew", k.Read("token"))
	k.Asked(1, "GET", path)
	k.calm(3, "PUT", "sys/leases/renew")
	d.Stops()
}

func leaseRevoked(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("1h", "2h")
	dir := strings.TrimSuffix(path, "/app")
	for _, revoke := range []struct {
		path string
		body func(lease string) m
	}{
		{"sys/leases/revoke", func(lease string) m { return m{"lease_id": lease, "sync": true} }},
		{"sys/leases/revoke/{}", nil},
		{"sys/leases/revoke-prefix/" + dir, nil},
		{"sys/leases/revoke-prefix/" + path, nil},
		{"sys/leases/revoke-force/" + dir, nil},
	} {
		old := k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id")
		k.is(client.Do("GET", path, nil), 200, "HIT")
		var body any
		if revoke.body != nil {
			body = revoke.body(old)
		}
		client.OK("PUT", strings.Replace(revoke.path, "{}", old, 1), body)
		fresh := k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id")
		if fresh == old {
			k.Errorf("after %s: the lease is given out", revoke.path)
		}
		client.OK("PUT", "sys/leases/revoke", m{"lease_id": fresh})
	}
	// What is refused has revoked nothing.
	k.is(client.Do("GET", path, nil), 200, "MISS")
	k.is(client.Do("PUT", "sys/leases/revoke-prefix/"+k.name, nil), 403, "")
	k.is(client.Do("GET", path, nil), 200, "HIT")
	d.Stops()
}

func leaseOfClient(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("1h", "2h")
	token := k.create(client, "MISS", m{"ttl": "1h"})
	k.is(client.As(token).Do("GET", path, nil), 200, "MISS")
	k.is(client.As(token).Do("GET", path, nil), 200, "HIT")
	client.OK("PUT", "auth/token/revoke", m{"token": token})
	k.is(client.As(token).Do("GET", path, nil), 403, "")
	// The same with one that the server ended by itself: the first refusal is the end.
	token = k.token(nil)
	k.is(client.As(token).Do("GET", path, nil), 200, "MISS")
	k.is(client.As(token).Do("GET", path, nil), 200, "HIT")
	k.Site.Revoke(token)
	k.is(client.As(token).Do("GET", "auth/token/lookup-self", nil), 403, "")
	k.is(client.As(token).Do("GET", path, nil), 403, "")
	d.Stops()
}

// renewalNotCached: vault agent caches the answer to a renewal, so that the second
// one renews nothing.
func renewalNotCached(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("10m", "1h")
	lease := k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id")
	for _, renewal := range []struct {
		path string
		body m
	}{{"sys/leases/renew", m{"lease_id": lease, "increment": 1200}}, {"sys/leases/renew/" + lease, m{"increment": 1200}}} {
		for range 2 {
			k.is(client.Do("PUT", renewal.path, renewal.body), 200, "MISS")
		}
		k.Asked(2, "PUT", renewal.path)
	}
	k.is(client.Do("GET", path, nil), 200, "HIT")
	token := k.create(client, "MISS", m{"ttl": "10m"})
	for range 2 {
		ans := k.is(client.As(token).Do("PUT", "auth/token/renew-self", m{"increment": "20m"}), 200, "MISS")
		if n := ans.Int("auth.lease_duration"); n != 1200 {
			k.Errorf("the token got %d seconds", n)
		}
	}
	k.Asked(2, "PUT", "auth/token/renew-self")
	// What was renewed is still found when it is revoked.
	client.OK("PUT", "sys/leases/revoke", m{"lease_id": lease, "sync": true})
	k.is(client.Do("GET", path, nil), 200, "MISS")
	client.As(token).OK("PUT", "auth/token/revoke-self", nil)
	k.create(client, "MISS", m{"ttl": "10m"})
	d.Stops()
}

// foreignToken: vault agent caches leases only of tokens that were made through it.
func foreignToken(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path, own := k.moreLeases("1h", "2h"), k.token(nil)
	lease := k.is(client.As(own).Do("GET", path, nil), 200, "MISS").Str("lease_id")
	for range 3 {
		if k.is(client.As(own).Do("GET", path, nil), 200, "HIT").Str("lease_id") != lease {
			k.Error("another lease")
		}
	}
	k.bore("auth/token/lookup-self", own)
	k.Asked(1, "GET", "auth/token/lookup-self")
	// Who else asks gets his own.
	if k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id") == lease {
		k.Error("the lease of one was given to the other")
	}
	batch := k.token(m{"type": "batch"})
	one := k.is(client.As(batch).Do("GET", path, nil), 200, "MISS").Str("lease_id")
	if k.is(client.As(batch).Do("GET", path, nil), 200, "MISS").Str("lease_id") == one {
		k.Error("the lease of a batch token was cached")
	}
	d.Stops()
}

func countedUses(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path, data := k.moreLeases("1h", "2h"), k.name+"/data/app"
	own := k.create(client, "MISS", m{"ttl": "1h", "num_uses": 4})
	for range 2 {
		k.is(client.As(own).Do("GET", path, nil), 200, "MISS")
	}
	k.is(client.As(own).Do("GET", data, nil), 200, "MISS")
	k.is(client.As(own).Do("GET", data, nil), 200, "MISS")
	k.is(client.As(own).Do("GET", data, nil), 403, "")
	k.Asked(0, "GET", "auth/token/lookup-self")
	d.Stops()
}

func cacheControl(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path, data := k.moreLeases("1h", "2h"), k.name+"/data/app"
	says := func(what string) *vaulttest.Admin { return client.With("X-Vault-Cache-Control", what) }
	first := k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id")
	past := k.is(says("nocache").Do("GET", path, nil), 200, "MISS").Str("lease_id")
	if past == first || k.is(says("cache").Do("GET", path, nil), 200, "HIT").Str("lease_id") != first {
		k.Error("nocache did not go past the cache")
	}
	anew := k.is(says("recache").Do("GET", path, nil), 200, "MISS").Str("lease_id")
	if anew == first || k.is(client.Do("GET", path, nil), 200, "HIT").Str("lease_id") != anew {
		k.Error("recache did not put what it got into the cache")
	}
	k.is(client.Do("GET", data, nil), 200, "MISS")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.is(client.Do("GET", data, nil), 200, "HIT")
	if got := k.is(says("recache").Do("GET", data, nil), 200, "MISS").Str("data.data.password"); got != canary+"2" {
		k.Errorf("%q", got)
	}
	if got := k.is(client.Do("GET", data, nil), 200, "HIT").Str("data.data.password"); got != canary+"2" {
		k.Errorf("%q", got)
	}
	for _, r := range k.Site.Front.Requests() {
		if r.Header.Get("X-Vault-Cache-Control") != "" {
			k.Error("the server saw what was meant for us")
		}
	}
	d.Stops()
}

func sameRequest(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("1h", "2h")
	k.is(client.Do("GET", path+"?a=1&b=2", nil), 200, "MISS")
	k.is(client.Do("GET", path+"?b=2&a=1", nil), 200, "HIT")
	for name, v := range map[string]string{
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "x=1", "baggage": "a=b", "b3": "1",
		"X-Request-Id": "1", "X-B3-TraceId": "1", "X-Amzn-Trace-Id": "1", "X-Datadog-Trace-Id": "1", "User-Agent": "another/2.0",
		"Accept": "text/plain", "Accept-Encoding": "br", "X-Forwarded-For": "10.0.0.1", "X-Vault-Request": "true", "Cookie": "a=b",
	} {
		k.is(client.With(name, v).Do("GET", path+"?a=1&b=2", nil), 200, "HIT")
	}
	k.Asked(1, "GET", path)
	for _, other := range []*vaulttest.Admin{client.With("X-Vault-Namespace", "team"), client.With("X-Vault-Something-New", "1")} {
		k.is(other.Do("GET", path+"?a=1&b=2", nil), 200, "MISS")
	}
	k.is(client.Do("GET", path+"?a=1", nil), 200, "MISS")
	k.is(client.Do("GET", path, nil), 200, "MISS")
	d.Stops()
}

func herd(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("1h", "2h")
	gate := make(chan struct{})
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Do: func() { <-gate }})
	const many = 200
	started := make(chan struct{}, many)
	go func() {
		defer close(gate)
		for range many {
			<-started
		}
	}()
	leases := map[string]int{}
	for _, ans := range k.atOnce(many, func(int) (*vaulttest.Answer, error) {
		started <- struct{}{}
		return client.Try("GET", path, nil)
	}) {
		if ans.Status != 200 {
			k.Fatalf("%d %s", ans.Status, ans.Body)
		}
		leases[fmt.Sprint(ans.At("lease_id"))]++
	}
	if len(leases) != 1 {
		k.Errorf("%d leases", len(leases))
	}
	k.Asked(1, "GET", path)
	d.Stops()
}

func noCache(k *Kit) {
	k.Shared()
	d, client := k.serveAll()
	path := k.moreLeases("1h", "2h")
	one := k.is(client.Do("GET", path, nil), 200, "").Str("lease_id")
	if k.is(client.Do("GET", path, nil), 200, "").Str("lease_id") == one {
		k.Error("a lease was cached")
	}
	k.clear(client, m{"type": "all"})
	d.Stops()
}
