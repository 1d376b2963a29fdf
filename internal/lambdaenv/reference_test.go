package lambdaenv

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/config"
)

var update = flag.Bool("update", false, "write docs/lambda-environment.md")

const preface = `# Variables of the Lambda extension

Written from the table in internal/lambdaenv; change that, then run ` + "`make docs`" + `.

The extension is told everything by the environment of the function. The names are
those of vault-lambda-extension, and mean what they mean there; the last column says
where that one does otherwise. Blanks around a value do not count, and an empty variable
counts as not set. A value that makes no sense is refused at the start, by the
variable's name, all of them at once. Durations are written as ` + "`90s`, `5m`, `1h`" + `, or as a
number of seconds; switches as ` + "`true` or `false`" + `.

The variables by which values of the function's environment are resolved
(` + "`AWS_LAMBDA_EXEC_WRAPPER`, `VAULT_ENV_FROM_PATH`" + ` and the like) are in
[references.md](references.md), those of AWS's credentials and endpoints in [aws.md](aws.md).
An HTTP proxy that ` + "`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`" + ` name is used, as everywhere.

Variables marked with * are for the extension alone: a function that is started by
latchkey-exec does not see them, unless ` + "`LATCHKEY_ENV_KEEP`" + ` names them.
`

var chapters = []struct{ of, title, text string }{
	{fromVLE, "Of vault-lambda-extension", ""},
	{fromAPI, "Of the Vault client", "The proxy and files use the same client, so that all of these hold for both."},
	{ours, "Of latchkey", "What the old names cannot say."},
	{fromAWS, "Of AWS", "Those that the extension looks at itself. Credentials and endpoints: see the method aws."},
}

func reference() string {
	var b strings.Builder
	b.WriteString(preface)
	cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
	for _, c := range chapters {
		b.WriteString("\n## " + c.title + "\n\n")
		if c.text != "" {
			b.WriteString(c.text + "\n\n")
		}
		b.WriteString("| variable | default | meaning | vault-lambda-extension |\n|---|---|---|---|\n")
		for _, v := range table {
			if v.of != c.of {
				continue
			}
			name, def := "`"+v.name+"`", ""
			if v.own {
				name += " *"
			}
			if v.def != "" {
				def = "`" + v.def + "`"
			}
			differs := v.differs
			if differs == "" && v.of == ours {
				differs = "Not known."
			}
			b.WriteString("| " + name + " | " + def + " | " + cell(v.doc) + " | " + cell(differs) + " |\n")
		}
	}
	return b.String()
}

func TestReferenceIsUpToDate(t *testing.T) {
	const path = "../../docs/lambda-environment.md"
	want := reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("%s differs from the table (%v); write it with: go test ./internal/lambdaenv -run TestReference -update", path, err)
	}
}

// The table, the tags and the lists say the same: a variable that is documented is
// read, and one that is read is documented.
func TestTheTableIsComplete(t *testing.T) {
	read := slices.Clone(singles)
	typ := reflect.TypeFor[given]()
	for i := range typ.NumField() {
		if name := typ.Field(i).Tag.Get("config"); !slices.Contains(singles, name) {
			t.Errorf("%s is in given and not in singles", name)
		}
	}
	if typ.NumField() != len(singles) {
		t.Errorf("given has %d variables, singles %d", typ.NumField(), len(singles))
	}
	for _, k := range listenerKeys {
		read = append(read, k.name)
	}
	for _, a := range authVariables {
		read = append(read, a.name)
	}
	for _, key := range ofMethod {
		read = append(read, authPrefix+strings.ToUpper(key))
	}
	for path := range strings.FieldsSeq("address namespace ca_cert ca_cert_bytes ca_path client_cert client_key tls_skip_verify tls_server_name client_timeout rate_limit srv_lookup proxy_address disable_redirects headers num_retries") {
		name := config.Variable("vault." + path)
		if name == "" {
			name = config.Variable("vault.retry." + path)
		}
		read = append(read, name)
	}
	read = append(read, "VAULT_AUTH_PROVIDER", "LATCHKEY_AUTH_METHOD", authPrefix+"*", assumePrefix+"*", listenVariable, pathVariable, pathVariable+"_*",
		fileVariable, fileVariable+"_*", "VAULT_LOG_LEVEL", "VAULT_LOG_FORMAT", "VLE_VAULT_ADDR", "VAULT_HTTP_PROXY", "BAO_*")
	var rows []string
	for _, v := range table {
		if v.of != fromAWS {
			rows = append(rows, v.name)
		}
		if v.doc == "" || !strings.HasSuffix(v.doc, ".") {
			t.Errorf("%s is not explained in a sentence", v.name)
		}
		if slices.IndexFunc(chapters, func(c struct{ of, title, text string }) bool { return c.of == v.of }) < 0 {
			t.Errorf("%s is of %q", v.name, v.of)
		}
	}
	read = append(read, "VAULT_AGENT_ADDR", "VAULT_TOKEN") // documented for not being read
	slices.Sort(read)
	slices.Sort(rows)
	if !slices.Equal(read, rows) {
		for _, name := range read {
			if !slices.Contains(rows, name) {
				t.Errorf("%s is read and not documented", name)
			}
		}
		for _, name := range rows {
			if !slices.Contains(read, name) {
				t.Errorf("%s is documented and not read", name)
			}
		}
		t.Errorf("%d are read, %d documented", len(read), len(rows))
	}
}

// The defaults that the table shows are those that hold.
func TestTheTablesDefaultsAreTrue(t *testing.T) {
	var said []string
	for _, v := range table {
		switch {
		case v.def == "" || v.of == fromAWS || strings.HasPrefix(v.name, "VAULT_SECRET"):
		case v.name == "VAULT_DEFAULT_CACHE_ENABLED" || v.name == "LATCHKEY_AUTH_METHOD":
			// with these, others become required
		default:
			said = append(said, v.name+"="+v.def)
		}
	}
	plain, explicit := read(t, minimal...), read(t, with(said...)...)
	for _, s := range []*Settings{plain, explicit} {
		s.ask, s.Origins, s.levelSaid, s.formatSaid = nil, nil, false, false
	}
	a, b := *plain.File, *explicit.File
	if !reflect.DeepEqual(a.Vault, b.Vault) || !reflect.DeepEqual(a.Listeners, b.Listeners) || a.AutoAuth.Method.MinBackoff != b.AutoAuth.Method.MinBackoff || a.AutoAuth.Method.MaxBackoff != b.AutoAuth.Method.MaxBackoff {
		t.Errorf("files differ:\n%+v\n%+v", a, b)
	}
	plain.File, explicit.File = nil, nil
	if !reflect.DeepEqual(plain, explicit) {
		t.Errorf("settings differ:\n%#v\n%#v", *plain, *explicit)
	}
}
