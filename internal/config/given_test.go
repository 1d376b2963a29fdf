package config

import (
	"strings"
	"testing"
	"time"

	"latchkey/internal/hcl"
)

// upper calls a key of the listener by a variable.
func upper(path string) string {
	if key, ok := strings.CutPrefix(path, "listener[0]."); ok {
		return "MY_" + strings.ToUpper(key)
	}
	return ""
}

func given(values map[string]any) (*Loaded, error) {
	l := Empty()
	return l, l.Add("environment", values, upper)
}

func TestValuesInCodeAreReadAsAFileIs(t *testing.T) {
	l, err := given(map[string]any{
		"listener":  map[string]any{"type": "tcp", "tls_disable": "true", "max_body_size": "64KiB", "request_timeout": "3s"},
		"auto_auth": map[string]any{"method": map[string]any{"type": "jwt", "config": map[string]any{"role": "r"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f, origins, err := l.Resolve(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	x := f.Listeners[0]
	if x.Address != "127.0.0.1:8200" || x.MaxBodySize != 64<<10 || x.RequestTimeout != 3*time.Second || x.TLSMinVersion != "tls12" {
		t.Errorf("listener is %+v", x)
	}
	if m := f.AutoAuth.Method; m.MountPath != "auth/jwt" || m.MinBackoff != time.Second || m.Config.Type != "jwt" {
		t.Errorf("method is %+v", m)
	}
	if len(f.Sources) > 0 {
		t.Errorf("%q are no files", f.Sources)
	}
	if got := origins.Of("listener[0].request_timeout"); got != "env MY_REQUEST_TIMEOUT" {
		t.Errorf("it comes from %s", got)
	}
	if got := origins.Of("auto_auth.method.type"); got != "env environment" {
		t.Errorf("it comes from %s", got)
	}
}

func TestProblemsOfValuesSpeakAsTheUserDoes(t *testing.T) {
	_, err := given(map[string]any{"listener": map[string]any{"type": "tcp", "max_body_size": "big"}, "vault": map[string]any{"addres": "x"}})
	want := "MY_MAX_BODY_SIZE: must be a size"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "environment: vault.addres: unknown key") {
		t.Errorf("got %v, want %s", err, want)
	}
	l, err := given(map[string]any{"listener": map[string]any{"type": "tcp", "tls_disable": true, "max_connections": "-1"}, "api_proxy": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	want = "MY_MAX_CONNECTIONS: must not be negative"
	if _, err = Check(l.File, ModeExtension); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFileAndEnvironmentHaveToAgreeWhereNothingWins(t *testing.T) {
	l, err := LoadText("f", `{"vault": {"address": "https://a", "namespace": "n", "retry": {"num_retries": 3}}}`, Options{})
	if err != nil {
		t.Fatal(err)
	}
	env := func(text string) Env {
		return func(name string) (string, bool) {
			if !strings.HasPrefix(text, name+"=") {
				return "", false
			}
			return strings.CutPrefix(text, name+"=")
		}
	}
	for text, want := range map[string]string{
		"VAULT_ADDR=https://a":   "",
		"VAULT_CACERT=/ca":       "",
		"VAULT_MAX_RETRIES=3":    "",
		"BAO_NAMESPACE=m":        "BAO_NAMESPACE: is not what vault.namespace says in f:1",
		"VAULT_MAX_RETRIES=4":    "VAULT_MAX_RETRIES: is not what vault.retry.num_retries says in f:1",
		"VAULT_CLIENT_TIMEOUT=x": "VAULT_CLIENT_TIMEOUT: must be a duration",
	} {
		f, _, err := l.Reconcile(env(text))
		switch {
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", text, err, want)
		case want == "" && (err != nil || f.Vault.Address != "https://a" || f.Vault.NumRetries != 3):
			t.Errorf("%s: %+v, %v", text, f, err)
		}
	}
}

func TestAnExtensionNeedsNoTakerAndStartsNoProcess(t *testing.T) {
	login := map[string]any{"method": map[string]any{"type": "jwt"}}
	l, err := given(map[string]any{"auto_auth": login})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Check(l.File, ModeExtension); err != nil {
		t.Errorf("a login that only files use: %v", err)
	}
	for want, values := range map[string]map[string]any{
		"exec: the platform starts the function":          {"auto_auth": login, "exec": map[string]any{"command": []string{"x"}}, "env_template": map[string]any{"A": map[string]any{"contents": "x"}}},
		"MY_ADDRESS: there is no systemd":                 {"listener": map[string]any{"type": "tcp", "tls_disable": true, "address": "systemd:x"}},
		"MY_ROLE: there are no metrics beside a function": {"auto_auth": login, "listener": map[string]any{"type": "tcp", "tls_disable": true, "role": "metrics_only"}},
		"auto_auth.method.wrap_ttl: leaves no token":      {"auto_auth": map[string]any{"method": map[string]any{"type": "jwt", "wrap_ttl": "1m"}}},
		"env_template[0]: needs auto_auth: nothing else":  {"env_template": map[string]any{"A": map[string]any{"contents": "x"}}},
	} {
		l, err := given(values)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Check(l.File, ModeExtension); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// What parses and does nothing is said, each by its key.
func TestAnExtensionSaysWhatItDoesNotUse(t *testing.T) {
	l, err := LoadText("f", `
		pid_file = "p"
		log_file = "l"
		log_rotate_bytes = 1
		status_socket = "s"
		telemetry { statsd_address = "127.0.0.1:8125" }
		auto_auth { method "jwt" { } }
		cache {
			static_ttl = "1m"
			static_events = true
			persist "file" { path = "/tmp/c"  key_env = "KEY" }
		}
		template_config { static_secret_events = true  exit_on_retry_failure = true }
		template { contents = "x"  destination = "/tmp/x" }
		listener "tcp" { tls_disable = true  agent_api { enable_quit = true } }
	`, Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := Check(l.File, ModeExtension)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, w := range warnings {
		if w.Text == unusedBeside {
			said[w.Key] = true
		}
	}
	for _, key := range []string{
		"pid_file", "log_file", "log_rotate_bytes", "status_socket", "telemetry", "cache.static_events", "cache.persist",
		"template_config.static_secret_events", "template_config.exit_on_retry_failure", "listener[0].agent_api",
	} {
		if !said[key] {
			t.Errorf("nothing is said of %s", key)
		}
		delete(said, key)
	}
	if len(said) > 0 {
		t.Errorf("these are used: %v", said)
	}
}

func TestVariablesOfTheVaultStanza(t *testing.T) {
	for path, want := range map[string]string{"vault.address": "VAULT_ADDR", "vault.retry.num_retries": "VAULT_MAX_RETRIES", "vault.retry": "", "listener[0].address": "", "address": ""} {
		if got := Variable(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}
