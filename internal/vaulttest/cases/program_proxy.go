//go:build unix

package cases

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"latchkey/internal/vaulttest"
)

// Parts of configurations with listeners.
const (
	tcpListener = "listener \"tcp\" {\n address = \"127.0.0.1:0\"\n tls_disable = true\n}\n"
	lends       = "api_proxy {\n use_auto_auth_token = true\n}\n"
	caches      = "cache {\n static_ttl = \"1h\"\n}\n"
)

// listener is the nth one on loopback, with more keys; the first is tcpListener.
// Any free port is written with one more zero each time, because an address is
// the name that a reload knows a listener by.
func listener(n int, keys ...string) string {
	return strings.NewReplacer(":0", ":0"+strings.Repeat("0", n), "}", strings.Join(keys, "\n")+"\n}").Replace(tcpListener)
}

// caching is a cache stanza with these keys.
func caching(keys ...string) string { return "cache {\n" + strings.Join(keys, "\n") + "\n}\n" }

// lent is a login whose token may do what the policies default and that of the
// case say, with a sink; it makes a KV version 2 mount with the secret app.
func (k *Kit) lent() string {
	k.Helper()
	k.kv2("app", m{"password": canary + "1"})
	return k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"})
}

// mayAll lets tokens with the case's policy do more: all with its own mounts,
// make and end tokens and leases.
func (k *Kit) mayAll() {
	k.Helper()
	all := []string{"create", "read", "update", "delete", "list", "patch"}
	k.Site.Policy(k.name, map[string][]string{
		k.name + "/*": all, k.name + "-mq/*": {"read"}, "auth/token/create": {"create", "update"}, "auth/token/revoke": {"update"}, "auth/token/revoke-accessor": {"update"},
		"auth/token/revoke-orphan": {"update", "sudo"}, "sys/leases/revoke": {"update"}, "sys/leases/revoke/*": {"update"},
		"sys/leases/revoke-prefix/" + k.name + "-mq/*": {"update", "sudo"}, "sys/leases/revoke-force/" + k.name + "-mq/*": {"update", "sudo"},
		"sys/leases/renew/*": {"update"}, "auth/" + k.name + "/login": {"create", "update"},
	})
}

// token makes one of a client's own, with the case's policy and these fields.
func (k *Kit) token(fields m) string {
	k.Helper()
	opts := m{"policies": []string{k.name, "default"}, "ttl": "1h", "no_parent": true}
	for key, v := range fields {
		opts[key] = v
	}
	return k.Site.NewToken(opts)
}

var listening = regexp.MustCompile(`listening: listener=(\S+) address=(\S+)`)

// At returns a client of the listener that the daemon opened as the nth, counted
// from 0, a listener that it opened again counting again. The client has no token.
func (d *Daemon) At(n int) *vaulttest.Admin {
	d.k.Helper()
	return vaulttest.NewAdmin(d.k.T, "http://"+d.address(n), "", nil, nil)
}

// address is where the nth listener is.
func (d *Daemon) address(n int) string {
	d.k.Helper()
	var opened [][]string
	d.k.Until("there are listeners", func() bool {
		opened = listening.FindAllStringSubmatch(d.stderr.String(), -1)
		return len(opened) > n
	})
	return opened[n][2]
}

// serve starts a daemon with a configuration, and returns a client of its first
// listener beside it.
func (k *Kit) serve(config string) (*Daemon, *vaulttest.Admin) {
	k.Helper()
	k.Cleanup(k.oneToken)
	d := k.Daemon(config).Ready()
	return d, d.At(0)
}

// oneToken fails the case when a request came to the server with two tokens, or
// not marked as a program's own.
func (k *Kit) oneToken() {
	k.Helper()
	for _, r := range k.Site.Front.Requests() {
		if len(tokensOf(r)) > 1 {
			k.Errorf("%s %s came with %d tokens", r.Method, r.Path, len(tokensOf(r)))
		}
		if r.Header.Get("X-Vault-Request") != "true" {
			k.Errorf("%s %s came without X-Vault-Request", r.Method, r.Path)
		}
	}
}

// seen are the requests for a path that came to the server.
func (k *Kit) seen(path string) []vaulttest.Request {
	return slices.DeleteFunc(k.Site.Front.Requests(), func(r vaulttest.Request) bool { return r.Path != path })
}

// bore fails the case unless the last request for a path bore this token alone.
func (k *Kit) bore(path, token string) vaulttest.Request {
	k.Helper()
	all := k.seen(path)
	if len(all) == 0 {
		k.Fatalf("nobody asked the server for %s", path)
	}
	last := all[len(all)-1]
	if got := tokensOf(last); token == "" && len(got) > 0 || token != "" && !slices.Equal(got, []string{token}) {
		k.Errorf("%s was asked for with %d tokens, or another than it should be", path, len(got))
	}
	return last
}

// is fails the case unless an answer has this status and comes from there: HIT,
// MISS, STALE, or "" for no cache.
func (k *Kit) is(ans *vaulttest.Answer, status int, from string) *vaulttest.Answer {
	k.Helper()
	if got := ans.Header.Get("X-Cache"); ans.Status != status || got != from {
		k.Fatalf("%d %q, want %d %q: %s", ans.Status, got, status, from, ans.Body)
	}
	if age := ans.Header.Get("Age"); (age != "") != (from == "HIT" || from == "STALE") {
		k.Errorf("an answer from %q has the age %q", from, age)
	}
	return ans
}

// refused fails the case unless an answer is a refusal of ours, as JSON.
func (k *Kit) refused(ans *vaulttest.Answer, status int) {
	k.Helper()
	if ans.Status != status || len(ans.Errors()) != 1 || ans.Header.Get("Content-Type") != "application/json" {
		k.Errorf("%d %s %s, want %d with one error", ans.Status, ans.Header.Get("Content-Type"), ans.Body, status)
	}
}

// atOnce makes n requests side by side and returns their answers.
func (k *Kit) atOnce(n int, ask func(i int) (*vaulttest.Answer, error)) []*vaulttest.Answer {
	k.Helper()
	answers, errs := make([]*vaulttest.Answer, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { answers[i], errs[i] = ask(i) })
	}
	all.Wait()
	for _, err := range errs {
		k.must(err)
	}
	return answers
}

// clear asks a listener to drop something from its cache.
func (k *Kit) clear(client *vaulttest.Admin, what m) {
	k.Helper()
	if ans := client.Do("POST", "/agent/v1/cache-clear", what); ans.Status != http.StatusOK || len(ans.Body) > 0 {
		k.Fatalf("cache-clear: %d %s", ans.Status, ans.Body)
	}
}
