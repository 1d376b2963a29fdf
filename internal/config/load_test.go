package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/internal/hcl"
)

// write puts files into a new directory and returns it.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads one file that must be good.
func load(t testing.TB, name, text string) *Loaded {
	t.Helper()
	l, err := Load([]string{filepath.Join(write(t, map[string]string{name: text}), name)}, Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return l
}

const tutorial = `pid_file = "./pidfile"

vault {
   address = "http://127.0.0.1:8200"
   tls_skip_verify = true
}

auto_auth {
   method "AppRole" {
      mount_path = "auth/approle/"
      config = {
         role_id_file_path = "roleID"
         secret_id_file_path = "secretID"
         remove_secret_id_file_after_reading = false
      }
   }
   sink "file" {
      config = {
         path = "approleToken"
         mode = 0600
      }
   }
}

listener "tcp" { address = "127.0.0.1:8100" tls_disable = true }

template {
  source      = "/etc/a.ctmpl"
  destination = "/run/a"
  perms = 0640
  wait { min = "2s" }
}
`

func TestLoad_the_tutorials_file(t *testing.T) {
	f := load(t, "agent.hcl", tutorial).File
	if f.Vault.Address != "http://127.0.0.1:8200" || !f.Vault.TLSSkipVerify || f.Vault.NumRetries != 12 {
		t.Errorf("vault: %+v", f.Vault)
	}
	m := f.AutoAuth.Method
	if m.Type != "approle" || m.MountPath != "auth/approle" || m.MinBackoff != time.Second {
		t.Errorf("method: %+v", m)
	}
	cfg := struct {
		Role   string `config:"role_id_file_path,required"`
		Secret string `config:"secret_id_file_path"`
		Remove bool   `config:"remove_secret_id_file_after_reading"`
		Wrap   string `config:"secret_id_response_wrapping_path"`
	}{Remove: true}
	if err := m.Config.Decode(&cfg); err != nil {
		t.Fatal(err)
	}
	if cfg.Role != "roleID" || cfg.Secret != "secretID" || cfg.Remove {
		t.Errorf("config: %+v", cfg)
	}
	if len(f.AutoAuth.Sinks) != 1 || f.AutoAuth.Sinks[0].Type != "file" {
		t.Errorf("sinks: %+v", f.AutoAuth.Sinks)
	}
	if l := f.Listeners; len(l) != 1 || !l[0].TLSDisable || l[0].Address != "127.0.0.1:8100" {
		t.Errorf("listeners: %+v", l)
	}
	if p := f.Templates[0].Perms; p == nil || *p != 0o640 || f.Templates[0].Wait.Max != 8*time.Second || !f.Templates[0].ErrorFatal {
		t.Errorf("template: %+v", f.Templates[0])
	}
}

func TestLoad_merges_files_in_the_order_given(t *testing.T) {
	dir := write(t, map[string]string{
		"1.hcl": `
pid_file = "1"
log_level = "debug"
log_file = "1"
exit_after_auth = true
disable_idle_connections = ["caching"]
vault { address = "http://1" ca_cert = "1" retry { num_retries = 3 } }
auto_auth { method "a" { } sink "file" { config = { path = "1" } } sink "file" { config = { path = "1b" } } }
template { contents = "1" destination = "1" }
template_config { exit_on_retry_failure = true max_connections_per_host = 3 }
listener "tcp" { address = "1" }
cache { persist "kubernetes" { path = "/p" } }
exec { command = ["1"] }
telemetry { metrics_prefix = "1" }
`,
		"2.json": `{
"pid_file": "2", "log_file": "", "exit_after_auth": false,
"disable_idle_connections": ["templating", "caching"],
"vault": {"address": "http://2"},
"auto_auth": {"method": {"type": "b"}, "sink": {"type": "file", "config": {"path": "2"}}},
"template": {"contents": "2", "destination": "2"},
"template_config": {},
"listener": {"unix": {"address": "2"}},
"env_template": {"A": {"contents": "2"}, "B": {"contents": "3"}},
"cache": {},
"api_proxy": {"use_auto_auth_token": "force"}
}`,
	})
	l, err := Load([]string{filepath.Join(dir, "1.hcl"), filepath.Join(dir, "2.json")}, Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	f := l.File
	if f.PidFile != "2" || f.LogLevel != "debug" || f.LogFile != "1" || !f.ExitAfterAuth {
		t.Errorf("scalars: %+v", f)
	}
	if got := strings.Join(f.DisableIdleConnections, " "); got != "caching templating" {
		t.Errorf("lists: %s", got)
	}
	if f.Vault.Address != "http://2" || f.Vault.CACert != "" || f.Vault.NumRetries != 12 {
		t.Errorf("vault is replaced as a whole: %+v", f.Vault)
	}
	if f.AutoAuth.Method.Type != "b" || len(f.AutoAuth.Sinks) != 1 || f.Cache.Persist != nil || f.APIProxy.UseAutoAuthToken != AutoAuthTokenForce {
		t.Errorf("blocks: %+v %+v", f.AutoAuth, f.Cache)
	}
	if len(f.Templates) != 2 || len(f.Listeners) != 2 || f.Listeners[1].Type != "unix" || len(f.EnvTemplates) != 2 || f.EnvTemplates[1].Name != "B" {
		t.Errorf("appended: %+v %+v", f.Templates, f.Listeners)
	}
	if !f.TemplateConfig.ExitOnRetryFailure || f.TemplateConfig.MaxConnectionsPerHost != 3 {
		t.Errorf("a template_config of defaults wins: %+v", f.TemplateConfig)
	}
	if f.Exec == nil || f.Telemetry.MetricsPrefix != "1" || len(f.Sources) != 2 {
		t.Errorf("%+v", f)
	}
	_, o, err := l.Resolve(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"pid_file": "2.json:2", "exit_after_auth": "1.hcl:5", "log_level": "1.hcl:3", "vault.address": "2.json:4", "vault.ca_cert": "default",
		"template[0].contents": "1.hcl:9", "template[1].contents": "2.json:6", "auto_auth.sink[1].config.path": "default",
		"template_config.exit_on_retry_failure": "1.hcl:10", "listener[1].address": "2.json:8",
	} {
		if got := o.Of(path); !strings.HasSuffix(got, want) {
			t.Errorf("%s comes from %q, want %q", path, got, want)
		}
	}
}

func TestLoad_reads_a_directory_sorted_and_without_temporary_files(t *testing.T) {
	dir := write(t, map[string]string{
		"20.hcl": `pid_file = "20"`, "10.json": `{"pid_file": "10", "cluster_name": "x"}`,
		"30.hcl~": "bad", ".#40.hcl": "bad", "#50.hcl#": "bad", "60.txt": "bad", "70.hcl.bak": "bad", "sub/80.hcl": "bad", "90.hcl/x": "bad",
	})
	l, err := Load([]string{dir}, Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	if l.File.PidFile != "20" || l.File.ClusterName != "x" || len(l.File.Sources) != 2 {
		t.Errorf("%q %q", l.File.PidFile, l.File.Sources)
	}
}

func TestLoad_says_which_path_cannot_be_read(t *testing.T) {
	dir := write(t, map[string]string{"empty/x.txt": ""})
	for path, want := range map[string]string{
		filepath.Join(dir, "none.hcl"): "cannot be read: no such file or directory",
		filepath.Join(dir, "empty"):    "this directory holds no *.hcl and no *.json file",
	} {
		_, err := Load([]string{path}, Options{Lex: hcl.Lex})
		if err == nil || !strings.HasPrefix(err.Error(), path+": "+want) {
			t.Errorf("%v", err)
		}
	}
	if _, err := Load(nil, Options{Lex: hcl.Lex}); err == nil || !strings.Contains(err.Error(), "-config=FILE") {
		t.Errorf("%v", err)
	}
}

func TestLoad_forms_of_blocks(t *testing.T) {
	same := map[string]string{
		"label":             `auto_auth { method "approle" { config { a = "1" } } sink "file" { config { path = "p" } } }`,
		"label in capitals": `auto_auth { method "AppRole" { config { a = "1" } } sink "FILE" { config { path = "p" } } }`,
		"type":              `auto_auth { method { type = "approle" config = { a = "1" } } sink { type = "file" config = { path = "p" } } }`,
		"quoted":            `"auto_auth" = { "method" = { "type" = "approle" "config" = { "a" = "1" } } "sink" = { "type" = "file" "config" = { "path" = "p" } } }`,
		"list of objects":   `auto_auth = [{ method = [{ type = "approle", config = [{ a = "1" }] }], sink = [{ type = "file", config = { path = "p" } }] }]`,
		"two configs":       `auto_auth { method "approle" { config { a = "1" } config { } } sink "file" { config { path = "p" } } }`,
		"sinks":             `auto_auth { method "approle" { config { a = "1" } } sinks { sink "file" { config { path = "p" } } } }`,
		"sinks as a list":   `{"auto_auth": {"method": {"type": "approle", "config": {"a": "1"}}, "sinks": [{"type": "file", "config": {"path": "p"}}]}}`,
		"sinks of sinks":    `{"auto_auth": {"method": {"type": "approle", "config": {"a": "1"}}, "sinks": [{"sink": {"file": {"config": {"path": "p"}}}}]}}`,
		"JSON":              `{"auto_auth": {"method": {"type": "approle", "config": {"a": "1"}}, "sink": {"type": "file", "config": {"path": "p"}}}}`,
		"JSON lists":        `{"auto_auth": [{"method": [{"type": "approle", "config": [{"a": "1"}]}], "sink": [{"type": "file", "config": {"path": "p"}}]}]}`,
		"JSON labels":       `{"auto_auth": {"method": {"approle": {"config": {"a": "1"}}}, "sink": {"file": {"config": {"path": "p"}}}}}`,
		"JSON label lists":  `{"auto_auth": {"method": [{"approle": [{"config": {"a": "1"}}]}], "sink": [{"file": {"config": {"path": "p"}}}]}}`,
		"JSON nulls":        `{"pid_file": null, "vault": null, "auto_auth": {"method": {"type": "approle", "wrap_ttl": null, "config": {"a": "1"}}, "sink": {"type": "file", "config": {"path": "p"}}}}`,
		"keys in capitals":  `AUTO_AUTH { Method "approle" { CONFIG { a = "1" } } SINK "file" { Config { path = "p" } } }`,
	}
	for name, text := range same {
		t.Run(name, func(t *testing.T) {
			l := load(t, "a.hcl", text)
			aa := l.File.AutoAuth
			if aa == nil || aa.Method.Type != "approle" || len(aa.Sinks) != 1 || aa.Sinks[0].Type != "file" || len(l.Warnings) > 0 {
				t.Fatalf("%+v %v", aa, l.Warnings)
			}
			if m := decodeMap(t, aa.Method.Config); m["a"] != "1" || len(m) != 1 {
				t.Errorf("method's config: %v", m)
			}
			if m := decodeMap(t, aa.Sinks[0].Config); m["path"] != "p" {
				t.Errorf("sink's config: %v", m)
			}
			if aa.Pos.Line != 1 || aa.Method.Pos.Line != 1 || aa.Sinks[0].Config.Pos.Line != 1 {
				t.Errorf("places: %v %v %v", aa.Pos, aa.Method.Pos, aa.Sinks[0].Config.Pos)
			}
		})
	}
}

func TestLoad_a_label_and_a_type_that_differ(t *testing.T) {
	l := load(t, "a.hcl", `auto_auth { method "approle" { type = "jwt" } sink "file" { } }`)
	if l.File.AutoAuth.Method.Type != "jwt" || len(l.Warnings) != 1 {
		t.Errorf("%+v %v", l.File.AutoAuth.Method, l.Warnings)
	}
}

func TestLoad_mount_path_and_namespace(t *testing.T) {
	m := load(t, "a.hcl", `auto_auth { method "jwt" { mount_path = "auth/ci/" namespace = "/a/b" } }`).File.AutoAuth.Method
	if m.MountPath != "auth/ci" || m.Namespace != "a/b/" {
		t.Errorf("%+v", m)
	}
	m = load(t, "a.hcl", `auto_auth { method "jwt" { mount_path = "" } }`).File.AutoAuth.Method
	if m.MountPath != "auth/jwt" || m.Namespace != "" {
		t.Errorf("%+v", m)
	}
}

func TestLoad_template_commands(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
		timeout    time.Duration
	}{
		{"none", ``, nil, 0},
		{"empty", `command = ""`, nil, 0},
		{"a line", `command = "nginx -s reload"`, []string{"nginx -s reload"}, 30 * time.Second},
		{"a list", `command = ["nginx", "-s", "reload"] command_timeout = 5`, []string{"nginx", "-s", "reload"}, 5 * time.Second},
		{"with commas", `command = "nginx,-s,reload"`, []string{"nginx", "-s", "reload"}, 30 * time.Second},
		{"exec", `exec { command = ["a"] timeout = "1m" }`, []string{"a"}, time.Minute},
		{"exec twice", `exec { command = ["a"] } exec { command = ["b"] }`, []string{"b"}, 30 * time.Second},
		{"exec off", `exec { command = ["a"] enabled = false }`, nil, 0},
		{"exec before command", `exec { command = ["a"] } command = "b"`, []string{"a"}, 30 * time.Second},
		{"command before exec", `command = "b" exec { command = ["a"] }`, []string{"a"}, 30 * time.Second},
		{"exec without command", `command = "b" exec { timeout = 5 }`, []string{"b"}, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := load(t, "a.hcl", `template { contents = "x" destination = "y" `+tt.text+` }`).File.Templates[0].Exec
			switch {
			case tt.want == nil && e != nil:
				t.Errorf("%+v", e)
			case tt.want != nil && (e == nil || !reflect.DeepEqual(e.Command, tt.want) || e.Timeout != tt.timeout || e.KillSignal != "SIGINT"):
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestLoad_format_follows_the_destination(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`destination = "a.json"`, "json"}, {`destination = "/x/.env"`, "dotenv"}, {`destination = "a.env"`, "dotenv"},
		{`destination = "a.yml"`, "yaml"}, {`destination = "a.YAML"`, "yaml"}, {`destination = "a"`, "json"},
		{`destination = "a.yaml" format = "json"`, "json"},
	} {
		f := load(t, "a.hcl", `template { secret = "kv/a" `+tt.text+` }`).File.Templates[0]
		if f.Format != tt.want {
			t.Errorf("%s: %s", tt.text, f.Format)
		}
	}
}

func TestLoad_waits(t *testing.T) {
	for text, want := range map[string]*Wait{
		`wait = "2s"`:                                 {Min: 2 * time.Second, Max: 8 * time.Second},
		`wait = "2s:3s"`:                              {Min: 2 * time.Second, Max: 3 * time.Second},
		`wait { min = 2 max = "5s" }`:                 {Min: 2 * time.Second, Max: 5 * time.Second},
		`wait = { min = "2s" }`:                       {Min: 2 * time.Second, Max: 8 * time.Second},
		`wait { enabled = false min = 1 max = "5s" }`: nil,
		``: nil,
	} {
		w := load(t, "a.hcl", `template { contents = "x" destination = "y" `+text+` }`).File.Templates[0].Wait
		if (w == nil) != (want == nil) || w != nil && (w.Min != want.Min || w.Max != want.Max) {
			t.Errorf("%s: %+v", text, w)
		}
	}
}

func TestLoad_older_names(t *testing.T) {
	f := load(t, "a.hcl", `template { contents = "x" destination = "y" uid = 5 gid = 0 function_blacklist = ["a"] exec { command = ["c"] env { whitelist = ["w"] blacklist = ["b"] } } }`).File.Templates[0]
	if f.User != "5" || f.Group != "0" || f.FunctionDenylist[0] != "a" || f.Exec.Env.Allowlist[0] != "w" || f.Exec.Env.Denylist[0] != "b" {
		t.Errorf("%+v", f)
	}
}

func TestLoad_two_thousand_templates(t *testing.T) {
	if l := load(t, "a.hcl", manyTemplates(t, 2000)); len(l.File.Templates) != 2000 {
		t.Error(len(l.File.Templates))
	}
}

func manyTemplates(tb testing.TB, n int) string {
	tb.Helper()
	var b strings.Builder
	b.WriteString(tutorial)
	for i := range n - 1 {
		fmt.Fprintf(&b, "template {\n  destination = \"/run/%d\"\n  perms = 0600\n  contents = <<EOF\n{{ with secret \"kv/%d\" }}{{ .Data.x }}{{ end }} ${x}\nEOF\n}\n", i, i)
	}
	return b.String()
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1, 20, 200, 2000} {
		text := []byte(manyTemplates(b, n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l := &Loaded{late: &lateWarnings{}, File: newFile()}
				if probs := l.merge("a.hcl", text, Options{Lex: hcl.Lex}); len(probs) > 0 {
					b.Fatal(probs)
				}
				f, _, err := l.Resolve(nil, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Check(f, ModeOnce); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestLoad_deviceWithoutEnd(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("no /dev/zero here")
	}
	if _, err := Load([]string{"/dev/zero"}, Options{Lex: hcl.Lex}); err == nil || !strings.Contains(err.Error(), "too large for a configuration file") {
		t.Errorf("error is %v", err)
	}
}
