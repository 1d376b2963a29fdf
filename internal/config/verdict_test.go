package config

import (
	"path/filepath"
	"testing"
	"time"

	"latchkey/internal/hcl"
)

// What vault agent -test-verify-only says to these was asked of Vault 1.21.0;
// e2e/verdict_test.go asks it again.

func TestVerdict_accepts_what_vault_agent_accepts(t *testing.T) {
	const rest = aAuth + aTemplate
	for name, text := range map[string]string{
		"empty tls_skip_verify":         rest + `vault { tls_skip_verify = "" }`,
		"empty use_auto_auth_token":     rest + aListener + `cache { use_auto_auth_token = "" }`,
		"empty tls_disable":             rest + `listener "tcp" { tls_disable = "" tls_cert_file = "c" tls_key_file = "k" }`,
		"empty max_connections":         rest + `template_config { max_connections_per_host = "" }`,
		"a listener's type in capitals": rest + `listener { type = "TCP" tls_disable = true }`,
		"threshold without its zero":    rest + `template_config { lease_renewal_threshold = .9 }`,
		"max_backoff of 0":              "auto_auth {\nmethod \"approle\" { max_backoff = \"0s\" min_backoff = \"10s\" }\n" + aSink + "\n}",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Check(resolved(t, text), ModeCheck); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerdict_an_empty_boolean_is_false(t *testing.T) {
	b := NewBlock("approle", map[string]any{"remove_secret_id_file_after_reading": ""})
	v := struct {
		Remove bool `config:"remove_secret_id_file_after_reading"`
	}{Remove: true}
	if err := b.Decode(&v); err != nil || v.Remove {
		t.Errorf("%+v %v", v, err)
	}
}

func TestVerdict_backoffs_of_0_are_the_defaults(t *testing.T) {
	f := resolved(t, "auto_auth {\nmethod \"approle\" { max_backoff = 0 min_backoff = \"0s\" }\n"+aSink+"\n}")
	if m := f.AutoAuth.Method; m.MinBackoff != time.Second || m.MaxBackoff != 5*time.Minute {
		t.Errorf("%v %v", m.MinBackoff, m.MaxBackoff)
	}
}

func TestVerdict_a_file_key_of_env_template_is_no_unknown_key(t *testing.T) {
	dir := write(t, map[string]string{"a.hcl": aAuth + "env_template \"A\" { contents = \"x\" perms = \"0600\" }\n" + anExec})
	if _, err := Load([]string{filepath.Join(dir, "a.hcl")}, Options{Lenient: true, Lex: hcl.Lex}); err == nil {
		t.Error("accepted")
	}
}
