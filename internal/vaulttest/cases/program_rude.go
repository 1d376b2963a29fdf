package cases

import (
	"net"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

var _ = add(map[string]func(*Kit){
	"429 with Retry-After is waited out":                rude429,
	"412, 503, 500 and a broken answer are tried again": rudeMix,
	"a server that never answers a login":               rudeHang,
	"a server that never answers a read":                rudeHangRead,
	"a slow server":                                     rudeSlow,
	"nobody at the address":                             nobody,
	"a sealed server":                                   sealedServer,
	"a server unsealed in time":                         unsealedInTime,
	"a server restarted in the middle of a run":         restarted,
	"a server sealed in the middle of a run":            sealedMidRun,
	"the log in JSON holds no secret either":            jsonLog,
	"check says what is wrong and leaves nothing":       checkOnline,
})

// rudeSite is a case with one sink and one template.
func (k *Kit) rudeSite() string {
	k.Helper()
	k.Shared()
	return k.sinkAndTemplate()
}

func (k *Kit) sinkAndTemplate() string {
	k.Helper()
	k.kv2("app", m{"password": canary + "1"})
	return k.login(fileSink) + k.template("app", "{{.Data.data.password}}")
}

func (k *Kit) done() {
	k.Helper()
	k.goodToken("token")
	k.Is("app", canary+"1")
}

func rude429(k *Kit) {
	cfg := k.rudeSite()
	login, read := vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Match{Path: k.name + "/data/app"}
	k.Site.Front.Rude(login, vaulttest.Rudeness{Status: 429, RetryAfter: 2 * time.Second, Times: 1})
	k.Site.Front.Rude(read, vaulttest.Rudeness{Status: 429, RetryAfter: time.Second, Times: 1})
	r := k.Exits(0, k.Once(cfg))
	k.done()
	k.Asked(2, "PUT", login.Path)
	k.Asked(2, "GET", read.Path)
	if r.Took < 3*time.Second {
		k.Errorf("took only %s: Retry-After was not honoured", r.Took)
	}
}

func rudeMix(k *Kit) {
	cfg := k.rudeSite()
	login, read := vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Match{Path: k.name + "/data/app"}
	k.Site.Front.Rude(login, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}, Times: 1})
	for _, r := range []vaulttest.Rudeness{
		{Status: 412, Times: 1}, {Status: 500, Times: 1, Errors: []string{"internal error"}}, {Half: true, Times: 1}, {Drop: true, Times: 1},
	} {
		k.Site.Front.Rude(read, r)
	}
	k.Site.Front.Rude(vaulttest.Match{Path: "sys/internal/ui/mounts/*"}, vaulttest.Rudeness{Status: 502, Times: 1})
	k.Exits(0, k.Once(cfg))
	k.done()
	k.Asked(2, "PUT", login.Path)
	k.Asked(5, "GET", read.Path)
}

func rudeHang(k *Kit) {
	cfg := k.rudeSite()
	k.Site.Front.Rude(vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Rudeness{Hang: true})
	r := k.Exits(5, k.Once(cfg, "-timeout=2s"))
	k.Says(r, `auth/`+k.name+`/login`)
	k.soon(r)
	k.Missing("token")
}

func rudeHangRead(k *Kit) {
	cfg := k.rudeSite()
	k.Site.Front.Rude(vaulttest.Match{Path: k.name + "/data/app"}, vaulttest.Rudeness{Hang: true})
	r := k.Exits(5, k.Once(cfg, "-timeout=2s"))
	k.Says(r, k.name+`/data/app`)
	k.soon(r)
	k.goodToken("token")
	k.Missing("app")
}

func rudeSlow(k *Kit) {
	cfg := k.rudeSite()
	k.Site.Front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Delay: 300 * time.Millisecond})
	k.Exits(0, k.Once(cfg))
	k.done()
	k.Asked(3, "", "*")
}

func nobody(k *Kit) {
	site := *k.Target.Shared(k.T)
	k.Use(&site)
	cfg := k.sinkAndTemplate()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		k.Fatal(err)
	}
	site.Addr = "http://" + ln.Addr().String()
	if err := ln.Close(); err != nil {
		k.Fatal(err)
	}
	r := k.Exits(5, k.Once(cfg, "-timeout=2s"))
	k.Says(r, `latchkey: .*connection refused`)
	k.soon(r)
	k.Missing("token")
}

func (k *Kit) own() *Own {
	k.Helper()
	own := k.Target.Own(k.T)
	k.Use(own.Site)
	return own
}

func (k *Kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

func sealedServer(k *Kit) {
	own := k.own()
	cfg := k.sinkAndTemplate()
	k.must(own.Seal())
	r := k.Exits(5, k.Once(cfg, "-timeout=3s"))
	k.Says(r, `latchkey: .*503.*sealed`)
	k.soon(r)
	k.must(own.Unseal())
	k.Exits(0, k.Once(cfg))
	k.done()
}

func unsealedInTime(k *Kit) {
	own := k.own()
	cfg := k.sinkAndTemplate()
	k.must(own.Seal())
	login := vaulttest.Match{Path: "auth/" + k.name + "/login"}
	own.Front.Rude(login, vaulttest.Rudeness{Skip: 1, Times: 1, Do: func() {
		if err := own.Unseal(); err != nil {
			k.Error(err)
		}
	}})
	k.Exits(0, k.Once(cfg))
	k.done()
	k.Asked(2, "PUT", login.Path)
}

// restarted takes the server away under the first read and brings it back, with
// all it knew, before the next.
func restarted(k *Kit) {
	own := k.own()
	cfg := k.sinkAndTemplate()
	gone, back := make(chan error, 1), make(chan error, 1)
	own.Front.Rude(vaulttest.Match{Path: k.name + "/data/app"}, vaulttest.Rudeness{Times: 1, Do: func() {
		gone <- own.Down()
		back <- own.Up()
	}, Drop: true})
	k.Exits(0, k.Once(cfg))
	k.must(<-gone)
	k.must(<-back)
	k.done()
}

func sealedMidRun(k *Kit) {
	own := k.own()
	cfg := k.sinkAndTemplate()
	own.Front.Rude(vaulttest.Match{Path: k.name + "/data/app"}, vaulttest.Rudeness{Times: 1, Do: func() {
		if err := own.Seal(); err != nil {
			k.Error(err)
		}
	}})
	r := k.Exits(5, k.Once(cfg, "-timeout=3s"))
	k.Says(r, `sealed`)
	k.must(own.Unseal())
	k.goodToken("token")
	k.Missing("app")
}

func jsonLog(k *Kit) {
	cfg := k.rudeSite()
	k.Site.Front.Rude(vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Rudeness{Status: 500, Times: 1})
	r := k.Exits(0, k.Once(cfg, "-log-format=json"))
	for line := range strings.Lines(strings.TrimSpace(r.Stderr)) {
		if !strings.HasPrefix(line, "{") {
			k.Errorf("no JSON: %s", line)
		}
	}
	k.done()
}

func checkOnline(k *Kit) {
	cfg := k.rudeSite()
	k.Write("latchkey.hcl", cfg)
	k.Exits(0, k.Run("check", "-config=latchkey.hcl"))
	k.Asked(0, "", "*")
	k.Site.Policy(k.name, map[string][]string{k.name + "/*": {"read"}, "sys/capabilities-self": {"update"}, "auth/token/revoke-self": {"update"}})
	k.Exits(0, k.Run("check", "-online", "-config=latchkey.hcl"))
	k.Asked(0, "GET", k.name+"/data/*")
	k.Missing("token")
	k.Missing("app")
	if n := k.Site.Front.Count("PUT", "auth/token/revoke-self"); n != k.Site.Front.Count("PUT", "auth/"+k.name+"/login") {
		k.Errorf("%d tokens revoked", n)
	}
}
