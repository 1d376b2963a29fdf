package ref

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// server answers from a table and counts what it is asked.
type server struct {
	answers map[string]map[string]any // by cred.Request.String
	fail    map[string]error
	asked   []string
	rounds  int
	// opens decrypts; nil refuses everything.
	opens func(ciphertext string) (string, bool)
}

func (s *server) ReadAll(_ context.Context, reqs []cred.Request) []cred.Result {
	s.rounds++
	var out []cred.Result
	for _, q := range reqs {
		line := q.String()
		if q.Op == cred.OpWrite {
			body, _ := json.Marshal(q.Body)
			line += " " + string(body)
		}
		s.asked = append(s.asked, line)
		out = append(out, s.answer(q))
	}
	return out
}

func (s *server) answer(q cred.Request) cred.Result {
	if err := s.fail[q.String()]; err != nil {
		return cred.Result{Err: err}
	}
	if batch, ok := q.Body["batch_input"].([]any); ok && s.opens != nil {
		var results []any
		for _, one := range batch {
			plain, ok := s.opens(one.(map[string]any)["ciphertext"].(string))
			if !ok {
				return cred.Result{Err: &vault.Error{Kind: vault.ErrBadRequest, Op: "write", Path: q.Path, Status: 400}}
			}
			results = append(results, map[string]any{"plaintext": base64.StdEncoding.EncodeToString([]byte(plain))})
		}
		return cred.Result{Secret: &cred.Secret{Data: map[string]any{"batch_results": results}}}
	}
	if data, ok := s.answers[q.String()]; ok {
		return cred.Result{Secret: &cred.Secret{Data: data}}
	}
	return cred.Result{Err: &vault.Error{Kind: vault.ErrNotFound, Op: "read", Path: q.Path, Status: 404}}
}

func kv2(data map[string]any) map[string]any {
	return map[string]any{"data": data, "metadata": map[string]any{"version": json.Number("3"), "destroyed": false}}
}

func store() *server {
	return &server{answers: map[string]map[string]any{
		"read secret/data/db": kv2(map[string]any{
			"user": "app", "password": "p\n\xff $`'\"\\", "port": json.Number("5432"), "big": json.Number("12345678901234567890"),
			"on": true, "off": false, "none": nil, "list": []any{"a"}, "map": map[string]any{"a": "b"}, "empty": "", "a.b-c": "dotted", "nul": "CANARY\x00",
		}),
		"read secret/data/db?version=2": kv2(map[string]any{"password": "old"}),
		"read kv/plain":                 {"data": "a field called data", "x": "y"},
		"read kv/both":                  {"data": map[string]any{"a": "b"}, "metadata": "mine", "x": "y"},
		"read secret/data/gone":         {"data": nil, "metadata": map[string]any{"version": json.Number("1")}},
		"write pki/issue/web":           {"certificate": "CERT", "private_key": "KEY"},
		"read database/creds/app":       {"username": "u", "password": "w"},
	}, opens: func(c string) (string, bool) {
		return strings.CutPrefix(c, "vault:v1:")
	}}
}

func resolve(t *testing.T, s *server, o Options, environ ...string) (map[string]string, error) {
	t.Helper()
	p, err := Find(environ, o)
	if err != nil {
		t.Fatalf("find: %v", err)
	}
	values, err := p.Resolve(t.Context(), s, cred.Redact("hvs.token"))
	out := map[string]string{}
	for name, v := range values {
		out[name] = v.Reveal()
	}
	return out, err
}

func TestReferencesBecomeTheirValues(t *testing.T) {
	for name, tc := range map[string]struct{ value, want string }{
		"a field of a version 2 engine": {"vault:secret/data/db#user", "app"},
		"exact to the byte":             {"vault:secret/data/db#password", "p\n\xff $`'\"\\"},
		"a number":                      {"vault:secret/data/db#port", "5432"},
		"a number beyond 64 bits":       {"vault:secret/data/db#big", "12345678901234567890"},
		"true":                          {"vault:secret/data/db#on", "true"},
		"false":                         {"vault:secret/data/db#off", "false"},
		"an empty value":                {"vault:secret/data/db#empty", ""},
		"a key with a dot and a dash":   {"bao:secret/data/db#a.b-c", "dotted"},
		"a version":                     {"vault:secret/data/db#password#2", "old"},
		"a field called data":           {"vault:kv/plain#data", "a field called data"},
		"beside a field called data":    {"vault:kv/plain#x", "y"},
		"beside data and metadata":      {"vault:kv/both#x", "y"},
		"an engine without versions":    {"vault:database/creds/app#username", "u"},
		"a write":                       {`>>vault:pki/issue/web#certificate#{"common_name":"a"}`, "CERT"},
		"within text":                   {"postgres://${vault:secret/data/db#user}@h:${vault:secret/data/db#port}/${DB}", "postgres://app@h:5432/${DB}"},
		"ciphertext":                    {"vault:v1:plain text", "plain text"},
		"ciphertext within text":        {"<${vault:v1:plain}>", "<plain>"},
		"bytes around it":               {"\xfe${vault:secret/data/db#user}\xff", "\xfeapp\xff"},
	} {
		got, err := resolve(t, store(), Options{}, "X="+tc.value, "VAULT_TRANSIT_KEY_ID=k", "OTHER=plain")
		if err != nil || len(got) != 1 || got["X"] != tc.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestEachPathIsReadOnce(t *testing.T) {
	s := store()
	got, err := resolve(t, s, Options{},
		"USERNAME=vault:database/creds/app#username", "PASSWORD=vault:database/creds/app#password",
		"DSN=${vault:database/creds/app#username}:${vault:database/creds/app#password}",
		"OLD=vault:secret/data/db#password#2", "NEW=vault:secret/data/db#user", "VAULT_ENV_FROM_PATH=database/creds/app",
		`CERT=>>vault:pki/issue/web#certificate#{"common_name":"a", "ttl":"1h"}`,
		`KEY=>>vault:pki/issue/web#private_key#{"ttl":"1h","common_name":"a"}`,
		`OTHER=>>vault:pki/issue/web#private_key#{"common_name":"b"}`,
	)
	if err != nil || got["DSN"] != "u:w" || got["username"] != "u" {
		t.Fatalf("%q, %v", got, err)
	}
	slices.Sort(s.asked)
	want := []string{
		"read database/creds/app", "read secret/data/db", "read secret/data/db?version=2",
		`write pki/issue/web {"common_name":"a","ttl":"1h"}`, `write pki/issue/web {"common_name":"b"}`,
	}
	if !reflect.DeepEqual(s.asked, want) || s.rounds != 1 {
		t.Errorf("in %d rounds: %q", s.rounds, s.asked)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  []string
		is    error
	}{
		{"vault:secret/data/none#k", []string{"X: secret/data/none#k: ", "404"}, vault.ErrNotFound},
		{"vault:secret/data/gone#k", []string{"X: secret/data/gone#k: ", "deleted"}, vault.ErrNotFound},
		{"vault:secret/data/db#none", []string{"X: secret/data/db#none: ", "no such field"}, ErrMissing},
		{"vault:secret/data/db#none#2", []string{"X: secret/data/db?version=2#none: "}, ErrMissing},
		{"a ${vault:secret/data/db#user} ${vault:secret/data/db#Port}", []string{"X: secret/data/db#Port: "}, ErrMissing},
		{"vault:secret/data/db#none", []string{"no such field"}, ErrMissing},
	} {
		got, err := resolve(t, store(), Options{}, "X="+tc.value, "Y=vault:secret/data/db#user")
		var named *Error
		if !errors.Is(err, tc.is) || got["Y"] != "" || !errors.As(err, &named) || named.Variable != "X" {
			t.Errorf("%s: %q, %v", tc.value, got, err)
		}
		for _, w := range tc.want {
			if !strings.Contains(fmt.Sprint(err), w) {
				t.Errorf("%s: %v does not say %q", tc.value, err, w)
			}
		}
	}
}

func TestAllThatIsWrongIsSaidAtOnceAndNoValueWithIt(t *testing.T) {
	s := store()
	s.fail = map[string]error{"read secret/data/db?version=2": &vault.Error{Kind: vault.ErrDenied, Status: 403}}
	_, err := resolve(t, s, Options{},
		"A=vault:secret/data/db#list", "B=vault:secret/data/db#map", "C=vault:secret/data/db#nul", "D=vault:secret/data/db#none",
		"E=vault:secret/data/db#password#2", "F=vault:none#x", "G=x${vault:secret/data/db#nul}")
	text := fmt.Sprint(err)
	for _, want := range []string{"A: secret/data/db#list: ", "a list", "B: ", "a map", "C: ", "NUL", "D: ", "null", "E: secret/data/db?version=2#password: ", "403", "F: none#x", "G: "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") || !errors.Is(err, vault.ErrDenied) {
		t.Error(text)
	}
}

func TestMistakesAreFoundBeforeAnythingIsAskedFor(t *testing.T) {
	_, err := Find([]string{
		"A=vault:p#", "B=vault:p#k#new", "C=>>vault:p#k#[CANARY]", `D=>>vault:p#k#{"CANARY":1}{}`, "E=vault:p#${ .x }", "F=vault:v1:abc",
		"G=>>vault:p#k#null", "VAULT_IGNORE_MISSING_SECRETS=perhaps", "VAULT_ENV_FROM_PATH=a#b,c,../x", "VAULT_TRANSIT_BATCH_SIZE=-1", "VAULT_TRANSIT_PATH=/",
	}, Options{})
	text := fmt.Sprint(err)
	for _, want := range []string{
		"A: a reference without a key", "B: a version", "C: p#k: what is sent", "D: p#k: there is more", "E: p#${ .x }: a template", "F: transit ciphertext", "VAULT_TRANSIT_KEY_ID",
		"G: p#k: what is sent", `VAULT_IGNORE_MISSING_SECRETS: "perhaps"`, `VAULT_ENV_FROM_PATH: "a#b"`, `"../x"`, "VAULT_TRANSIT_BATCH_SIZE: ", "VAULT_TRANSIT_PATH: ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") {
		t.Error(text)
	}
}

func TestMissingSecretsAreLeftOutWhereThatIsSet(t *testing.T) {
	for _, setting := range []string{"VAULT_IGNORE_MISSING_SECRETS=true", "BAO_IGNORE_MISSING_SECRETS=1"} {
		var log bytes.Buffer
		got, err := resolve(t, store(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, setting,
			"PATH_GONE=vault:secret/data/none#k", "KEY_GONE=vault:secret/data/db#none_such", "NULL=vault:secret/data/db#none",
			"DELETED=vault:secret/data/gone#k", "THERE=vault:secret/data/db#user", "VAULT_ENV_FROM_PATH=secret/data/none")
		if want := map[string]string{"THERE": "app"}; err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %q, %v", setting, got, err)
		}
		for _, name := range []string{"PATH_GONE", "KEY_GONE", "NULL", "DELETED", "VAULT_ENV_FROM_PATH"} {
			if !strings.Contains(log.String(), name) {
				t.Errorf("nobody is told of %s: %s", name, log.String())
			}
		}
	}
	// What is refused is not missing.
	s := store()
	s.fail = map[string]error{"read secret/data/db": &vault.Error{Kind: vault.ErrDenied, Status: 403}}
	if _, err := resolve(t, s, Options{}, "VAULT_IGNORE_MISSING_SECRETS=true", "X=vault:secret/data/db#user"); !errors.Is(err, vault.ErrDenied) {
		t.Error(err)
	}
	if _, err := resolve(t, store(), Options{}, "VAULT_IGNORE_MISSING_SECRETS=true", "X=vault:secret/data/db#list"); err == nil {
		t.Error("a list is not missing")
	}
}

func TestAllFieldsOfAPathBecomeVariables(t *testing.T) {
	s := store()
	s.answers["read kv/app"] = map[string]any{"ONE": "1", "two-2": "2", "HERE": "from the server", "SHARED": "first"}
	s.answers["read secret/data/db?version=2"] = kv2(map[string]any{"SHARED": "second", "THREE": json.Number("3")})
	got, err := resolve(t, s, Options{}, "HERE=from the environment", "REF=vault:kv/app#ONE", "VAULT_ENV_FROM_PATH= kv/app ,, secret/data/db#2")
	want := map[string]string{"ONE": "1", "two-2": "2", "SHARED": "first", "THREE": "3", "REF": "1"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestASecretDoesNotTakeOverTheProgram(t *testing.T) {
	s := store()
	s.answers["read kv/evil"] = map[string]any{
		"LD_PRELOAD": "CANARY", "NODE_OPTIONS": "CANARY", "_HANDLER": "CANARY", "AWS_LAMBDA_X": "CANARY", "a=b": "CANARY", "": "CANARY", "n\x00l": "CANARY", "list": []any{"CANARY"}, "z": "CANARY\x00",
	}
	_, err := resolve(t, s, Options{Reserved: []string{"_*", "AWS_LAMBDA_*"}}, "VAULT_ENV_FROM_PATH=kv/evil")
	text := fmt.Sprint(err)
	for _, want := range []string{"kv/evil#LD_PRELOAD: ", "#NODE_OPTIONS: ", "#_HANDLER: ", "#AWS_LAMBDA_X: ", `#"a=b": is no name`, `#"": is no name`, `#"n\x00l": is no name`, "#list: ", "#z: "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") {
		t.Error(text)
	}
	// The environment itself may say so.
	got, err := resolve(t, s, Options{}, "NODE_OPTIONS=vault:kv/evil#NODE_OPTIONS")
	if err != nil || got["NODE_OPTIONS"] != "CANARY" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCiphertextIsDecryptedInBatches(t *testing.T) {
	s := store()
	env := []string{"VAULT_TRANSIT_KEY_ID=app", "BAO_TRANSIT_PATH=/team/transit/", "VAULT_TRANSIT_BATCH_SIZE=2", "SAME=vault:v1:text1"}
	for i := range 5 {
		env = append(env, fmt.Sprintf("V%d=vault:v1:text%d", i, i))
	}
	got, err := resolve(t, s, Options{}, env...)
	if err != nil || got["V4"] != "text4" || got["SAME"] != "text1" || len(got) != 6 {
		t.Fatalf("%q, %v", got, err)
	}
	if len(s.asked) != 3 || s.rounds != 1 || !strings.HasPrefix(s.asked[0], "write team/transit/decrypt/app ") {
		t.Errorf("in %d rounds: %q", s.rounds, s.asked)
	}
}

func TestOneBadCiphertextIsNamed(t *testing.T) {
	_, err := resolve(t, store(), Options{}, "VAULT_TRANSIT_KEY_ID=k", "A=vault:v1:fine", "B=vault:v9:CANARY", "C=vault:v1:fine too")
	if text := fmt.Sprint(err); !strings.Contains(text, "B: ") || strings.Contains(text, "A: ") || strings.Contains(text, "C: ") || strings.Contains(text, "CANARY") {
		t.Error(text)
	}
}

func TestAStrangeAnswerToABatchIsAnError(t *testing.T) {
	for name, data := range map[string]map[string]any{
		"no results":       {},
		"too few":          {"batch_results": []any{map[string]any{"plaintext": "YQ=="}}},
		"an error in one":  {"batch_results": []any{map[string]any{"plaintext": "YQ=="}, map[string]any{"error": "cipher: message authentication failed"}}},
		"no plaintext":     {"batch_results": []any{map[string]any{"plaintext": "YQ=="}, map[string]any{}}},
		"not base64":       {"batch_results": []any{map[string]any{"plaintext": "YQ=="}, map[string]any{"plaintext": "CANARY!"}}},
		"not even results": {"batch_results": []any{map[string]any{"plaintext": "YQ=="}, "CANARY"}},
	} {
		s := store()
		s.opens, s.answers["write transit/decrypt/k"] = nil, data
		_, err := resolve(t, s, Options{}, "VAULT_TRANSIT_KEY_ID=k", "A=vault:v1:a", "B=vault:v1:b")
		if text := fmt.Sprint(err); err == nil || !strings.Contains(text, "B: ") || strings.Contains(text, "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheTokenOfTheLogin(t *testing.T) {
	o := Options{Own: []string{"VAULT_*", "BAO_*"}}
	p, err := Find([]string{"VAULT_TOKEN=vault:login", "VAULT_ADDR=${vault:p#k}", "VAULT_ENV_PASSTHROUGH=VAULT_ROLE, X"}, o)
	if err != nil {
		t.Fatal(err)
	}
	s := store()
	got, err := p.Resolve(t.Context(), s, cred.Redact("hvs.token"))
	if err != nil || len(got) != 1 || got["VAULT_TOKEN"].Reveal() != "hvs.token" || s.rounds != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if keep := p.Passthrough(); !p.Login() || !slices.Contains(keep, "VAULT_ADDR") || !slices.Contains(keep, "BAO_CACERT") || !slices.Contains(keep, "VAULT_ROLE") || !slices.Contains(keep, "X") {
		t.Errorf("kept: %q", keep)
	}
	if _, err := p.Resolve(t.Context(), s, cred.Redacted{}); err == nil || !strings.Contains(err.Error(), "VAULT_TOKEN") {
		t.Errorf("no token and no error: %v", err)
	}
}

func TestTemplatesAsKeysAreLeftToWhoCan(t *testing.T) {
	o := Options{Evaluate: func(text string, data map[string]any) (string, error) {
		if text == "${ fail }" {
			return "", errors.New("no such function")
		}
		return fmt.Sprint(text, "=", data["user"]), nil
	}}
	got, err := resolve(t, store(), o, "X=vault:secret/data/db#${ .user }", "Y=<${vault:secret/data/db#${.user}}>")
	if err != nil || got["X"] != "${ .user }=app" || got["Y"] != "<${.user}=app>" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := resolve(t, store(), o, "X=vault:secret/data/db#${ fail }"); err == nil || !strings.Contains(err.Error(), "X: secret/data/db#${ fail }: no such function") {
		t.Error(err)
	}
}

func TestWhatRefersToNothingIsLeftAlone(t *testing.T) {
	p, err := Find([]string{
		"A=vault:8200", "B=vault:secret/data/db", "LATCHKEY_X=vault:p#k", "LATCHKEY_CONFIG=${vault:p#k}", "no equals sign", "=odd", "D=", "E=x", "E=vault:second#k",
	}, Options{Own: []string{"LATCHKEY_*"}})
	if err != nil || !p.Empty() || len(p.Names()) != 0 {
		t.Fatalf("%q, %v", p.Names(), err)
	}
	if notes := p.Notes(); len(notes) != 1 || !strings.HasPrefix(notes[0], "B ") {
		t.Errorf("notes: %q", notes)
	}
	s := store()
	if got, err := p.Resolve(t.Context(), s, cred.Redacted{}); err != nil || len(got) != 0 || s.rounds != 0 {
		t.Errorf("%v, %v after %d rounds", got, err, s.rounds)
	}
	p, err = Find([]string{"B=vault:p#k", "A=${vault:p#k}", "VAULT_ENV_PASSTHROUGH=LATCHKEY_X", "LATCHKEY_X=vault:p#k"}, Options{Own: []string{"LATCHKEY_*"}})
	if err != nil || !slices.Equal(p.Names(), []string{"A", "B", "LATCHKEY_X"}) || p.Empty() {
		t.Errorf("%q, %v", p.Names(), err)
	}
}

// Whatever stands in an environment: no panic, what Resolve gives for a variable was
// a reference, and no error quotes a body.
func FuzzFind(f *testing.F) {
	f.Add("A=vault:secret/data/db#user", "VAULT_ENV_FROM_PATH=kv/plain#1")
	f.Add(`A=>>vault:pki/issue/web#certificate#{"a":1}`, "VAULT_TRANSIT_KEY_ID=k")
	f.Add("A=${vault:v1:x}", "VAULT_TRANSIT_BATCH_SIZE=0")
	f.Fuzz(func(t *testing.T, one, two string) {
		p, err := Find([]string{one, two}, Options{Evaluate: func(string, map[string]any) (string, error) { return "x", nil }})
		if err != nil {
			return
		}
		values, err := p.Resolve(t.Context(), store(), cred.Redact("t"))
		if err != nil {
			return
		}
		for name, v := range values {
			if strings.ContainsRune(v.Reveal(), 0) || name == "" || strings.ContainsAny(name, "=\x00") {
				t.Fatalf("%q", name)
			}
		}
		if p.Empty() && len(values) > 0 {
			t.Fatal("values out of nothing")
		}
	})
}
