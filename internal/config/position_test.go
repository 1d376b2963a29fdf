package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/hcl"
)

// problems loads a file that must be refused.
func problems(t *testing.T, name, text string) Problems {
	t.Helper()
	_, err := Load([]string{filepath.Join(write(t, map[string]string{name: text}), name)}, Options{Lex: hcl.Lex})
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("%q was not refused: %v", text, err)
	}
	return ps
}

func TestProblems_name_line_column_and_key(t *testing.T) {
	const method = "auto_auth { method \"x\" { } }\n"
	tests := []struct {
		name, file, text string
		want             string // line:col: key: text
		hint             string // a part of it
	}{
		// Forms of HCL.
		{"unknown key at the top", "", "\n  pidfile = 1", "2:3: pidfile: unknown key", `did you mean "pid_file"?`},
		{"unknown block", "", "a = 1\nautoauth { }", "2:1: autoauth: unknown key", `"auto_auth"`},
		{"unknown key in a block", "", "vault {\n\taddres = \"x\"\n}", "2:2: vault.addres: unknown key", `did you mean "address"?`},
		{"unknown key in a block with equals", "", "vault = {\n  addres = \"x\"\n}", "2:3: vault.addres: unknown key", ""},
		{"unknown quoted key", "", "\"vault\" {\n  \"addres\" = \"x\"\n}", "2:3: vault.addres: unknown key", ""},
		{"on one line", "", `listener "tcp" { address = "a" tls_disabled = true }`, "1:32: listener[0].tls_disabled: unknown key", `"tls_disable"`},
		{"on one line with commas", "", `listener "tcp" { address = "a", tls_disabled = true }`, "1:33: listener[0].tls_disabled: unknown key", ""},
		{"nested on one line", "", `listener "tcp" { agent_api { enable = true } tls_disable = true }`, "1:30: listener[0].agent_api.enable: unknown key", ""},
		{"after a heredoc", "", "template {\n contents = <<EOF\n{\n\"${x\nEOF\n destinatio = \"x\"\n destination = \"y\"}", "6:2: template[0].destinatio: unknown key", `"destination"`},
		{"after a heredoc with CRLF", "", "template {\r\n contents = <<EOF\r\n{\r\nEOF\r\n destinatio = \"x\"\r\n destination = \"y\"}", "5:2: template[0].destinatio: unknown key", ""},
		{"after comments", "", "/* a\n b */ # c\n// d\n/* e */ oops = 1", "4:9: oops: unknown key", ""},
		{"after a byte order mark", "", "\xef\xbb\xbfoops = 1", "1:1: oops: unknown key", ""},
		{"after characters of several bytes", "", `vault { address = "grün🔑" addres = 1 }`, "1:27: vault.addres: unknown key", ""},
		{"after an interpolation", "", "pid_file = \"${a\nb}\" oops = 1", "2:5: oops: unknown key", ""},
		{"second element of a list of objects", "", "template = [{\n contents = \"x\"\n destination = \"y\"\n}, {\n contnts = \"x\"\n destination = \"y\"\n}]", "5:2: template[1].contnts: unknown key", `"contents"`},
		{"a key of another block", "", "vault {\n destination = \"x\"\n}", "2:2: vault.destination: unknown key", "belongs to template"},
		{"a method's key outside of config", "", "auto_auth { method \"x\" {\n role = \"x\"\n} }", "2:2: auto_auth.method.role: unknown key", "config { ... }"},
		{"a sink's key outside of config", "", "auto_auth { method \"x\" { }\nsink \"file\" {\n path = \"x\"\n} }", "3:2: auto_auth.sink[0].path: unknown key", "config { ... }"},
		{"set twice", "", "pid_file = \"a\"\npid_file = \"b\"", "2:1: pid_file: is set twice; each key can be set once", allowDuplicates},
		{"set twice in config", "", "auto_auth { method \"x\" { config = {\n a = 1\n a = 2 } } }", "3:2: auto_auth.method.config.a: is set twice; each key can be set once", ""},
		{"wrong kind", "", "exit_after_auth =\n  [1]", "2:3: exit_after_auth: must be true or false, not a list", ""},
		{"no bool", "", "exit_after_auth = \"maybe\"", "1:19: exit_after_auth: must be true or false", ""},
		{"no duration", "", method + "log_rotate_duration = \"soon\"", "2:23: log_rotate_duration: must be a duration", `"5m"`},
		{"negative duration", "", "log_rotate_duration = -5", "1:23: log_rotate_duration: must not be negative", ""},
		{"no integer", "", "log_rotate_bytes = 1.5", "1:20: log_rotate_bytes: must be a whole number", ""},
		{"no string", "", "pid_file = { }", "1:12: pid_file: must be a string, not a block", ""},
		{"decimal mode", "", "template { contents = \"x\" destination = \"y\"\n perms = 644 }", "2:10: template[0].perms: is no file mode: decimal 644 is octal 01204", `"0644"`},
		{"mode 8", "", "template { contents = \"x\" destination = \"y\"\n perms = \"0888\" }", "2:10: template[0].perms: must be a file mode", ""},
		{"not a block", "", "vault = \"x\"", "1:9: vault: must be a block, not a string", "vault { ... }"},
		{"value of a list", "", "cache {\n enforce_consistency = \"allways\"\n}\nlistener \"tcp\" { }", "2:24: cache.enforce_consistency: must be never or always, not \"allways\"", `"always"`},
		{"label", "", "listener \"udp\" { }", "1:10: listener[0].type: must be tcp or unix, not \"udp\"", ""},
		{"label where none is taken", "", "vault \"a\" { }", "1:7: vault: takes no label", ""},
		{"two labels", "", "listener \"tcp\" \"b\" { }", "1:16: listener[0]: takes only one label", ""},
		{"two vault blocks", "", "vault { }\nvault { }", "2:1: vault: there can be only one", ""},
		{"two methods", "", "auto_auth {\n method \"a\" { }\n method \"b\" { }\n}", "3:2: auto_auth.method: there can be only one", ""},
		{"no method", "", "\nauto_auth { }", "2:11: auto_auth.method: is required", `method "approle"`},
		{"no type", "", "auto_auth {\n method { }\n}", "2:9: auto_auth.method.type: is required", "label"},
		{"two without a name", "", "auto_auth { method \"a\" { } }\nauto_auth { method \"a\" { } }", "2:1: auto_auth: there can be only one without a name", "NAME"},
		{"two of one name", "", "auto_auth \"x\" { method \"a\" { } }\nauto_auth { name = \"x\" method \"a\" { } }", "2:1: auto_auth[x]: there is another of this name", ""},
		{"one called default beside the one without a name", "", "auto_auth { method \"a\" { } }\nauto_auth \"default\" { method \"a\" { } }", "2:1: auto_auth[default]: there is another of this name", ""},
		{"a name of strange characters", "", "auto_auth \"a.b\" { method \"a\" { } }", "1:1: auto_auth.name: may hold letters, digits, _ and - only, at most 64 of them", ""},
		{"an identity's unknown key", "", "auto_auth \"ci\" { method \"a\" { }\n sinkz { } }", "2:2: auto_auth[ci].sinkz: unknown key", `"sink`},
		{"no size", "", "cache {\n max_size = \"much\"\n}", "2:13: cache.max_size: must be a size", `"128MiB"`},
		{"no behavior", "", "cache {\n static_secret_token_capability_refresh_behavior = \"pesimistic\"\n}", "2:52: cache.static_secret_token_capability_refresh_behavior: must be optimistic or pessimistic, not \"pesimistic\"", `"pessimistic"`},
		{"no destination", "", "template {\n contents = \"x\"\n}", "1:10: template[0].destination: is required", ""},
		{"no name", "", "env_template { contents = \"x\" }\nexec { command = [\"x\"] }", "1:1: env_template[0]: needs a label, the name of the variable", ""},
		{"file key of env_template", "", "env_template \"A\" {\n destination = \"x\"\n}", "2:2: env_template[0].destination: is not allowed in env_template", ""},
		{"only the environment", "", "vault {\n client_timeout = 3\n}", "2:2: vault.client_timeout: cannot be set in a file", "VAULT_CLIENT_TIMEOUT"},
		// Syntax of HCL.
		{"no value", "", "vault {\n address =\n}", "3:1: expected a value, found \"}\"", ""},
		{"bare word", "", "vault {\n address = localhost\n}", "2:12: expected a value, found a word without quotes", `double quotes`},
		{"function", "", "pid_file = file(\"x\")", "1:12: expected a value, found a word without quotes", ""},
		{"single quotes", "", "pid_file = 'x'", "1:12: expected a value, found a single quote", "double quotes"},
		{"open block", "", "vault {\n address = \"x\"\n", "1:7: this block is never closed", "}"},
		{"open list", "", "a = [1,\n 2\n", "1:5: this list is never closed", "]"},
		{"open string", "", "vault {\n address = \"x\n}", "2:12: this string is never closed", ""},
		{"open comment", "", "a = 1\n /* b", "2:2: this comment is never closed", ""},
		{"open heredoc", "", "a = <<EOF\nx\n", "1:5: this heredoc is never closed", "EOF"},
		{"heredoc with text on its line", "", "a = <<EOF x\nEOF\n", "1:5: a heredoc begins with << and a name, and nothing else follows on its line", ""},
		{"unknown escape", "", "pid_file = \"a\\d\"", "1:14: this escape is not known", `\\`},
		{"closing brace too many", "", "vault { }\n}", "2:1: expected a key, found \"}\"", ""},
		{"list without comma", "", "a = [1 2]", "1:8: expected a comma or ] after a list's element, found a number", ""},
		{"label and equals", "", "method \"x\" = { }", "1:12: expected { after a label, found \"=\"", ""},
		{"NUL", "", "a = \x001", "1:5: a NUL byte", ""},
		{"no UTF-8", "", "a = \xff\xfe", "1:5: expected a value, found bytes that are not UTF-8", ""},
		// JSON.
		{"JSON unknown key", "a.json", "{\n  \"vault\": {\n    \"addres\": \"x\" }}", "3:5: vault.addres: unknown key", `"address"`},
		{"JSON on one line", "a.json", `{"vault":{"address":"x","addres":"y"}}`, "1:25: vault.addres: unknown key", ""},
		{"JSON in a list", "a.json", "{\"template\": [\n {\"contents\": \"x\", \"destination\": \"y\"},\n {\"contents\": \"x\", \"destinatin\": \"y\"}]}", "3:20: template[1].destinatin: unknown key", ""},
		{"JSON wrong kind", "a.json", "{\n \"exit_after_auth\" :  []}", "2:23: exit_after_auth: must be true or false, not a list", ""},
		{"JSON twice", "a.json", "{\n \"pid_file\": \"a\",\n \"pid_file\": \"b\"}", "3:2: pid_file: is set twice; each key can be set once", ""},
		{"JSON decimal mode", "a.json", `{"template":{"contents":"x","destination":"y","perms":640}}`, "1:55: template[0].perms: is no file mode: decimal 640 is octal 01200", `"0640"`},
		{"JSON comma missing", "a.json", "{\n \"a\": 1\n \"b\": 2}", "3:2: not JSON: unexpected \" after object key:value pair", ""},
		{"JSON ends early", "a.json", "{\"vault\": {\n", "2:1: the file ends in the middle of the configuration", ""},
		{"JSON twice over", "a.json", "{}\n {}", "2:2: something follows the end of the configuration", ""},
		{"JSON list", "a.json", "[]", "1:1: the top of a configuration must be an object", ""},
		{"JSON with a byte order mark", "a.json", "\xef\xbb\xbf{\"oops\": 1}", "1:2: oops: unknown key", ""},
		{"JSON in a file called hcl", "a.hcl", "{\"oops\": 1}", "1:2: oops: unknown key", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := tt.file
			if name == "" {
				name = "a.hcl"
			}
			var got []string
			for _, p := range problems(t, name, tt.text) {
				line := fmt.Sprintf("%d:%d: ", p.Pos.Line, p.Pos.Column)
				if p.Key != "" {
					line += p.Key + ": "
				}
				line += p.Text
				if line == tt.want {
					if !strings.Contains(p.Hint, tt.hint) {
						t.Errorf("hint %q lacks %q", p.Hint, tt.hint)
					}
					return
				}
				got = append(got, line)
			}
			t.Errorf("want %s\ngot  %s", tt.want, strings.Join(got, "\n     "))
		})
	}
}

func TestProblems_of_all_files_come_together_in_order(t *testing.T) {
	dir := write(t, map[string]string{
		"a.hcl":  "vault {\n\taddres = \"x\"\n}\nfoo = 1\n",
		"b.json": `{"bar": 1}`,
		"c.hcl":  "x = \"",
	})
	_, err := Load([]string{dir}, Options{Lex: hcl.Lex})
	want := strings.ReplaceAll(`DIR/a.hcl:2:2: vault.addres: unknown key
  2 | 	addres = "*"
    | 	^
  hint: did you mean "address"?
DIR/a.hcl:4:1: foo: unknown key
  4 | foo = *
    | ^
DIR/b.json:1:2: bar: unknown key
  1 | {"bar": *}
    |  ^
DIR/c.hcl:1:5: this string is never closed
  1 | x = "
    |     ^
  hint: end it with " on the same line; use a heredoc (<<EOF) for text of several lines`, "DIR", dir)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var p *Problem
	var ps Problems
	if !errors.As(err, &p) || p.Key != "vault.addres" || !errors.As(err, &ps) || len(ps) != 4 {
		t.Errorf("errors.As: %v, %d", p, len(ps))
	}
}

func TestProblems_show_a_window_of_a_long_line(t *testing.T) {
	long := `{"vault":{"address":"` + strings.Repeat("x", 500) + `","addres":1,"ca_cert":"` + strings.Repeat("y", 500) + `"}}`
	d := problems(t, "a.json", long)[0].Detail()
	lines := strings.Split(d, "\n")
	if len([]rune(lines[1])) > 140 || !strings.Contains(lines[1], `"addres"`) {
		t.Errorf("%s", d)
	}
	if i, j := strings.Index(lines[1], `"addres"`), strings.Index(lines[2], "^"); len([]rune(lines[1][:i])) != j {
		t.Errorf("the caret is not below the key:\n%s", d)
	}
}

func TestProblems_do_not_steer_the_terminal(t *testing.T) {
	ps := problems(t, "a.hcl", "# \x1b[2J\n\"oo\\u001bps\" = 1 # \x1b]0;x\x07")
	if s := ps.Error() + ps[0].Error(); strings.ContainsAny(s, "\x1b\x07") {
		t.Errorf("%q", s)
	}
}

func TestProblems_show_no_secret(t *testing.T) {
	const secret = "hunter2-canary"
	for name, text := range map[string]string{
		"same line":      `auto_auth { method "aws" { config = { secret_key = "` + secret + `" } oops = 1 } }`,
		"bare key":       `token = "` + secret + `"`,
		"list":           `oops = ["a", "` + secret + `"]`,
		"list of a key":  `exec { command = ["x", "` + secret + `"] oops = 1 }`,
		"open string":    `aad = "` + secret,
		"url":            `vault { address = "https://me:` + secret + `@v" oops = 1 }`,
		"escape":         `aad = "` + secret + `\d"`,
		"after escape":   `aad = "a\d` + secret + `"`,
		"JSON":           `{"auto_auth": {"method": {"type": "x", "config": {"password": "` + secret + `"}, "oops": "` + secret + `"}}}`,
		"JSON list":      `{"oops": ["` + secret + `", {"a": "` + secret + `"}]}`,
		"JSON broken":    `{"aad": "` + secret + `" "b": 1}`,
		"JSON open":      `{"aad": "` + secret,
		"JSON escape":    `{"aad": "` + secret + `\q"}`,
		"heredoc line":   "oops = <<EOF\n" + secret + "\nEOF\n",
		"quoted keys":    `"a" = "` + secret + `" "b" = "` + secret + `"`,
		"commas":         `oops = { "a" = "x", "password" = "` + secret + `", "c" = "` + secret + `" }`,
		"two on a line":  `role = "a" password = "` + secret + `"`,
		"colon":          `oops = { "a": "` + secret + `", b: "` + secret + `" } }`,
		"wrong mode":     `template { contents = "` + secret + `" perms = "z" }`,
		"bare word":      `aad = ` + secret,
		"bare, no space": `aad=` + secret + ` x`,
		"bare in config": `auto_auth { method "x" { config = { password = ` + secret + ` } } }`,
		"bare in a list": `exec { command = ["x", ` + secret + `] }`,
		"single quotes":  `aad = '` + secret + `'`,
		"at sign":        `aad = @` + secret,
		"JSON bare":      `{"aad": ` + secret + `, "b": 1}`,
		"JSON bare end":  `{"aad": 5` + secret + `}`,
		"JSON bare true": `{"aad": true` + secret + `}`,
		"JSON tru":       `{"aad": tr` + secret + `}`,
		"JSON single":    `{"aad": '` + secret + `'}`,
		"headers":        `telemetry { oops = 1 otlp_headers = { user = "` + secret + `" } }`,
		"headers, open":  "telemetry { otlp_headers = { role = \"" + secret + "\"",
		"headers, list":  `telemetry { otlp_headers = { user = "` + secret + `", role = ["` + secret + `"] } }`,
		"JSON headers":   `{"telemetry": {"otlp_headers": {"user": "` + secret + `"}, "oops": 1}}`,
		"handover key":   `auto_auth { handover { path = "x" key_env = "` + secret + `" oops = 1 } }`,
		"sink command":   `auto_auth { sink "file" { command = "x ` + secret + `" oops = 1 } }`,
		"word for value": `aad = "` + secret + `" b = word`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, file := range []string{"a.hcl", "a.json"} {
				ps := problems(t, file, text)
				all := ps.Error() + fmt.Sprintf("%+v", ps)
				for _, p := range ps {
					all += p.Error() + fmt.Sprintf("%+v", *p)
				}
				if strings.Contains(all, secret) {
					t.Errorf("%s", all)
				}
			}
		})
	}
}

func TestProblems_show_no_number_that_could_be_a_secret(t *testing.T) {
	for _, text := range []string{
		`auto_auth { method "x" { config = { pin = 987654 } oops = 1 } }`, `pin = 987654`, `pin = [987654]`, `pin = -987654 x = `,
		`{"auto_auth": {"method": {"type": "x", "oops": 1, "config": {"pin": 987654}}}}`, `{"pin": 987654 "x"}`,
	} {
		if s := problems(t, "a.hcl", text).Error(); strings.Contains(s, "987654") {
			t.Errorf("%s", s)
		}
	}
	if s := problems(t, "a.hcl", `vault { retry { num_retries = 987654 oops = 1 } }`).Error(); !strings.Contains(s, "987654") {
		t.Errorf("hides a number that is none:\n%s", s)
	}
}

func TestLenient_turns_unknown_keys_into_warnings(t *testing.T) {
	dir := write(t, map[string]string{"a.hcl": `
foo = 1
auto_auth {
  method "x" { bar = 2  config = { a = 1 } }
  sink "file" { config = { path = "p" pth = "q" } }
}
vault "x" { adress = "y" }
`})
	l, err := Load([]string{dir}, Options{Lenient: true, Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, w := range l.Warnings {
		keys = append(keys, w.Key)
	}
	if got := strings.Join(keys, " "); got != "foo auto_auth.method.bar vault vault.adress" {
		t.Errorf("warnings about %s", got)
	}
	var cfg struct {
		Path string `config:"path,required"`
	}
	if err := l.File.AutoAuth.Sinks[0].Config.Decode(&cfg); err != nil || cfg.Path != "p" {
		t.Errorf("%+v %v", cfg, err)
	}
	late := l.LateWarnings()
	if len(late) != 1 || late[0].Key != "auto_auth.sink[0].config.pth" || late[0].Pos.Line != 5 || late[0].Hint != `did you mean "path"?` {
		t.Errorf("late warnings: %+v", late)
	}
}

func TestIgnored_keys_are_warnings_with_a_reason(t *testing.T) {
	l := load(t, "a.hcl", `
disable_mlock = true
seal "awskms" { region = "x" }
listener "tcp" { address = "x" tls_disable = true http_read_timeout = "5s" x_forwarded_for_hop_skips = 1 telemetry { unauthenticated_metrics_access = true } }
telemetry { usage_gauge_period = "5m" circonus_api_token = "t" stackdriver_location = "l" }
cache { cache_static_secrets = true }
`)
	var got []string
	for _, w := range l.Warnings {
		if w.Text != "has no effect" || w.Hint == "" || w.Pos.Line == 0 {
			t.Errorf("%+v", w)
		}
		got = append(got, w.Key)
	}
	const want = "disable_mlock seal listener[0].http_read_timeout listener[0].x_forwarded_for_hop_skips listener[0].telemetry telemetry.usage_gauge_period cache.cache_static_secrets"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if o := l.File.Telemetry.Other; o["circonus_api_token"] != "t" || o["stackdriver_location"] != "l" {
		t.Errorf("%v", o)
	}
}

func TestDuplicates_can_be_allowed(t *testing.T) {
	dir := write(t, map[string]string{"a.hcl": "pid_file = \"a\"\npid_file = \"b\"\n"})
	env := func(name string) (string, bool) { return "true", name == allowDuplicates }
	l, err := Load([]string{dir}, Options{Env: env, Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	if l.File.PidFile != "b" || len(l.Warnings) != 1 || l.Warnings[0].Pos.Line != 2 {
		t.Errorf("%q %v", l.File.PidFile, l.Warnings)
	}
}
