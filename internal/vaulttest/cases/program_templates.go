package cases

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

var _ = add(map[string]func(*Kit){
	"KV version 1 and 2 beside each other":                kvBoth,
	"an old version, and a list":                          kvVersionAndList,
	"a secret is read once for all templates":             readOnce,
	"a deleted secret is missing":                         kvDeleted,
	"a secret as a file, without a template":              plainSecret,
	"a missing secret names its path":                     missingSecret,
	"a denied secret names its path":                      deniedSecret,
	"a missing key, when the template minds":              missingKey,
	"a missing key, when it does not":                     missingKeyIgnored,
	"a template that does not parse is configuration":     badTemplate,
	"one bad template disturbs no other":                  oneBadTemplate,
	"the command runs when the file changed":              commandRuns,
	"a command that fails":                                commandFails,
	"a template that cannot be written":                   templateUnwritable,
	"pkiCert issues once and then reuses":                 pkiCertTwice,
	"a leased secret is one lease, and it stays":          leasedOnce,
	"a write in a template":                               templateWrites,
	"a template that waits for quiet does not wait here":  quiescence,
	"fifty templates of one mount are fifty-two requests": fifty,
	"templates alone, without a sink":                     templatesAlone,
})

// kv2 makes a KV version 2 mount with one secret and a policy, both named as
// the case, that reads all of it.
func (k *Kit) kv2(path string, data m) {
	k.Helper()
	k.Site.Mount(k.name, "kv", m{"version": "2"})
	k.Site.WriteKV2(k.name, path, data)
	k.Site.Policy(k.name, map[string][]string{k.name + "/*": {"read", "list"}, "sys/wrapping/wrap": {"update"}})
}

// template writes a template stanza with the secret of the same name.
func (k *Kit) template(name, body string) string {
	return templateOf(name, fmt.Sprintf("{{ with secret %q }}%s{{ end }}", k.name+"/"+name, body))
}

func templateOf(destination, contents string, more ...string) string {
	return fmt.Sprintf("template {\n destination = %q\n contents = <<EOT\n%s\nEOT\n%s\n}\n", destination, chomp(contents), strings.Join(more, "\n"))
}

// chomp makes the heredoc's own line break disappear again.
func chomp(text string) string { return text + "{{- /* */ -}}" }

// login is a whole auto_auth with the case's own policy.
func (k *Kit) login(sinks ...string) string {
	k.Helper()
	return auto(append([]string{k.approle(m{"token_policies": []string{k.name}}, "remove_secret_id_file_after_reading = false")}, sinks...)...)
}

func kvBoth(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "two"})
	k.Site.Mount(k.name+"one", "kv", m{"version": "1"})
	k.Site.WriteKV1(k.name+"one", "deep/app", m{"password": canary + "one"})
	k.Site.Policy(k.name+"b", map[string][]string{k.name + "one/*": {"read"}})
	cfg := auto(k.approle(m{"token_policies": []string{k.name, k.name + "b"}}), fileSink)
	k.Exits(0, k.Once(cfg+k.template("app", "{{.Data.data.password}} v{{.Data.metadata.version}}")+
		templateOf("one", `{{ with secret "`+k.name+`one/deep/app" }}{{ .Data.password }}{{ end }}`)))
	k.Is("app", canary+"two v1")
	k.Is("one", canary+"one")
	// Login, a preflight for each mount, two reads; no health, no renewal.
	k.Asked(5, "", "*")
	k.Asked(2, "GET", "sys/internal/ui/mounts/*")
}

func kvVersionAndList(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "first"})
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "second"})
	k.Site.WriteKV2(k.name, "sub/b", m{"password": canary + "b"})
	k.Exits(0, k.Once(k.login()+
		templateOf("old", `{{ with secret "`+k.name+`/app?version=1" }}{{ .Data.data.password }}{{ end }}`)+
		templateOf("list", `{{ range secrets "`+k.name+`/" }}[{{ . }}]{{ end }}`)))
	k.Is("old", canary+"first")
	k.Is("list", "[app][sub/]")
}

func readOnce(k *Kit) {
	k.Shared()
	k.kv2("app", m{"user": "u", "password": canary + "1"})
	k.Exits(0, k.Once(k.login()+
		templateOf("a", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.user }}{{ end }}`)+
		templateOf("b", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}{{ with secret "`+k.name+`/data/app" }}.{{ end }}`)))
	k.Is("a", "u")
	k.Is("b", canary+"1.")
	k.Asked(1, "GET", "sys/internal/ui/mounts/*")
	if n := k.Site.Front.Count("GET", k.name+"/data/app"); n > 2 {
		k.Errorf("read %d times", n)
	}
}

func kvDeleted(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Site.OK("DELETE", k.name+"/data/app", nil)
	r := k.Exits(4, k.Once(k.login()+k.template("app", "{{.Data.data.password}}")))
	k.Says(r, k.name+`/(data/)?app`)
	k.soon(r)
	k.Missing("app")
}

func plainSecret(k *Kit) {
	k.Shared()
	data := m{"a": "x\ny", "b": `q"'$HOME`, "c": "é <&>", "n": 12}
	k.kv2("app", data)
	k.Exits(0, k.Once(k.login()+fmt.Sprintf("template {\n secret = %q\n format = \"json\"\n destination = \"app.json\"\n}\n", k.name+"/app")))
	var got m
	if err := json.Unmarshal([]byte(k.Read("app.json")), &got); err != nil {
		k.Fatal(err)
	}
	for key, want := range data {
		if fmt.Sprint(got[key]) != fmt.Sprint(want) {
			k.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func missingSecret(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(4, k.Once(k.login(fileSink)+k.template("nothing", "{{.Data.data.password}}")))
	k.Says(r, `latchkey: .*`+k.name+`/(data/)?nothing.*404`)
	k.soon(r)
	k.Missing("nothing")
	k.goodToken("token")
}

func deniedSecret(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Site.Mount(k.name+"x", "kv", m{"version": "1"})
	r := k.Exits(4, k.Once(k.login(fileSink)+templateOf("x", `{{ with secret "`+k.name+`x/y" }}{{ . }}{{ end }}`)))
	k.Says(r, `latchkey: .*`+k.name+`x/y.*(403|permission denied)`)
	k.soon(r)
	k.Missing("x")
}

func missingKey(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	contents := `{{ with secret "` + k.name + `/app" }}{{ .Data.data.nope }}{{ end }}`
	r := k.Exits(4, k.Once(k.login()+templateOf("app", contents, "error_on_missing_key = true")))
	k.Says(r, `latchkey: .*nope`)
	k.soon(r)
	k.Missing("app")
}

func missingKeyIgnored(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Exits(0, k.Once(k.login()+k.template("app", "{{.Data.data.nope}}")))
	k.Is("app", "<no value>")
}

func badTemplate(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(2, k.Once(k.login(fileSink)+"template {\n destination = \"app\"\n contents = \"{{ with secret\"\n}\n"))
	k.soon(r)
	k.Asked(0, "", "*")
	k.Missing("token")
}

func oneBadTemplate(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(4, k.Once(k.login(fileSink)+k.template("nothing", "{{.Data.data.a}}")+k.template("app", "{{.Data.data.password}}")))
	k.Says(r, `nothing`)
	k.Is("app", canary+"1")
	k.Missing("nothing")
	k.goodToken("token")
	k.Asked(1, "GET", k.name+"/data/app")
}

func commandRuns(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	cfg := k.login() + templateOf("app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`,
		`exec {
  command = ["sh", "-c", "cat app >> ran; echo \" $MORE\" >> ran"]
  env { custom = ["MORE=set"] }
 }`)
	k.Exits(0, k.Once(cfg))
	k.Is("ran", canary+"1 set\n")
	k.Exits(0, k.Once(cfg))
	k.Is("ran", canary+"1 set\n")
	k.Site.WriteKV2(k.name, "app", m{"password": canary + "2"})
	k.Exits(0, k.Once(cfg))
	k.Is("ran", canary+"1 set\n"+canary+"2 set\n")
}

func commandFails(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(6, k.Once(k.login(fileSink)+templateOf("app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`, `command = "exit 7"`)))
	k.soon(r)
	k.Is("app", canary+"1")
	k.goodToken("token")
}

func templateUnwritable(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Write("file", "")
	r := k.Exits(6, k.Once(k.login(fileSink)+templateOf("file/app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`)))
	k.Says(r, `file/app`)
	k.soon(r)
	k.goodToken("token")
}

func pkiCertTwice(k *Kit) {
	k.Shared()
	k.Site.Mount(k.name, "pki", nil)
	k.Site.OK("POST", k.name+"/root/generate/internal", m{"common_name": "Test Root", "ttl": "24h", "key_type": "ec", "key_bits": 256})
	k.Site.OK("POST", k.name+"/roles/app", m{"allowed_domains": "example.test", "allow_subdomains": true, "ttl": "2h", "key_type": "ec", "key_bits": 256})
	k.Site.Policy(k.name, map[string][]string{k.name + "/issue/*": {"update"}})
	cfg := k.login() + templateOf("cert.pem", `{{ with pkiCert "`+k.name+`/issue/app" "common_name=a.example.test" }}{{ .Cert }}{{ .Key }}{{ end }}`)
	k.Exits(0, k.Once(cfg))
	block, _ := pem.Decode([]byte(k.Read("cert.pem")))
	if block == nil {
		k.Fatal("no PEM in the file")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.VerifyHostname("a.example.test") != nil {
		k.Fatalf("the certificate: %v %v", err, cert)
	}
	k.Asked(1, "PUT", k.name+"/issue/app")
	first := k.Read("cert.pem")
	k.Exits(0, k.Once(cfg))
	k.Asked(1, "PUT", k.name+"/issue/app")
	k.Is("cert.pem", first)
}

// leased makes a leased engine and a policy for it, both named as the case,
// and returns the path to read.
func (k *Kit) leased() string {
	k.Helper()
	broker := NewBroker(k.T)
	k.Site.Mount(k.name, "rabbitmq", nil)
	k.Site.OK("POST", k.name+"/config/connection", m{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	k.Site.OK("POST", k.name+"/config/lease", m{"ttl": 600, "max_ttl": 1200})
	k.Site.OK("POST", k.name+"/roles/app", m{"vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	k.Site.Policy(k.name, map[string][]string{k.name + "/creds/*": {"read"}})
	return k.name + "/creds/app"
}

func leasedOnce(k *Kit) {
	k.Shared()
	path := k.leased()
	k.Exits(0, k.Once(k.login(fileSink)+
		templateOf("a", `{{ with secret "`+path+`" }}{{ .Data.username }} {{ .LeaseID }}{{ end }}`)+
		templateOf("b", `{{ with secret "`+path+`" }}{{ .Data.username }} {{ .LeaseID }}{{ end }}`)))
	if k.Read("a") != k.Read("b") {
		k.Errorf("two templates got two users: %s and %s", k.Read("a"), k.Read("b"))
	}
	k.Asked(1, "GET", path)
	_, lease, _ := strings.Cut(k.Read("a"), " ")
	if ans := k.Site.Do("PUT", "sys/leases/lookup", m{"lease_id": lease}); ans.Status != 200 {
		k.Errorf("the lease is gone: %d %s", ans.Status, ans.Body)
	}
}

func templateWrites(k *Kit) {
	k.Shared()
	k.Site.Policy(k.name, map[string][]string{"sys/capabilities-self": {"update"}})
	k.Exits(0, k.Once(k.login()+templateOf("caps", `{{ with secret "sys/capabilities-self" "path=sys/capabilities-self" }}{{ index .Data.capabilities 0 }}{{ end }}`)))
	k.Is("caps", "update")
}

func quiescence(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	r := k.Exits(0, k.Once(k.login()+templateOf("app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`, `wait { min = "30s" }`)))
	k.soon(r)
	k.Is("app", canary+"1")
}

func fifty(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	cfg := k.login()
	for i := range 50 {
		name := fmt.Sprintf("s%d", i)
		k.Site.WriteKV2(k.name, name, m{"password": canary + name})
		cfg += k.template(name, "{{.Data.data.password}}")
	}
	k.Exits(0, k.Once(cfg))
	for i := range 50 {
		name := fmt.Sprintf("s%d", i)
		k.Is(name, canary+name)
	}
	k.Asked(52, "", "*")
	if len(k.Site.Front.UserAgents()) == 0 {
		k.Error("no User-Agent")
	}
}

func templatesAlone(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Exits(0, k.Once(k.login()+templateOf("new/dir/app", `{{ with secret "`+k.name+`/app" }}{{ .Data.data.password }}{{ end }}`, `perms = "0640"`)))
	k.Is("new/dir/app", canary+"1")
	fi, err := os.Stat(filepath.Join(k.Dir, "new/dir/app"))
	if err != nil || fi.Mode().Perm() != 0o640 {
		k.Errorf("mode %v %v", fi, err)
	}
	k.Missing("token")
}
