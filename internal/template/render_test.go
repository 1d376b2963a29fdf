package template

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/environ"
)

func TestTemplatesRenderWhatVaultAgentRenders(t *testing.T) {
	r := newReader()
	r.secrets["kv/app"] = kv2(map[string]any{"user": "u1", "pass": "p1", "port": json.Number("5432")})
	r.secrets["kv/app?version=2"] = kv2(map[string]any{"user": "old"})
	r.secrets["kv1/app"] = &cred.Secret{
		RequestID: "req-1", Data: map[string]any{"k": "v"}, Warnings: []string{"w1"},
		Lease: cred.Lease{ID: "lease-1", Duration: 90 * time.Second, Renewable: true},
	}
	r.secrets["write auth/x/login"] = &cred.Secret{
		RequestID: "r",
		Auth: &cred.Token{Value: cred.Redact("tok"), Accessor: "acc", Policies: []string{"p"},
			Metadata: map[string]string{"m": "n"}, Lease: cred.Lease{Duration: time.Minute, Renewable: true}},
	}
	r.secrets["write sys/wrapping/wrap"] = &cred.Secret{
		Wrap: &cred.WrapInfo{Token: cred.Redact("wt"), TTL: time.Minute, WrappedAccessor: "wa"},
	}
	r.secrets["write kv1/put"] = &cred.Secret{}
	r.secrets["list kv/"] = nil
	r.secrets["list kv"] = plainSecret(map[string]any{"keys": []any{"b", "a/", "c"}})
	r.secrets["list empty"] = &cred.Secret{}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("from file"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=/h", "EMPTY=", "A=1", "A=2", "noequals"}

	for _, tc := range []struct{ name, text, want string }{
		{"a text without actions", "plain\n", "plain\n"},
		{"a text that only defines", `{{ define "x" }}y{{ end }}`, ""},
		{"KV version 2", `{{ with secret "kv/app" }}{{ .Data.data.user }}:{{ .Data.data.pass }}{{ end }}`, "u1:p1"},
		{"a path with slashes around it", `{{ with secret " /kv/app/ " }}{{ .Data.data.user }}{{ end }}`, "u1"},
		{"a version", `{{ with secret "kv/app?version=2" }}{{ .Data.data.user }}{{ end }}`, "old"},
		{"a number keeps its digits", `{{ with secret "kv/app" }}{{ .Data.data.port }}{{ end }}`, "5432"},
		{"a missing key", `{{ with secret "kv/app" }}{{ .Data.data.nope }}{{ end }}`, "<no value>"},
		{"without with", `{{ (secret "kv/app").Data.data.user }}`, "u1"},
		{"a variable", `{{ $s := secret "kv/app" }}{{ $s.Data.data.user }}`, "u1"},
		{"the lease", `{{ with secret "kv1/app" }}{{ .LeaseID }} {{ .LeaseDuration }} {{ .Renewable }} {{ .RequestID }} {{ index .Warnings 0 }}{{ end }}`,
			"lease-1 90 true req-1 w1"},
		{"a login", `{{ with secret "auth/x/login" "role=a" }}{{ .Auth.ClientToken }} {{ .Auth.Accessor }} {{ .Auth.LeaseDuration }} {{ .Auth.Renewable }} {{ index .Auth.Policies 0 }} {{ .Auth.Metadata.m }}{{ end }}`,
			"tok acc 60 true p n"},
		{"a wrapped answer", `{{ with secret "sys/wrapping/wrap" "a=b" }}{{ .WrapInfo.Token }} {{ .WrapInfo.TTL }} {{ .WrapInfo.WrappedAccessor }}{{ end }}`,
			"wt 60 wa"},
		{"a write without an answer", `{{ with secret "kv1/put" "a=b" }}no{{ else }}done{{ end }}`, "done"},
		{"a list", `{{ range secrets "kv/" }}{{ . }},{{ end }}`, "a/,b,c,"},
		{"an empty list", `{{ range secrets "empty" }}x{{ else }}none{{ end }}`, "none"},
		{"no path", `{{ with secret }}x{{ else }}nil{{ end }}{{ range secrets "" }}x{{ end }}`, "nil"},
		{"file", fmt.Sprintf(`{{ file %q }}{{ file "" }}`, file), "from file"},
		{"env", `{{ env "HOME" }} {{ env "A" }} {{ env "NOPE" }}{{ mustEnv "HOME" }} {{ envOrDefault "EMPTY" "d" }}{{ envOrDefault "NOPE" "d" }}`,
			"/h 1 /h d"},
		{"helpers of the library", `{{ with secret "kv/app" }}{{ .Data.data.user | toUpper }} {{ .Data.data | toJSON }} {{ "YQ==" | base64Decode }}{{ end }}`,
			`U1 {"pass":"p1","port":5432,"user":"u1"} a`},
		{"scratch, executeTemplate, sprig and mathematics",
			`{{ define "t" }}<{{ . }}>{{ end }}{{ scratch.Set "a" 1 }}{{ scratch.Get "a" }}{{ executeTemplate "t" "x" }}{{ sprig_upper "s" }}{{ add 1 2 }}`,
			"1<x>S3"},
		{"a function that prints renders nothing", `a{{ spew_dump "x" }}{{ spew_printf "%v" "x" }}b`, "ab"},
		{"spew into the template", `{{ spew_sprintf "%v" "x" }}`, "x"},
		{"a template of its own", `{{ define "t" }}{{ .Data.data.user }}{{ end }}{{ with secret "kv/app" }}{{ template "t" . }}{{ end }}`, "u1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := render(t, r, Options{Env: env}, tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Every name of the list in the documentation must exist.
func TestEveryDocumentedFunctionExists(t *testing.T) {
	names := slices.Concat(ours, builtins, strings.Fields(helpers), []string{"sprig_upper", "sprig_dict"})
	if len(ours)+len(strings.Fields(helpers)) != 96 {
		t.Errorf("%d functions, the documentation has 96", len(ours)+len(strings.Fields(helpers)))
	}
	var b strings.Builder
	for _, n := range names {
		if !parses("{{" + n + "}}") {
			t.Errorf("the library has no %s", n)
		}
		b.WriteString("{{ if false }}{{ " + n + " }}{{ end }}")
	}
	if got, err := render(t, newReader(), Options{}, b.String()); err != nil || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFiftySecretsAreReadAtOnce(t *testing.T) {
	r, dir := newReader(), t.TempDir()
	var specs []Spec
	for i := range 50 {
		path := fmt.Sprintf("kv/%d", i)
		r.secrets[path] = kv2(map[string]any{"v": fmt.Sprint(i)})
		text := fmt.Sprintf(`{{ with secret %q }}{{ .Data.data.v }}{{ end }}`, path)
		if i%2 == 1 {
			text += `{{ "x" | toUpper }}` // the way through the library
		}
		specs = append(specs, spec(dir, fmt.Sprint(i), text))
	}
	rep, err := mustNew(t, Options{}, specs...).Render(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.batches) != 1 || len(r.batches[0]) != 50 {
		t.Errorf("asked %d times, first for %d", len(r.batches), len(r.batches[0]))
	}
	if rep.Passes != 2 || rep.Requests != 50 {
		t.Errorf("%d passes, %d requests", rep.Passes, rep.Requests)
	}
	if got := read(t, filepath.Join(dir, "49")); got != "49X" {
		t.Errorf("got %q", got)
	}
}

func TestASecretOfManyTemplatesIsReadOnce(t *testing.T) {
	r, dir := newReader(), t.TempDir()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	r.secrets["kv/b"] = kv2(map[string]any{"v": "2"})
	late := `{{ with secret "kv/b" }}{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}{{ end }}`
	early := `{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`
	set := mustNew(t, Options{}, spec(dir, "1", early), spec(dir, "2", early), spec(dir, "3", late))
	if _, err := set.Render(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(r.batches) != 1 || len(r.batches[0]) != 2 {
		t.Errorf("asked for %v", r.batches)
	}
}

func TestANestedRangeTakesAPassForEachLevel(t *testing.T) {
	r := newReader()
	r.secrets["list kv"] = plainSecret(map[string]any{"keys": []any{"a", "b"}})
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	r.secrets["kv/b"] = kv2(map[string]any{"v": "2"})
	got, err := render(t, r, Options{},
		`{{ range secrets "kv" }}{{ with secret (printf "kv/%s" .) }}{{ .Data.data.v }}{{ end }}{{ end }}`)
	if err != nil || got != "12" {
		t.Fatalf("got %q, %v", got, err)
	}
	if len(r.batches) != 2 || len(r.batches[1]) != 2 {
		t.Errorf("asked for %v", r.batches)
	}
}

func TestATemplateThatInventsPathsIsStopped(t *testing.T) {
	_, err := render(t, inventive{}, Options{}, `{{ with secret (printf "kv/%s" (timestamp "150405.000000000")) }}{{ end }}`)
	wantError(t, err, ErrRender, "asks for something new", "template at agent.hcl:1")
}

type inventive struct{}

func (inventive) ReadAll(_ context.Context, reqs []Request) []Result {
	out := make([]Result, len(reqs))
	for i := range reqs {
		out[i].Secret = plainSecret(nil)
	}
	return out
}

func TestOneBadTemplateDisturbsNoOther(t *testing.T) {
	r, dir := newReader(), t.TempDir()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	r.errs["kv/denied"] = fmt.Errorf("read kv/denied: %w", errDenied)
	blocked := filepath.Join(dir, "blocked")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	good := `{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`
	run := &fakeRunner{}
	specs := []Spec{
		spec(dir, "good1", good),
		spec(dir, "denied", `{{ with secret "kv/denied" }}{{ end }}`),
		spec(dir, "denied too", good+`{{ with secret "kv/a" }}{{ with secret "kv/denied" }}{{ end }}{{ end }}`),
		spec(dir, "broken", good+`{{ with secret "kv/a" }}{{ .Data.data.v | parseInt | parseJSON }}{{ end }}`),
		spec(dir, "blocked", good),
		spec(dir, "lenient", `{{ with secret "kv/denied" }}{{ end }}`),
		spec(dir, "good2", good),
	}
	specs[5].ErrorFatal = false
	for i := range specs {
		specs[i].Exec = &Exec{Command: []string{"echo", fmt.Sprint(i)}}
	}
	rep, err := mustNew(t, Options{Runner: run}, specs...).Render(t.Context(), r)
	wantError(t, err, errDenied, "secret kv/denied")
	wantError(t, err, ErrRender)
	wantError(t, err, ErrWrite, blocked)
	if strings.Contains(err.Error(), "lenient") {
		t.Errorf("error_fatal = false is fatal: %v", err)
	}
	for i, o := range rep.Templates {
		good := i == 0 || i == 6
		if (o.Err == nil) != good || o.Changed != good || (o.Command != "") != good {
			t.Errorf("template %d: %+v", i, o)
		}
	}
	if len(run.ran) != 2 || run.ran[0].Argv[1] != "0" || run.ran[1].Argv[1] != "6" {
		t.Errorf("ran %v", run.ran)
	}
	asked := map[string]int{}
	for _, b := range r.batches {
		for _, q := range b {
			asked[name(q)]++
		}
	}
	if asked["kv/a"] != 1 || asked["kv/denied"] != 1 {
		t.Errorf("asked %v", asked)
	}
	if _, err := os.Stat(filepath.Join(dir, "broken")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a failed template left a file")
	}
}

func TestTheEndOfTheContextEndsARender(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("deadline of the whole run")
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	run := &fakeRunner{}
	dir := t.TempDir()
	a, b := spec(dir, "a", `{{ with secret "kv/a" }}{{ with secret "kv/b" }}{{ end }}{{ end }}`), spec(dir, "b", "x")
	b.Exec = &Exec{Command: []string{"true"}}
	set := mustNew(t, Options{Runner: run}, a, b)
	_, err := set.Render(ctx, cancelling{r, func() { cancel(why) }})
	wantError(t, err, why, "template at agent.hcl:1")
	wantError(t, err, ErrCommand)
	if len(run.ran) != 0 {
		t.Error("a command was started after the end")
	}
}

type cancelling struct {
	Reader
	cancel func()
}

func (c cancelling) ReadAll(ctx context.Context, reqs []Request) []Result {
	defer c.cancel()
	return c.Reader.ReadAll(ctx, reqs)
}

func TestAReaderThatForgetsAnAnswerIsAnError(t *testing.T) {
	_, err := render(t, forgetful{}, Options{}, `{{ secret "kv/a" }}`)
	wantError(t, err, nil, "kv/a", "no answer")
}

type forgetful struct{}

func (forgetful) ReadAll(context.Context, []Request) []Result { return nil }

func TestAFunctionThatChangesItsMapChangesNoOtherTemplate(t *testing.T) {
	r, dir := newReader(), t.TempDir()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	set := mustNew(t, Options{},
		spec(dir, "1", `{{ with secret "kv/a" }}{{ $_ := sprig_set .Data.data "v" "changed" }}{{ end }}`),
		spec(dir, "2", `{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`))
	if _, err := set.Render(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "2")); got != "1" {
		t.Errorf("got %q", got)
	}
}

func TestDelimiters(t *testing.T) {
	got, err := render(t, newReader(), Options{}, `{{ kept }} [[ "x" ]][[ "y" | toUpper ]]`, func(s *Spec) {
		s.LeftDelimiter, s.RightDelimiter = "[[", "]]"
	})
	if err != nil || got != "{{ kept }} xY" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTheDenylistHoldsForEveryFunction(t *testing.T) {
	for _, tc := range []struct{ deny, text string }{
		{"secret", `{{ secret "kv/a" }}`},
		{"secret*", `{{ secrets "kv" }}`},
		{"file", `{{ file "/etc/hostname" }}`},
		{"plugin", `{{ plugin "/bin/true" }}`},
		{"sprig_*", `{{ sprig_upper "a" }}`},
		{"*", `{{ env "HOME" }}`},
		{"env", `{{ env "HOME" | toUpper }}`},
		{"secret", `{{ secret "kv/a" }}{{ toUpper "a" }}`},
		{"writeToFile", `{{ "x" | writeToFile "/nonexistent/f" "" "" "0600" }}`},
	} {
		r := newReader()
		_, err := render(t, r, Options{}, tc.text, func(s *Spec) { s.FunctionDenylist = []string{tc.deny} })
		wantError(t, err, ErrRender, "function is disabled")
		if len(r.batches) != 0 {
			t.Errorf("%s: asked all the same", tc.text)
		}
	}
}

func TestTheSandboxHoldsFilesIn(t *testing.T) {
	dir := t.TempDir()
	box := filepath.Join(dir, "box")
	link := filepath.Join(box, "link")
	for _, err := range []error{
		os.Mkdir(box, 0o700),
		os.WriteFile(filepath.Join(box, "in"), []byte("in"), 0o600),
		os.WriteFile(filepath.Join(box, "..in"), []byte("dots"), 0o600),
		os.WriteFile(filepath.Join(dir, "out"), []byte("out"), 0o600),
		os.Symlink(filepath.Join(dir, "out"), link),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(s *Spec) { s.SandboxPath = box }
	for file, want := range map[string]string{"in": "in", "..in": "dots"} {
		got, err := render(t, newReader(), Options{}, fmt.Sprintf(`{{ file %q }}`, filepath.Join(box, file)), in)
		if err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for _, path := range []string{filepath.Join(box, "..", "out"), link, filepath.Join(box, "..")} {
		_, err := render(t, newReader(), Options{}, fmt.Sprintf(`{{ file %q }}`, path), in)
		wantError(t, err, ErrRender, "outside of sandbox")
	}
}

func TestMissingKeyNamesTemplateKeyAndSecret(t *testing.T) {
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	r.secrets["kv/b"] = kv2(map[string]any{"v": "1"})
	for _, tc := range []struct{ text, path string }{
		{"x\n{{ with secret \"kv/a\" }}\n{{ .Data.data.nope }}{{ end }}{{ with secret \"kv/b\" }}{{ end }}", "secret kv/a"},
		{"x\n{{ with secret \"kv/b\" }}{{ with secret \"kv/a\" }}\n{{ .Data.data.nope }}{{ end }}{{ end }}", "secret kv/a"},
		{"\n{{ $s := secret \"kv/a\" }}\n{{ $s.Data.data.nope }}", "secret kv/a"},
		{"x\n{{ with secret \"kv/a\" }}\n{{ .Data.data.nope | toUpper }}{{ end }}", "secret kv/a"},
	} {
		_, err := render(t, r, Options{}, tc.text, func(s *Spec) { s.ErrorOnMissingKey = true })
		wantError(t, err, ErrMissing, "template at agent.hcl:1", "line 3", `"nope"`, tc.path)
	}
}

func TestTemplatesThatDoNotParseAreAllReported(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "bad.tpl")
	if err := os.WriteFile(source, []byte("\n{{ end }}"), 0o600); err != nil {
		t.Fatal(err)
	}
	specs := []Spec{
		{Name: "template at a.hcl:1", Contents: "\n\n{{ if }}", Destination: "x"},
		{Name: "template at a.hcl:2", Source: source, Destination: "x"},
		{Name: "template at a.hcl:3", Source: filepath.Join(dir, "absent"), Destination: "x"},
		{Name: "template at a.hcl:4", Contents: "{{ env \"A\" }}\n{{ secrte \"x\" }}{{ toUper \"x\" }}{{ toUpper \"x\" }}", Destination: "x"},
		{Name: "template at a.hcl:5", Contents: "x", Source: "y", Destination: "x"},
		{Name: "template at a.hcl:6", Contents: "x"},
		{Name: "template at a.hcl:7", Secret: "kv/a", Format: "xml", Destination: "x"},
		{Name: "template at a.hcl:8", Contents: "x", Format: "json", Destination: "x"},
		{Name: "template at a.hcl:9", Contents: "fine", Destination: "x"},
	}
	_, err := New(specs, Options{})
	wantError(t, err, ErrParse,
		"a.hcl:1 (x): template does not parse: line 3: missing value for if",
		"a.hcl:2", source+": line 2: unexpected {{end}}",
		"a.hcl:3", "no such file",
		`line 2: function "secrte" not defined; line 2: function "toUper" not defined`,
		"a.hcl:5", "exactly one",
		"a.hcl:6", "no destination",
		"a.hcl:7", `"xml"`,
		"a.hcl:8")
	for _, no := range []string{"a.hcl:9", `"toUpper"`} {
		if strings.Contains(err.Error(), no) {
			t.Errorf("%q complains of %s", err, no)
		}
	}
}

func TestAnUnknownUserIsReportedBeforeAnythingIsRead(t *testing.T) {
	sp := spec(t.TempDir(), "x", "x")
	sp.User, sp.Group = "nobody-of-that-name", "0"
	_, err := New([]Spec{sp}, Options{})
	wantError(t, err, ErrWrite, "nobody-of-that-name", "unknown user")
}

func TestFilesHaveModeOwnerAndBackup(t *testing.T) {
	dir := t.TempDir()
	mode := fs.FileMode(0o640)
	sp := spec(dir, "sub/x", `{{ env "V" }}`)
	sp.Perms, sp.Backup = &mode, true
	sp.User, sp.Group = fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getgid())
	for _, v := range []string{"one", "two"} {
		set := mustNew(t, Options{Env: []string{"V=" + v}}, sp)
		if _, err := set.Render(t.Context(), newReader()); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(sp.Destination)
	if err != nil || fi.Mode().Perm() != mode {
		t.Errorf("%v, %v", fi, err)
	}
	if got := read(t, sp.Destination+".bak"); got != "one" {
		t.Errorf("backup holds %q", got)
	}
}

func TestWithoutPermsAFileKeepsItsMode(t *testing.T) {
	dir := t.TempDir()
	sp := spec(dir, "x", "new")
	if err := os.WriteFile(sp.Destination, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := spec(dir, "y", "new")
	if _, err := mustNew(t, Options{}, sp, fresh).Render(t.Context(), newReader()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{sp.Destination: 0o600, fresh.Destination: 0o644} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, fi.Mode(), err)
		}
	}
}

func TestWithoutCreateDestDirsAMissingFolderIsAnError(t *testing.T) {
	sp := spec(t.TempDir(), "sub/x", "x")
	sp.CreateDestDirs = false
	_, err := mustNew(t, Options{}, sp).Render(t.Context(), newReader())
	wantError(t, err, ErrWrite, "sub")
}

func TestCommandsRunOnceAfterAllFilesAndOnlyWhenSomethingChanged(t *testing.T) {
	dir := t.TempDir()
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	var specs []Spec
	for i, text := range []string{"a", `{{ with secret "kv/a" }}{{ .Data.data.v }}{{ end }}`, "c"} {
		sp := spec(dir, fmt.Sprint(i), text)
		sp.Exec = &Exec{Command: []string{"reload"}, Timeout: time.Second}
		specs = append(specs, sp)
	}
	specs[2].Exec = &Exec{Command: []string{"reload all"}, Timeout: time.Second, KillSignal: "SIGTERM", KillTimeout: 2 * time.Second}
	run := &fakeRunner{hook: func() { read(t, specs[1].Destination) }}
	set := mustNew(t, Options{Runner: run}, specs...)
	rep, err := set.Render(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if len(run.ran) != 2 || run.ran[0].Argv[0] != "reload" || run.ran[1].Argv[0] != "reload all" {
		t.Fatalf("ran %v", run.ran)
	}
	if c := run.ran[1]; c.KillSignal != "SIGTERM" || c.KillTimeout != 2*time.Second || c.Timeout != time.Second {
		t.Errorf("%+v", c)
	}
	for i, want := range []string{"reload", "reload", "reload"} {
		if rep.Templates[i].Command != want {
			t.Errorf("template %d: command %q", i, rep.Templates[i].Command)
		}
	}
	rep, err = set.Render(t.Context(), r)
	if err != nil || len(run.ran) != 2 || rep.Templates[0].Changed {
		t.Errorf("the second time: %v, %d commands, %+v", err, len(run.ran), rep)
	}
}

func TestACommandThatFailsIsAnErrorOfItsTemplates(t *testing.T) {
	dir := t.TempDir()
	boom := errors.New("exit status 3")
	a, b, c := spec(dir, "a", "a"), spec(dir, "b", "b"), spec(dir, "c", "c")
	a.Exec, b.Exec = &Exec{Command: []string{"x"}}, &Exec{Command: []string{"x"}}
	run := &fakeRunner{err: boom}
	rep, err := mustNew(t, Options{Runner: run}, a, b, c).Render(t.Context(), newReader())
	wantError(t, err, ErrCommand)
	wantError(t, err, boom)
	if len(run.ran) != 1 || rep.Templates[0].Err == nil || rep.Templates[1].Err == nil || rep.Templates[2].Err != nil {
		t.Errorf("%+v", rep)
	}
}

func TestTheEnvironmentOfACommandIsFiltered(t *testing.T) {
	env := []string{"PATH=/bin", "HOME=/h", "VAULT_TOKEN=t", "VAULT_ADDR=a"}
	for _, tc := range []struct {
		name string
		env  environ.Rules
		want string
	}{
		{"all of it", environ.Rules{}, "PATH=/bin HOME=/h VAULT_TOKEN=t VAULT_ADDR=a"},
		{"pristine", environ.Rules{Pristine: true}, ""},
		{"pristine with custom", environ.Rules{Pristine: true, Custom: []string{"A=1"}, Allowlist: []string{"*"}}, "A=1"},
		{"denied", environ.Rules{Denylist: []string{"VAULT_*"}, Custom: []string{"VAULT_X=1"}}, "PATH=/bin HOME=/h VAULT_X=1"},
		{"allowed", environ.Rules{Allowlist: []string{"VAULT_*", "HOME"}}, "HOME=/h VAULT_TOKEN=t VAULT_ADDR=a"},
		{"allowed, then denied", environ.Rules{Allowlist: []string{"VAULT_*"}, Denylist: []string{"*_TOKEN"}}, "VAULT_ADDR=a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := &fakeRunner{}
			sp := spec(t.TempDir(), "x", "x")
			sp.Exec = &Exec{Command: []string{"x"}, Env: tc.env}
			if _, err := mustNew(t, Options{Env: env, Runner: run}, sp).Render(t.Context(), newReader()); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(run.ran[0].Env, " "); got != tc.want || run.ran[0].Env == nil {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWriteToFileWritesWhenItsTemplateIsComplete(t *testing.T) {
	dir := t.TempDir()
	side, old := filepath.Join(dir, "new/side"), filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newReader()
	r.secrets["kv/a"] = kv2(map[string]any{"v": "1"})
	r.errs["kv/b"] = errDenied
	good := fmt.Sprintf(`{{ with secret "kv/a" }}{{ .Data.data.v | writeToFile %q "" "" "0640" "newline" }}{{ "2" | writeToFile %q "" "" "0640" "append" }}{{ "second" | writeToFile %q "" "" "0600" "append,newline" }}{{ end }}done`,
		side, side, old)
	sp := spec(dir, "x", good)
	run := &fakeRunner{}
	sp.Exec = &Exec{Command: []string{"x"}}
	rep, err := mustNew(t, Options{Runner: run}, sp).Render(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, side); got != "1\n2" {
		t.Errorf("side holds %q", got)
	}
	if got := read(t, old); got != "first\nsecond\n" {
		t.Errorf("old holds %q", got)
	}
	if fi, _ := os.Stat(side); fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", fi.Mode())
	}
	if o := rep.Templates[0]; len(o.Files) != 2 || o.Bytes != 4 {
		t.Errorf("%+v", o)
	}

	bad := spec(dir, "y", fmt.Sprintf(`{{ "x" | writeToFile %q "" "" "0600" }}{{ with secret "kv/a" }}{{ with secret "kv/b" }}{{ end }}{{ end }}`, side))
	_, err = mustNew(t, Options{}, bad).Render(t.Context(), r)
	wantError(t, err, errDenied)
	if got := read(t, side); got != "1\n2" {
		t.Errorf("a failed template wrote %q", got)
	}
}

func TestAChangedSideFileRunsTheCommand(t *testing.T) {
	dir := t.TempDir()
	sp := spec(dir, "x", fmt.Sprintf(`same{{ env "V" | writeToFile %q "" "" "0600" }}`, filepath.Join(dir, "side")))
	sp.Exec = &Exec{Command: []string{"x"}}
	run := &fakeRunner{}
	for _, v := range []string{"1", "1", "2"} {
		if _, err := mustNew(t, Options{Env: []string{"V=" + v}, Runner: run}, sp).Render(t.Context(), newReader()); err != nil {
			t.Fatal(err)
		}
	}
	if len(run.ran) != 2 {
		t.Errorf("ran %d times", len(run.ran))
	}
}

func TestWriteToFileRefusesNonsense(t *testing.T) {
	for text, says := range map[string]string{
		`{{ "x" | writeToFile "/nonexistent/x" "" "" "rw" }}`:                   "not octal",
		`{{ writeToFile "/nonexistent/x" "" "" "0600" }}`:                       "no content",
		`{{ "x" | writeToFile "/nonexistent/x" "nobody-of-that-name" "" "0" }}`: "unknown user",
	} {
		_, err := render(t, newReader(), Options{}, text)
		wantError(t, err, ErrRender, says)
	}
}

func TestRequestsTellWhatWouldBeAskedAndReadNothing(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, "marker")
	gone := spec(dir, "absent/x", "x")
	gone.CreateDestDirs = false
	specs := []Spec{
		spec(dir, "a", `{{ with secret "kv/a" }}{{ with secret "kv/later" }}{{ end }}{{ end }}{{ with secret "kv/a?version=1" }}{{ end }}`),
		spec(dir, "b", `{{ secrets "kv" }}{{ with pkiCert "pki/issue/x" "common_name=a" }}{{ .Key }}{{ end }}`),
		spec(dir, "c", fmt.Sprintf(`{{ plugin "touch" %q }}{{ key "app/port" }}{{ "x" | writeToFile %q "" "" "0600" }}`, marker, filepath.Join(dir, "side"))),
		spec(dir, "d", `{{ mustEnv "NOPE" }}`),
		gone,
		{Name: "e", Secret: "kv/e?version=3", Format: "json", Destination: filepath.Join(dir, "e")},
	}
	plans := mustNew(t, Options{}, specs...).Requests()
	var got []string
	for _, p := range plans {
		var names []string
		for _, q := range p.Requests {
			names = append(names, name(q))
		}
		got = append(got, strings.Join(append(names, p.Remote...), ","))
	}
	want := []string{"kv/a,kv/a?version=1", "list kv,write pki/issue/x", "kv.block(app/port)", "", "", "kv/e?version=3"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("template %d asks for %q, want %q", i, got[i], want[i])
		}
	}
	wantError(t, plans[3].Err, ErrRender, "NOPE")
	if plans[0].Err != nil || plans[0].CheckWritable() != nil || plans[2].CheckWritable() != nil {
		t.Errorf("%v %v", plans[0].Err, plans[0].CheckWritable())
	}
	wantError(t, plans[4].CheckWritable(), ErrWrite, "absent")
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTheLogNamesTheTemplateThatMayFail(t *testing.T) {
	var b bytes.Buffer
	sp := spec(t.TempDir(), "x", `{{ mustEnv "NOPE" }}`)
	sp.ErrorFatal = false
	rep, err := mustNew(t, Options{Log: slog.New(slog.NewTextHandler(&b, nil))}, sp).Render(t.Context(), newReader())
	if err != nil || rep.Templates[0].Err == nil || !strings.Contains(b.String(), "agent.hcl:1") {
		t.Errorf("%v, %+v, %s", err, rep, b.String())
	}
}
