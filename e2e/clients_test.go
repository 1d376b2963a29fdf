//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"latchkey/e2e/server"
)

// The clients that people use, as they are: they are told where the proxy listens
// and nothing else, and have no token.

// clients are tried side by side, through one proxy that lends its token and
// caches.
var clients = map[string]func(*testing.T, *subject){
	"the Vault command":                  theVaultCommand,
	"a program with the Go library":      theGoLibrary,
	"curl":                               theCurlCommand,
	"what the Python library hvac sends": thePythonLibrary,
}

func theVaultCommand(t *testing.T, p *subject) {
	vault, err := server.Binary(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) map[string]any {
		t.Helper()
		out, err := p.command(p.at("guarded"), []string{"VAULT_FORMAT=json"}, vault, args...)
		if err != nil {
			t.Fatalf("vault %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		var v map[string]any
		if len(bytes.TrimSpace(out)) > 0 && json.Unmarshal(out, &v) != nil {
			t.Fatalf("vault %s: %s", strings.Join(args, " "), out)
		}
		return v
	}
	command("kv", "put", "-mount=proxy-kv", "clients/cli", "a=1")
	command("kv", "patch", "-mount=proxy-kv", "-method=rw", "clients/cli", "b=2")
	got := command("kv", "get", "-mount=proxy-kv", "clients/cli")
	if s := fmt.Sprint(got["data"].(map[string]any)["data"]); s != "map[a:1 b:2]" {
		t.Errorf("a secret is %s", s)
	}
	command("status")
	command("token", "lookup")
	one, two := command("token", "create", "-ttl=10m"), command("token", "create", "-ttl=10m")
	if a, b := fmt.Sprint(one["auth"]), fmt.Sprint(two["auth"]); a != b || !strings.Contains(a, "client_token") {
		t.Errorf("two tokens: %s, %s", a, b)
	}
	lease, _ := command("read", "proxy-mq/creds/a")["lease_id"].(string)
	if again, _ := command("read", "proxy-mq/creds/a")["lease_id"].(string); again != lease || lease == "" {
		t.Errorf("two leases: %s, %s", lease, again)
	}
	if got := command("lease", "renew", lease)["lease_id"]; got != lease {
		t.Errorf("renewed %v, not %s", got, lease)
	}
	if out, err := p.command(p.at("guarded"), nil, vault, "lease", "revoke", "-sync", lease); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if again, _ := command("read", "proxy-mq/creds/a")["lease_id"].(string); again == lease {
		t.Errorf("the lease that was revoked is still served")
	}
	if out, err := p.command("unix://"+filepath.Join(p.dir, "socket"), nil, vault, "kv", "get", "-field=a", "-mount=proxy-kv", "clients/cli"); err != nil || string(bytes.TrimSpace(out)) != "1" {
		t.Errorf("through the socket: %v\n%s", err, out)
	}
	// What it says when something is refused is what it says at the server itself.
	out, err := p.command(p.at("guarded"), nil, vault, "kv", "get", "-mount=proxy-kv", "clients/none")
	if err == nil || !bytes.Contains(out, []byte("No value found at proxy-kv/data/clients/none")) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = p.command(p.at("guarded"), nil, vault, "policy", "read", "default")
	if err == nil || !bytes.Contains(out, []byte("Code: 403")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func theGoLibrary(t *testing.T, p *subject) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conf := api.DefaultConfig()
	conf.Address = p.at("guarded")
	client, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	client.ClearToken()
	kv := client.KVv2("proxy-kv")
	if _, err := kv.Put(ctx, "clients/go", map[string]any{"a": "1"}); err != nil {
		t.Fatal(err)
	}
	if s, err := kv.Get(ctx, "clients/go"); err != nil || s.Data["a"] != "1" {
		t.Errorf("%v %v", s, err)
	}
	if _, err := kv.Get(ctx, "clients/none"); err == nil {
		t.Error("a secret that is not there was read")
	}
	if keys, err := client.Logical().ListWithContext(ctx, "proxy-kv/metadata/clients"); err != nil || keys == nil {
		t.Errorf("%v %v", keys, err)
	}
	made, err := client.Auth().Token().CreateWithContext(ctx, &api.TokenCreateRequest{TTL: "10m"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := client.Clone()
	if err != nil {
		t.Fatal(err)
	}
	own.SetToken(made.Auth.ClientToken)
	if self, err := own.Auth().Token().LookupSelfWithContext(ctx); err != nil || self.Data["id"] != made.Auth.ClientToken {
		t.Errorf("%v %v", self, err)
	}
	lease, err := client.Logical().ReadWithContext(ctx, "proxy-mq/creds/b")
	if err != nil {
		t.Fatal(err)
	}
	// Its watcher renews what the proxy handed out.
	watcher, err := client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: lease, Increment: 60})
	if err != nil {
		t.Fatal(err)
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case err := <-watcher.DoneCh():
		t.Errorf("the watcher ended: %v", err)
	case r := <-watcher.RenewCh():
		if r.Secret.LeaseID != lease.LeaseID {
			t.Errorf("renewed %s, not %s", r.Secret.LeaseID, lease.LeaseID)
		}
	case <-ctx.Done():
		t.Error("nothing was renewed")
	}
	if err := client.Sys().RevokeWithContext(ctx, lease.LeaseID); err != nil {
		t.Error(err)
	}
	again, err := client.Logical().ReadWithContext(ctx, "proxy-mq/creds/b")
	if err != nil || again.LeaseID == lease.LeaseID {
		t.Errorf("after it was revoked: %v", err)
	}
	wrapped, err := client.Clone()
	if err != nil {
		t.Fatal(err)
	}
	wrapped.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	w, err := wrapped.Logical().ReadWithContext(ctx, "proxy-kv/data/clients/go")
	if err != nil || w.WrapInfo == nil {
		t.Fatalf("%v %v", w, err)
	}
	if s, err := client.Logical().UnwrapWithContext(ctx, w.WrapInfo.Token); err != nil || s.Data["data"] == nil {
		t.Errorf("%v %v", s, err)
	}
}

func theCurlCommand(t *testing.T, p *subject) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip(err)
	}
	call := func(args ...string) string {
		t.Helper()
		out, err := p.command("", nil, curl, append([]string{"-sS", "-m", "20", "-w", " %{http_code}"}, args...)...)
		if err != nil {
			t.Fatalf("curl %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	at := p.at("") + "/v1/proxy-kv/"
	for _, tt := range []struct {
		want string
		args []string
	}{
		{`"version":1`, []string{"-X", "POST", "-d", `{"data":{"a":"1"}}`, at + "data/clients/curl"}},
		{`"a":"1"`, []string{at + "data/clients/curl"}},
		{`"a":"1"`, []string{"--compressed", "-H", "Expect: 100-continue", at + "data/clients/curl?version=1"}},
		{`"curl"`, []string{"-X", "LIST", at + "metadata/clients/"}},
		{`"version":2`, []string{"-H", "Transfer-Encoding: chunked", "-X", "PUT", "-d", `{"data":{"a":"2"}}`, at + "data/clients/curl"}},
		{`"a":"2"`, []string{"--unix-socket", filepath.Join(p.dir, "socket"), "http://localhost/v1/proxy-kv/data/clients/curl"}},
		{`"a":"2"`, []string{"--http1.0", at + "data/clients/curl"}},
		{` 404`, []string{at + "data/clients/none"}},
		{` 412`, []string{p.at("guarded") + "/v1/sys/health"}},
		{` 200`, []string{"-I", p.at("") + "/v1/sys/health"}},
		{` 403`, []string{"-H", "Authorization: Bearer hvs.none", at + "data/clients/curl"}},
		{` 204`, []string{"-X", "DELETE", at + "metadata/clients/curl"}},
	} {
		if got := call(tt.args...); !strings.Contains(got, tt.want) {
			t.Errorf("curl %v: %s", tt.args, got)
		}
	}
}

func thePythonLibrary(t *testing.T, p *subject) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	script, err := filepath.Abs("testdata/hvac.py")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := p.command(p.at("guarded"), nil, python, script); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// at is the URL of a listener.
func (s *subject) at(listener string) string {
	return fmt.Sprintf("http://%s:%d", s.host, ports[listener])
}

// command runs a client with an environment that names the proxy and nothing else.
func (s *subject) command(addr string, env []string, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	home := s.TempDir()
	cmd.Dir, cmd.Env = home, append(env, "PATH="+os.Getenv("PATH"), "HOME="+home, "VAULT_ADDR="+addr)
	return cmd.CombinedOutput()
}
