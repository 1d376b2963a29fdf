//go:build unix

package cases

import (
	"fmt"
	"strings"

	"latchkey/internal/vaulttest"
)

// Static secrets that a listener's clients get from memory.
var _ = add(map[string]func(*Kit){
	"proxy: a static secret is read once in a while":               staticOnce,
	"proxy: without static_ttl a static secret is read each time":  staticOff,
	"proxy: a write through us is seen at once":                    writeSeen,
	"proxy: a write past us is seen after static_ttl":              writePastUs,
	"proxy: a write past us is told by an event":                   writeTold,
	"proxy: while the server is away old secrets are served":       stale,
	"proxy: a right that is gone is gone, asked for beforehand":    rightGone("pessimistic"),
	"proxy: a right that is gone is gone, asked for afterwards":    rightGone("optimistic"),
	"proxy: a policy written through us holds at once":             policyThroughUs,
	"proxy: nobody is given what another may read":                 nobodyElses,
	"proxy: a new token of ours finds what the old one had cached": staticsOutlive,
})

// password reads the case's secret through a listener.
func (k *Kit) password(client *vaulttest.Admin, from string) string {
	k.Helper()
	return k.is(client.Do("GET", k.name+"/data/app", nil), 200, from).Str("data.data.password")
}

func staticOnce(k *Kit) {
	k.Shared()
	cfg := k.lent()
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Site.Mount(k.name+"-mq", "kv", m{"version": "1"})
	k.Site.WriteKV1(k.name+"-mq", "app", m{"password": canary + "one"})
	k.mayAll()
	d, client := k.serve(cfg + lends + caches + tcpListener)
	path := k.name + "/data/app"
	one := k.is(client.Do("GET", path, nil), 200, "MISS")
	two := k.is(client.Do("GET", path, nil), 200, "HIT")
	if string(one.Body) != string(two.Body) || one.Header.Get("Content-Type") != two.Header.Get("Content-Type") {
		k.Errorf("%s from the server, %s from memory", one.Body, two.Body)
	}
	own := k.token(nil)
	if head := client.As(own).Do("HEAD", path, nil); head.Status != k.Site.As(own).Do("HEAD", path, nil).Status || len(head.Body) > 0 {
		k.Errorf("HEAD: %d", head.Status)
	}
	// A version is a secret of its own, and never another's.
	for version, want := range map[string]string{"1": canary + "1", "2": canary + "2"} {
		for _, from := range []string{"MISS", "HIT"} {
			if got := k.is(client.Do("GET", path+"?version="+version, nil), 200, from).Str("data.data.password"); got != want {
				k.Errorf("version %s is %q", version, got)
			}
		}
	}
	k.is(client.Do("GET", k.name+"-mq/app", nil), 200, "MISS")
	if got := k.is(client.Do("GET", k.name+"-mq/app", nil), 200, "HIT").Str("data.password"); got != canary+"one" {
		k.Errorf("of version 1 it is %q", got)
	}
	// What is none is asked for each time.
	for range 2 {
		k.is(client.Do("GET", k.name+"/data/none", nil), 404, "")
		k.is(client.Do("LIST", k.name+"/metadata", nil), 200, "MISS")
	}
	k.Asked(2, "GET", k.name+"/data/none")
	k.Asked(2, "LIST", k.name+"/metadata*")
	if got := k.Site.Front.Count("GET", path); got > 4 {
		k.Errorf("the secret was asked for %d times", got)
	}
	d.Stops()
}

func staticOff(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + "cache {}\n" + tcpListener)
	for range 3 {
		k.password(client, "MISS")
	}
	k.Asked(3, "GET", k.name+"/data/app")
	d.Stops()
}

// writeSeen: whatever is written through a listener, the next who reads has what
// the server has, by whomever it was written.
func writeSeen(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	data, meta := k.name+"/data/app", k.name+"/metadata/app"
	merge := func(c *vaulttest.Admin) *vaulttest.Admin {
		return c.With("Content-Type", "application/merge-patch+json")
	}
	other, n := client.As(k.token(nil)), 0
	for _, c := range []*vaulttest.Admin{client, other} {
		for _, write := range []struct {
			what string
			do   func() *vaulttest.Answer
		}{
			{"data", func() *vaulttest.Answer { return c.OK("POST", data, m{"data": m{"password": canary + "x", "n": n}}) }},
			{"a patch of data", func() *vaulttest.Answer { return merge(c).OK("PATCH", data, m{"data": m{"n": n}}) }},
			{"metadata", func() *vaulttest.Answer { return c.OK("POST", meta, m{"custom_metadata": m{"n": fmt.Sprint(n)}}) }},
			{"delete", func() *vaulttest.Answer { return c.OK("DELETE", data, nil) }},
			{"undelete", func() *vaulttest.Answer { return c.OK("POST", k.name+"/undelete/app", m{"versions": k.latest()}) }},
			{"a delete of versions", func() *vaulttest.Answer { return c.OK("POST", k.name+"/delete/app", m{"versions": k.latest()}) }},
			{"undelete", func() *vaulttest.Answer { return c.OK("PUT", k.name+"/undelete/app", m{"versions": k.latest()}) }},
			{"destroy", func() *vaulttest.Answer { return c.OK("PUT", k.name+"/destroy/app", m{"versions": k.latest()}) }},
			{"data", func() *vaulttest.Answer { return c.OK("PUT", data, m{"data": m{"password": canary + "y", "n": n}}) }},
			{"a delete of it all", func() *vaulttest.Answer { return c.OK("DELETE", meta, nil) }},
			{"data", func() *vaulttest.Answer { return c.OK("PUT", data, m{"data": m{"password": canary + "z", "n": n}}) }},
		} {
			n++
			k.asTheServer(client, data) // so that it is cached, if it can be
			write.do()
			for range 2 {
				if ans := k.asTheServer(client, data); ans.Status == 200 && ans.Header.Get("X-Cache") == "" {
					k.Errorf("after %s: not by the cache", write.what)
				}
			}
		}
	}
	// One that is refused changes nothing.
	k.password(client, "HIT")
	k.is(client.As(k.token(m{"policies": []string{"default"}})).Do("POST", data, m{"data": m{}}), 403, "")
	k.password(client, "HIT")
	d.Stops()
}

// latest is the newest version of the case's secret.
func (k *Kit) latest() []int {
	k.Helper()
	return []int{k.Site.OK("GET", k.name+"/metadata/app", nil).Int("data.current_version")}
}

// asTheServer reads through a listener what the server itself says, too.
func (k *Kit) asTheServer(client *vaulttest.Admin, path string) *vaulttest.Answer {
	k.Helper()
	direct, through := k.Site.Do("GET", path, nil), client.Do("GET", path, nil)
	if direct.Status != through.Status || fmt.Sprint(direct.At("data")) != fmt.Sprint(through.At("data")) {
		k.Fatalf("the server says %d %s, the proxy %d %s", direct.Status, direct.Body, through.Status, through.Body)
	}
	return through
}

func writePastUs(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caching(`static_ttl = "1s"`) + tcpListener)
	k.password(client, "MISS")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	read := func() string { return client.OK("GET", k.name+"/data/app", nil).Str("data.data.password") }
	k.Soon("the new secret is served", func() bool { return read() == canary+"2" })
	k.Asked(2, "GET", k.name+"/data/app")
	// What did not change is not read again: its metadata are asked for.
	k.Until("it was looked at twice", func() bool {
		if read() != canary+"2" {
			k.Fatal("the old secret is back")
		}
		return k.Site.Front.Count("GET", k.name+"/metadata/app") >= 3
	})
	k.Asked(2, "GET", k.name+"/data/app")
	d.Stops()
}

func writeTold(k *Kit) {
	k.Shared()
	ttl := "1s"
	if k.Site.Events != nil {
		k.Site.Events(true)
		ttl = "1h"
	}
	cfg := k.lent()
	k.Site.Policy(k.name, map[string][]string{
		k.name + "/data/*": {"read", "subscribe"}, k.name + "/metadata/*": {"read"}, "sys/events/subscribe/*": {"read"},
	})
	d, client := k.serve(cfg + lends + caching("static_ttl = \""+ttl+"\"\n static_events = true") + tcpListener)
	k.Until("it has asked for events", func() bool { return k.Site.Front.Count("GET", "sys/events/subscribe/*") > 0 })
	k.password(client, "MISS")
	for i := range 2 {
		want := fmt.Sprint(canary, "event", i)
		k.Site.WriteKV2(k.name, "app", m{"password": want})
		k.Soon("the new secret is served", func() bool {
			return client.OK("GET", k.name+"/data/app", nil).Str("data.data.password") == want
		})
	}
	k.calm(5, "GET", "sys/events/subscribe/*")
	d.Stops()
}

// stale: who has read a secret reads it on while the server is away; who has not
// gets no answer that is another's.
func stale(k *Kit) {
	own := k.own()
	k.kv2("app", m{"password": canary + "1"})
	cfg := k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"})
	cfg = strings.Replace(cfg, `address = ""`, "address = \"\"\n retry { num_retries = 1 }", 1)
	d, client := k.serve(cfg + lends + caching(`static_ttl = "1s"`) + tcpListener)
	k.password(client, "MISS")
	stranger := client.As(k.token(nil))
	k.must(own.Down())
	k.Soon("it is said that the secret is old", func() bool {
		ans := client.Do("GET", k.name+"/data/app", nil)
		if ans.Status != 200 || ans.Str("data.data.password") != canary+"1" {
			k.Fatalf("%d %s", ans.Status, ans.Body)
		}
		return ans.Header.Get("X-Cache") == "STALE"
	})
	for range 3 {
		k.password(client, "STALE")
	}
	k.refused(stranger.Do("GET", k.name+"/data/app", nil), 502)
	k.must(own.Up())
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the new secret is served", func() bool {
		ans := client.Do("GET", k.name+"/data/app", nil)
		return ans.Status == 200 && ans.Str("data.data.password") == canary+"2" && ans.Header.Get("X-Cache") != "STALE"
	})
	d.Stops()
}

// rightGone: the policy is changed where nobody tells us. The answer may be given
// out until the right is asked for; from then on it is not, by whatever way.
func rightGone(behavior string) func(*Kit) {
	return func(k *Kit) {
		k.Shared()
		d, client := k.serve(k.lent() + lends + caching(`static_ttl = "1h"`,
			`static_secret_token_capability_refresh_interval = "1s"`,
			`static_secret_token_capability_refresh_behavior = "`+behavior+`"`) + tcpListener)
		own := client.As(k.token(nil))
		k.password(client, "MISS")
		k.password(own, "MISS")
		k.Until("the right was asked for", func() bool {
			for _, c := range []*vaulttest.Admin{client, own} {
				if got := c.OK("GET", k.name+"/data/app", nil).Str("data.data.password"); got != canary+"1" {
					k.Fatalf("%q", got)
				}
			}
			return k.Site.Front.Count("PUT", "sys/capabilities-self") >= 2 || k.reads("app") >= 4
		})
		k.Site.Policy(k.name, map[string][]string{"nothing": {"read"}})
		for _, c := range []*vaulttest.Admin{client, own} {
			k.Soon("it is refused", func() bool { return c.Do("GET", k.name+"/data/app", nil).Status == 403 })
			for range 3 {
				k.is(c.Do("GET", k.name+"/data/app", nil), 403, "")
			}
		}
		k.Asked(1, "PUT", "auth/"+k.name+"/login")
		k.Site.Policy(k.name, map[string][]string{k.name + "/*": {"read"}})
		k.is(client.Do("GET", k.name+"/data/app", nil), 200, "MISS")
		d.Stops()
	}
}

func policyThroughUs(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	own, root := client.As(k.token(nil)), client.As(k.Site.Token)
	for _, c := range []*vaulttest.Admin{client, own} {
		k.password(c, "MISS")
		k.password(c, "HIT")
	}
	root.OK("PUT", "sys/policies/acl/"+k.name, m{"policy": `path "nothing" { capabilities = ["read"] }`})
	for _, c := range []*vaulttest.Admin{client, own} {
		k.is(c.Do("GET", k.name+"/data/app", nil), 403, "")
	}
	root.OK("PUT", "sys/policies/acl/"+k.name, m{"policy": `path "` + k.name + `/*" { capabilities = ["read"] }`})
	for _, c := range []*vaulttest.Admin{client, own} {
		k.password(c, "MISS")
		k.password(c, "HIT")
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func nobodyElses(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	path := k.name + "/data/app"
	k.password(client, "MISS")
	k.password(client, "HIT")
	may, mayNot := client.As(k.token(nil)), client.As(k.token(m{"policies": []string{"default"}}))
	for range 2 {
		k.is(mayNot.Do("GET", path, nil), 403, "")
		k.is(client.As("hvs."+canary+"nobody").Do("GET", path, nil), 403, "")
	}
	k.password(may, "MISS")
	k.password(may, "HIT")
	k.password(client, "HIT")
	k.is(mayNot.Do("GET", path, nil), 403, "")
	// A token that is revoked through us reads nothing any more.
	ended := k.token(nil)
	k.password(client.As(ended), "MISS")
	client.As(ended).OK("PUT", "auth/token/revoke-self", nil)
	k.is(client.As(ended).Do("GET", path, nil), 403, "")
	// So does one that the server refused once.
	ended = k.token(nil)
	k.password(client.As(ended), "MISS")
	k.Site.Revoke(ended)
	k.is(client.As(ended).Do("GET", "auth/token/lookup-self", nil), 403, "")
	k.is(client.As(ended).Do("GET", path, nil), 403, "")
	d.Stops()
}

func staticsOutlive(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	k.password(client, "MISS")
	first := k.Read("token")
	k.Site.Revoke(first)
	k.is(client.Do("GET", "auth/token/lookup-self", nil), 200, "MISS")
	k.Soon("there is another token", func() bool { return k.peek("token") != first })
	k.password(client, "HIT")
	k.Asked(1, "GET", k.name+"/data/app")
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}
