//go:build unix

package cases

import (
	"latchkey/internal/vaulttest"
)

// Answers that were true when the server gave them, and are not when they arrive.
var _ = add(map[string]func(*Kit){
	"proxy: a secret written while it is read is not kept as it was":   writtenMeanwhile,
	"proxy: a lease revoked while it is on its way is not kept":        revokedMeanwhile,
	"proxy: a token revoked while it is on its way is not kept":        tokenRevokedMeanwhile,
	"proxy: what is cleared while it is on its way is not kept":        clearedMeanwhile,
	"proxy: a token lost while its answer is on its way keeps nothing": lostMeanwhile,
})

// meanwhile has a request's answer wait at the server's door until something has
// been done, and returns the answer.
func (k *Kit) meanwhile(client *vaulttest.Admin, method, path string, body any, do func()) *vaulttest.Answer {
	k.Helper()
	made, done := make(chan struct{}), make(chan struct{})
	stop := k.Site.Front.Rude(vaulttest.Match{Method: method, Path: path}, vaulttest.Rudeness{Times: 1, Late: func() {
		close(made)
		<-done
	}})
	defer stop()
	got := make(chan *vaulttest.Answer, 1)
	go func() {
		ans, err := client.Try(method, path, body)
		if err != nil {
			k.Errorf("%s %s: %v", method, path, err)
		}
		got <- ans
	}()
	<-made
	do()
	close(done)
	ans := <-got
	if ans == nil {
		k.FailNow()
	}
	return ans
}

func writtenMeanwhile(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.name + "/data/app"
	for _, meanwhile := range []struct {
		status int // of the answer on its way
		write  func()
	}{
		{200, func() { client.OK("PUT", path, m{"data": m{"password": canary + "2"}}) }},
		{200, func() { client.OK("DELETE", path, nil) }},
		{404, func() { client.OK("PUT", k.name+"/undelete/app", m{"versions": []int{2}}) }},
		{200, func() { client.As(k.token(nil)).OK("PUT", path, m{"data": m{"password": canary + "3"}}) }},
		{200, func() { client.OK("PUT", k.name+"/data/%61pp", m{"data": m{"password": canary + "4"}}) }},
		{200, func() { client.OK("DELETE", k.name+"/metadata/app", nil) }},
	} {
		k.clear(client, m{"type": "all"})
		if ans := k.meanwhile(client, "GET", path, nil, meanwhile.write); ans.Status != meanwhile.status {
			k.Errorf("%d %s, want %d", ans.Status, ans.Body, meanwhile.status)
		}
		k.asTheServer(client, path)
		k.asTheServer(client, path)
	}
	d.Stops()
}

func revokedMeanwhile(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("1h", "2h")
	dir := k.name + "-mq/creds"
	for _, prefix := range []string{"sys/leases/revoke-prefix/" + dir, "sys/leases/revoke-force/" + dir} {
		lost := k.meanwhile(client, "GET", path, nil, func() { client.OK("PUT", prefix, nil) }).Str("lease_id")
		fresh := k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id")
		if fresh == lost {
			k.Errorf("%s: the lease that was revoked is served", prefix)
		}
		k.is(client.Do("GET", path, nil), 200, "HIT")
		client.OK("PUT", "sys/leases/revoke", m{"lease_id": fresh})
	}
	d.Stops()
}

func tokenRevokedMeanwhile(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path, fields := k.moreLeases("1h", "2h"), m{"ttl": "1h"}
	parent := k.create(client, "MISS", fields)
	revoke := func() { client.OK("PUT", "auth/token/revoke", m{"token": parent}) }
	k.meanwhile(client.As(parent), "POST", "auth/token/create", fields, revoke)
	k.is(client.As(parent).Do("POST", "auth/token/create", fields), 403, "")
	parent = k.create(client, "MISS", fields)
	k.meanwhile(client.As(parent), "GET", path, nil, revoke)
	k.is(client.As(parent).Do("GET", path, nil), 403, "")
	parent = k.create(client, "MISS", fields)
	k.meanwhile(client.As(parent), "GET", k.name+"/data/app", nil, revoke)
	k.is(client.As(parent).Do("GET", k.name+"/data/app", nil), 403, "")
	d.Stops()
}

func clearedMeanwhile(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path := k.moreLeases("1h", "2h")
	for _, what := range []m{{"type": "all"}, {"type": "request_path", "value": "/v1/" + k.name}} {
		lost := k.meanwhile(client, "GET", path, nil, func() { k.clear(client, what) }).Str("lease_id")
		if k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id") == lost {
			k.Errorf("cleared by %v and served", what)
		}
		k.is(client.Do("GET", path, nil), 200, "HIT")
		k.clear(client, m{"type": "all"})
		k.meanwhile(client, "GET", k.name+"/data/app", nil, func() {
			k.Site.WriteKV2(k.name, "app", m{"password": canary + "new"})
			k.clear(client, what)
		})
		if got := client.OK("GET", k.name+"/data/app", nil).Str("data.data.password"); got != canary+"new" {
			k.Errorf("cleared by %v and served", what)
		}
		k.Site.WriteKV2(k.name, "app", m{"password": canary + "1"})
		k.clear(client, m{"type": "all"})
	}
	d.Stops()
}

// lostMeanwhile: our own token is revoked, and the lease on its way went with it.
func lostMeanwhile(k *Kit) {
	k.Shared()
	d, client := k.serveAll(caches)
	path, first := k.moreLeases("1h", "2h"), k.Read("token")
	lost := k.meanwhile(client, "GET", path, nil, func() {
		k.Site.Revoke(first)
		k.is(client.Do("GET", "auth/token/lookup-self", nil), 200, "MISS")
		k.Soon("there is another token", func() bool { return k.peek("token") != first })
	}).Str("lease_id")
	if k.is(client.Do("GET", path, nil), 200, "MISS").Str("lease_id") == lost {
		k.Error("a lease that went with its token is served")
	}
	k.is(client.Do("GET", path, nil), 200, "HIT")
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}
