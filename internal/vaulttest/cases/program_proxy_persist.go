//go:build unix

package cases

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"latchkey/internal/vaulttest"
)

// What a restart finds that went on with the same file.
var _ = add(map[string]func(*Kit){
	"proxy: a restart goes on with the same token and leases":           persisted,
	"proxy: a restart after kill -9 does so too":                        persistedKilled,
	"proxy: the key of the file is the service account's, and moves on": persistedKubernetes,
	"proxy: a damaged file is set aside":                                persistDamaged,
	"proxy: a file with another key is set aside":                       persistForeign,
	"proxy: a file for another server is set aside":                     persistElsewhere,
	"proxy: SIGHUP with another server leaves the file to the first":    persistReloadedElsewhere,
	"proxy: exit_on_err ends the start with a damaged file":             persistExit,
	"proxy: a one-shot leaves its lease to the daemon":                  persistHandedOver,
	"proxy: a restart keeps the tokens of all identities":               persistIdentities,
	"proxy: a restart with another login does not use the old token":    persistAnotherLogin,
	"proxy: two daemons do not share a file":                            persistTwice,
	"proxy: what ended while nobody ran is not served":                  persistEnded,
})

// Where the cases keep what is to outlive the process.
const (
	keptDir  = "kept"
	keptFile = keptDir + "/latchkey-cache.db"
)

// persisting is a configuration that keeps tokens and leases in a file, and the
// path of a leased secret.
func (k *Kit) persisting(ttl string, keys ...string) (config, creds string) {
	k.Helper()
	login := k.lent()
	k.mayAll()
	k.must(os.Mkdir(filepath.Join(k.Dir, keptDir), 0o700))
	k.Write("key", canary+"the key of the file, which nobody guesses")
	persist := "persist \"file\" {\n path = \"" + keptDir + "\"\n key_file = \"key\"\n" + strings.Join(keys, "\n") + "\n}"
	return login + lends + caching(`static_ttl = "1h"`, persist) + tcpListener, k.moreLeases(ttl, "2h")
}

// crash ends a daemon without a word, once all that it knows is written.
func (k *Kit) crash(d *Daemon) {
	k.Helper()
	d.Signal(syscall.SIGKILL)
	d.Ends(-1, long)
}

// filling are what is asked for, and what came.
type filling struct {
	k            *Kit
	creds        string
	token, lease string
	ours         string // of auto_auth
}

// fill asks for a leased secret and makes a token, which are cached then.
func (k *Kit) fill(client *vaulttest.Admin, creds string) *filling {
	k.Helper()
	f := &filling{k: k, creds: creds, ours: k.Read("token")}
	f.lease = k.is(client.Do("GET", creds, nil), 200, "MISS").Str("lease_id")
	f.token = k.create(client, "MISS", m{"ttl": "1h"})
	return f
}

// there fails the case unless a daemon has what another one was filled with.
func (f *filling) there(client *vaulttest.Admin) {
	k := f.k
	k.Helper()
	if k.is(client.Do("GET", f.creds, nil), 200, "HIT").Str("lease_id") != f.lease {
		k.Error("another lease")
	}
	if k.create(client, "HIT", m{"ttl": "1h"}) != f.token {
		k.Error("another token was made")
	}
	if k.alive("token") != f.ours {
		k.Error("our own token is another")
	}
	k.Asked(1, "GET", f.creds)
	k.Asked(1, "PUT", "auth/token/create")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
}

// sealed fails the case when the file shows a secret.
func (f *filling) sealed() {
	f.k.Helper()
	kept := []byte(f.k.Read(keptFile))
	for what, secret := range map[string]string{"token": f.ours, "made token": f.token, "lease": f.lease, "canary": canary} {
		if bytes.Contains(kept, []byte(secret)) {
			f.k.Errorf("the file shows the %s", what)
		}
	}
	fi, err := os.Stat(filepath.Join(f.k.Dir, keptFile))
	if err != nil || fi.Mode().Perm() != 0o600 {
		f.k.Errorf("the file: %v %v", fi.Mode(), err)
	}
}

func persisted(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	was := k.fill(client, creds)
	for range 2 {
		d.Stops()
		was.sealed()
		d, client = k.serve(cfg)
		was.there(client)
		// Static secrets are not kept.
		k.is(client.Do("GET", k.name+"/data/app", nil), 200, "MISS")
	}
	// What is revoked is not there after the next start.
	client.OK("PUT", "sys/leases/revoke", m{"lease_id": was.lease})
	d.Stops()
	d, client = k.serve(cfg)
	if k.is(client.Do("GET", creds, nil), 200, "MISS").Str("lease_id") == was.lease {
		k.Error("a lease that was revoked is served")
	}
	k.create(client, "HIT", m{"ttl": "1h"})
	d.Stops()
}

func persistedKilled(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	before := k.identity(keptFile)
	was := k.fill(client, creds)
	k.Soon("what is known is written", func() bool { return k.identity(keptFile) != before })
	k.crash(d)
	d, client = k.serve(cfg)
	// What was known last may have been queued still; the login was written long ago.
	if k.alive("token") != was.ours || k.logins() != 1 {
		k.Error("another login after a crash")
	}
	lease := client.OK("GET", creds, nil)
	if lease.Header.Get("X-Cache") == "HIT" && lease.Str("lease_id") != was.lease {
		k.Error("another lease")
	}
	was.lease = lease.Str("lease_id")
	was.token = client.OK("POST", "auth/token/create", m{"ttl": "1h"}).Str("auth.client_token")
	d.Stops()
	d, client = k.serve(cfg)
	if k.is(client.Do("GET", creds, nil), 200, "HIT").Str("lease_id") != was.lease || k.create(client, "HIT", m{"ttl": "1h"}) != was.token {
		k.Error("not what was there before the last stop")
	}
	was.sealed()
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// persistedKubernetes takes ten seconds, which is how seldom the service account's
// token is looked at.
func persistedKubernetes(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	cluster := vaulttest.NewCluster(k.T)
	cfg = strings.NewReplacer(`persist "file"`, `persist "kubernetes"`, `key_file = "key"`, `service_account_token_file = "sa-token"`).Replace(cfg)
	k.Write("sa-token", cluster.Account(k.T, "default", "app"))
	d, client := k.serve(cfg)
	was := k.fill(client, creds)
	d.Stops()
	was.sealed()
	d, client = k.serve(cfg)
	was.there(client)
	k.Write("sa-token", cluster.Account(k.T, "default", "app"))
	// A crash in the middle of it would leave the file under the old key.
	k.Soon("the file is sealed anew", func() bool { return d.Said("the file is sealed with that") > 0 })
	k.crash(d)
	d, client = k.serve(cfg)
	was.there(client)
	d.Stops()
}

// aside fails the case unless one file was set aside, and returns it.
func (k *Kit) aside() string {
	k.Helper()
	all, err := filepath.Glob(filepath.Join(k.Dir, keptFile+"*"))
	k.must(err)
	all = slices.DeleteFunc(all, func(name string) bool { return strings.HasSuffix(name, keptFile) })
	if len(all) != 1 {
		k.Fatalf("beside the file are %q", all)
	}
	return all[0]
}

// startsAnew fails the case unless a daemon works that could not go on.
func (k *Kit) startsAnew(cfg, creds string) {
	k.Helper()
	logins := k.logins()
	d, client := k.serve(cfg)
	d.Says(`\[(WARN|ERROR)\].*set.aside`)
	f := k.fill(client, creds)
	if k.logins() != logins+1 {
		k.Errorf("%d logins, not one more than %d", k.logins(), logins)
	}
	k.Site.Front.Forget()
	d.Stops()
	// And what it keeps is good again.
	d, client = k.serve(cfg)
	if k.is(client.Do("GET", creds, nil), 200, "HIT").Str("lease_id") != f.lease || k.logins() != 0 {
		k.Error("the new file is of no use")
	}
	d.Stops()
}

func persistDamaged(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	k.fill(client, creds)
	d.Stops()
	text := strings.Repeat("this is no database at all\n", 1000)
	k.Write(keptFile, text)
	k.startsAnew(cfg, creds)
	if got, err := os.ReadFile(k.aside()); err != nil || string(got) != text {
		k.Errorf("what was set aside is not what was there: %v", err)
	}
}

func persistForeign(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	was := k.fill(client, creds)
	d.Stops()
	before := k.Read(keptFile)
	k.Write("key", canary+"another key, and nobody knows why")
	k.startsAnew(cfg, creds)
	if got, err := os.ReadFile(k.aside()); err != nil || string(got) != before {
		k.Errorf("what was set aside is not what was there: %v", err)
	}
	k.Site.OK("PUT", "sys/leases/lookup", m{"lease_id": was.lease}) // nobody revoked it
}

func persistElsewhere(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	k.fill(client, creds)
	d.Stops()
	// The same server by another name, which nobody here knows.
	site := *k.Site
	site.Addr = strings.Replace(site.Addr, "127.0.0.1", "localhost", 1)
	k.Use(&site)
	k.startsAnew(cfg, creds)
	k.aside()
}

func persistReloadedElsewhere(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	at := func(address string) string {
		return strings.Replace(cfg, `address = ""`, fmt.Sprintf("address = %q", address), 1)
	}
	k.Write("latchkey.hcl", at(k.Site.Addr))
	d := k.DaemonWith([]string{"VAULT_ADDR="}, "-config=latchkey.hcl", "-log-level=trace").Ready()
	// A token of its own, for those that are lent go with each login.
	client := d.At(0).As(k.Site.NewToken(m{"policies": []string{k.name, "default"}, "ttl": "1h"}))
	was := k.fill(client, creds)
	// The same server by another name, which nobody here knows.
	k.reload(d, at(strings.Replace(k.Site.Addr, "127.0.0.1", "localhost", 1)))
	if k.is(client.Do("GET", creds, nil), 200, "MISS").Str("lease_id") == was.lease {
		k.Error("a server's answer is given for another's")
	}
	d.Says(`\[WARN\].*cache\.persist`)
	k.reload(d, at(k.Site.Addr))
	k.is(client.Do("GET", creds, nil), 200, "HIT")
	d.Stops()
}

func persistExit(k *Kit) {
	k.Shared()
	cfg, _ := k.persisting("1h", "exit_on_err = true")
	k.Write(keptFile, "this is no database at all")
	for _, mode := range []string{"once", "daemon"} {
		k.Write("latchkey.hcl", cfg)
		r := k.Exits(2, k.Run(mode, "-config=latchkey.hcl", "-log-level=trace"))
		k.Says(r, `latchkey.hcl:\d+:\d+: cache\.persist: .*`)
		k.Asked(0, "", "*")
		k.Missing("token")
		k.Write(keptFile, "this is no database at all")
	}
	// A key that cannot be read is another reason.
	k.must(os.Remove(filepath.Join(k.Dir, keptFile)))
	k.must(os.Remove(filepath.Join(k.Dir, "key")))
	k.Says(k.Exits(2, k.Run("daemon", "-config=latchkey.hcl")), `cache\.persist`)
	// Without exit_on_err it goes on without a file.
	d, client := k.serve(strings.Replace(cfg, "exit_on_err = true", "", 1))
	d.Says(`\[WARN\].*nothing is kept`)
	k.is(client.Do("GET", k.name+"/data/app", nil), 200, "MISS")
	d.Stops()
}

// persistHandedOver is an init container and its sidecar: what the first one wrote
// for the application, the second one keeps alive.
func persistHandedOver(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("6s")
	cfg += leaseTemplate(creds)
	k.Exits(0, k.Once(cfg))
	lease, alive := k.leaseOf("creds")
	token := k.alive("token")
	if !alive {
		k.Fatal("the lease in the file has ended")
	}
	file := k.identity("creds")
	d := k.Daemon(cfg).Ready()
	k.Until("the daemon renews it", func() bool { return k.Site.Front.Count("PUT", "sys/leases/renew") > 0 })
	if now, alive := k.leaseOf("creds"); now != lease || !alive || k.identity("creds") != file {
		k.Error("the file holds another lease, or was written again")
	}
	k.bore("sys/leases/renew", token)
	if k.Read("token") != token {
		k.Error("the daemon has another token")
	}
	k.Asked(1, "GET", creds)
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// persistEnded: a token and a lease are revoked while nobody runs.
func persistEnded(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	was := k.fill(client, creds)
	d.Stops()
	k.Site.Revoke(was.ours)
	d, client = k.serve(cfg)
	if ans := k.is(client.Do("GET", creds, nil), 200, "MISS"); ans.Str("lease_id") == was.lease {
		k.Error("a lease that went with its token is served")
	}
	if k.create(client, "MISS", m{"ttl": "1h"}) == was.token {
		k.Error("a token that went with its parent is served")
	}
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	if k.alive("token") == was.ours {
		k.Error("the revoked token is in the sink")
	}
	d.Stops()
}

// persistIdentities has the key in a variable.
func persistIdentities(k *Kit) {
	k.Shared()
	cfg, _ := k.persisting("1h")
	cfg = strings.Replace(cfg, `key_file = "key"`, `key_env = "CACHE_KEY"`, 1) + k.second(k.name, "default") + listener(1, `auto_auth = "other"`)
	k.Write("latchkey.hcl", cfg)
	start := func() *Daemon {
		d := k.DaemonWith([]string{"CACHE_KEY=" + canary + "in a variable"}, "-config=latchkey.hcl", "-log-level=trace").Ready()
		k.Until("both tokens are in their sinks", func() bool { return k.peek("token") != "" && k.peek("other-token") != "" })
		return d
	}
	d := start()
	first, second := k.Read("token"), k.Read("other-token")
	d.Stops()
	for _, sink := range []string{"token", "other-token"} {
		k.must(os.Remove(filepath.Join(k.Dir, sink)))
	}
	d = start()
	if k.alive("token") != first || k.alive("other-token") != second {
		k.Error("other tokens than before")
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	k.Asked(1, "PUT", "auth/"+k.name+"-other/login")
	d.Stops()
}

func persistAnotherLogin(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	d, client := k.serve(cfg)
	was := k.fill(client, creds)
	d.Stops()
	k.Write("new_id", k.Site.AppRole(k.name, "other", m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}))
	k.Write("new_secret_id", k.Site.SecretID(k.name, "other"))
	d, client = k.serve(strings.NewReplacer(`"role_id"`, `"new_id"`, `"secret_id"`, `"new_secret_id"`).Replace(cfg))
	if k.alive("token") == was.ours {
		k.Error("the token of another role is lent")
	}
	if ans := k.is(client.Do("GET", creds, nil), 200, "MISS"); ans.Str("lease_id") == was.lease {
		k.Error("the lease of another role's token is served")
	}
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func persistTwice(k *Kit) {
	k.Shared()
	cfg, creds := k.persisting("1h")
	one, client := k.serve(cfg)
	was := k.fill(client, creds)
	two, other := k.serve(cfg)
	two.Says(`\[WARN\].*nothing is kept`)
	if k.is(other.Do("GET", creds, nil), 200, "MISS").Str("lease_id") == was.lease {
		k.Error("the other daemon's lease is served")
	}
	k.is(other.Do("GET", creds, nil), 200, "HIT")
	two.Stops()
	if k.is(client.Do("GET", creds, nil), 200, "HIT").Str("lease_id") != was.lease {
		k.Error("another lease")
	}
	one.Stops()
	k.Site.Front.Forget()
	_, client = k.serve(cfg)
	if k.is(client.Do("GET", creds, nil), 200, "HIT").Str("lease_id") != was.lease {
		k.Error("the file is not that of the first")
	}
	k.Asked(0, "PUT", "auth/"+k.name+"/login")
}
