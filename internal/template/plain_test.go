package template

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/joho/godotenv"
	"go.yaml.in/yaml/v3"

	"latchkey/internal/cred"
)

// awkward are values that quoting gets wrong.
var awkward = []string{
	"", " ", "plain", " lead and trail ", "a b", "two\nlines", "\n", "trailing\n", "\r", "a\rb", "tab\there",
	`say "hi"`, "it's", `it's "both"`, `'`, `''`, `'"'`, "$HOME", "${HOME}", "$(id)", "`id`", "it's $HOME `id` $(id)",
	`back\slash`, `\n`, `it's \n`, `it's \\ \" \$`, "#comment", "a #b", "it's #x", "=", "a=b", "!history", "it's !x",
	"ünï ☃ 💥", "*", "~", "a;b", "a&b|c", "null", "true", "no", "1:30", "0x1f", "1e3", "2026-01-01", "- a", "{a: b}", "%d",
	"\u2028", "\ufeff", "\x7f", "\x01", "export A=1", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n", "<&>",
}

func awkwardData() map[string]any {
	data := map[string]any{}
	for i, v := range awkward {
		data[fmt.Sprintf("K_%d", i)] = v
	}
	return data
}

func TestDotenvGivesBashTheSameBytesBack(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	out, err := encodeDotenv(awkwardData())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "-eu", "-c", `set -a; . "$1"; exec env -0`, "bash", file)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range strings.Split(string(got), "\x00") {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	for i, want := range awkward {
		if got := env[fmt.Sprintf("K_%d", i)]; got != want {
			t.Errorf("bash reads %q as %q", want, got)
		}
	}
}

// beyondGodotenv are the values that this reader cannot be given: see
// encodeDotenv.
func beyondGodotenv(v string) bool {
	return strings.HasSuffix(v, `\`) || strings.Contains(v, "\r\n") ||
		strings.Contains(v, "'") && (strings.HasPrefix(v, `"`) || strings.HasSuffix(v, `"`))
}

func checkGodotenv(t *testing.T, data map[string]any, out []byte) {
	t.Helper()
	got, err := godotenv.UnmarshalBytes(out)
	if err != nil {
		t.Fatalf("godotenv refuses %q: %v", out, err)
	}
	for k, want := range data {
		if got[k] != want {
			t.Errorf("godotenv reads %q as %q", want, got[k])
		}
	}
}

func TestDotenvGivesGodotenvTheSameBytesBack(t *testing.T) {
	data := awkwardData()
	for k, v := range data {
		if beyondGodotenv(v.(string)) {
			delete(data, k)
		}
	}
	out, err := encodeDotenv(data)
	if err != nil {
		t.Fatal(err)
	}
	checkGodotenv(t, data, out)
}

// shellWords undoes the quoting by the rules of a POSIX shell.
func shellWords(t *testing.T, line string) (name, value string) {
	name, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
	if len(rest) < 2 || rest[0] != rest[len(rest)-1] {
		t.Fatalf("%q is not in quotes", rest)
	}
	inner := rest[1 : len(rest)-1]
	if rest[0] == '\'' {
		if strings.Contains(inner, "'") {
			t.Fatalf("%q ends early", rest)
		}
		return name, inner
	}
	if bare := regexp.MustCompile("(?s)\\\\[\\\\\"$`]").ReplaceAllString(inner, ""); strings.ContainsAny(bare, "\"$`\\") {
		t.Fatalf("%q holds something bare", rest)
	}
	return name, regexp.MustCompile(`(?s)\\(.)`).ReplaceAllString(inner, "$1")
}

func FuzzDotenv(f *testing.F) {
	for _, v := range awkward {
		f.Add("KEY", v)
	}
	f.Add("1KEY", "x")
	f.Add("KEY", "a\x00b")
	f.Fuzz(func(t *testing.T, key, value string) {
		data := map[string]any{key: value}
		out, err := encodeDotenv(data)
		if bad := !envName().MatchString(key) || strings.Contains(value, "\x00"); bad != (err != nil) {
			t.Fatalf("%q=%q: %v", key, value, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
				t.Fatalf("error %q does not name the key", err)
			}
			return
		}
		if n, v := shellWords(t, string(out)); n != key || v != value {
			t.Errorf("a shell reads %q=%q as %q=%q", key, value, n, v)
		}
		if !beyondGodotenv(value) {
			checkGodotenv(t, data, out)
		}
	})
}

func FuzzYAML(f *testing.F) {
	for _, v := range awkward {
		f.Add("key", v)
		f.Add(v, "value")
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		// What comes out of JSON is valid UTF-8.
		key, value = strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?")
		data := map[string]any{key: value, "list " + key: []any{value, map[string]any{key: value}}}
		out, err := encodeYAML(data)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := yaml.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if !reflect.DeepEqual(got, data) {
			t.Errorf("%q reads %v as %v", out, data, got)
		}
	})
}

func TestASecretAsAFile(t *testing.T) {
	data := map[string]any{
		"b": "two\nlines <&>", "a": "x", "big": json.Number("12345678901234567890.10"), "on": true, "none": nil,
		"map": map[string]any{"z": json.Number("1"), "y": []any{"<", false}},
	}
	wantJSON := `{
  "a": "x",
  "b": "two\nlines <&>",
  "big": 12345678901234567890.10,
  "map": {
    "y": [
      "<",
      false
    ],
    "z": 1
  },
  "none": null,
  "on": true
}
`
	wantYAML := `a: "x"
b: "two\nlines <&>"
big: 12345678901234567890.10
map:
  "y":
    - "<"
    - false
  z: 1
none: null
"on": true
`
	wantEnv := `a='x'
b='two
lines <&>'
big='12345678901234567890.10'
map='{"y":["<",false],"z":1}'
none='null'
on='true'
`
	r := newReader()
	r.secrets["kv/v2"], r.secrets["kv/v1"] = kv2(data), plainSecret(data)
	dir := t.TempDir()
	for _, path := range []string{"kv/v2", "kv/v1"} {
		for format, want := range map[string]string{"json": wantJSON, "yaml": wantYAML, "dotenv": wantEnv} {
			sp := spec(dir, "out", "")
			sp.Secret, sp.Format = path, format
			if _, err := mustNew(t, Options{}, sp).Render(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := read(t, sp.Destination); got != want {
				t.Errorf("%s of %s:\n%s\nwant\n%s", format, path, got, want)
			}
		}
	}
}

func TestASecretAsAFileErrors(t *testing.T) {
	r := newReader()
	r.secrets["kv/key"] = plainSecret(map[string]any{"not-a-name": canary})
	r.secrets["kv/nul"] = plainSecret(map[string]any{"NUL": canary + "\x00"})
	r.secrets["kv/deleted"] = &cred.Secret{Data: map[string]any{
		"data": nil, "metadata": map[string]any{"created_time": "x", "version": json.Number("1")}}}
	r.errs["kv/denied"] = errDenied
	for _, tc := range []struct {
		path string
		kind error
		says string
	}{
		{"kv/key", ErrRender, `"not-a-name"`},
		{"kv/nul", ErrRender, `"NUL" holds a NUL byte`},
		{"kv/deleted", ErrMissing, "secret kv/deleted: holds no data"},
		{"kv/denied", errDenied, "secret kv/denied"},
		{"kv/absent?version=2", nil, "secret kv/absent?version=2"},
	} {
		sp := spec(t.TempDir(), "out", "")
		sp.Secret, sp.Format = tc.path, "dotenv"
		_, err := mustNew(t, Options{}, sp).Render(t.Context(), r)
		wantError(t, err, tc.kind, tc.says, "agent.hcl:1")
		if strings.Contains(err.Error(), canary) {
			t.Error(err)
		}
	}
}

func TestASecretAsAFileSharesTheReadWithTemplates(t *testing.T) {
	r, dir := newReader(), t.TempDir()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	plain := spec(dir, "a", "")
	plain.Secret, plain.Format = "/kv/a", "json"
	set := mustNew(t, Options{}, plain, spec(dir, "b", `{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`))
	if rep, err := set.Render(t.Context(), r); err != nil || rep.Requests != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
}
