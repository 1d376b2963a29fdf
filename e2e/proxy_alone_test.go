//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/vaulttest"
)

// aloneConfig has what the agent does not: static secrets in the cache, two
// identities, guards, and a cache that outlives the process on any machine.
const aloneConfig = toVault + theLogin + `
auto_auth "other" {
  method "approle" {
    mount_path = "auth/proxy-login"
    config = {
      role_id_file_path                   = "other_role_id"
      secret_id_file_path                 = "other_secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
}
api_proxy { use_auto_auth_token = true }
cache {
  static_ttl = "1s"
  persist "file" {
    path    = "."
    key_env = "LATCHKEY_E2E_KEY"
  }
}
listener "tcp" {
  address     = "{host}:18200"
  tls_disable = true
}
listener "tcp" {
  address     = "{host}:18201"
  tls_disable = true
  guard       = true
  read_only   = true
  allow_paths = ["proxy-kv/data/*"]
  auto_auth   = "other"
}
`

func alone(t *testing.T, p *subject, site *vaulttest.Admin) {
	t.Helper()
	p.vars["own"] = site.NewToken(vaulttest.Map{"policies": []string{"proxy-app"}, "ttl": "30m"})
	p.vars["stranger"] = site.NewToken(vaulttest.Map{"policies": []string{"default"}, "ttl": "30m"})
	site.WriteKV2("proxy-kv", "alone/app", vaulttest.Map{"a": "1"})
	site.WriteKV2("proxy-kv", "other/app", vaulttest.Map{"a": "2"})
	look := func(st step) string { return p.ask(st).String() }
	wants := func(want string, st step) {
		t.Helper()
		if got := look(st); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", st.what, got, want)
		}
	}
	read := step{what: "a static secret", path: "proxy-kv/data/alone/app"}
	// hot asks twice, and gets the second answer from memory, unless a second
	// went by in between.
	hot := func(st step) string {
		t.Helper()
		var got string
		p.until(st.what+" is cached", func() bool {
			look(st)
			got = look(st)
			return strings.HasPrefix(got, "200 HIT aged")
		})
		return got
	}
	if got := hot(read); !strings.Contains(got, `"a":"1"`) {
		t.Errorf("from memory: %s", got)
	}
	own := read
	own.header = []string{"X-Vault-Token: {own}"}
	hot(own)
	wants("403", step{what: "for whom may not read it", path: read.path, header: []string{"X-Vault-Token: {stranger}"}})
	wants("403", step{what: "for nobody", path: read.path, header: []string{"X-Vault-Token: hvs.none"}})

	wants("200 MISS", step{what: "a write", method: "POST", path: read.path, body: `{"data":{"a":"3"}}`})
	if got := look(read); !strings.HasPrefix(got, "200 MISS") || !strings.Contains(got, `"a":"3"`) {
		t.Errorf("after a write: %s", got)
	}
	if got := look(own); !strings.Contains(got, `"a":"3"`) {
		t.Errorf("after a write, for another: %s", got)
	}
	if got := hot(step{what: "an old version", path: read.path + "?version=1"}); !strings.Contains(got, `"a":"1"`) {
		t.Errorf("version 1: %s", got)
	}
	site.WriteKV2("proxy-kv", "alone/app", vaulttest.Map{"a": "4"})
	if got := look(step{what: "asked for anew", path: read.path, header: []string{"X-Vault-Cache-Control: recache"}}); !strings.HasPrefix(got, "200 MISS") || !strings.Contains(got, `"a":"4"`) {
		t.Errorf("recache: %s", got)
	}
	site.WriteKV2("proxy-kv", "alone/app", vaulttest.Map{"a": "5"})
	p.until("a write at the server itself is seen", func() bool { return strings.Contains(look(read), `"a":"5"`) })

	stop := p.front.Rude(vaulttest.Match{}, vaulttest.Rudeness{Drop: true})
	p.until("it is served while the server is away", func() bool { return strings.HasPrefix(look(read), "200 STALE aged") })
	stop()
	p.until("the server is asked again", func() bool { return !strings.HasPrefix(look(read), "200 STALE") })

	herd(t, p, site)
	guarded(t, p)
	revoked(t, p, site)
	restarted(t, p)
}

// herd has many ask for the same at once.
func herd(t *testing.T, p *subject, site *vaulttest.Admin) {
	t.Helper()
	site.WriteKV2("proxy-kv", "alone/herd", vaulttest.Map{"a": "1"})
	before := p.front.Count("GET", "proxy-kv/data/alone/herd")
	answers := make([]string, 100)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			answers[i] = p.ask(step{what: "one of many", path: "proxy-kv/data/alone/herd"}).String()
		})
	}
	wg.Wait()
	for _, a := range answers {
		if !strings.HasPrefix(a, "200 ") || !strings.Contains(a, `"a":"1"`) {
			t.Fatalf("one of many: %s", a)
		}
	}
	// A second may go by, and then it is looked at again.
	if n := p.front.Count("GET", "proxy-kv/data/alone/herd") - before; n != 1 {
		t.Errorf("%d requests to the server for %d equal ones at once", n, len(answers))
	}
}

// guarded asks where not everybody is served, and another identity is lent.
func guarded(t *testing.T, p *subject) {
	t.Helper()
	for _, tt := range []struct {
		want string
		step step
	}{
		{"200 MISS", step{path: "proxy-kv/data/other/app"}},
		{"403 {\"errors\":[\"1 error", step{path: "proxy-kv/data/alone/app"}}, // the server's word
		{"403 {\"errors\":[\"this listener serves some paths only", step{path: "sys/seal-status"}},
		{"403 {\"errors\":[\"this listener serves some paths only", step{path: "proxy-kv/data/other/../alone/app"}},
		{"405 {\"errors\"", step{method: "POST", path: "proxy-kv/data/other/app", body: `{"data":{}}`}},
		{"403 {\"errors\":[\"this listener is for programs", step{path: "proxy-kv/data/other/app", header: []string{"Origin: http://evil.example"}}},
		{"403 {\"errors\":[\"this listener is for programs", step{path: "proxy-kv/data/other/app", header: []string{"X-Forwarded-For: 192.0.2.1"}}},
	} {
		tt.step.on = "guarded"
		tt.step.what = fmt.Sprintf("guarded: %s %v", tt.step.path, tt.step.header)
		if got := p.ask(tt.step).String(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %s, want %s", tt.step.what, got, tt.want)
		}
	}
}

// revoked takes the lent token away: nobody who borrows it notices.
func revoked(t *testing.T, p *subject, site *vaulttest.Admin) {
	t.Helper()
	lent, err := os.ReadFile(filepath.Join(p.dir, "token"))
	if err != nil {
		t.Fatal(err)
	}
	site.Revoke(string(lent))
	logins := p.front.Count("", "auth/proxy-login/login")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			got := p.ask(step{what: "with a token that was revoked", method: "LIST", path: fmt.Sprintf("proxy-kv/metadata/?n=%d", i)}).String()
			if !strings.HasPrefix(got, "200 MISS") {
				t.Errorf("with a token that was revoked: %s", got)
			}
		})
	}
	wg.Wait()
	if n := p.front.Count("", "auth/proxy-login/login") - logins; n != 1 {
		t.Errorf("%d logins for one token that was revoked", n)
	}
}

// restarted kills the program: what it had leased is there again, and nobody had
// to log in.
func restarted(t *testing.T, p *subject) {
	t.Helper()
	made := tokens("a token", `{"ttl":"40m"}`, step{save: map[string]string{"made": "auth.client_token"}})
	lease := step{what: "a lease", path: "proxy-mq/creds/d", save: map[string]string{"lease": "lease_id"}}
	p.ask(made)
	p.ask(lease)
	token, id := p.vars["made"], p.vars["lease"]
	logins := p.front.Count("", "auth/proxy-login/login")
	// Clearing waits for the disk; until then, what was leased last may be in memory
	// alone.
	p.ask(clearing("clear nothing", `{"type":"lease","value":"none"}`, step{}))
	p.kill()
	p.start()
	for _, st := range []step{made, lease} {
		if got := p.ask(st).String(); !strings.HasPrefix(got, "200 HIT aged") {
			t.Errorf("%s after a restart: %s", st.what, got)
		}
	}
	if p.vars["made"] != token || p.vars["lease"] != id {
		t.Error("after a restart there are others")
	}
	if n := p.front.Count("", "auth/proxy-login/login"); n != logins {
		t.Errorf("%d logins for a restart", n-logins)
	}
}
