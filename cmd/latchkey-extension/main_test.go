//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// bin is where the programs are built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "latchkey-extension-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		bin = dir
		return m.Run()
	}())
}

// built are the programs, each built when it is first asked for.
var built = struct{ extension, full, function, wrapper func(*testing.T) string }{
	program("./cmd/latchkey-extension"), program("./cmd/latchkey"), program("./internal/lambdatest/function"), program("./cmd/latchkey-exec"),
}

func program(pkg string) func(*testing.T) string {
	build := sync.OnceValues(func() (string, error) { return lambdatest.Build("../..", pkg, bin) })
	return func(t *testing.T) string {
		t.Helper()
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// world is a server that knows a function, and the function's settings.
func world(t *testing.T) (*vaulttest.Server, []string) {
	t.Helper()
	s := vaulttest.New(t)
	a := s.Admin(t)
	a.EnableAuth("approle", "approle")
	a.Policy("app", map[string][]string{"secret/data/app": {"read"}})
	id := a.AppRole("approle", "app", vaulttest.Map{"token_policies": "app", "token_ttl": "1h"})
	a.WriteKV2("secret", "app", vaulttest.Map{"password": "canary-<&>"})
	dir := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return s, []string{
		"VAULT_ADDR=" + s.Addr(), "VAULT_AUTH_PROVIDER=approle", "LATCHKEY_AUTH_METHOD=approle",
		"LATCHKEY_AUTH_ROLE_ID_FILE_PATH=" + put("role", id), "LATCHKEY_AUTH_SECRET_ID_FILE_PATH=" + put("secret", a.SecretID("approle", "app")),
	}
}

// address is one where nobody listens.
func address(t *testing.T) string {
	t.Helper()
	a, err := lambdatest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAFunctionFindsItsFileItsProxyAndItsEnvironment(t *testing.T) {
	s, env := world(t)
	file, listen := filepath.Join(t.TempDir(), "secret.json"), address(t)
	p := lambdatest.Start(t, lambdatest.Options{
		Extension: built.extension(t), Function: built.function(t), Wrapper: built.wrapper(t), Timeout: 20 * time.Second, InitLimit: 30 * time.Second,
		Env: append(env, "VAULT_SECRET_PATH=secret/data/app", "VAULT_SECRET_FILE="+file, "LATCHKEY_LISTEN="+listen,
			"PASSWORD=vault:secret/data/app#password", "LAMBDATEST_INIT_READ="+file),
	})
	if f := p.Init().Fault; f != nil {
		t.Fatalf("%v\n%s", f, p.Logs(""))
	}
	r, err := p.Invoke(task.Task{Do: "many", Tasks: []task.Task{
		{Do: "init"}, {Do: "get", URL: "http://" + listen + "/v1/secret/data/app"}, {Do: "env"},
	}})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Logs(""))
	}
	var got task.Answer
	if err := json.Unmarshal(r.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if early := got.Answers[0].Files[file].Text; !strings.Contains(early, `"password": "canary-<&>"`) {
		t.Errorf("before the function's own code the file held %q", early)
	}
	if a := got.Answers[1]; a.Status != 200 || !strings.Contains(a.Text, "canary") {
		t.Errorf("the proxy answered %d %s", a.Status, a.Text)
	}
	if v := got.Answers[2].Env["PASSWORD"]; v != "canary-<&>" {
		t.Errorf("PASSWORD is %q", v)
	}
	logins := 0
	for _, r := range s.Requests() {
		if r.Path == "auth/approle/login" {
			logins++
		}
	}
	if logins != 1 {
		t.Errorf("%d logins", logins)
	}
	for _, e := range p.Shutdown("spindown") {
		t.Logf("%+v", e)
	}
}

func TestAConfigurationSaysHowTheLogIs(t *testing.T) {
	_, env := world(t)
	p := lambdatest.Start(t, lambdatest.Options{
		Extension: built.full(t), Function: built.function(t),
		Env: append(env, "LATCHKEY_LISTEN="+address(t), "LATCHKEY_CONFIG=log_level = \"debug\"\nlog_format = \"json\"\n"),
	})
	if f := p.Init().Fault; f != nil {
		t.Fatal(f)
	}
	if _, err := p.Invoke(task.Task{}); err != nil {
		t.Fatal(err)
	}
	p.Shutdown("spindown")
	if log := p.Logs(""); !strings.Contains(log, `"level":"INFO","message":"ready"`) || !strings.Contains(log, `"level":"DEBUG"`) {
		t.Error(log)
	}
}

// The large extension reads the same environment, and a configuration beside it.
func TestAConfigurationAddsTemplatesAndSinks(t *testing.T) {
	s, env := world(t)
	dir, listen := t.TempDir(), address(t)
	config := `
template {
  contents    = "{{ with secret \"secret/app\" }}p={{ .Data.data.password }}{{ end }}"
  destination = "` + dir + `/app.conf"
}
env_template "FROM_TEMPLATE" { contents = "{{ with secret \"secret/app\" }}{{ .Data.data.password }}{{ end }}" }
`
	s.Admin(t).Policy("app", map[string][]string{"secret/*": {"read"}, "sys/internal/ui/mounts/*": {"read"}})
	p := lambdatest.Start(t, lambdatest.Options{
		Extension: built.full(t), Name: "secrets", Function: built.function(t), Wrapper: built.wrapper(t), Timeout: 20 * time.Second, InitLimit: 30 * time.Second,
		Env: append(env, "LATCHKEY_CONFIG="+config, "VAULT_SECRET_PATH=secret/data/app", "VAULT_SECRET_FILE="+dir+"/secret.json",
			"LATCHKEY_LISTEN="+listen, "PASSWORD=vault:secret/data/app#${ .password | upper }", "LAMBDATEST_INIT_READ="+dir+"/app.conf:"+dir+"/secret.json"),
	})
	if f := p.Init().Fault; f != nil {
		t.Fatalf("%v\n%s", f, p.Logs(""))
	}
	r, err := p.Invoke(task.Task{Do: "many", Tasks: []task.Task{{Do: "init"}, {Do: "get", URL: "http://" + listen + "/v1/secret/data/app"}, {Do: "env"}}})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Logs(""))
	}
	var got task.Answer
	if err := json.Unmarshal(r.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if a := got.Answers[0].Files[dir+"/app.conf"]; a.Text != "p=canary-<&>" {
		t.Errorf("before the function's own code the template was %+v", a)
	}
	if a := got.Answers[1]; a.Status != 200 || !strings.Contains(a.Text, "canary") {
		t.Errorf("the proxy answered %d %s", a.Status, a.Text)
	}
	if env := got.Answers[2].Env; env["FROM_TEMPLATE"] != "canary-<&>" || env["PASSWORD"] != "CANARY-<&>" {
		t.Errorf("the environment has %q and %q", env["FROM_TEMPLATE"], env["PASSWORD"])
	}
}
