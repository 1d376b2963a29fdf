//go:build unix

package cases

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"latchkey/internal/vaulttest"
)

// What a token lives through while a daemon keeps it.
var _ = add(map[string]func(*Kit){
	"daemon: a short token is good at every moment":              shortToken,
	"daemon: a batch token is replaced before its end":           batchToken,
	"daemon: a token without the right to renew causes no storm": noRenewSelf,
	"daemon: a role that is gone causes no storm":                roleGone,
	"daemon: a revoked token is replaced with one login":         revokedOutside,
	"daemon: a revoked token is noticed by its renewal":          revokedUnused,
	"daemon: a denial by policy is no reason to log in":          policyChanges,
	"daemon: a limited token is replaced before its last use":    limitedUses,
	"daemon: a new JWT is used at once":                          newCredentials,
	"daemon: the token is handed over to the next start":         handedOver,
	"daemon: asleep for longer than its token lives":             asleep,
	"daemon: a sink that others touch is put back":               sinkTouched,
	"daemon: a server that is killed and started again":          serverRestarted,
	"daemon: a server that is sealed and unsealed":               serverSealed,
})

// keep is the configuration of a role for a daemon with a sink.
func (k *Kit) keep(role m, more ...string) string {
	k.Helper()
	method := k.approle(role, "remove_secret_id_file_after_reading = false")
	return auto(append([]string{method, fileSink}, more...)...)
}

// life is a role's life as the server's pace has it.
func (k *Kit) life(more m) m {
	p := k.Target.Pace()
	role := m{"token_policies": "default", "token_ttl": p.TTL.String(), "token_max_ttl": p.Max.String()}
	for key, v := range more {
		role[key] = v
	}
	return role
}

// calm fails the case when the program asked for this more often than it may.
func (k *Kit) calm(limit int, method, path string) {
	k.Helper()
	if got := k.Site.Front.Count(method, path); got > limit {
		k.Errorf("%d requests %s %s, at most %d are in order", got, method, path, limit)
	}
}

func shortToken(k *Kit) {
	k.Shared()
	p := k.Target.Pace()
	d := k.Daemon(k.keep(k.life(nil))).Ready()
	seen := map[string]bool{}
	k.For(p.Watch, func() { seen[k.alive("token")] = true })
	renewals, logins := k.Site.Front.Count("PUT", "auth/token/renew-self"), k.logins()
	k.Logf("%s: %d tokens, %d logins, %d renewals", p.Watch, len(seen), logins, renewals)
	if lives := int(p.Watch / p.Max); len(seen) < lives || logins < lives || logins > 2*lives+2 {
		k.Errorf("%d logins and %d tokens in %s, where %s is the longest life", logins, len(seen), p.Watch, p.Max)
	}
	if terms := int(p.Watch / p.TTL); renewals < terms/2 || renewals > 3*terms {
		k.Errorf("%d renewals in %s of a token that has %s", renewals, p.Watch, p.TTL)
	}
	k.Asked(0, "GET", "*")
	for _, r := range k.Site.Front.Requests() {
		if r.Status/100 != 2 {
			k.Errorf("%s %s was answered with %d", r.Method, r.Path, r.Status)
		}
	}
	d.Stops()
	k.alive("token")
}

func batchToken(k *Kit) {
	k.Shared()
	d := k.Daemon(k.keep(m{"token_policies": "default", "token_type": "batch", "token_ttl": "6s"})).Ready()
	seen := map[string]bool{}
	k.Until("there were three tokens", func() bool {
		seen[k.alive("token")] = true
		return len(seen) == 3
	})
	k.calm(5, "PUT", "auth/"+k.name+"/login")
	k.Asked(0, "PUT", "auth/token/renew-self")
	d.Stops()
}

func noRenewSelf(k *Kit) {
	k.Shared()
	k.Site.Policy(k.name, map[string][]string{"auth/token/lookup-self": {"read"}})
	d := k.Daemon(k.keep(m{"token_policies": k.name, "token_no_default_policy": true, "token_ttl": "4s"})).Ready()
	seen := map[string]bool{}
	k.Until("there were three tokens", func() bool {
		seen[k.alive("token")] = true
		return len(seen) == 3
	})
	k.calm(4, "PUT", "auth/"+k.name+"/login")
	k.calm(4, "PUT", "auth/token/renew-self")
	d.Stops()
}

// roleGone: the server answers a renewal with 500, as if it were in trouble,
// and a login with 400. The token stays good to its end, and when the role is
// back, so is a token.
func roleGone(k *Kit) {
	k.Shared()
	cfg := strings.Replace(k.keep(m{"token_policies": "default", "token_ttl": "3s"}), " mount_path", " min_backoff = \"200ms\"\n max_backoff = \"1s\"\n mount_path", 1)
	id := strings.TrimSpace(k.Read("role_id"))
	d := k.Daemon(cfg).Ready()
	k.Site.OK("DELETE", "auth/"+k.name+"/role/app", nil)
	token := k.Read("token")
	k.Until("the token has ended", func() bool {
		return k.Site.As(token).Do("GET", "auth/token/lookup-self", nil).Status == 403
	})
	k.Until("a login was refused", func() bool { return k.logins() > 1 })
	k.Site.Front.Forget()
	k.For(3*time.Second, func() {})
	k.calm(12, "", "*")
	k.Site.OK("POST", "auth/"+k.name+"/role/app", m{"token_policies": "default", "token_ttl": "1h"})
	k.Site.OK("POST", "auth/"+k.name+"/role/app/role-id", m{"role_id": id})
	k.Write("secret_id", k.Site.SecretID(k.name, "app"))
	k.Soon("there is a good token again", func() bool {
		return k.Site.As(k.peek("token")).Do("GET", "auth/token/lookup-self", nil).Status == 200
	})
	d.Stops()
}

// polling has templates looked at every second.
const polling = "template_config {\n static_secret_render_interval = \"1s\"\n}\n"

func revokedOutside(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}) + k.template("app", "{{.Data.data.password}}")).Ready()
	first := k.Read("token")
	k.Site.RevokeAccessor(k.goodToken("token").Str("data.accessor"))
	k.Soon("there is another token", func() bool { return k.peek("token") != first })
	k.alive("token")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the new token renders", func() bool { return k.Has("app", canary+"2") })
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func revokedUnused(k *Kit) {
	k.Shared()
	d := k.Daemon(k.keep(m{"token_policies": "default", "token_ttl": "4s"})).Ready()
	first := k.Read("token")
	k.Site.Revoke(first)
	k.Soon("there is another token", func() bool { return k.peek("token") != first })
	k.alive("token")
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func policyChanges(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}) + k.template("app", "{{.Data.data.password}}")).Ready()
	k.Site.Policy(k.name, map[string][]string{"nothing": {"read"}})
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	denied := func() int {
		n := 0
		for _, r := range k.Site.Front.Requests() {
			if r.Status == 403 {
				n++
			}
		}
		return n
	}
	k.Until("it was denied three times", func() bool { return denied() >= 3 })
	k.Is("app", canary+"1")
	k.Site.Policy(k.name, map[string][]string{k.name + "/*": {"read"}})
	k.Soon("it is allowed again", func() bool { return k.Has("app", canary+"2") })
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func limitedUses(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	d := k.Daemon(polling + k.keep(m{"token_policies": k.name, "token_ttl": "1h", "token_num_uses": 5}) + k.template("app", "{{.Data.data.password}}")).Ready()
	seen := map[string]bool{}
	k.Until("there were three tokens", func() bool {
		seen[k.peek("token")] = true
		return len(seen) == 3
	})
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the change is rendered", func() bool { return k.Has("app", canary+"2") })
	for _, r := range k.Site.Front.Requests() {
		if r.Status == 403 {
			k.Errorf("%s %s was sent with a token that was used up", r.Method, r.Path)
		}
	}
	k.calm(20, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func newCredentials(k *Kit) {
	k.Shared()
	signer := vaulttest.NewSigner(k.T, "ES256")
	sign := func(id string) string {
		return signer.Sign(k.T, m{"aud": "vault", "sub": "job", "jti": id, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
	}
	cfg := auto(k.jwtMethod(signer), fileSink)
	k.Write("jwt", sign("one"))
	d := k.Daemon(cfg).Ready()
	first := k.Read("token")
	k.Write("jwt", sign("two"))
	k.Soon("there is another token", func() bool { return k.peek("token") != first })
	k.alive("token")
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// handedOver: the secret id has one use, and the daemon is started three times:
// after an orderly end, and after none.
func handedOver(k *Kit) {
	k.Shared()
	method := k.approle(m{"token_policies": "default", "token_ttl": "1h", "secret_id_num_uses": 1})
	k.Write("key", strings.Repeat("key material ", 4))
	if err := os.Chmod(filepath.Join(k.Dir, "key"), 0o600); err != nil {
		k.Fatal(err)
	}
	cfg := auto(method, fileSink, "handover {\n path = \"kept\"\n key_file = \"key\"\n}")
	d := k.Daemon(cfg).Ready()
	first := k.alive("token")
	d.Stops()
	d = k.Daemon(cfg).Ready()
	if k.alive("token") != first {
		k.Error("another token after a restart")
	}
	d.Signal(syscall.SIGKILL)
	d.Ends(-1, long)
	k.Missing("secret_id")
	d = k.Daemon(cfg).Ready()
	if k.alive("token") != first {
		k.Error("another token after a crash")
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	if strings.Contains(k.Read("kept"), first) {
		k.Error("the token lies in clear in what is kept for the next start")
	}
	d.Stops()
}

func asleep(k *Kit) {
	k.Shared()
	d := k.Daemon(k.keep(m{"token_policies": "default", "token_ttl": "3s"})).Ready()
	first := k.alive("token")
	d.Signal(syscall.SIGSTOP)
	k.Until("its token has ended", func() bool {
		return k.Site.As(first).Do("GET", "auth/token/lookup-self", nil).Status == 403
	})
	d.Signal(syscall.SIGCONT)
	k.Soon("there is another token", func() bool { return k.peek("token") != first })
	k.alive("token")
	k.calm(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func sinkTouched(k *Kit) {
	k.Shared()
	d := k.Daemon(k.keep(m{"token_policies": "default", "token_ttl": "1h"})).Ready()
	token := k.Read("token")
	for what, touch := range map[string]func(path string) error{
		"removed":   os.Remove,
		"changed":   func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"truncated": func(path string) error { return os.Truncate(path, 0) },
		"opened":    func(path string) error { return os.Chmod(path, 0o666) },
	} {
		if err := touch(filepath.Join(k.Dir, "token")); err != nil {
			k.Fatal(err)
		}
		k.Soon("the sink that was "+what+" is as it was", func() bool {
			fi, err := os.Stat(filepath.Join(k.Dir, "token"))
			return err == nil && fi.Mode().Perm() == 0o640 && k.Has("token", token)
		})
	}
	k.Asked(1, "", "*")
	d.Stops()
}

// watched starts a daemon with a sink and a template on a server of its own.
func (k *Kit) watched(role m) *Daemon {
	k.Helper()
	k.kv2("app", m{"password": canary + "1"})
	role["token_policies"] = []string{k.name, "default"}
	return k.Daemon(polling + k.keep(role) + k.template("app", "{{.Data.data.password}}")).Ready()
}

func serverRestarted(k *Kit) {
	own := k.own()
	d := k.watched(m{"token_ttl": "1h"})
	k.must(own.Down())
	d.Says(regexp.QuoteMeta(k.name + "/metadata/app"))
	k.alone("token", "app")
	k.must(own.Up())
	k.heals(d)
	k.calm(2, "PUT", "auth/"+k.name+"/login")
}

// serverSealed is an outage that is longer than the token lives.
func serverSealed(k *Kit) {
	own := k.own()
	d := k.watched(m{"token_ttl": "3s"})
	k.must(own.Seal())
	k.Site.Front.Forget()
	start := time.Now()
	k.For(5*time.Second, func() { k.Is("app", canary+"1") })
	if asked := len(k.Site.Front.Requests()); asked > 60 {
		k.Errorf("%d requests in the %s of an outage", asked, time.Since(start))
	}
	k.must(own.Unseal())
	k.heals(d)
}

// alone fails the case when a file of the last good time is gone.
func (k *Kit) alone(names ...string) {
	k.Helper()
	for _, name := range names {
		if k.peek(name) == "" {
			k.Errorf("%s is gone", name)
		}
	}
}

func (k *Kit) heals(d *Daemon) {
	k.Helper()
	k.Soon("the sink has a good token", func() bool {
		return k.Site.As(k.peek("token")).Do("GET", "auth/token/lookup-self", nil).Status == 200
	})
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("a change is rendered", func() bool { return k.Has("app", canary+"2") })
	d.Stops()
}
