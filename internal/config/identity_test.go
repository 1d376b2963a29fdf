package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/hcl"
)

// named is an auto_auth of this name with one sink.
func named(name, sink string) string {
	return "auto_auth \"" + name + "\" {\n" + aMethod + "\nsink \"file\" { config = { path = \"" + sink + "\" } }\n}\n"
}

func namesOf(f *File) string {
	var out []string
	for _, a := range f.Logins() {
		out = append(out, a.Known())
	}
	return strings.Join(out, " ")
}

func TestSeveralIdentities_the_one_without_a_name_or_the_first_is_the_default(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{"one", "a.hcl", aAuth, "default"},
		{"one with a name", "a.hcl", named("ci", "/t"), "ci"},
		{"first of two names", "a.hcl", named("ci", "/t") + named("app", "/u"), "ci app"},
		{"the one without comes last", "a.hcl", named("ci", "/t") + named("app", "/u") + aAuth, "default ci app"},
		{"names keep their case", "a.hcl", named("CI", "/t"), "CI"},
		{"a key", "a.hcl", "auto_auth {\nname = \"ci\"\n" + aMethod + "\n}", "ci"},
		{"a key that says otherwise", "a.hcl", "auto_auth \"x\" {\nname = \"ci\"\n" + aMethod + "\n}", "ci"},
		{"an empty label", "a.hcl", "auto_auth \"\" {\n" + aMethod + "\n}", "default"},
		{"JSON list", "a.json", `{"auto_auth": [{"method": {"type": "x"}}, {"name": "ci", "method": {"type": "x"}}]}`, "default ci"},
		{"JSON labels", "a.json", `{"auto_auth": {"a": {"method": {"type": "x"}}, "b": {"method": {"type": "x"}}}}`, "a b"},
		{"JSON without labels", "a.json", `{"auto_auth": {"method": {"type": "x"}}}`, "default"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := load(t, tt.file, tt.text).File
			if got := namesOf(f); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestSeveralIdentities_a_later_file_replaces_the_one_of_its_name(t *testing.T) {
	dir := write(t, map[string]string{
		"1.hcl": aAuth + named("ci", "/one") + named("app", "/app"),
		"2.hcl": "\n\n" + named("ci", "/two"),
		"3.hcl": named("more", "/more"),
	})
	l, err := Load([]string{filepath.Join(dir, "1.hcl"), filepath.Join(dir, "2.hcl"), filepath.Join(dir, "3.hcl")}, Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	f, o, err := l.Resolve(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := namesOf(f); got != "default ci app more" {
		t.Errorf("got %s", got)
	}
	if at := o.Of("auto_auth[ci].sink[0].config.path"); at != "file "+filepath.Join(dir, "2.hcl")+":5" {
		t.Errorf("the sink of ci is said to be from %s", at)
	}
	if p := f.problem("auto_auth[ci].method.wrap_ttl", "x", ""); p.Pos.File != filepath.Join(dir, "2.hcl") || p.Pos.Line != 4 {
		t.Errorf("a problem of ci is said to be at %v", p.Pos)
	}
	if s := f.Identities[0].Sinks; len(s) != 1 || s[0].Config.Problem("path", "", "").Key != "auto_auth[ci].sink[0].config.path" {
		t.Errorf("sinks %v", s)
	}
}

func TestSeveralIdentities_are_all_shown(t *testing.T) {
	f := resolved(t, aAuth+named("ci", "/one"))
	var text, js bytes.Buffer
	if err := f.Effective(&text, nil, "text"); err != nil {
		t.Fatal(err)
	}
	if s := text.String(); !strings.Contains(s, "auto_auth {\n") || !strings.Contains(s, "auto_auth \"ci\" {\n") {
		t.Errorf("%s", s)
	}
	if err := f.Effective(&js, nil, "json"); err != nil {
		t.Fatal(err)
	}
	var out struct {
		Config struct {
			AutoAuth []struct {
				Name string
				Sink []struct{ Config struct{ Path string } }
			} `json:"auto_auth"`
		}
	}
	if err := json.Unmarshal(js.Bytes(), &out); err != nil {
		t.Fatalf("%v\n%s", err, js.String())
	}
	if a := out.Config.AutoAuth; len(a) != 2 || a[0].Name != "" || a[1].Name != "ci" || a[1].Sink[0].Config.Path != "/one" {
		t.Errorf("%+v", a)
	}
}

func TestSeveralIdentities_have_a_login_each(t *testing.T) {
	f := resolved(t, aAuth+named("ci", "/one")+"auto_auth \"jwt\" {\nmethod \"jwt\" { config = { path = \"p\" role = \"r\" } }\n}\n")
	if f.Login() != f.LoginOf(f.AutoAuth) || f.Login() != f.LoginOf(f.Identities[0]) {
		t.Error("a name or a sink makes another login")
	}
	if f.Login() == f.LoginOf(f.Identities[1]) {
		t.Error("another method is the same login")
	}
	for _, s := range []string{"auth", "sinks"} {
		if resolved(t, aAuth+named("ci", "/one")).Digest(s) == resolved(t, aAuth+named("app", "/one")).Digest(s) {
			t.Errorf("%s: another name has the same digest", s)
		}
	}
	if resolved(t, aAuth+named("ci", "/one")).Digest("auth") != resolved(t, aAuth+named("ci", "/two")).Digest("auth") {
		t.Error("another sink is another login")
	}
}
