package config

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const secretive = `
pid_file = "/run/p"
vault { address = "https://me:CANARY@v.example.com:8200" namespace = "team" }
auto_auth {
  method "aws" {
    wrap_ttl = "5m"
    config = {
      type = "iam" role = "app" access_key = "CANARY" secret_key = "CANARY" session_token = "CANARY"
      credentials = "CANARY" password = "CANARY" credential_poll_interval = 60 remove_jwt_after_reading = false
      nested { a = "CANARY" } list = ["CANARY"] token = "CANARY" client_secret = "CANARY" secret = "CANARY" header_value = "CANARY"
      role_id_file_path = "/etc/role"
    }
  }
  sink "file" { dh_type = "curve25519" dh_path = "/p" aad = "CANARY" config = { path = "/t" mode = 0640 } command = ["x", "CANARY"] signal = "HUP" signal_pid_file = "/pid" } handover { path = "/h" key_env = "CANARY" }
}
template { contents = "CANARY" destination = "/a" perms = 0600 wait = "5s:1m" exec { command = ["x", "CANARY"] env { custom = ["CANARY"] } } }
template { secret = "kv/app" destination = "/b.env" command = "CANARY" }
telemetry { circonus_api_token = "CANARY" filter_default = false otlp_endpoint = "https://u:CANARY@otel:4318" otlp_headers = { authorization = "CANARY" user = "CANARY" } }
listener "tcp" { address = "127.0.0.1:8100" tls_disable = true agent_api { enable_quit = true } }
listener "unix" { address = "/s" tls_disable = true caller_token_env = "CANARY" allow_paths = ["secret/*"] allow_peers = ["uid:0"] max_body_size = "1MiB" }
cache { static_ttl = "5m" max_size = "64MiB" static_secret_token_capability_refresh_behavior = "pessimistic" persist "file" { path = "/c" key_env = "CANARY" } }
`

func effectiveOf(t *testing.T, format string) string {
	t.Helper()
	l := load(t, "a.hcl", secretive)
	f, o, err := l.Resolve(Flags{"log-level": "debug"}, vars(map[string]string{
		"BAO_TOKEN": "CANARY", "VAULT_HEADERS": `{"X-Auth": "CANARY"}`, "VAULT_RATE_LIMIT": "5:9", "VAULT_PROXY_ADDR": "http://u:CANARY@proxy",
		"VAULT_CACERT_BYTES": "CANARY", "VAULT_CLIENT_TIMEOUT": "90",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for path, from := range o {
		o[path] = strings.ReplaceAll(from, f.Sources[0], "a.hcl")
	}
	var b bytes.Buffer
	if err := f.Effective(&b, o, format); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEffective_hides_every_secret(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		if s := effectiveOf(t, format); strings.Contains(s, "CANARY") {
			t.Errorf("%s", s)
		}
	}
}

func TestEffective_text_shows_values_and_origins(t *testing.T) {
	got := effectiveOf(t, "text")
	squeezed := strings.Join(strings.Fields(got), " ")
	for _, want := range []string{
		`token = "[hidden]" # env BAO_TOKEN`,
		`pid_file = "/run/p" # file a.hcl:2`,
		`log_level = "debug" # flag -log-level`,
		`log_format = "standard" # default`,
		`address = "https://[hidden]@v.example.com:8200" # file a.hcl:3`,
		`proxy_address = "http://[hidden]@proxy" # env VAULT_PROXY_ADDR`,
		`ca_cert_bytes = "[hidden]" # env VAULT_CACERT_BYTES`,
		`rate_limit = "5:9" # env VAULT_RATE_LIMIT`,
		`client_timeout = "1m30s" # env VAULT_CLIENT_TIMEOUT`,
		`headers = "[hidden]" # env VAULT_HEADERS`,
		`retry { num_retries = 12 # default }`,
		`method "aws" { mount_path = "auth/aws" # default`,
		`wrap_ttl = "5m" # file a.hcl:6`,
		`access_key = "[hidden]" # file a.hcl:8`,
		`credential_poll_interval = 60 # file a.hcl:9`,
		`remove_jwt_after_reading = false # file a.hcl:9`,
		`role_id_file_path = "/etc/role" # file a.hcl:11`,
		`sink "file" { dh_type = "curve25519" # file a.hcl:14`,
		`aad = "[hidden]"`,
		`mode = "0640" # file a.hcl:14`,
		`contents = "[hidden]" # file a.hcl:16`,
		`perms = "0600"`,
		`wait = "5s:1m"`,
		`secret = "kv/app" # file a.hcl:17`,
		`command = "[hidden]" # file a.hcl:17`,
		`format = "dotenv" # default`,
		`filter_default = false # file a.hcl:18`,
		`circonus_api_token = "[hidden]"`,
		`otlp_endpoint = "https://[hidden]@otel:4318"`,
		`otlp_headers = "[hidden]" # file a.hcl:18`,
		`otlp_interval = "1m" # default`,
		`signal = "HUP" # file a.hcl:14`,
		`handover { path = "/h" # file a.hcl:14 key_env = "[hidden]" # file a.hcl:14 }`,
		`listener "tcp" {`,
		`agent_api { enable_quit = true # file a.hcl:19 }`,
		`caller_token_env = "[hidden]" # file a.hcl:20`,
		`allow_paths = ["secret/*"] # file a.hcl:20`,
		`allow_peers = ["uid:0"] # file a.hcl:20`,
		`max_body_size = "1MiB" # file a.hcl:20`,
		`static_ttl = "5m" # file a.hcl:21`,
		`static_stale = "1h" # default`,
		`static_secret_token_capability_refresh_behavior = "pessimistic" # file a.hcl:21`,
		`max_entries = 100000 # default`,
		`max_size = "64MiB" # file a.hcl:21`,
		`persist "file" { path = "/c" # file a.hcl:21`,
		`key_env = "[hidden]" # file a.hcl:21`,
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestEffective_json(t *testing.T) {
	var out struct {
		Config  map[string]any
		Origins map[string]string
	}
	if err := json.Unmarshal([]byte(effectiveOf(t, "json")), &out); err != nil {
		t.Fatal(err)
	}
	sinks := out.Config["auto_auth"].(map[string]any)["sink"].([]any)
	if s := sinks[0].(map[string]any); s["type"] != "file" || s["config"].(map[string]any)["path"] != "/t" {
		t.Errorf("%v", s)
	}
	if n := len(out.Config["template"].([]any)); n != 2 {
		t.Errorf("%d templates", n)
	}
	if out.Origins["auto_auth.sink[0].config.path"] != "file a.hcl:14" || out.Origins["log_level"] != "flag -log-level" || out.Origins["vault.retry.num_retries"] != "default" {
		t.Errorf("%v", out.Origins)
	}
	f := load(t, "a.hcl", tutorial).File
	if err := f.Effective(&bytes.Buffer{}, nil, "xml"); err == nil {
		t.Error("xml is no format")
	}
}
