//go:build unix

package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What the files of a daemon live through.
var _ = add(map[string]func(*Kit){
	"daemon: a changed secret changes its file and no other":      oneFileChanges,
	"daemon: a secret whose metadata nobody may read is kept too": noMetadata,
	"daemon: a secret that deletes itself keeps its last file":    deletesItself,
	"daemon: a broken template hurts only itself":                 oneBroken,
	"daemon: a lease in a file is a living one":                   leaseLives,
	"daemon: a lease goes with its token and is got anew":         leaseOfToken,
	"daemon: a certificate is issued anew before its end":         certIssuedAnew,
	"daemon: a changed secret is told by an event":                eventTells,
	"daemon: a file that others touch is put back":                fileTouched,
	"daemon: a template for a command that fails":                 commandFailsAlone,
})

// reads is how often the data of a secret were asked for.
func (k *Kit) reads(name string) int { return k.Site.Front.Count("GET", k.name+"/data/"+name) }

func oneFileChanges(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Site.WriteKV2(k.name, "other", m{"password": canary + "other"})
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}) +
		k.template("app", "{{.Data.data.password}}") + k.template("other", "{{.Data.data.password}}")).Ready()
	other, token := k.identity("other"), k.identity("token")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the change is rendered", func() bool { return k.Has("app", canary+"2") })
	app := k.identity("app")
	polls := func() int { return k.Site.Front.Count("GET", k.name+"/metadata/app") }
	before := polls()
	k.Until("it was looked at three times more", func() bool { return polls() >= before+3 })
	if k.identity("other") != other || k.identity("token") != token || k.identity("app") != app {
		k.Error("a file was written though nothing of it had changed")
	}
	if k.reads("app") != 2 || k.reads("other") != 1 {
		k.Errorf("the data were read %d and %d times, want 2 and 1", k.reads("app"), k.reads("other"))
	}
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func noMetadata(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Site.Policy(k.name, map[string][]string{k.name + "/data/*": {"read"}})
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name}, "token_ttl": "1h"}) + k.template("app", "{{.Data.data.password}}")).Ready()
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the change is rendered", func() bool { return k.Has("app", canary+"2") })
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

// deletesItself: the metadata of such a secret do not move when it is over.
func deletesItself(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Site.OK("PUT", k.name+"/metadata/brief", m{"delete_version_after": "4s"})
	k.Site.WriteKV2(k.name, "brief", m{"password": canary + "brief"})
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name}, "token_ttl": "1h"}) +
		k.template("app", "{{.Data.data.password}}") + k.template("brief", "{{.Data.data.password}}")).Ready()
	d.Says(`(?i)\[(WARN|ERROR)\].*` + k.name + `/(data|metadata)/brief`)
	k.Is("brief", canary+"brief")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("another change is rendered", func() bool { return k.Has("app", canary+"2") })
	k.Site.WriteKV2(k.name, "brief", m{"password": canary + "again"})
	k.Soon("a new version is rendered", func() bool { return k.Has("brief", canary+"again") })
	d.Stops()
}

func oneBroken(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Write("file", "")
	secret := `{{ with secret "` + k.name + `/app" }}{{ .Data.data.password }}{{ end }}`
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name}, "token_ttl": "1h"}) +
		templateOf("app", secret) +
		templateOf("file/below", secret) +
		templateOf("missing", `{{ with secret "`+k.name+`/nothing" }}{{ .Data.data.password }}{{ end }}`) +
		templateOf("parses", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password | parseJSON }}{{ end }}`) +
		templateOf("asks", secret, `command = "exit 3"`))
	k.Until("the good one is there", func() bool { return k.Has("app", canary+"1") && k.Has("asks", canary+"1") })
	d.Says(`file/below`)
	d.Says(k.name + `/(data/)?nothing`)
	reads := k.reads("app")
	k.For(3*time.Second, func() {})
	if k.reads("app") != reads {
		k.Errorf("the good secret was read %d times more because of its neighbours", k.reads("app")-reads)
	}
	k.calm(20, "GET", k.name+"/data/nothing")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("a change is rendered", func() bool { return k.Has("app", canary+"2") && k.Has("asks", canary+"2") })
	// What was broken is mended from outside.
	k.Site.WriteKV2(k.name, "nothing", m{"password": canary + "now"})
	k.must(os.Remove(filepath.Join(k.Dir, "file")))
	k.Until("all that can be mended is there", func() bool { return k.Has("missing", canary+"now") && k.Has("file/below", canary+"2") })
	k.Missing("parses")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func commandFailsAlone(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	d := k.Daemon(polling + k.keep(m{"token_policies": []string{k.name}, "token_ttl": "1h"}) +
		templateOf("app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`, `command = "echo ran >> ran; test -e allowed"`))
	k.Until("the command has failed", func() bool { return k.peek("ran") != "" })
	k.Is("app", canary+"1")
	reads := k.reads("app")
	k.Write("allowed", "")
	d.Ready()
	if k.reads("app") != reads {
		k.Error("a command that failed made the secret be read again")
	}
	d.Stops()
}

// shortLease makes a leased engine whose leases end soon.
func (k *Kit) shortLease(ttl, limit string) string {
	k.Helper()
	path := k.leased()
	k.Site.OK("POST", k.name+"/config/lease", m{"ttl": ttl, "max_ttl": limit})
	return path
}

func leaseTemplate(path string) string {
	return templateOf("creds", `{{ with secret "`+path+`" }}{{ .LeaseID }}{{ end }}`)
}

// leaseOf is the lease that a file holds, and whether the server knows it.
func (k *Kit) leaseOf(name string) (lease string, alive bool) {
	k.Helper()
	lease = k.Read(name)
	return lease, k.Site.Do("PUT", "sys/leases/lookup", m{"lease_id": lease}).Status == 200
}

func leaseLives(k *Kit) {
	k.Shared()
	path := k.shortLease("3s", "8s")
	d := k.Daemon(k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}) + leaseTemplate(path)).Ready()
	seen := map[string]bool{}
	var dead string
	var since time.Time
	k.Until("there were three leases", func() bool {
		lease, alive := k.leaseOf("creds")
		if alive || lease != dead {
			dead, since = "", time.Now()
		}
		if !alive {
			dead = lease
		}
		// A busy machine may come to it a moment late.
		if time.Since(since) > 3*time.Second {
			k.Fatalf("the file holds a lease that has ended, %s", lease)
		}
		seen[lease] = true
		return len(seen) == 3
	})
	if n := k.Site.Front.Count("PUT", "sys/leases/renew"); n < 2 || n > 20 {
		k.Errorf("%d renewals", n)
	}
	k.calm(5, "GET", path)
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func leaseOfToken(k *Kit) {
	k.Shared()
	path := k.shortLease("1h", "2h")
	d := k.Daemon(k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "4s"}) + leaseTemplate(path)).Ready()
	first, _ := k.leaseOf("creds")
	k.Site.Revoke(k.Read("token"))
	k.Soon("there is a new lease", func() bool {
		lease, alive := k.leaseOf("creds")
		return lease != first && alive
	})
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	k.calm(3, "GET", path)
	d.Stops()
}

func certIssuedAnew(k *Kit) {
	k.Shared()
	k.Site.Mount(k.name, "pki", nil)
	k.Site.OK("POST", k.name+"/root/generate/internal", m{"common_name": "Test Root", "ttl": "24h", "key_type": "ec", "key_bits": 256})
	k.Site.OK("POST", k.name+"/roles/app", m{"allowed_domains": "example.test", "allow_subdomains": true, "ttl": "5s", "key_type": "ec", "key_bits": 256})
	k.Site.Policy(k.name, map[string][]string{k.name + "/issue/*": {"update"}})
	d := k.Daemon(k.keep(m{"token_policies": k.name, "token_ttl": "1h"}) +
		templateOf("cert.pem", `{{ with pkiCert "`+k.name+`/issue/app" "common_name=a.example.test" }}{{ .Cert }}{{ .Key }}{{ end }}`)).Ready()
	first := k.Read("cert.pem")
	k.Soon("there is another certificate", func() bool { return k.peek("cert.pem") != first })
	k.calm(5, "PUT", k.name+"/issue/app")
	d.Stops()
}

// eventTells: where the server has no events, nobody waits for any, and the
// poll finds the change.
func eventTells(k *Kit) {
	k.Shared()
	interval := "1s"
	if k.Site.Events != nil {
		k.Site.Events(true)
		interval = "1h"
	}
	k.kv2("app", m{"password": canary + "1"})
	k.Site.Policy(k.name, map[string][]string{
		k.name + "/data/*": {"read", "subscribe"}, k.name + "/metadata/*": {"read"}, "sys/events/subscribe/*": {"read"},
	})
	d := k.Daemon("template_config {\n static_secret_events = true\n static_secret_render_interval = \"" + interval + "\"\n}\n" +
		k.keep(m{"token_policies": k.name, "token_ttl": "1h"}) + k.template("app", "{{.Data.data.password}}")).Ready()
	k.Until("it has asked for events", func() bool { return k.Site.Front.Count("GET", "sys/events/subscribe/*") > 0 })
	for i := range 3 {
		value := fmt.Sprint(canary, "event", i)
		k.Site.WriteKV2(k.name, "app", m{"password": value})
		k.Soon("the change is rendered", func() bool { return k.Has("app", value) })
	}
	k.calm(5, "GET", "sys/events/subscribe/*")
	d.Stops()
}

func fileTouched(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	d := k.Daemon(polling + k.keep(m{"token_policies": k.name, "token_ttl": "1h"}) + k.template("app", "{{.Data.data.password}}")).Ready()
	k.must(os.Remove(filepath.Join(k.Dir, "app")))
	k.Soon("the file is there again", func() bool { return k.Has("app", canary+"1") })
	if n := k.reads("app"); n != 1 {
		k.Errorf("the secret was read %d times", n)
	}
	d.Stops()
}
