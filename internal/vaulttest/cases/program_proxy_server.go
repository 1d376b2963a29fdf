//go:build unix

package cases

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"latchkey/internal/vaulttest"
)

// What clients see of a server, a token and a machine that have their own ways.
var _ = add(map[string]func(*Kit){
	"proxy: a server in trouble is asked again":                serverInTrouble,
	"proxy: what the server refuses is handed on as it is":     refusalsAsTheyAre,
	"proxy: clients do not notice that our token changes":      tokenChanges,
	"proxy: asleep for longer than our token lives":            asleepWithClients,
	"proxy: while the server is sealed old secrets are served": staleWhileSealed,
	"proxy: who is cautious gets no old secrets":               cautious,
	"proxy: names that need escapes":                           escapes,
	"proxy: an answer too large for the cache goes through":    tooLarge,
	"proxy: what is wrapped is wrapped each time":              wrappedEachTime,
	"proxy: a token with counted uses from elsewhere":          foreignUses,
})

// tries is a server stanza's part: how often a request is tried again.
func tries(config string, again int) string {
	return strings.Replace(config, `address = ""`, fmt.Sprintf("address = \"\"\n retry { num_retries = %d }", again), 1)
}

func serverInTrouble(k *Kit) {
	k.Shared()
	cfg := k.lent()
	k.mayAll()
	d, client := k.serve(tries(cfg, 1) + lends + caches + tcpListener)
	path := k.name + "/data/app"
	for i, rude := range []vaulttest.Rudeness{
		{Status: 500, Errors: []string{"internal error"}}, {Status: 503, Errors: []string{"Vault is sealed"}}, {Status: 429, RetryAfter: time.Second}, {Drop: true},
	} {
		rude.Times = 1
		k.Site.Front.Forget()
		k.Site.Front.Rude(vaulttest.Match{Path: path}, rude)
		k.is(client.Do("GET", fmt.Sprintf("%s?n=%d", path, i), nil), 200, "MISS")
		k.Asked(2, "GET", path)
	}
	// A trouble that lasts is handed on.
	stop := k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
	k.Site.Front.Forget()
	ans := k.is(client.Do("PUT", path, m{"data": m{"password": canary + "2"}}), 503, "")
	if got := fmt.Sprint(ans.Errors()); got != "[Vault is sealed]" {
		k.Errorf("the server's words became %s", got)
	}
	k.Asked(2, "PUT", path)
	stop()
	k.Asked(0, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func refusalsAsTheyAre(k *Kit) {
	k.Shared()
	cfg := k.lent()
	k.mayAll()
	d, client := k.serve(cfg + lends + caches + tcpListener)
	own := k.token(nil)
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{"GET", k.name + "/data/none", nil}, {"GET", "sys/auth", nil}, {"GET", "nowhere/x", nil}, {"PUT", k.name + "/data/app", m{}},
		{"PUT", k.name + "/data/app", "[1]"}, {"PUT", k.name + "/data/app", `"text"`}, {"PUT", k.name + "/data/x/", m{"data": m{}}},
		{"FOO", k.name + "/data/app", nil}, {"PATCH", k.name + "/data/app", m{"data": m{}}}, {"GET", k.name + "/data/app?version=x", nil},
		{"LIST", k.name + "/data/app", nil}, {"POST", "auth/" + k.name + "/login", m{"role_id": "x", "secret_id": "y"}}, {"PUT", "sys/leases/renew", m{"lease_id": "bad"}},
		{"GET", "sys/health", nil}, {"GET", "sys/seal-status", nil}, {"PUT", k.name + "/data/app", m{"data": m{"a": 1}, "options": m{"cas": 9}}},
	} {
		direct, through := k.Site.As(own).Do(r.method, r.path, r.body), client.As(own).Do(r.method, r.path, r.body)
		same := direct.Status == through.Status && fmt.Sprint(direct.Errors()) == fmt.Sprint(through.Errors()) && (direct.JSON == nil) == (through.JSON == nil)
		for _, name := range []string{"Content-Type", "Cache-Control", "Strict-Transport-Security"} {
			same = same && fmt.Sprint(direct.Header[name]) == fmt.Sprint(through.Header[name])
		}
		if !same {
			k.Errorf("%s %s: the server says %d %v %s, the proxy %d %v %s", r.method, r.path, direct.Status, direct.Header, direct.Body, through.Status, through.Header, through.Body)
		}
	}
	d.Stops()
}

// tokenChanges: the lent token is renewed and replaced all the time.
func tokenChanges(k *Kit) {
	k.Shared()
	login := k.lent()
	k.Site.OK("POST", "auth/"+k.name+"/role/app", m{"token_policies": []string{k.name, "default"}, "token_ttl": "2s", "token_max_ttl": "3s"})
	d, client := k.serve(login + lends + tcpListener)
	n := 0
	k.Until("there were three logins", func() bool {
		n++
		k.is(client.Do("GET", fmt.Sprintf("%s/data/app?n=%d", k.name, n), nil), 200, "")
		return k.logins() >= 3
	})
	d.Stops()
}

func asleepWithClients(k *Kit) {
	k.Shared()
	login := k.lent()
	k.Site.OK("POST", "auth/"+k.name+"/role/app", m{"token_policies": []string{k.name, "default"}, "token_ttl": "2s"})
	d, client := k.serve(login + lends + tcpListener)
	first := k.alive("token")
	d.Signal(syscall.SIGSTOP)
	k.Until("its token has ended", func() bool {
		return k.Site.As(first).Do("GET", "auth/token/lookup-self", nil).Status == 403
	})
	d.Signal(syscall.SIGCONT)
	for _, ans := range k.atOnce(5, func(int) (*vaulttest.Answer, error) { return client.Try("GET", k.name+"/data/app", nil) }) {
		k.is(ans, 200, "")
	}
	k.calm(3, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func staleWhileSealed(k *Kit) {
	own := k.own()
	cfg := tries(k.lent(), 1)
	d, client := k.serve(cfg + lends + caching(`static_ttl = "1s"`) + tcpListener)
	k.password(client, "MISS")
	k.must(own.Seal())
	k.Soon("it is said that the secret is old", func() bool {
		ans := client.Do("GET", k.name+"/data/app", nil)
		if ans.Status != 200 || ans.Str("data.data.password") != canary+"1" {
			k.Fatalf("%d %s", ans.Status, ans.Body)
		}
		return ans.Header.Get("X-Cache") == "STALE"
	})
	k.is(client.Do("GET", "sys/seal-status", nil), 200, "MISS")
	k.must(own.Unseal())
	k.Soon("it is fresh again", func() bool {
		return client.OK("GET", k.name+"/data/app", nil).Header.Get("X-Cache") != "STALE"
	})
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// cautious: where rights are asked for beforehand, nobody gets an answer once they
// are due and nobody can say.
func cautious(k *Kit) {
	k.Shared()
	d, client := k.serve(tries(k.lent(), -1) + lends + caching(`static_ttl = "1h"`,
		`static_secret_token_capability_refresh_interval = "1s"`, `static_secret_token_capability_refresh_behavior = "pessimistic"`) + tcpListener)
	k.password(client, "MISS")
	stop := k.Site.Front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
	k.Soon("no answer is given", func() bool {
		ans := client.Do("GET", k.name+"/data/app", nil)
		if ans.Header.Get("X-Cache") == "STALE" {
			k.Fatal("an old secret was given")
		}
		return ans.Status == 503
	})
	k.is(client.Do("GET", k.name+"/data/app", nil), 503, "")
	stop()
	k.is(client.Do("GET", k.name+"/data/app", nil), 200, "MISS")
	d.Stops()
}

func escapes(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	for i, name := range []string{"a%20b", "%C3%BC", "a%25b", "a+b", "a;b", "a%3Fb", "a=b&c", "a:b@c", "a%2Bb", "(x)!*'", "deep/er/path", "a~b"} {
		path := k.name + "/data/" + name
		want := fmt.Sprint(canary, i)
		client.OK("PUT", path, m{"data": m{"password": want}})
		if got := k.Site.OK("GET", path, nil).Str("data.data.password"); got != want {
			k.Errorf("%s was written elsewhere", name)
		}
		for _, from := range []string{"MISS", "HIT"} {
			if got := k.is(client.Do("GET", path, nil), 200, from).Str("data.data.password"); got != want {
				k.Errorf("%s is %q", name, got)
			}
		}
		client.OK("PUT", path, m{"data": m{"password": want + "x"}})
		k.asTheServer(client, path)
	}
	// Two spellings of one name are one secret, and one entry.
	client.OK("PUT", k.name+"/data/spell", m{"data": m{"password": canary + "1"}})
	k.is(client.Do("GET", k.name+"/data/spell", nil), 200, "MISS")
	client.OK("PUT", k.name+"/data/%73pell", m{"data": m{"password": canary + "2"}})
	k.asTheServer(client, k.name+"/data/spell")
	k.asTheServer(client, k.name+"/data/sp%65ll")
	d.Stops()
}

func tooLarge(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	text := strings.Repeat("x", 100<<10)
	for name, parts := range map[string]int{"fits": 5, "not": 20} {
		path, data := k.name+"/data/"+name, m{}
		for i := range parts {
			data[fmt.Sprint("part", i)] = text
		}
		client.OK("PUT", path, m{"data": data})
		for _, from := range map[string][]string{"fits": {"MISS", "HIT", "HIT"}, "not": {"MISS", "MISS", "MISS"}}[name] {
			if got, _ := k.is(client.Do("GET", path, nil), 200, from).At("data.data").(m); fmt.Sprint(got) != fmt.Sprint(data) {
				k.Errorf("%s is not as it was written", name)
			}
		}
	}
	d.Stops()
}

func wrappedEachTime(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.name + "/data/app"
	k.password(client, "MISS")
	seen := map[string]bool{}
	for range 3 {
		wrapping := k.is(client.With("X-Vault-Wrap-TTL", "1m").Do("GET", path, nil), 200, "MISS").Str("wrap_info.token")
		seen[wrapping] = true
		if got := client.As(wrapping).OK("PUT", "sys/wrapping/unwrap", nil).Str("data.data.password"); got != canary+"1" {
			k.Errorf("unwrapped it is %q", got)
		}
	}
	if len(seen) != 3 {
		k.Error("a wrapping token was given out twice")
	}
	k.password(client, "HIT")
	d.Stops()
}

// foreignUses: whether its uses are counted shows when it is looked up, which takes
// one. What it gets is not cached.
func foreignUses(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	own, data := k.token(m{"num_uses": 4}), k.name+"/data/app"
	for range 3 {
		k.is(client.As(own).Do("GET", data, nil), 200, "MISS")
	}
	k.is(client.As(own).Do("GET", data, nil), 403, "")
	k.Asked(1, "GET", "auth/token/lookup-self")
	d.Stops()
}
