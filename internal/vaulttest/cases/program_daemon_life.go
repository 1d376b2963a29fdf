//go:build unix

package cases

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"

	"latchkey/internal/vaulttest"
)

// How a daemon begins, is told something, and ends.
var _ = add(map[string]func(*Kit){
	"daemon: SIGHUP adds a template":                   reloadTemplate,
	"daemon: SIGHUP changes the log level":             reloadLogLevel,
	"daemon: SIGHUP with a bad file changes nothing":   reloadBad,
	"daemon: SIGHUP with another role logs in again":   reloadRole,
	"daemon: SIGTERM while it waits to log in again":   termInBackoff,
	"daemon: SIGTERM while a login is not answered":    termInLogin,
	"daemon: SIGTERM while a read is not answered":     termInRead,
	"daemon: SIGTERM while a command runs":             termInCommand,
	"daemon: SIGTERM with revoke-on-exit":              termRevokes,
	"daemon: a child has its secrets in its variables": childEnvironment,
	"daemon: a child is restarted with new secrets":    childRestarts,
	"daemon: a child's end is the daemon's":            childEnds,
	"daemon: nobody at the address at first":           startsDown,
	"daemon: its status tells no secret":               statusQuiet,
})

func (k *Kit) app() string {
	k.Helper()
	k.kv2("app", m{"password": canary + "1"})
	return polling + k.keep(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}) + k.template("app", "{{.Data.data.password}}")
}

func reloadTemplate(k *Kit) {
	k.Shared()
	cfg := k.app()
	k.Site.WriteKV2(k.name, "more", m{"password": canary + "more"})
	d := k.Daemon(cfg).Ready()
	app, token := k.identity("app"), k.identity("token")
	k.Write("latchkey.hcl", cfg+k.template("more", "{{.Data.data.password}}"))
	d.Signal(syscall.SIGHUP)
	k.Soon("the new template is rendered", func() bool { return k.Has("more", canary+"more") })
	k.Site.WriteKV2(k.name, "more", m{"password": canary + "most"})
	k.Soon("the new template is kept", func() bool { return k.Has("more", canary+"most") })
	if k.identity("app") != app || k.identity("token") != token {
		k.Error("what had been there was written again")
	}
	k.Write("latchkey.hcl", cfg)
	d.Signal(syscall.SIGHUP)
	k.Until("it was reloaded twice", func() bool { return d.Said("configuration reloaded") == 2 })
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the old template is kept", func() bool { return k.Has("app", canary+"2") })
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func reloadLogLevel(k *Kit) {
	k.Shared()
	cfg := k.app()
	k.Write("latchkey.hcl", "log_level = \"error\"\n"+cfg)
	d := k.DaemonWith(nil, "-config=latchkey.hcl")
	k.Until("the template is rendered", func() bool { return k.Has("app", canary+"1") })
	if n := d.Said(`\[(INFO|DEBUG|TRACE)\]`); n != 0 {
		k.Errorf("%d lines at the level of errors:\n%s", n, d.stderr)
	}
	k.Write("latchkey.hcl", "log_level = \"debug\"\n"+cfg)
	d.Signal(syscall.SIGHUP)
	d.Says(`\[INFO\].*configuration reloaded`)
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("a change is rendered", func() bool { return k.Has("app", canary+"2") })
	d.Says(`\[(INFO|DEBUG)\].*app`)
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func reloadBad(k *Kit) {
	k.Shared()
	cfg := k.app()
	d := k.Daemon(cfg).Ready()
	for i, bad := range []string{"auto_auth {", "unknown_key = 1\n" + cfg, cfg + "template {\n destination = \"bad\"\n contents = \"{{ with\"\n}\n", ""} {
		k.Write("latchkey.hcl", bad)
		d.Signal(syscall.SIGHUP)
		k.Until("the file was refused", func() bool { return d.Said(`\[ERROR\].*configuration not reloaded`) == i+1 })
	}
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("a change is rendered", func() bool { return k.Has("app", canary+"2") })
	k.Missing("bad")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func reloadRole(k *Kit) {
	k.Shared()
	cfg := k.app()
	d := k.Daemon(cfg).Ready()
	first := k.Read("token")
	k.Write("other_id", k.Site.AppRole(k.name, "other", m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}))
	k.Write("secret_id", k.Site.SecretID(k.name, "other"))
	k.Write("latchkey.hcl", strings.Replace(cfg, `"role_id"`, `"other_id"`, 1))
	d.Signal(syscall.SIGHUP)
	k.Soon("there is a token of the other role", func() bool {
		token := k.peek("token")
		return token != first && k.Site.As(token).Do("GET", "auth/token/lookup-self", nil).At("data.meta.role_name") == "other"
	})
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("a change is rendered", func() bool { return k.Has("app", canary+"2") })
	k.Asked(2, "PUT", "auth/"+k.name+"/login")
	d.Stops()
}

func termInBackoff(k *Kit) {
	k.Shared()
	cfg := k.app()
	k.Site.Front.Rude(vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Rudeness{Status: 503, Errors: []string{"Vault is sealed"}})
	d := k.Daemon(strings.Replace(cfg, " mount_path", " min_backoff = \"1m\"\n mount_path", 1))
	d.Says("waiting to try again")
	d.Stops()
	k.Missing("token")
}

func termInLogin(k *Kit) {
	k.Shared()
	cfg := k.app()
	login := "auth/" + k.name + "/login"
	k.Site.Front.Rude(vaulttest.Match{Path: login}, vaulttest.Rudeness{Hang: true})
	d := k.Daemon(cfg)
	k.Until("it logs in", func() bool { return k.logins() == 1 })
	d.Stops()
	k.Missing("token")
}

func termInRead(k *Kit) {
	k.Shared()
	cfg := k.app()
	k.Site.Front.Rude(vaulttest.Match{Path: k.name + "/data/app"}, vaulttest.Rudeness{Hang: true})
	d := k.Daemon(cfg)
	k.Until("it reads", func() bool { return k.reads("app") == 1 })
	k.Until("it has its token", func() bool { return k.peek("token") != "" })
	d.Stops()
	k.alive("token")
	k.Missing("app")
}

func termInCommand(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	d := k.Daemon(k.keep(m{"token_policies": k.name}) + templateOf("app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`,
		`command = "trap '' TERM; echo $$ > running; while :; do sleep 1; done"
 command_timeout = "60s"`))
	k.Until("the command runs", func() bool { return k.peek("running") != "" })
	d.Stops()
	k.gone("running")
}

// gone fails the case unless the process whose id is in a file has ended.
func (k *Kit) gone(name string) {
	k.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(k.Read(name)))
	if err != nil {
		k.Fatal(err)
	}
	k.Until("the process is gone", func() bool { return dead(pid) })
}

// dead reports whether a process is gone, or a corpse that nobody has buried.
func dead(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return err == nil && bytes.HasPrefix(after, []byte("Z"))
}

func termRevokes(k *Kit) {
	k.Shared()
	k.Write("latchkey.hcl", k.app())
	d := k.DaemonWith(nil, "-config=latchkey.hcl", "-log-level=trace", "-revoke-on-exit").Ready()
	token := k.alive("token")
	d.Stops()
	if status := k.Site.As(token).Do("GET", "auth/token/lookup-self", nil).Status; status != 403 {
		k.Errorf("the token is still good: %d", status)
	}
}

// child is a configuration with a process that writes what it sees to files.
func (k *Kit) child(script, exec string) string {
	k.Helper()
	k.kv2("app", m{"password": canary + "1"})
	k.Write("child.sh", script)
	return polling + auto(k.approle(m{"token_policies": []string{k.name, "default"}, "token_ttl": "1h"}, "remove_secret_id_file_after_reading = false")) +
		"env_template \"PASSWORD\" {\n contents = \"{{ with secret \\\"" + k.name + "/app\\\" }}{{ .Data.data.password }}{{ end }}\"\n}\n" +
		"exec {\n command = [\"sh\", \"child.sh\"]\n" + exec + "\n}\n"
}

// waits is the end of a script that stays; it hears signals soon.
const waits = "while :; do sleep 0.1; done\n"

func childEnvironment(k *Kit) {
	k.Shared()
	k.Write("latchkey.hcl", k.child("trap 'echo usr1 >> signals' USR1\ntrap 'echo usr2 >> signals' USR2\nenv > environment.new && mv environment.new environment\n"+waits, ""))
	d := k.DaemonWith([]string{"MINE=kept", "VAULT_TOKEN=" + canary + "ours"}, "-config=latchkey.hcl", "-log-level=trace")
	k.Until("the child runs", func() bool { return k.peek("environment") != "" })
	env := "\n" + k.Read("environment")
	for _, want := range []string{"\nPASSWORD=" + canary + "1\n", "\nMINE=kept\n"} {
		if !strings.Contains(env, want) {
			k.Errorf("the child has no %q", want)
		}
	}
	if strings.Contains(env, canary+"ours") || strings.Contains(env, "VAULT_TOKEN") {
		k.Error("the child has our own credentials")
	}
	d.Signal(syscall.SIGUSR1)
	k.Until("the child has heard SIGUSR1", func() bool { return k.peek("signals") == "usr1\n" })
	d.Signal(syscall.SIGUSR2)
	k.Until("the child has heard SIGUSR2", func() bool { return k.peek("signals") == "usr1\nusr2\n" })
	d.Stops()
}

func childRestarts(k *Kit) {
	k.Shared()
	d := k.Daemon(k.child("echo $$ > pid\necho \"$PASSWORD\" >> starts\ntrap 'echo stopped >> starts; exit 0' TERM\n"+waits, ""))
	k.Until("the child runs", func() bool { return k.Has("starts", canary+"1\n") })
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Soon("the child runs anew", func() bool { return k.Has("starts", canary+"1\nstopped\n"+canary+"2\n") })
	k.Until("its pid is there", func() bool { return k.peek("pid") != "" })
	d.Stops()
	k.Is("starts", canary+"1\nstopped\n"+canary+"2\nstopped\n")
	k.gone("pid")
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
}

func childEnds(k *Kit) {
	k.Shared()
	cfg := k.child("exit $(cat code)\n", "")
	k.Write("code", "7")
	k.Daemon(cfg).Ends(7, long)
	k.Write("code", "0")
	k.Daemon(cfg).Ends(0, long)
	k.Write("child.sh", "kill -KILL $$\n")
	k.Daemon(cfg).Ends(137, long)
}

func startsDown(k *Kit) {
	own := k.own()
	cfg := k.app()
	k.must(own.Down())
	d := k.Daemon(cfg)
	d.Says("waiting to try again")
	k.must(own.Up())
	d.Ready()
	k.alive("token")
	k.Is("app", canary+"1")
	d.Stops()
}

func statusQuiet(k *Kit) {
	k.Shared()
	d := k.Daemon("status_socket = \"s\"\n" + k.app()).Ready()
	r := k.Exits(0, k.Run("status", "-format=json", "-socket=s"))
	for what, secret := range map[string]string{"token": k.Read("token"), "accessor": k.goodToken("token").Str("data.accessor"), "secret": canary} {
		if strings.Contains(r.Stdout, secret) {
			k.Errorf("the status holds the %s:\n%s", what, r.Stdout)
		}
	}
	for _, want := range []string{`"ready": ?true`, `"app"`, `read ` + k.name + "/app"} {
		k.Says(Result{Stderr: r.Stdout}, want)
	}
	d.Stops()
	k.Missing("s")
}
