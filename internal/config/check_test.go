package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// Pieces that rules are put together from.
const (
	aMethod   = `method "approle" { config = { role_id_file_path = "r" } }`
	aSink     = `sink "file" { config = { path = "/t" } }`
	aAuth     = "auto_auth {\n" + aMethod + "\n" + aSink + "\n}\n"
	noSink    = "auto_auth {\n" + aMethod + "\n}\n"
	wrapAuth  = "auto_auth {\nmethod \"approle\" { wrap_ttl = \"5m\" }\n" + aSink + "\n}\n"
	wrapNone  = "auto_auth {\nmethod \"approle\" { wrap_ttl = \"5m\" }\n}\n"
	wrapTwo   = "auto_auth {\nmethod \"approle\" { wrap_ttl = \"5m\" }\n" + aSink + "\n" + aSink + "\n}\n"
	wrapBoth  = "auto_auth {\nmethod \"approle\" { wrap_ttl = \"5m\" }\nsink \"file\" { wrap_ttl = 5 }\n}\n"
	aListener = "listener \"tcp\" { address = \"127.0.0.1:1\" tls_disable = true }\n"
	aTemplate = "template { contents = \"x\" destination = \"/d\" }\n"
	anEnv     = "env_template \"A\" { contents = \"x\" }\n"
	anExec    = "exec { command = [\"x\"] }\n"
)

// handover is aAuth with a handover block of these lines, the first on line 5.
func handover(lines ...string) string {
	return "auto_auth {\n" + aMethod + "\n" + aSink + "\nhandover {\n" + strings.Join(lines, "\n") + "\n}\n}\n"
}

// ciListener is a listener with these lines, the first on line 2.
func ciListener(lines ...string) string {
	return "listener \"tcp\" { address = \"127.0.0.1:1\" tls_disable = true\n" + strings.Join(lines, "\n") + "\n}\n"
}

const lending = "api_proxy { use_auto_auth_token = true }\n"

// persist is a cache with a persist block of these lines, the first on line 4.
func persist(typ string, lines ...string) string {
	return "cache {\npersist \"" + typ + "\" {\n path = \"/no-such-cache\"\n" + strings.Join(lines, "\n") + "\n}\n}\n"
}

// resolved loads and resolves one file that must be good so far.
func resolved(t *testing.T, text string) *File {
	t.Helper()
	f, _, err := load(t, "a.hcl", text).Resolve(nil, nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return f
}

func TestCheck_rules(t *testing.T) {
	tests := []struct {
		name, text string
		mode       Mode
		want       string // "line: key: text" of one problem, or "" for none
	}{
		// Between blocks: the table of section 1.0, row by row.
		{"nothing configured", "pid_file = \"x\"", ModeCheck, "0: : there is no auto_auth, no cache and no listener: nothing to do"},
		{"only a listener", aListener, ModeCheck, ""},
		{"only a cache and a listener", aListener + "cache { }", ModeCheck, ""},
		{"cache alone", aAuth + "cache { }", ModeCheck, "5: cache: needs a listener, a template or an env_template"},
		{"cache and a listener", aAuth + aListener + "cache { }", ModeCheck, ""},
		{"cache and a template", aAuth + aTemplate + "cache { }", ModeCheck, ""},
		{"cache and an env_template", noSink + anEnv + anExec + "cache { }", ModeCheck, ""},
		{"api_proxy alone", aAuth + "api_proxy { }", ModeCheck, "5: api_proxy: needs a listener"},
		{"api_proxy and a template", aAuth + aTemplate + "api_proxy { }", ModeCheck, "6: api_proxy: needs a listener"},
		{"api_proxy and a listener", aAuth + aListener + "api_proxy { }", ModeCheck, ""},
		{"cache lends without a listener", aAuth + aTemplate + "cache { use_auto_auth_token = true }", ModeCheck, "6: cache.use_auto_auth_token: needs a listener"},
		{"api_proxy lends without auto_auth", aListener + "api_proxy {\n use_auto_auth_token = true\n}", ModeCheck, "3: api_proxy.use_auto_auth_token: is on, but there is no auto_auth"},
		{"cache lends without auto_auth", aListener + "cache {\n use_auto_auth_token = \"force\"\n}", ModeCheck, "3: cache.use_auto_auth_token: is on, but there is no auto_auth"},
		{"lending off without auto_auth", aListener + "cache { use_auto_auth_token = false }", ModeCheck, ""},
		{"lends a wrapped token", wrapAuth + aListener + "api_proxy {\n use_auto_auth_token = true\n}", ModeCheck, "7: api_proxy.use_auto_auth_token: cannot be on when the method's login is wrapped"},
		{"lending is decided in both", aAuth + aListener + "api_proxy { use_auto_auth_token = false }\ncache {\n use_auto_auth_token = false\n}", ModeCheck, "8: cache.use_auto_auth_token: is set in cache and in api_proxy"},
		{"both lend", aAuth + aListener + "api_proxy { use_auto_auth_token = true }\ncache { use_auto_auth_token = true }", ModeCheck, "7: cache.use_auto_auth_token: is set in cache and in api_proxy"},
		{"enforce_consistency in both", aAuth + aListener + "api_proxy { enforce_consistency = \"always\" }\ncache { enforce_consistency = \"always\" }", ModeCheck, "7: cache.enforce_consistency: is set in cache and in api_proxy"},
		{"enforce_consistency, one default", aAuth + aListener + "api_proxy { enforce_consistency = \"never\" }\ncache { enforce_consistency = \"always\" }", ModeCheck, ""},
		{"when_inconsistent in both", aAuth + aListener + "api_proxy { when_inconsistent = \"retry\" }\ncache { when_inconsistent = \"forward\" }", ModeCheck, "7: cache.when_inconsistent: is set in cache and in api_proxy"},
		{"auto_auth for nobody", noSink, ModeCheck, "1: auto_auth: needs a sink, a template, an env_template, or use_auto_auth_token in api_proxy"},
		{"auto_auth for a template", noSink + aTemplate, ModeCheck, ""},
		{"auto_auth for an env_template", noSink + anEnv + anExec, ModeCheck, ""},
		{"auto_auth for the proxy", noSink + aListener + "api_proxy { use_auto_auth_token = true }", ModeCheck, ""},
		{"auto_auth for the cache", noSink + aListener + "cache { use_auto_auth_token = true }", ModeCheck, ""},
		{"wrapped login, one sink", wrapAuth, ModeCheck, ""},
		{"wrapped login, no sink", wrapNone + aListener, ModeCheck, "2: auto_auth.method.wrap_ttl: needs exactly one sink: a wrapped token can be opened once"},
		{"wrapped login, two sinks", wrapTwo, ModeCheck, "2: auto_auth.method.wrap_ttl: needs exactly one sink: a wrapped token can be opened once"},
		{"wrapped login and wrapped sink", wrapBoth, ModeCheck, "3: auto_auth.sink[0].wrap_ttl: is set on the method and on the sink"},
		{"wrapped login and a template", wrapAuth + aTemplate, ModeCheck, "2: auto_auth.method.wrap_ttl: leaves no token to read the templates' secrets with"},
		{"exec without env_template", aAuth + anExec, ModeCheck, "5: exec: needs at least one env_template"},
		{"env_template without exec", aAuth + anEnv, ModeCheck, "5: env_template[0]: needs exec, the process that gets the variables"},
		{"env_template and api_proxy", noSink + anEnv + anExec + aListener + "api_proxy { }", ModeCheck, ""},
		{"env_template and a lending cache", noSink + anEnv + anExec + aListener + "cache { use_auto_auth_token = true }", ModeCheck, ""},
		{"env_template and template", noSink + anEnv + anExec + aTemplate, ModeCheck, ""},

		// Within blocks.
		{"certificate without key", aAuth + "vault {\n client_cert = \"c\"\n}", ModeCheck, "6: vault.client_cert: needs client_key too"},
		{"key without certificate", aAuth + "vault {\n client_key = \"c\"\n}", ModeCheck, "6: vault.client_key: needs client_cert too"},
		{"min_backoff above max_backoff", "auto_auth { method \"x\" {\n min_backoff = \"6m\" }\n" + aSink + "}", ModeCheck, "2: auto_auth.method.min_backoff: must not be greater than max_backoff"},
		{"dh_type without dh_path", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n dh_type = \"curve25519\" } }", ModeCheck, "4: auto_auth.sink[0].dh_type: needs dh_path, the file with the reader's public key"},
		{"dh_path without dh_type", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n dh_path = \"x\" } }", ModeCheck, "4: auto_auth.sink[0].dh_path: needs dh_type"},
		{"derive_key without dh_type", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n derive_key = true } }", ModeCheck, "4: auto_auth.sink[0].derive_key: makes no sense without dh_type"},
		{"aad without dh_type", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n aad = \"x\" } }", ModeCheck, "4: auto_auth.sink[0].aad: makes no sense without dh_type"},
		{"aad_env_var without dh_type", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n aad_env_var = \"x\" } }", ModeCheck, ""},
		{"min_backoff of 0", "auto_auth { method \"approle\" { config = { role_id_file_path = \"r\" } min_backoff = \"2m\" max_backoff = 0 }\n" + aSink + "}", ModeCheck, ""},
		{"no such cipher suite", aAuth + "listener \"tcp\" {\n tls_disable = true\n tls_cipher_suites = \"TLS_AES_128_GCM_SHA256,ROT13\" }", ModeCheck, "7: listener[0].tls_cipher_suites: does not know \"ROT13\""},
		{"cipher suites", aAuth + "listener \"tcp\" { tls_disable = true tls_cipher_suites = \"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA\" }", ModeCheck, ""},
		{"socket_mode of a tcp listener", aAuth + "listener \"tcp\" { tls_disable = true socket_mode = \"x\" }", ModeCheck, ""},
		{"all of dh", "auto_auth {\n" + aMethod + "\nsink \"file\" { dh_type = \"curve25519\" dh_path = \"p\" derive_key = true aad = \"x\" } }", ModeCheck, ""},
		{"template from nothing", aAuth + "template { destination = \"d\" }", ModeCheck, "5: template[0]: has no source"},
		{"template from two", aAuth + "template { destination = \"d\" source = \"s\" contents = \"c\" }", ModeCheck, "5: template[0]: has more than one source"},
		{"template from a source and a secret", aAuth + "template { destination = \"d\" source = \"s\" secret = \"kv/a\" }", ModeCheck, "5: template[0]: has more than one source"},
		{"template from a secret", aAuth + "template { destination = \"d\" secret = \"kv/a\" format = \"dotenv\" }", ModeCheck, ""},
		{"format without secret", aAuth + "template { destination = \"d\" source = \"s\"\nformat = \"yaml\" }", ModeCheck, "6: template[0].format: belongs to secret"},
		{"wait upside down", aAuth + "template { destination = \"d\" source = \"s\"\nwait { min = 10 max = 5 } }", ModeCheck, "6: template[0].wait: its max is less than its min"},
		{"wait upside down in a string", aAuth + "template { destination = \"d\" source = \"s\"\nwait = \"10s:5s\" }", ModeCheck, "6: template[0].wait: its max is less than its min"},
		{"no such signal", aAuth + "template { destination = \"d\" source = \"s\" exec { command = [\"x\"]\nkill_signal = \"SIGFOO\" } }", ModeCheck, "6: template[0].exec.kill_signal: is not the name of a signal"},
		{"env_template twice", noSink + anEnv + anEnv + anExec, ModeCheck, "5: env_template[1]: the variable A is set by two env_templates"},
		{"env_template from nothing", noSink + "env_template \"A\" { }\n" + anExec, ModeCheck, "4: env_template[0]: has no source"},
		{"env_template from two", noSink + "env_template \"A\" { source = \"s\" contents = \"c\" }\n" + anExec, ModeCheck, "4: env_template[0]: has more than one source"},
		{"env_template with a strange name", noSink + "env_template \"A=B\" { contents = \"c\" }\n" + anExec, ModeCheck, "4: env_template[0]: its label must be the name of a variable"},
		{"no such signal for exec", noSink + anEnv + "exec { command = [\"x\"]\nrestart_stop_signal = \"TERMINATE\" }", ModeCheck, "6: exec.restart_stop_signal: is not the name of a signal"},
		{"listener without TLS", aAuth + "listener \"tcp\" { }", ModeCheck, "5: listener[0]: needs tls_cert_file and tls_key_file, or tls_disable"},
		{"unix listener without TLS", aAuth + "listener \"unix\" { address = \"/s\" }", ModeDaemon, "5: listener[0]: needs tls_cert_file and tls_key_file, or tls_disable"},
		{"listener's versions", aAuth + "listener \"tcp\" { tls_cert_file = \"c\" tls_key_file = \"k\" tls_min_version = \"tls13\"\ntls_max_version = \"tls12\" }", ModeCheck, "6: listener[0].tls_max_version: is lower than tls_min_version"},
		{"listener's client certificates", aAuth + "listener \"tcp\" { tls_cert_file = \"c\" tls_key_file = \"k\" tls_require_and_verify_client_cert = true\ntls_disable_client_certs = true }", ModeCheck, "6: listener[0].tls_disable_client_certs: contradicts tls_require_and_verify_client_cert"},
		{"unix listener without a path", aAuth + "listener \"unix\" { tls_disable = true }", ModeCheck, "5: listener[0]: needs address, the path of the socket"},
		{"socket_mode", aAuth + "listener \"unix\" { tls_disable = true address = \"/s\"\nsocket_mode = \"rw\" }", ModeCheck, "6: listener[0].socket_mode: must be a file mode"},
		{"max_connections_per_host", aAuth + "template_config {\n max_connections_per_host = -1 }", ModeCheck, "6: template_config.max_connections_per_host: must not be negative"},

		// What goes with a token.
		{"a command and a signal", "auto_auth {\n" + aMethod + "\nsink \"file\" { command = \"systemctl reload x\" signal = \"hup\" signal_pid_file = \"p\" } }", ModeOnce, ""},
		{"signal without a process", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n signal = \"SIGHUP\" } }", ModeCheck, "4: auto_auth.sink[0].signal: needs signal_pid_file, the file with the id of the process"},
		{"process without a signal", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n signal_pid_file = \"p\" } }", ModeCheck, "4: auto_auth.sink[0].signal_pid_file: needs signal"},
		{"no such signal for a sink", "auto_auth {\n" + aMethod + "\nsink \"file\" {\n signal = \"RELOAD\"\n signal_pid_file = \"p\" } }", ModeCheck, "4: auto_auth.sink[0].signal: is not the name of a signal"},
		{"handover", handover(`path = "/h"`, `key_file = "/k"`), ModeCheck, ""},
		{"handover with a variable", handover(`path = "/h"`, `key_env = "HANDOVER_KEY"`), ModeCheck, ""},
		{"handover without a key", handover(`path = "/h"`), ModeCheck, "4: auto_auth.handover: has no key"},
		{"handover with two keys", handover(`path = "/h"`, `key_file = "/k"`, `key_env = "K"`), ModeCheck, "4: auto_auth.handover: has two keys"},
		{"handover with the key itself", handover(`path = "/h"`, `key_env = "3xhVb/0=canary"`), ModeCheck, "6: auto_auth.handover.key_env: is not the name of a variable"},
		{"handover into its key", handover(`path = "/k"`, `key_file = "//k"`), ModeCheck, "5: auto_auth.handover.path: is the file of the key too"},
		{"handover into a sink", handover(`path = "//t"`, `key_file = "/k"`), ModeCheck, "5: auto_auth.handover.path: is the file of auto_auth.sink[0] too"},
		{"secret changes that signal", noSink + anEnv + "exec { command = [\"x\"]\nrestart_on_secret_changes = \"signal:SIGHUP\" }", ModeCheck, ""},
		{"secret changes that signal nothing", noSink + anEnv + "exec { command = [\"x\"]\nrestart_on_secret_changes = \"signal:\" }", ModeCheck, "6: exec.restart_on_secret_changes: names no signal"},
		{"secret changes with no such signal", noSink + anEnv + "exec { command = [\"x\"]\nrestart_on_secret_changes = \"signal:SIGFOO\" }", ModeCheck, "6: exec.restart_on_secret_changes: is not the name of a signal"},
		{"secret changes sometimes", noSink + anEnv + "exec { command = [\"x\"]\nrestart_on_secret_changes = \"sometimes\" }", ModeCheck, "6: exec.restart_on_secret_changes: must be always, never, or signal: and a signal's name"},
		{"otlp", aAuth + "telemetry { otlp_endpoint = \"http://127.0.0.1:4318\" otlp_headers = { a = \"b\" } }", ModeCheck, ""},
		{"otlp without a scheme", aAuth + "telemetry {\n otlp_endpoint = \"127.0.0.1:4318\" }", ModeCheck, "6: telemetry.otlp_endpoint: is no URL"},

		// The proxy: identities, guards, cache.
		{"a listener lends an identity", aAuth + named("ci", "/u") + ciListener(`auto_auth = "ci"`) + lending, ModeDaemon, ""},
		{"a listener lends the one without a name", aAuth + ciListener(`auto_auth = "default"`) + lending, ModeDaemon, ""},
		{"a listener lends an identity that does not exist", aAuth + named("ci", "/u") + ciListener(`auto_auth = "cu"`) + lending, ModeCheck, `10: listener[0].auto_auth: there is no auto_auth of the name "cu"`},
		{"a listener names an identity and nothing is lent", aAuth + ciListener(`auto_auth = "default"`), ModeCheck, "6: listener[0].auto_auth: lends nothing: use_auto_auth_token is off"},
		{"an identity for a listener alone", aAuth + "auto_auth \"ci\" {\n" + aMethod + "\n}\n" + ciListener(`auto_auth = "ci"`) + lending, ModeCheck, ""},
		{"an identity for nobody", aAuth + "auto_auth \"ci\" {\n" + aMethod + "\n}\n" + aTemplate, ModeCheck, "5: auto_auth[ci]: needs a sink, or a listener that names it"},
		{"an identity whose login is wrapped is lent", aAuth + "auto_auth \"ci\" {\nmethod \"approle\" { wrap_ttl = \"5m\" }\n" + aSink + "\n}\n" + ciListener(`auto_auth = "ci"`) + lending, ModeCheck, "10: listener[0].auto_auth: cannot be on when the method's login is wrapped"},
		{"an identity whose login is wrapped, two sinks", aAuth + "auto_auth \"ci\" {\nmethod \"approle\" {\n wrap_ttl = \"5m\" }\n" + aSink + "\n" + aSink + "\n}\n", ModeCheck, "7: auto_auth[ci].method.wrap_ttl: needs exactly one sink: a wrapped token can be opened once"},
		{"an identity with a sink that cannot be", aAuth + "auto_auth \"ci\" {\n" + aMethod + "\nsink \"file\" {\n dh_type = \"curve25519\" } }", ModeCheck, "8: auto_auth[ci].sink[0].dh_type: needs dh_path, the file with the reader's public key"},
		{"several identities in a one-shot", aAuth + named("ci", "/u"), ModeOnce, "5: auto_auth[ci]: a one-shot logs in once, and to one identity"},
		{"one identity with a name in a one-shot", named("ci", "/u"), ModeOnce, ""},
		{"guards", aAuth + "listener \"unix\" { address = \"/s\" tls_disable = true guard = true caller_token_file = \"/k\" allow_paths = [\"secret/data/*\"] read_only = true allow_peers = [\"user:app\", \"uid:0\", \"group:app\", \"gid:5\"] max_connections = 5 max_header_size = \"64KiB\" max_body_size = 1000 request_timeout = 5 }", ModeDaemon, ""},
		{"two caller tokens", aAuth + ciListener(`caller_token_file = "/k"`, `caller_token_env = "K"`), ModeCheck, "7: listener[0].caller_token_env: is set beside caller_token_file"},
		{"the caller token itself", aAuth + ciListener(`caller_token_env = "3xhVb/0=canary"`), ModeCheck, "6: listener[0].caller_token_env: is not the name of a variable"},
		{"peers of a tcp listener", aAuth + ciListener(`allow_peers = ["uid:0"]`), ModeCheck, "6: listener[0].allow_peers: is for unix listeners: nothing tells who is at the other end of a tcp connection"},
		{"a peer without a kind", aAuth + "listener \"unix\" { address = \"/s\" tls_disable = true\nallow_peers = [\"root\"] }", ModeCheck, "6: listener[0].allow_peers: holds what is no peer"},
		{"a peer whose id is no number", aAuth + "listener \"unix\" { address = \"/s\" tls_disable = true\nallow_peers = [\"uid:root\"] }", ModeCheck, "6: listener[0].allow_peers: holds what is no peer"},
		{"an empty path", aAuth + ciListener(`allow_paths = ["secret/*", ""]`), ModeCheck, "6: listener[0].allow_paths: holds an empty path"},
		{"fewer than no connections", aAuth + ciListener(`max_connections = -1`), ModeCheck, "6: listener[0].max_connections: must not be negative"},
		{"a socket of systemd", aAuth + "listener \"unix\" { address = \"systemd:vault\" tls_disable = true }", ModeDaemon, ""},
		{"a socket of systemd without a name", aAuth + "listener \"tcp\" { tls_disable = true\naddress = \"systemd:\" }", ModeDaemon, "6: listener[0].address: names no socket"},
		{"two listeners at one address", aAuth + "listener \"tcp\" { tls_disable = true address = \"127.0.0.1:81\" }\nlistener \"tcp\" { tls_disable = true\naddress = \"127.0.0.1:81\" }", ModeCheck, "7: listener[1].address: is the address of listener[0] too"},
		{"two listeners at the address of those without one", aAuth + "listener \"tcp\" { tls_disable = true }\nlistener \"tcp\" { tls_disable = true }", ModeDaemon, "6: listener[1].address: is the address of listener[0] too"},
		{"two listeners at one path", aAuth + "listener \"unix\" { tls_disable = true address = \"/s\" }\nlistener \"unix\" { tls_disable = true\naddress = \"//s\" }", ModeCheck, "7: listener[1].address: is the address of listener[0] too"},
		{"two listeners at one socket of systemd", aAuth + "listener \"tcp\" { tls_disable = true address = \"systemd:a\" }\nlistener \"tcp\" { tls_disable = true\naddress = \"systemd:a\" }", ModeCheck, "7: listener[1].address: is the address of listener[0] too"},
		{"two listeners at ports that the system chooses", aAuth + "listener \"tcp\" { tls_disable = true address = \"127.0.0.1:0\" }\nlistener \"tcp\" { tls_disable = true address = \"127.0.0.1:0\" }", ModeDaemon, ""},
		{"two listeners at one address in a one-shot", aAuth + aListener + aListener, ModeOnce, ""},
		{"bounds of the cache", aAuth + aListener + "cache {\n max_entries = 5\n max_size = \"1MiB\"\n key_headers = [\"X-Tenant\"]\n}", ModeCheck, ""},
		{"no entries", aAuth + aListener + "cache {\n max_entries = 0\n}", ModeCheck, "7: cache.max_entries: must be 1 or more"},
		{"no room", aAuth + aListener + "cache {\n max_size = 0\n}", ModeCheck, "7: cache.max_size: must be 1 or more"},
		{"no header", aAuth + aListener + "cache {\n key_headers = [\"X Tenant\"]\n}", ModeCheck, "7: cache.key_headers: holds what is no name of a header"},
		{"persist", aAuth + aListener + persist("file", `key_file = "/k"`), ModeCheck, ""},
		{"persist with a variable", aAuth + aListener + persist("file", `key_env = "CACHE_KEY"`), ModeCheck, ""},
		{"persist without a key", aAuth + aListener + persist("file"), ModeCheck, "7: cache.persist: has no key"},
		{"persist with two keys", aAuth + aListener + persist("file", `key_file = "/k"`, `key_env = "K"`), ModeCheck, "7: cache.persist: has two keys"},
		{"persist with the key itself", aAuth + aListener + persist("file", `key_env = "3xhVb/0=canary"`), ModeCheck, "9: cache.persist.key_env: is not the name of a variable"},
		{"persist beside its key", aAuth + aListener + persist("file", `key_file = "//no-such-cache/k"`), ModeCheck, "9: cache.persist.key_file: lies in the directory of the file that it opens"},
		{"persist for kubernetes", aAuth + aListener + persist("kubernetes"), ModeCheck, ""},
		{"persist for kubernetes with a key", aAuth + aListener + persist("kubernetes", `key_file = "/k"`), ModeCheck, "9: cache.persist.key_file: is for type file"},

		// What a mode that stays cannot do.
		{"daemon with templates and no auto_auth", aListener + aTemplate, ModeDaemon, "2: template[0]: needs auto_auth: nothing else gets a token to read with"},
		{"daemon with variables and no auto_auth", aListener + anEnv + anExec, ModeDaemon, "2: env_template[0]: needs auto_auth: nothing else gets a token to read with"},
		{"one socket for status and a listener", aAuth + "listener \"unix\" { address = \"/s\" tls_disable = true }\nstatus_socket = \"/s\"", ModeDaemon, "6: status_socket: is the address of listener[0] too"},

		// What a one-shot cannot do.
		{"one-shot without auto_auth", aListener, ModeOnce, "0: auto_auth: is missing, and a one-shot has nothing to do without it"},
		{"one-shot with exec", noSink + anEnv + anExec, ModeOnce, "5: exec: a one-shot starts no process"},
		{"one-shot", aAuth + aTemplate, ModeOnce, ""},
		{"one-shot with a listener that would not start", aAuth + "listener \"tcp\" { }", ModeOnce, ""},
		{"daemon with exec", noSink + anEnv + anExec, ModeDaemon, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Check(resolved(t, tt.text), tt.mode)
			var ps Problems
			errors.As(err, &ps)
			var got []string
			for _, p := range ps {
				got = append(got, fmt.Sprintf("%d: %s: %s", p.Pos.Line, p.Key, p.Text))
				if p.Pos.Line > 0 && p.Source == "" {
					t.Errorf("no source line for %v", p)
				}
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused:\n%v", err)
			case tt.want != "" && (len(got) != 1 || got[0] != tt.want):
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), tt.want)
			}
		})
	}
}

// aDaemon is what only a mode that stays makes use of.
const aDaemon = "status_socket = \"/s\"\nauto_auth {\n" + aMethod + "\n" + aSink + "\nhandover {\n path = \"/h\"\n key_file = \"/k\"\n}\n}\n" +
	aTemplate + "template_config { static_secret_events = true }"

func TestCheck_warns(t *testing.T) {
	tests := []struct {
		name, text string
		mode       Mode
		want       string // keys, with the first words of the text
	}{
		{"listener in a one-shot", aAuth + aListener, ModeOnce, "listener[0] is not used by a one-shot"},
		{"listener in a daemon", aAuth + aListener + strings.Replace(aListener, ":1", ":2", 1), ModeDaemon, ""},
		{"listener for metrics in a daemon", aAuth + "listener \"tcp\" { tls_disable = true role = \"metrics_only\" }", ModeDaemon, ""},
		{"quit for vault proxy in a daemon", aAuth + "listener \"tcp\" { tls_disable = true role = \"metrics_only\" proxy_api { enable_quit = true } }", ModeDaemon, "listener[0].proxy_api is for vault proxy: nothing can ask to quit here"},
		{"quit for both in a daemon", aAuth + "listener \"tcp\" { tls_disable = true role = \"metrics_only\" proxy_api { enable_quit = true } agent_api { enable_quit = true } }", ModeDaemon, ""},
		{"cache in a daemon", aAuth + aListener + "cache { }", ModeDaemon, ""},
		{"api_proxy in a daemon", aAuth + aListener + "cache { }\napi_proxy { }", ModeDaemon, ""},
		{"listener for other machines", aAuth + "listener \"tcp\" { tls_disable = true address = \"0.0.0.0:8200\" }", ModeCheck, "listener[0].address can be reached from other machines"},
		{"listener for other machines by a name", aAuth + "listener \"tcp\" { tls_cert_file = \"c\" tls_key_file = \"k\" address = \"vault.local:8200\" }", ModeCheck, "listener[0].address can be reached from other machines"},
		{"listener for other machines with a caller token in clear", aAuth + "listener \"tcp\" { tls_disable = true address = \":8200\" caller_token_env = \"K\" }", ModeCheck, "listener[0].address can be reached from other machines"},
		{"listener for other machines with a caller token", aAuth + "listener \"tcp\" { tls_cert_file = \"c\" tls_key_file = \"k\" address = \":8200\" caller_token_env = \"K\" }", ModeCheck, ""},
		{"listener for other machines with certificates", aAuth + "listener \"tcp\" { tls_cert_file = \"c\" tls_key_file = \"k\" address = \"[::]:8200\" tls_require_and_verify_client_cert = true }", ModeCheck, ""},
		{"listener for other machines with a guard", aAuth + "listener \"tcp\" { tls_disable = true address = \"10.0.0.1:8200\" guard = true }", ModeCheck, "listener[0].guard refuses who asks from another machine, but not one that says Host: localhost"},
		{"listener for this machine", aAuth + "listener \"tcp\" { tls_disable = true address = \"[::1]:8200\" }\nlistener \"tcp\" { tls_disable = true address = \"localhost:8200\" }\nlistener \"tcp\" { tls_disable = true address = \"{{ GetPrivateIP }}:8200\" }", ModeCheck, ""},
		{"metrics for other machines", aAuth + "listener \"tcp\" { tls_disable = true role = \"metrics_only\" address = \"0.0.0.0:8200\" }", ModeDaemon, ""},
		{"lent by the cache beside an api_proxy", aAuth + aListener + "cache { use_auto_auth_token = true }\napi_proxy { }", ModeCheck, "cache.use_auto_auth_token has no effect: there is an api_proxy, and it lends nothing"},
		{"when_inconsistent alone", aAuth + aListener + "cache { when_inconsistent = \"forward\" }", ModeCheck, "cache.when_inconsistent has no effect without enforce_consistency"},
		{"when_inconsistent of the other block", aAuth + aListener + "cache { when_inconsistent = \"forward\" }\napi_proxy { enforce_consistency = \"always\" }", ModeCheck, ""},
		{"when_inconsistent alone, to ask again", aAuth + aListener + "cache { when_inconsistent = \"retry\" }", ModeCheck, ""},
		{"static keys without static_ttl", aAuth + aListener + "cache { static_stale = 5 static_events = true }", ModeCheck,
			"cache.static_stale has no effect without static_ttl: static secrets are not cached\ncache.static_events has no effect without static_ttl: static secrets are not cached"},
		{"static keys", aAuth + aListener + "cache { static_ttl = 5 static_stale = 5 static_events = true }", ModeCheck, ""},
		{"static_events without auto_auth", aListener + "cache { static_ttl = 5 static_events = true }", ModeCheck, "cache.static_events has no effect without auto_auth: nothing else gets a token to listen with"},
		{"persist with a key and a service account", aAuth + aListener + persist("file", `key_file = "/k"`, `service_account_token_file = "/t"`), ModeCheck, "cache.persist.service_account_token_file has no effect: it is for type kubernetes"},
		{"persist in a one-shot", aAuth + aTemplate + persist("file", `key_file = "/k"`), ModeOnce, ""},
		{"exit_after_auth in a daemon", aAuth + "exit_after_auth = true", ModeDaemon, "exit_after_auth is not used: this mode stays"},
		{"wrapped login in a daemon", wrapAuth, ModeDaemon, "auto_auth.method.wrap_ttl leaves nothing to renew: the next login comes with new credentials, and not before"},
		{"wrapped login with handover", "auto_auth {\nmethod \"approle\" { wrap_ttl = \"5m\" }\n" + aSink + "\nhandover { path = \"h\" key_env = \"K\" }\n}", ModeDaemon,
			"auto_auth.method.wrap_ttl leaves nothing to renew: the next login comes with new credentials, and not before\nauto_auth.handover has no effect: a wrapped login leaves no token to keep"},
		{"what only a daemon has, in a daemon", aDaemon, ModeDaemon, ""},
		{"what only a daemon has, in a one-shot", aDaemon, ModeOnce,
			"status_socket is not used by a one-shot\nauto_auth.handover is not used by a one-shot\ntemplate_config.static_secret_events is not used by a one-shot"},
		{"command_timeout of a sink without a command", "auto_auth {\n" + aMethod + "\nsink \"file\" { command_timeout = 5 } }", ModeCheck, "auto_auth.sink[0].command_timeout has no effect without command"},
		{"cache in a one-shot", aAuth + aTemplate + "cache { }", ModeOnce, "cache is not used by a one-shot"},
		{"telemetry in a one-shot", aAuth + "telemetry { disable_hostname = true }", ModeOnce, "telemetry is not used by a one-shot"},
		{"wait in a one-shot", aAuth + "template { source = \"s\" destination = \"d\" wait = \"1s\" }", ModeOnce, "template[0].wait is not used by a one-shot"},
		{"reload_signal in a one-shot", aAuth + "template { source = \"s\" destination = \"d\" exec { command = [\"x\"] reload_signal = \"SIGHUP\" } }", ModeOnce, "template[0].exec.reload_signal is not used by a one-shot"},
		{"reload_signal where it stays", aAuth + "template { source = \"s\" destination = \"d\" exec { command = [\"x\"] reload_signal = \"SIGHUP\" } }", ModeDaemon, "template[0].exec.reload_signal is not used: the command of a template runs to its end, and once more when the file changed meanwhile"},
		{"splay in a one-shot", aAuth + "template { source = \"s\" destination = \"d\" exec { command = [\"x\"] splay = \"1s\" } }", ModeOnce, "template[0].exec.splay is not used by a one-shot"},
		{"interval in a one-shot", aAuth + "template_config { static_secret_render_interval = 5 exit_on_retry_failure = true }", ModeOnce, "template_config.static_secret_render_interval is not used by a one-shot"},
		{"ca_path beside ca_cert", aAuth + "vault { ca_cert = \"a\" ca_path = \"b\" }", ModeCheck, "vault.ca_path is not used: ca_cert wins over it"},
		{"mount_path without auth", "auto_auth { method \"x\" { mount_path = \"approle\" }\n" + aSink + "}", ModeCheck, "auto_auth.method.mount_path is used as it stands, and mounts of auth methods begin with auth/"},
		{"one destination twice", aAuth + aTemplate + aTemplate, ModeCheck, "template[1].destination is that of template[0] too; the last one written stays"},
		{"one file for a sink and a template", "auto_auth {\n" + aMethod + "\nsink \"file\" { config { path = \"//d\" } } }\n" + aTemplate, ModeOnce, "template[0].destination is the file of auto_auth.sink[0] too; one takes the other's place"},
		{"role", aAuth + "listener \"tcp\" { tls_disable = true role = \"x\" }", ModeCheck, "listener[0].role is not known, so default holds"},
		{"threshold", aAuth + "template_config { lease_renewal_threshold = 5 }", ModeCheck, "template_config.lease_renewal_threshold should lie between 0 and 1"},
		{"aad_env_var alone", "auto_auth {\n" + aMethod + "\nsink \"file\" { aad_env_var = \"A\" } }", ModeCheck, "auto_auth.sink[0].aad_env_var has no effect without dh_type"},
		{"aad twice", "auto_auth {\n" + aMethod + "\nsink \"file\" { dh_type = \"curve25519\" dh_path = \"p\" aad_env_var = \"A\" aad = \"x\" } }", ModeCheck, "auto_auth.sink[0].aad is not used: aad_env_var wins over it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			warns, err := Check(resolved(t, tt.text), tt.mode)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range warns {
				got = append(got, w.Key+" "+w.Text)
			}
			if s := strings.Join(got, "\n"); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

func TestWhatCacheAndApiProxySayTogether(t *testing.T) {
	for _, tt := range []struct {
		text, enforce, when string
		lend                AutoAuthToken
	}{
		{"", "never", "fail", AutoAuthTokenNo},
		{"cache { }", "never", "fail", AutoAuthTokenNo},
		{`cache { enforce_consistency = "always" when_inconsistent = "retry" use_auto_auth_token = true }`, "always", "retry", AutoAuthTokenYes},
		// An api_proxy decides what is lent, even where it says nothing.
		{"cache { enforce_consistency = \"always\" when_inconsistent = \"forward\" use_auto_auth_token = true }\napi_proxy { }", "always", "forward", AutoAuthTokenNo},
		{"cache { enforce_consistency = \"always\" }\napi_proxy { when_inconsistent = \"retry\" use_auto_auth_token = \"force\" }", "always", "retry", AutoAuthTokenForce},
	} {
		f := resolved(t, aAuth+aListener+tt.text)
		if enforce, when := f.Consistency(); enforce != tt.enforce || when != tt.when || f.Lending() != tt.lend {
			t.Errorf("%s: %s %s %q", tt.text, enforce, when, f.Lending())
		}
	}
}

func TestCheck_of_a_file_made_by_hand(t *testing.T) {
	f := &File{AutoAuth: &AutoAuth{Method: Method{Type: "approle"}}, Exec: &Exec{}}
	if _, err := Check(f, ModeOnce); err == nil {
		t.Error("no problem in a file that is full of them")
	}
}
