//go:build unix

package cases

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"latchkey/internal/vaulttest"
)

// Whose token a request carries that goes through a listener.
var _ = add(map[string]func(*Kit){
	"proxy: a request without a token borrows ours":                 borrows,
	"proxy: a client's own token goes alone":                        ownToken,
	"proxy: force lends ours whatever the client brings":            forced,
	"proxy: nothing is lent unless it is asked for":                 nothingLent,
	"proxy: a token revoked outside is replaced within the request": replaced,
	"proxy: twenty clients of a revoked token come to one login":    replacedOnce,
	"proxy: a client's own invalid token is just refused":           justRefused,
	"proxy: answers about our own token do not show it":             stripped,
	"proxy: before the first login a request waits":                 waitsForLogin,
	"proxy: without a login a request is told to come back":         comesBack,
	"proxy: a header of a namespace goes along":                     namespaceGoesAlong,
})

func borrows(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + tcpListener)
	path := k.name + "/data/app"
	for _, c := range []*vaulttest.Admin{client, client.With("X-Vault-Token", ""), client.With("Authorization", "Bearer ")} {
		ans := k.is(c.With("User-Agent", "their/1.0").Do("GET", path+"?version=1", nil), 200, "")
		if got := ans.Str("data.data.password"); got != canary+"1" {
			k.Errorf("the secret is %q", got)
		}
		r := k.bore(path, k.Read("token"))
		if agent := r.Header.Get("User-Agent"); !strings.HasPrefix(agent, "latchkey/") || !strings.Contains(agent, "their/1.0") {
			k.Errorf("the server saw the agent %q", agent)
		}
		if r.Query != "version=1" {
			k.Errorf("the server saw the query %q", r.Query)
		}
	}
	k.Asked(3, "GET", path)
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// ownToken: X-Vault-Token counts before a Bearer, as it does at the server.
func ownToken(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + tcpListener)
	own, other := k.token(nil), k.token(nil)
	bearer := "Bearer " + own
	for _, c := range []*vaulttest.Admin{client.As(own), client.With("Authorization", bearer), client.As(own).With("Authorization", "Bearer "+other)} {
		ans := k.is(c.Do("GET", "auth/token/lookup-self", nil), 200, "")
		if ans.Str("data.id") != own {
			k.Error("the answer is about another token")
		}
		k.bore("auth/token/lookup-self", own)
	}
	d.Stops()
}

func forced(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + strings.Replace(lends, "true", `"force"`, 1) + tcpListener)
	own, path := k.token(m{"policies": []string{"default"}}), k.name+"/data/app"
	for _, c := range []*vaulttest.Admin{client, client.As(own), client.With("Authorization", "Bearer "+own), client.As(own).With("Authorization", "Bearer "+own)} {
		k.is(c.Do("GET", path, nil), 200, "")
		k.bore(path, k.Read("token"))
	}
	d.Stops()
}

func nothingLent(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + "api_proxy {}\n" + tcpListener)
	path := k.name + "/data/app"
	direct, through := k.Site.As("").Do("GET", path, nil), client.Do("GET", path, nil)
	if direct.Status != through.Status || string(direct.Body) != string(through.Body) {
		k.Errorf("the server answers %d %s, the proxy %d %s", direct.Status, direct.Body, through.Status, through.Body)
	}
	k.bore(path, "")
	k.is(client.As(k.token(nil)).Do("GET", path, nil), 200, "")
	d.Stops()
}

func replaced(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + tcpListener)
	first, path := k.Read("token"), k.name+"/data/app"
	k.Site.RevokeAccessor(k.goodToken("token").Str("data.accessor"))
	k.is(client.Do("GET", path, nil), 200, "")
	k.Soon("there is another token", func() bool { return k.peek("token") != first })
	k.bore(path, k.alive("token"))
	k.Asked(2, "GET", path)
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	// A write is asked once more as well: the first one was refused.
	k.mayAll()
	k.Site.Revoke(k.Read("token"))
	k.is(client.Do("POST", path, m{"data": m{"password": canary + "2"}}), 200, "")
	if v := k.Site.OK("GET", path, nil).Int("data.metadata.version"); v != 2 {
		k.Errorf("version %d was written", v)
	}
	k.Asked(3, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func replacedOnce(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + tcpListener)
	path := k.name + "/data/app"
	k.is(client.Do("GET", path, nil), 200, "")
	for round := range 2 {
		k.Site.Revoke(k.alive("token"))
		first := k.Read("token")
		for _, ans := range k.atOnce(20, func(i int) (*vaulttest.Answer, error) {
			return client.Try("GET", path+"?n="+strconv.Itoa(i), nil)
		}) {
			k.is(ans, 200, "")
		}
		k.Asked(2+round, "PUT", "auth/"+k.name+"/login")
		k.Soon("there is another token", func() bool { return k.peek("token") != first })
	}
	d.Stops()
}

func justRefused(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	path := k.name + "/data/app"
	bad := client.As("hvs." + canary + "never-was")
	for range 3 {
		k.is(bad.Do("GET", path, nil), 403, "")
	}
	ended := k.token(nil)
	k.Site.Revoke(ended)
	k.is(client.As(ended).Do("GET", path, nil), 403, "")
	k.Asked(4, "GET", path)
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	// A denial by policy is no invalid token, neither theirs nor ours.
	k.is(client.Do("GET", "sys/auth", nil), 403, "")
	k.Asked(1, "GET", "sys/auth")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func stripped(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	token, accessor := k.Read("token"), k.goodToken("token").Str("data.accessor")
	ask := func(c *vaulttest.Admin, method, path string, body any) *vaulttest.Answer {
		ans := c.Do(method, path, body)
		for what, secret := range map[string]string{"token": token, "accessor": accessor} {
			if strings.Contains(string(ans.Body), secret) {
				k.Errorf("%s %s shows the %s", method, path, what)
			}
		}
		return ans
	}
	ans := k.is(ask(client, "GET", "auth/token/lookup-self", nil), 200, "MISS")
	if ans.Str("data.path") != "auth/"+k.name+"/login" || ans.Int("data.creation_ttl") != 3600 {
		k.Errorf("the rest of it is gone, too: %s", ans.Body)
	}
	if ans = ask(client, "PUT", "auth/token/renew-self", m{}); ans.Status != 200 || ans.Int("auth.lease_duration") <= 0 {
		k.Errorf("%d %s", ans.Status, ans.Body)
	}
	k.refused(ask(client.With("X-Vault-Wrap-TTL", "1m"), "GET", "auth/token/lookup-self", nil), 403)
	k.Asked(1, "GET", "auth/token/lookup-self")
	// Of a client's own token it is not taken away.
	own := k.token(nil)
	if client.As(own).OK("GET", "auth/token/lookup-self", nil).Str("data.id") != own {
		k.Error("the answer is about another token")
	}
	d.Stops()
}

// waitsForLogin: the answer to the login is late, and the requests that came
// before it are answered when it is there.
func waitsForLogin(k *Kit) {
	k.Shared()
	cfg := k.lent() + lends + tcpListener
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	k.Site.Front.Rude(vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Rudeness{Do: func() { <-gate }})
	d := k.Daemon(cfg)
	client, path := d.At(0), k.name+"/data/app"
	k.Until("it logs in", func() bool { return k.logins() == 1 })
	started := make(chan struct{}, 5)
	var answers []*vaulttest.Answer
	done := make(chan struct{})
	go func() {
		defer close(done)
		answers = k.atOnce(5, func(int) (*vaulttest.Answer, error) {
			started <- struct{}{}
			return client.Try("GET", path, nil)
		})
	}()
	for range 5 {
		<-started
	}
	// What needs none of our tokens waits for nobody.
	k.is(client.As(k.token(nil)).Do("GET", path, nil), 200, "")
	k.Asked(1, "GET", path)
	open()
	<-done
	for _, ans := range answers {
		k.is(ans, 200, "")
	}
	d.Ready().Stops()
}

// comesBack takes ten seconds, which is how long a request waits.
func comesBack(k *Kit) {
	k.Shared()
	cfg := k.lent() + lends + tcpListener
	stop := k.Site.Front.Rude(vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
	d := k.Daemon(strings.Replace(cfg, " mount_path", " min_backoff = \"1s\"\n max_backoff = \"2s\"\n mount_path", 1))
	client, path := d.At(0), k.name+"/data/app"
	for _, ans := range k.atOnce(3, func(int) (*vaulttest.Answer, error) { return client.Try("GET", path, nil) }) {
		k.refused(ans, 503)
		if after, err := strconv.Atoi(ans.Header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
			k.Errorf("Retry-After is %q", ans.Header.Get("Retry-After"))
		}
	}
	k.Asked(0, "GET", path)
	stop()
	d.Ready()
	k.is(client.Do("GET", path, nil), 200, "")
	d.Stops()
}

// namespaceGoesAlong: the free server has no namespaces, says so to who asks for
// them, and takes the header as said.
func namespaceGoesAlong(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + tcpListener)
	own := k.token(nil)
	for _, path := range []string{k.name + "/data/app", "team/" + k.name + "/data/app", "sys/namespaces/team", "auth/token/lookup-self"} {
		for _, ns := range []string{"team/", "team", ""} {
			direct := k.Site.As(own).With("X-Vault-Namespace", ns).Do("GET", path, nil)
			through := client.As(own).With("X-Vault-Namespace", ns).Do("GET", path, nil)
			if direct.Status != through.Status || fmt.Sprint(direct.Errors(), direct.At("data.data")) != fmt.Sprint(through.Errors(), through.At("data.data")) ||
				direct.Header.Get("X-Vault-Namespace") != through.Header.Get("X-Vault-Namespace") {
				k.Errorf("%s in %q: the server answers %d %s, the proxy %d %s", path, ns, direct.Status, direct.Body, through.Status, through.Body)
			}
			if got := k.bore(path, own).Header.Get("X-Vault-Namespace"); got != ns {
				k.Errorf("the server saw the namespace %q, not %q", got, ns)
			}
		}
	}
	d.Stops()
}
