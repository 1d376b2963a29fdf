package config

import (
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"latchkey/internal/hcl"
)

// example loads, resolves and checks a file of testdata/examples.
func example(t *testing.T, name string) *File {
	t.Helper()
	l, err := Load([]string{filepath.Join("testdata", "examples", name)}, Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, w := range l.Warnings {
		t.Errorf("warning: %v", w)
	}
	f, _, err := l.Resolve(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	warns, err := Check(f, ModeCheck)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warns {
		t.Errorf("warning: %v", w)
	}
	return f
}

func decodeMap(t *testing.T, b Block) map[string]string {
	t.Helper()
	m, bad := asMap(b.n)
	if bad != nil {
		t.Fatal(bad.text)
	}
	return m
}

func TestExamples_all_load_without_a_warning(t *testing.T) {
	files, err := filepath.Glob("testdata/examples/*")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) { example(t, filepath.Base(f)) })
	}
}

func TestExample_injector_one_line_of_JSON(t *testing.T) {
	f := example(t, "injector_init.json")
	m := f.AutoAuth.Method
	if m.Type != "kubernetes" || m.MountPath != "auth/kubernetes" || decodeMap(t, m.Config)["role"] != "internal-app" {
		t.Errorf("method %+v", m)
	}
	if len(f.AutoAuth.Sinks) != 1 || decodeMap(t, f.AutoAuth.Sinks[0].Config)["path"] != "/home/vault/.vault-token" {
		t.Errorf("sinks %+v", f.AutoAuth.Sinks)
	}
	if !f.ExitAfterAuth || f.PidFile != "/home/vault/.pid" || f.Vault.Address != "http://vault.default.svc:8200" {
		t.Errorf("%+v", f)
	}
	a, b := f.Templates[0], f.Templates[1]
	if *a.Perms != 0o644 || !a.ErrorOnMissingKey || !strings.Contains(a.Contents, "{{ $k }}: {{ $v }}\n") {
		t.Errorf("template %+v", a)
	}
	if b.LeftDelimiter != "[[" || b.Wait.Min != 5*time.Second || b.Wait.Max != 10*time.Second || b.Perms != nil {
		t.Errorf("template %+v", b)
	}
	if c := f.TemplateConfig; !c.ExitOnRetryFailure || c.StaticSecretRenderInterval != time.Minute || c.MaxConnectionsPerHost != 10 {
		t.Errorf("template_config %+v", c)
	}
	if !reflect.DeepEqual(f.DisableIdleConnections, []string{"auto-auth", "caching"}) {
		t.Errorf("%q", f.DisableIdleConnections)
	}
}

func TestExample_injector_configmap_with_quoted_keys(t *testing.T) {
	f := example(t, "injector_configmap.hcl")
	if f.AutoAuth.Method.Type != "kubernetes" || f.AutoAuth.Sinks[0].Type != "file" || f.Vault.ClientKey != "/vault/tls/client.key" {
		t.Errorf("%+v", f)
	}
	if len(f.Templates) != 1 || !strings.HasPrefix(f.Templates[0].Contents, `{{- with secret "database/creds/db-app" -}}postgres://`) {
		t.Errorf("%+v", f.Templates)
	}
}

func TestExample_templates_are_literal_text(t *testing.T) {
	f := example(t, "templates.hcl")
	a, b, c := f.Templates[0], f.Templates[1], f.Templates[2]
	for _, want := range []string{"HOME_DIR=${HOME:-/srv}\n", `LOG_FORMAT="%{Referer}i %{User-Agent}i"`, "=$${not_interpolated}\n", "OPEN=${never closed\n", `secret "secret/data/app"`} {
		if !strings.Contains(a.Contents, want) {
			t.Errorf("contents lack %q:\n%s", want, a.Contents)
		}
	}
	if *a.Perms != 0o600 || a.User != "app" || a.Group != "1000" || !a.Backup || !a.CreateDestDirs || !a.ErrorFatal {
		t.Errorf("%+v", a)
	}
	wantExec := TemplateExec{
		Command: []string{"systemctl", "reload", "app"}, Timeout: 10 * time.Second, KillSignal: "SIGINT", KillTimeout: 30 * time.Second,
		Env: ExecEnv{Pristine: true, Custom: []string{"A=1", "B=2"}, Allowlist: []string{"PATH"}},
	}
	got := *a.Exec
	got.Pos = Pos{}
	if !reflect.DeepEqual(got, wantExec) {
		t.Errorf("exec %+v", got)
	}
	if b.CreateDestDirs || b.ErrorFatal || !b.ErrorOnMissingKey || b.Wait.Max != 30*time.Second || b.LeftDelimiter != "<<" ||
		!reflect.DeepEqual(b.Exec.Command, []string{"nginx -s reload"}) || b.Exec.Timeout != 45*time.Second || b.SandboxPath != "/etc/ctmpl" {
		t.Errorf("%+v", b)
	}
	if !strings.HasPrefix(c.Contents, "{{- with pkiCert") || strings.Contains(c.Contents, "    ") || *c.Perms != fs.FileMode(0o640) {
		t.Errorf("%q %v", c.Contents, *c.Perms)
	}
	if tc := f.TemplateConfig; tc.StaticSecretRenderInterval != 2*time.Minute || tc.LeaseRenewalThreshold != 0.75 || tc.MaxConnectionsPerHost != 20 {
		t.Errorf("%+v", tc)
	}
	cfg := struct {
		Path   string `config:"path,required"`
		Role   string `config:"role,required"`
		Remove bool   `config:"remove_jwt_after_reading"`
	}{Remove: true}
	if err := f.AutoAuth.Method.Config.Decode(&cfg); err != nil || cfg.Remove || cfg.Role != "deploy" {
		t.Errorf("%+v %v", cfg, err)
	}
}

func TestExample_listeners_and_persist(t *testing.T) {
	f := example(t, "persist_kubernetes.hcl")
	p := f.Cache.Persist
	if p.Type != "kubernetes" || p.Path != "/vault/agent-cache" || !p.KeepAfterImport || !p.ExitOnErr || p.ServiceAccountTokenFile != "/tmp/serviceaccount/token" {
		t.Errorf("%+v", p)
	}
	if f.APIProxy.UseAutoAuthToken != AutoAuthTokenForce || f.APIProxy.EnforceConsistency != "always" || f.APIProxy.WhenInconsistent != "forward" {
		t.Errorf("%+v", f.APIProxy)
	}
	l := f.Listeners
	if len(l) != 3 || l[0].Type != "tcp" || !l[0].RequireRequestHeader || !l[1].EnableQuit || l[1].Role != "metrics_only" || l[2].SocketMode != "0660" || l[2].TLSMinVersion != "tls12" {
		t.Errorf("%+v", l)
	}
	if f.Telemetry == nil || f.Telemetry.PrometheusRetentionTime != 24*time.Hour || f.Telemetry.FilterDefault != nil {
		t.Errorf("%+v", f.Telemetry)
	}
	if f.Vault.Namespace != "team-a" || f.Vault.TLSServerName != "vault" {
		t.Errorf("%+v", f.Vault)
	}
}

func TestExample_wrapped_login_in_JSON(t *testing.T) {
	f := example(t, "wrapped_method.json")
	m := f.AutoAuth.Method
	if m.WrapTTL != 5*time.Minute || !m.ExitOnErr || m.MinBackoff != 2*time.Second || m.MaxBackoff != time.Minute || m.Namespace != "team/" {
		t.Errorf("%+v", m)
	}
	cfg := struct {
		Path string      `config:"path"`
		Mode fs.FileMode `config:"mode"`
	}{}
	if err := f.AutoAuth.Sinks[0].Config.Decode(&cfg); err != nil || cfg.Mode != 0o640 || cfg.Path != "/run/token" {
		t.Errorf("%+v %v", cfg, err)
	}
	if f.Vault.NumRetries != 0 {
		t.Errorf("retries: %d", f.Vault.NumRetries)
	}
}

func TestExample_the_supervisors_file(t *testing.T) {
	f := example(t, "supervisor.hcl")
	if len(f.EnvTemplates) != 2 || f.EnvTemplates[0].Name != "FOO_PASSWORD" || !f.EnvTemplates[1].ErrorOnMissingKey || !f.EnvTemplates[0].ErrorFatal {
		t.Errorf("%+v", f.EnvTemplates)
	}
	if e := f.Exec; !reflect.DeepEqual(e.Command, []string{"./kv-demo.sh"}) || e.RestartStopSignal != "SIGTERM" || e.RestartOnSecretChanges != "always" {
		t.Errorf("%+v", e)
	}
}
