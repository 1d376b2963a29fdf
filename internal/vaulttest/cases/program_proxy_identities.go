//go:build unix

package cases

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"latchkey/internal/vaulttest"
)

// Several identities, and a configuration that changes while clients ask.
var _ = add(map[string]func(*Kit){
	"proxy: each listener lends its own identity":               identities,
	"proxy: identities do not share what is cached":             identitiesApart,
	"proxy: a reload while clients ask fails no request":        reloadUnderWay,
	"proxy: a reload of a listener's guards keeps its requests": reloadGuards,
	"proxy: a reload ends lending, and begins it":               reloadLending,
})

// second is another identity, with a policy and a sink of its own.
func (k *Kit) second(policies ...string) string {
	k.Helper()
	mount := k.name + "-other"
	k.Site.EnableAuth(mount, "approle")
	k.Write("other_role_id", k.Site.AppRole(mount, "app", m{"token_policies": policies, "token_ttl": "1h"}))
	k.Write("other_secret_id", k.Site.SecretID(mount, "app"))
	return fmt.Sprintf(`auto_auth "other" {
 method "approle" {
  mount_path = %q
  config = {
   role_id_file_path = "other_role_id"
   secret_id_file_path = "other_secret_id"
   remove_secret_id_file_after_reading = false
  }
 }
 %s
}
`, "auth/"+mount, sinkTo("other-token"))
}

func identities(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + k.second(k.name, "default") + lends + tcpListener + listener(1, `auto_auth = "other"`) + listener(2, `auto_auth = "default"`))
	other, path := d.At(1), k.name+"/data/app"
	k.Until("both tokens are in their sinks", func() bool { return k.peek("token") != "" && k.peek("other-token") != "" })
	for c, sink := range map[*vaulttest.Admin]string{client: "token", other: "other-token", d.At(2): "token"} {
		k.is(c.Do("GET", path, nil), 200, "")
		k.bore(path, k.alive(sink))
	}
	// None of our tokens is told to anybody, on whatever listener.
	for _, sink := range []string{"token", "other-token"} {
		for _, c := range []*vaulttest.Admin{client, other} {
			ans := k.is(c.As(k.Read(sink)).Do("GET", "auth/token/lookup-self", nil), 200, "")
			if ans.At("data.id") != nil || ans.At("data.accessor") != nil {
				k.Errorf("the token in %s is shown", sink)
			}
		}
	}
	// One that is lost is replaced, and the other stays.
	first, lost := k.Read("token"), k.Read("other-token")
	k.Site.Revoke(lost)
	k.is(other.Do("GET", path, nil), 200, "")
	k.Soon("there is another token", func() bool { return k.peek("other-token") != lost })
	k.bore(path, k.alive("other-token"))
	if k.Read("token") != first {
		k.Error("the identity that was well has another token")
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	k.Asked(2, "PUT", "auth/"+k.name+"-other/login")
	d.Stops()
}

func identitiesApart(k *Kit) {
	k.Shared()
	k.Site.Policy(k.name+"-creds", map[string][]string{k.name + "-mq/*": {"read"}})
	cfg := k.lent() + k.second(k.name+"-creds", "default")
	k.mayAll()
	d, client := k.serve(cfg + lends + caches + tcpListener + listener(1, `auto_auth = "other"`))
	other, path, creds := d.At(1), k.name+"/data/app", k.moreLeases("1h", "2h")
	k.password(client, "MISS")
	k.password(client, "HIT")
	k.is(other.Do("GET", path, nil), 403, "")
	one := k.is(client.Do("GET", creds, nil), 200, "MISS").Str("lease_id")
	if k.is(other.Do("GET", creds, nil), 200, "MISS").Str("lease_id") == one || k.is(client.Do("GET", creds, nil), 200, "HIT").Str("lease_id") != one {
		k.Error("the lease of one was given to the other")
	}
	// Our own tokens, brought along by a client, are a client's.
	k.is(client.As(k.Read("other-token")).Do("GET", path, nil), 403, "")
	d.Stops()
}

// asking are clients that ask all the time.
type asking struct {
	k     *Kit
	stop  chan struct{}
	all   sync.WaitGroup
	asked atomic.Int64
	wrong atomic.Pointer[string]
}

// asks starts some, each with a connection of its own.
func (k *Kit) asks(n int, connect func() *vaulttest.Admin) *asking {
	k.Helper()
	a := &asking{k: k, stop: make(chan struct{})}
	end := sync.OnceFunc(func() { close(a.stop); a.all.Wait() })
	k.Cleanup(end)
	for i := range n {
		client := connect()
		a.all.Go(func() { a.run(client, fmt.Sprintf("%s/data/app?client=%d", k.name, i)) })
	}
	return a
}

func (a *asking) run(client *vaulttest.Admin, path string) {
	for {
		select {
		case <-a.stop:
			return
		default:
		}
		ans, err := client.Try("GET", path, nil)
		what := ""
		switch {
		case err != nil:
			what = err.Error()
		case ans.Status != 200 || ans.At("data.data") == nil:
			what = fmt.Sprintf("%d %s", ans.Status, ans.Body)
		}
		if what != "" {
			a.wrong.CompareAndSwap(nil, &what)
			return
		}
		a.asked.Add(1)
	}
}

// goOn waits until so many more were answered, and fails when one was not.
func (a *asking) goOn(after string) {
	a.k.Helper()
	before := a.asked.Load()
	a.k.Until("clients are answered", func() bool {
		if w := a.wrong.Load(); w != nil {
			a.k.Fatalf("after %s a client got %s", after, *w)
		}
		return a.asked.Load() >= before+50
	})
}

// reload has the daemon read another configuration.
func (k *Kit) reload(d *Daemon, config string) {
	k.Helper()
	before := d.Said("configuration reloaded: started_again")
	k.Write("latchkey.hcl", config)
	d.Signal(syscall.SIGHUP)
	k.Until("it was reloaded", func() bool { return d.Said("configuration reloaded: started_again") == before+1 })
}

func reloadUnderWay(k *Kit) {
	k.Shared()
	login := k.lent()
	k.Write("new_id", k.Site.AppRole(k.name, "other", m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}))
	k.Write("new_secret_id", k.Site.SecretID(k.name, "other"))
	anew := strings.NewReplacer(`"role_id"`, `"new_id"`, `"secret_id"`, `"new_secret_id"`).Replace(login)
	more := listener(1, "guard = true")
	d, _ := k.serve(login + lends + caches + tcpListener)
	first := k.Read("token")
	all := k.asks(4, func() *vaulttest.Admin { return d.At(0) })
	all.goOn("the start")
	for _, change := range []struct{ what, config string }{
		{"another time to live", login + lends + caching(`static_ttl = "30m"`) + tcpListener},
		{"no cache", login + lends + tcpListener},
		{"a cache", login + lends + caches + tcpListener},
		{"force", login + strings.Replace(lends, "true", `"force"`, 1) + caches + tcpListener},
		{"another login", anew + lends + caches + tcpListener},
		{"a template", anew + lends + caches + tcpListener + k.template("app", "{{.Data.data.password}}")},
		{"another listener", anew + lends + caches + tcpListener + more},
		{"its guards", anew + lends + caches + tcpListener + strings.Replace(more, "guard = true", "read_only = true", 1)},
		{"all of it", login + lends + tcpListener},
	} {
		k.reload(d, change.config)
		all.goOn(change.what)
	}
	k.Soon("there is a token of the first login again", func() bool {
		token := k.peek("token")
		return token != first && k.Site.As(token).Do("GET", "auth/token/lookup-self", nil).At("data.meta.role_name") == "app"
	})
	k.Asked(3, "PUT", "auth/"+k.name+"/login")
	for _, r := range k.Site.Front.Requests() {
		if r.Status != 0 && r.Status/100 != 2 {
			k.Errorf("%s %s was answered with %d", r.Method, r.Path, r.Status)
		}
	}
	d.Stops()
}

// reloadGuards: what is asked when the listener is closed and opened again is
// answered.
func reloadGuards(k *Kit) {
	k.Shared()
	cfg := k.lent() + lends
	d, client := k.serve(cfg + tcpListener)
	path := k.name + "/data/app"
	page := client.With("Origin", "http://evil.test")
	k.is(page.Do("GET", path, nil), 200, "")
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Delay: 300 * time.Millisecond, Times: 1, Skip: 1})
	late := make(chan *vaulttest.Answer, 1)
	go func() {
		ans, err := client.Try("GET", path, nil)
		if err != nil {
			k.Errorf("the request under way: %v", err)
		}
		late <- ans
	}()
	k.Until("a request is under way", func() bool { return len(k.seen(path)) == 2 })
	k.reload(d, cfg+listener(0, "guard = true"))
	if ans := <-late; ans != nil {
		k.is(ans, 200, "")
	}
	client = d.At(1)
	k.refused(client.With("Origin", "http://evil.test").Do("GET", path, nil), 403)
	k.is(client.Do("GET", path, nil), 200, "")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func reloadLending(k *Kit) {
	k.Shared()
	login := k.lent()
	d, client := k.serve(login + lends + caches + tcpListener)
	own := client.As(k.token(nil))
	k.password(client, "MISS")
	k.password(client, "HIT")
	k.reload(d, login+"api_proxy {}\n"+caches+tcpListener)
	k.is(client.Do("GET", k.name+"/data/app", nil), 403, "")
	k.password(own, "MISS")
	k.reload(d, login+lends+caches+tcpListener)
	k.password(client, "MISS")
	k.reload(d, login+tcpListener)
	k.is(client.Do("GET", k.name+"/data/app", nil), 403, "")
	k.password(own, "")
	k.reload(d, login+lends+tcpListener)
	k.password(client, "")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}
