package cases

import (
	"strings"

	"latchkey/internal/vaulttest"
)

// What vault agent does with exit_after_auth has rows that hang for ever or
// exit 0 with work undone. These are its rows that no other file shows.
var _ = add(map[string]func(*Kit){
	"exit_on_err changes nothing about a refusal":               exitOnErr,
	"a template that can never render ends after retries":       neverRenders,
	"a template that is not fatal does not hold the run":        notFatal,
	"a listener is not served, the login is done":               listenerOnly,
	"exec and env_template belong to a process that stays":      execRefused,
	"nothing to log in with is configuration":                   noAutoAuth,
	"agent with exit_after_auth from the flag":                  exitFlag,
	"the pid file is there during the run and gone after":       pidFile,
	"a one-shot neither renews nor revokes nor asks for health": noMore,
	"an unknown key is an error with its place":                 unknownKey,
})

func exitOnErr(k *Kit) {
	k.Shared()
	method := k.approle(m{"token_policies": "default"}, "remove_secret_id_file_after_reading = false")
	k.Write("secret_id", "not-a-secret-id")
	for _, setting := range []string{"true", "false"} {
		k.Site.Front.Forget()
		r := k.Exits(3, k.Once(auto(strings.Replace(method, " mount_path", " exit_on_err = "+setting+"\n mount_path", 1), fileSink)))
		k.soon(r)
		k.Asked(1, "", "*")
	}
}

func neverRenders(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	cfg := strings.Replace(k.login(fileSink), `address = ""`, "address = \"\"\n retry { num_retries = 2 }", 1) +
		k.template("app", "{{.Data.data.password}}") + templateOf("still", "here")
	read := vaulttest.Match{Path: k.name + "/data/app"}
	k.Site.Front.Rude(read, vaulttest.Rudeness{Status: 500, Errors: []string{"internal error"}})
	r := k.Exits(5, k.Once(cfg))
	k.Says(r, `latchkey: .*`+read.Path+`.*500`)
	k.Asked(3, "GET", read.Path)
	k.Asked(1, "PUT", "auth/"+k.name+"/login")
	k.Is("still", "here")
	k.goodToken("token")
}

func notFatal(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(0, k.Once(k.login(fileSink)+k.template("app", "{{.Data.data.password}}")+
		templateOf("x", `{{ with secret "`+k.name+`/nothing" }}{{ end }}`, "error_fatal = false")))
	k.Says(r, `\[WARN\].*`+k.name+`/nothing`)
	k.soon(r)
	k.Is("app", canary+"1")
	k.Missing("x")
}

func listenerOnly(k *Kit) {
	k.Shared()
	r := k.Exits(0, k.Once(k.plainLogin()+"cache { use_auto_auth_token = true }\nlistener \"tcp\" { address = \"127.0.0.1:0\" tls_disable = true }\n"))
	k.Says(r, `\[WARN\].*listener`)
	k.soon(r)
}

func execRefused(k *Kit) {
	k.Shared()
	r := k.Exits(2, k.Once(k.plainLogin()+"env_template \"X\" { contents = \"1\" }\nexec { command = [\"env\"] }\n"))
	k.Says(r, `latchkey.hcl:\d+:\d+: exec: `)
	k.Asked(0, "", "*")
}

func noAutoAuth(k *Kit) {
	k.Shared()
	r := k.Exits(2, k.Once("listener \"tcp\" { address = \"127.0.0.1:0\" tls_disable = true }\n"))
	k.Says(r, `auto_auth`)
	k.Asked(0, "", "*")
}

func exitFlag(k *Kit) {
	k.Shared()
	k.Write("latchkey.hcl", k.plainLogin(fileSink))
	k.Exits(0, k.Run("agent", "-config=latchkey.hcl", "-exit-after-auth"))
	k.goodToken("token")
}

func pidFile(k *Kit) {
	k.Shared()
	k.Exits(0, k.Once("pid_file = \"pid\"\n"+k.plainLogin()+templateOf("app", "x", `command = "cp pid seen"`)))
	if pid := k.Read("seen"); pid == "" || strings.Trim(pid, "0123456789") != "" {
		k.Errorf("the pid file held %q", pid)
	}
	k.Missing("pid")
}

func noMore(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Exits(0, k.Once(k.login(fileSink)+k.template("app", "{{.Data.data.password}}")))
	k.goodToken("token")
	k.Asked(0, "", "sys/health")
	k.Asked(0, "", "auth/token/*")
	k.Asked(3, "", "*")
}

func unknownKey(k *Kit) {
	k.Shared()
	cfg := strings.Replace(k.plainLogin(fileSink), " mount_path", " mount_pat", 1)
	r := k.Exits(2, k.Once(cfg))
	k.Says(r, `latchkey.hcl:\d+:\d+: .*mount_pat`)
	k.Says(r, `mount_path`)
	k.Asked(0, "", "*")
	k.Missing("token")
}
