package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// vars is an environment.
func vars(m map[string]string) Env {
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// layers lists every key that has a variable or a flag, with four values and
// how to look at it.
var layers = []struct {
	path, key, env, flag   string
	file, vault, bao, flg  string // as written
	look                   func(*File) any
	vFile, vVault, vBao, v any
	def                    any
}{
	{"vault.address", "address", "ADDR", "address", `"http://f"`, "http://v", "http://b", "http://x", func(f *File) any { return f.Vault.Address }, "http://f", "http://v", "http://b", "http://x", "https://127.0.0.1:8200"},
	{"vault.namespace", "namespace", "NAMESPACE", "namespace", `"f/"`, "v", "/b/", "x", func(f *File) any { return f.Vault.Namespace }, "f", "v", "b", "x", ""},
	{"vault.ca_cert", "ca_cert", "CACERT", "ca-cert", `"f"`, "v", "b", "x", func(f *File) any { return f.Vault.CACert }, "f", "v", "b", "x", ""},
	{"vault.ca_path", "ca_path", "CAPATH", "ca-path", `"f"`, "v", "b", "x", func(f *File) any { return f.Vault.CAPath }, "f", "v", "b", "x", ""},
	{"vault.client_cert", "client_cert", "CLIENT_CERT", "client-cert", `"f"`, "v", "b", "x", func(f *File) any { return f.Vault.ClientCert }, "f", "v", "b", "x", ""},
	{"vault.client_key", "client_key", "CLIENT_KEY", "client-key", `"f"`, "v", "b", "x", func(f *File) any { return f.Vault.ClientKey }, "f", "v", "b", "x", ""},
	{"vault.tls_server_name", "tls_server_name", "TLS_SERVER_NAME", "tls-server-name", `"f"`, "v", "b", "x", func(f *File) any { return f.Vault.TLSServerName }, "f", "v", "b", "x", ""},
	{"vault.tls_skip_verify", "tls_skip_verify", "SKIP_VERIFY", "tls-skip-verify", `"true"`, "0", "1", "false", func(f *File) any { return f.Vault.TLSSkipVerify }, true, false, true, false, false},
	{"vault.ca_cert_bytes", "", "CACERT_BYTES", "", "", "v", "b", "", func(f *File) any { return f.Vault.CACertPEM }, nil, "v", "b", nil, ""},
	{"vault.client_timeout", "", "CLIENT_TIMEOUT", "", "", "7", "8s", "", func(f *File) any { return f.Vault.ClientTimeout }, nil, 7 * time.Second, 8 * time.Second, nil, time.Minute},
	{"vault.rate_limit", "", "RATE_LIMIT", "", "", "7", "8:9", "", func(f *File) any { return []any{f.Vault.RateLimit, f.Vault.RateBurst} }, nil, []any{7.0, 7}, []any{8.0, 9}, nil, []any{0.0, 0}},
	{"vault.srv_lookup", "", "SRV_LOOKUP", "", "", "true", "false", "", func(f *File) any { return f.Vault.SRVLookup }, nil, true, false, nil, false},
	{"vault.proxy_address", "", "PROXY_ADDR", "", "", "v", "b", "", func(f *File) any { return f.Vault.ProxyAddress }, nil, "v", "b", nil, ""},
	{"vault.disable_redirects", "", "DISABLE_REDIRECTS", "disable-redirects", "", "true", "0", "true", func(f *File) any { return f.Vault.DisableRedirects }, nil, true, false, true, false},
	{"vault.headers", "", "HEADERS", "header", "", `{"A":"v"}`, `{"A":"b"}`, "A=x\nB = y=z", func(f *File) any { return map[string]string(f.Vault.Headers) }, nil, map[string]string{"A": "v"}, map[string]string{"A": "b"}, map[string]string{"A": "x", "B": "y=z"}, map[string]string(nil)},
	{"log_level", "log_level", "LOG_LEVEL", "log-level", `"TRACE"`, "debug", "warning", "err", func(f *File) any { return f.LogLevel }, "trace", "debug", "warn", "error", "info"},
	{"log_format", "log_format", "LOG_FORMAT", "log-format", `"JSON"`, "standard", "json", "Standard", func(f *File) any { return f.LogFormat }, "json", "standard", "json", "standard", "standard"},
	{"disable_idle_connections", "disable_idle_connections", "AGENT_DISABLE_IDLE_CONNECTIONS", "", `["caching"]`, "auto-auth,proxying", " templating ,,", "", func(f *File) any { return f.DisableIdleConnections }, []string{"caching"}, []string{"auto-auth", "proxying"}, []string{"templating"}, nil, []string(nil)},
	{"disable_keep_alives", "disable_keep_alives", "AGENT_DISABLE_KEEP_ALIVES", "", `["caching", ""]`, "auto-auth", "templating", "", func(f *File) any { return f.DisableKeepAlives }, []string{"caching"}, []string{"auto-auth"}, []string{"templating"}, nil, []string(nil)},
	{"exit_after_auth", "exit_after_auth", "", "exit-after-auth", "true", "", "", "false", func(f *File) any { return f.ExitAfterAuth }, true, nil, nil, false, false},
	{"log_file", "log_file", "", "log-file", `"f"`, "", "", "x", func(f *File) any { return f.LogFile }, "f", nil, nil, "x", ""},
	{"log_rotate_duration", "log_rotate_duration", "", "log-rotate-duration", `"1h"`, "", "", "2h", func(f *File) any { return f.LogRotateDuration }, time.Hour, nil, nil, 2 * time.Hour, 24 * time.Hour},
	{"log_rotate_bytes", "log_rotate_bytes", "", "log-rotate-bytes", "5", "", "", "6", func(f *File) any { return f.LogRotateBytes }, 5, nil, nil, 6, 0},
	{"log_rotate_max_files", "log_rotate_max_files", "", "log-rotate-max-files", "-1", "", "", "6", func(f *File) any { return f.LogRotateMaxFiles }, -1, nil, nil, 6, 0},
}

func TestResolve_flag_beats_BAO_beats_VAULT_beats_file_beats_default(t *testing.T) {
	for _, k := range layers {
		t.Run(k.path, func(t *testing.T) {
			text, env, flags := "pid_file = \"p\"\n", map[string]string{}, Flags{}
			step := func(want any, origin string) {
				t.Helper()
				f, o, err := load(t, "a.hcl", text).Resolve(flags, vars(env))
				if err != nil {
					t.Fatal(err)
				}
				if got := k.look(f); !reflect.DeepEqual(got, want) {
					t.Errorf("%#v, want %#v from %s", got, want, origin)
				}
				if got := o.Of(k.path); !strings.HasPrefix(got, origin) || !strings.HasSuffix(got, ":2") && origin == "file " {
					t.Errorf("origin %q, want %q", got, origin)
				}
			}
			step(k.def, "default")
			if k.key != "" {
				text += k.key + " = " + k.file + "\n"
				if rest, ok := strings.CutPrefix(k.path, "vault."); ok {
					text = "pid_file = \"p\"\nvault { " + rest + " = " + k.file + " }\n"
				}
				step(k.vFile, "file ")
			}
			if k.env != "" {
				env["VAULT_"+k.env] = ""
				env["VAULT_"+k.env] = k.vault
				step(k.vVault, "env VAULT_"+k.env)
				env["BAO_"+k.env] = k.bao
				step(k.vBao, "env BAO_"+k.env)
			}
			if k.flag != "" {
				flags[k.flag] = k.flg
				step(k.v, "flag -"+k.flag)
			}
		})
	}
}

func TestResolve_every_variable_and_flag_is_tested(t *testing.T) {
	tested := map[string]bool{"vault.retry.num_retries": true}
	for _, k := range layers {
		tested[k.path] = true
	}
	for _, st := range []*stanza{&topStanza, &vaultStanza} {
		for _, k := range st.keys {
			if path := join(st.name, k.name); k.env+k.flag != "" && !tested[path] {
				t.Errorf("%s is missing in layers", path)
			}
		}
	}
}

func TestResolve_retries(t *testing.T) {
	tests := []struct {
		name, file, env string
		want            int
	}{
		{"default", "", "", 12},
		{"file", "5", "", 5},
		{"0 in a file is the default", "0", "", 12},
		{"-1 in a file is none", "-1", "", 0},
		{"-2 in a file is none", "-2", "", 0},
		{"environment", "5", "7", 7},
		{"0 in the environment is none", "5", "0", 0},
		{"-1 in the environment is none", "5", "-1", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := "pid_file = \"p\""
			if tt.file != "" {
				text = "vault { retry { num_retries = " + tt.file + " } }"
			}
			f, _, err := load(t, "a.hcl", text).Resolve(nil, vars(map[string]string{"VAULT_MAX_RETRIES": tt.env}))
			if err != nil || f.Vault.NumRetries != tt.want {
				t.Errorf("%d %v, want %d", f.Vault.NumRetries, err, tt.want)
			}
		})
	}
}

func TestResolve_names_the_variable_or_flag_at_fault(t *testing.T) {
	tests := []struct{ name, val, text string }{
		{"VAULT_SKIP_VERIFY", "maybe", "must be true or false"},
		{"BAO_SKIP_VERIFY", "maybe", "must be true or false"},
		{"VAULT_CLIENT_TIMEOUT", "x", "must be a duration"},
		{"VAULT_MAX_RETRIES", "many", "must be a whole number"},
		{"VAULT_RATE_LIMIT", "10:", "must be a number of requests per second"},
		{"VAULT_RATE_LIMIT", "-1", "must be a number of requests per second"},
		{"VAULT_RATE_LIMIT", "NaN", "must be a number of requests per second"},
		{"VAULT_SRV_LOOKUP", "si", "must be true or false"},
		{"VAULT_HEADERS", "{", "must be a JSON object of strings"},
		{"VAULT_HEADERS", "x", "must be a JSON object"},
		{"VAULT_HEADERS", `{"x-VAULT-token": "s3cret"}`, `header "x-VAULT-token" may not be set`},
		{"VAULT_ADDR", "127.0.0.1:8200", "is not a URL that can be reached"},
		{"VAULT_ADDR", "ftp://x", "is not a URL that can be reached"},
		{"VAULT_LOG_LEVEL", "loud", "must be trace, debug, info, warn or error"},
		{"VAULT_LOG_FORMAT", "xml", "must be standard or json"},
		{"VAULT_AGENT_DISABLE_IDLE_CONNECTIONS", "auto_auth", `does not know "auto_auth"`},
		{"BAO_AGENT_DISABLE_KEEP_ALIVES", "auto_auth", `does not know "auto_auth"`},
		{"-exit-after-auth", "perhaps", "must be true or false"},
		{"-log-rotate-bytes", "-5", "must not be negative"},
		{"-log-rotate-max-files", "-5", "must be -1, 0 or more"},
		{"-log-file", "/x/a*.log", "may not hold the characters"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.val, func(t *testing.T) {
			env, flags := map[string]string{}, Flags{}
			if flag, ok := strings.CutPrefix(tt.name, "-"); ok {
				flags[flag] = tt.val
			} else {
				env[tt.name] = tt.val
			}
			_, _, err := load(t, "a.hcl", tutorial).Resolve(flags, vars(env))
			var p *Problem
			if !errors.As(err, &p) || p.Key != tt.name || !strings.HasPrefix(p.Text, tt.text) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestResolve_shows_the_line_of_a_bad_value_in_a_file(t *testing.T) {
	l := load(t, "a.hcl", "pid_file = \"p\"\n\nlog_level = \"debugg\"\nvault {\n  address = \"localhost:8200\"\n}\n")
	_, _, err := l.Resolve(nil, nil)
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != 2 || ps[0].Pos.Line != 3 || ps[0].Source != `log_level = "debugg"` ||
		ps[0].Hint != `did you mean "debug"?` || ps[1].Pos.Line != 5 || ps[1].Pos.Column != 3 {
		t.Errorf("%v", err)
	}
}

func TestResolve_tells_where_token_namespace_and_address_come_from(t *testing.T) {
	l := load(t, "a.hcl", tutorial)
	_, o, err := l.Resolve(Flags{"namespace": "team"}, vars(map[string]string{"VAULT_TOKEN": "s.1", "BAO_TOKEN": "s.2", "VAULT_AGENT_ADDR": "http://127.0.0.1:8100"}))
	if err != nil {
		t.Fatal(err)
	}
	if o.Of("token") != "env BAO_TOKEN" || o.Of("vault.namespace") != "flag -namespace" || !strings.HasSuffix(o.Of("vault.address"), "a.hcl:4") {
		t.Errorf("%v", slices.Sorted(maps.Values(o)))
	}
	if _, o, _ := l.Resolve(nil, nil); o.Of("token") != "default" {
		t.Errorf("token from %q", o.Of("token"))
	}
}

func TestResolve_leaves_the_Loaded_alone(t *testing.T) {
	l := load(t, "a.hcl", tutorial)
	if _, _, err := l.Resolve(Flags{"address": "http://x", "log-level": "trace"}, nil); err != nil {
		t.Fatal(err)
	}
	if l.File.Vault.Address != "http://127.0.0.1:8200" || l.File.LogLevel != "info" {
		t.Errorf("%+v", l.File)
	}
}

func TestResolve_old_name_of_the_proxy(t *testing.T) {
	f, o, err := load(t, "a.hcl", tutorial).Resolve(nil, vars(map[string]string{"VAULT_HTTP_PROXY": "http://old"}))
	if err != nil || f.Vault.ProxyAddress != "http://old" || o.Of("vault.proxy_address") != "env VAULT_HTTP_PROXY" {
		t.Errorf("%q %v", f.Vault.ProxyAddress, err)
	}
}

func TestConfigPaths(t *testing.T) {
	env := vars(map[string]string{"BAO_AGENT_CONFIG_PATH": "/etc/bao"})
	if got := ConfigPaths([]string{"a", "b"}, env); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
	if got := ConfigPaths(nil, env); !reflect.DeepEqual(got, []string{"/etc/bao"}) {
		t.Errorf("%q", got)
	}
	if got := ConfigPaths(nil, nil); got != nil {
		t.Errorf("%q", got)
	}
}

func TestAddresses_of_IPv6_are_written_as_RFC_5952_has_them(t *testing.T) {
	for in, want := range map[string]string{
		"https://[2001:0db8:0000::0001]:8200":       "https://[2001:db8::1]:8200",
		"https://[2001:DB8::1]":                     "https://[2001:db8::1]",
		"https://u:p@[2001:0DB8::1]:8200/v?a=[::1]": "https://u:p@[2001:db8::1]:8200/v?a=[::1]",
		"[0:0:0:0:0:0:0:1]:8100":                    "[::1]:8100",
		"0:0:0:0:0:0:0:1":                           "::1",
		"2001:db8:0:0:1:0:0:1":                      "2001:db8::1:0:0:1",
		"https://127.0.0.1:8200":                    "https://127.0.0.1:8200",
		"https://vault.example.com:8200/prefix":     "https://vault.example.com:8200/prefix",
		"unix:///run/v.sock":                        "unix:///run/v.sock",
		"127.0.0.1:8100":                            "127.0.0.1:8100",
		"{{ GetPrivateIP }}:8100":                   "{{ GetPrivateIP }}:8100",
		"":                                          "",
	} {
		if got := normalAddress(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f, _, err := load(t, "a.hcl", `vault { address = "https://[2001:0db8::0001]:8200" } listener "tcp" { address = "[0:0::1]:8100" } listener "tcp" { }`).Resolve(nil, nil)
	if err != nil || f.Vault.Address != "https://[2001:db8::1]:8200" || f.Listeners[0].Address != "[::1]:8100" || f.Listeners[1].Address != "127.0.0.1:8200" {
		t.Errorf("%+v %v", f, err)
	}
}

func TestHeaders_print_no_values(t *testing.T) {
	h := Headers{"X-Auth": "CANARY"}
	s := fmt.Sprintf("%v %+v %#v %s", h, Vault{Headers: h}, &Vault{Headers: h}, h) + h.LogValue().String()
	if strings.Contains(s, "CANARY") {
		t.Error(s)
	}
}
