package secretfile

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/hashicorp/vault/api"

	"latchkey/internal/vault"
)

// recorded are answers of Vault 1.21, tokens shortened.
var recorded = map[string]string{
	"key-value, version 2": `{"request_id":"d2c16fd3-9ed5-1a5a-a41d-1f484f4408e7","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"big":1.2345678901234568e+29,"empty":{},"exp":1000,"f":0.1,"list":[],"neg":-0,"nested":{"a":[1,"x",null,true],"z":1},"password":"a\u003cb\u003e\u0026c é \u2028\"\\\n\ttab"},"metadata":{"created_time":"2026-11-22T03:45:59.74490028Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`,
	"key-value, version 1": `{"request_id":"a83bf1f0-d392-a72f-e743-15c77405cd7f","lease_id":"","renewable":false,"lease_duration":1800,"data":{"a":"b","ttl":"30m"},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`,
	"cubbyhole":            `{"request_id":"248f077b-0095-2ab6-ecf2-0a7272dc5a15","lease_id":"","renewable":false,"lease_duration":0,"data":{"x":1},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"cubbyhole"}`,
	"lease":                `{"request_id":"5b6f7bf2-4647-e26a-5563-0ef27769cf79","lease_id":"database/creds/app/2f6a614c4aa2","renewable":true,"lease_duration":3600,"data":{"password":"p-&-w","username":"v-token-app"},"wrap_info":null,"warnings":["TTL of \"768h\" exceeded the effective max_ttl of \"1h\"; TTL value is capped accordingly"],"auth":null,"mount_type":"database"}`,
	"token":                `{"request_id":"5b6f7bf2-4647-e26a-5563-0ef27769cf79","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":{"client_token":"hvs.CAESIKslmx9uFYsf","accessor":"4HniI7lFFNp0JlU20oNGFTq0","policies":["default"],"token_policies":["default"],"metadata":null,"lease_duration":3600,"renewable":true,"entity_id":"","token_type":"service","orphan":false,"mfa_requirement":null,"num_uses":0},"mount_type":"token"}`,
	"token of a person":    `{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{},"wrap_info":null,"warnings":[],"auth":{"client_token":"hvs.x","accessor":"a","policies":["default","team"],"token_policies":["default"],"identity_policies":["team"],"metadata":{"role_name":"r"},"lease_duration":60,"renewable":false,"entity_id":"e","token_type":"batch","orphan":true,"mfa_requirement":null,"num_uses":0}}`,
	"wrapped":              `{"request_id":"","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":{"token":"hvs.CAESIBRNJk1aCJ9yrDUoB71","accessor":"OI9MPeZ6RJob3WNZeT7kgNt7","ttl":60,"creation_time":"2026-11-22T03:45:59.845823455Z","creation_path":"kv1/x"},"warnings":null,"auth":null,"mount_type":""}`,
	"no common fields":     `{"issuer":"http://127.0.0.1:18733/v1/identity/oidc","response_types_supported":["id_token"]}`,
	"an older server":      `{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{"n":12345678901234567890},"wrap_info":null,"warnings":null,"auth":null}`,
}

// theirs is what vault-lambda-extension writes: the answer as the server's client for
// Go understands it. It writes <, > and & escaped; plain is the same without that.
func theirs(t testing.TB, body string) (file, plain []byte) {
	t.Helper()
	s, err := api.ParseSecret(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Skip(err)
	}
	if file, err = json.MarshalIndent(s, "", "  "); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	return file, bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// answering is a server that answers everything with one text.
type answering struct {
	body string
	c    *vault.Client
}

func newAnswering(t testing.TB) *answering {
	a := &answering{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(a.body)) }))
	var err error
	if a.c, err = vault.New(vault.Config{Address: srv.URL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.c.Close(); srv.Close() })
	return a
}

func TestAFileIsWhatVaultLambdaExtensionWrites(t *testing.T) {
	a := newAnswering(t)
	for name, body := range recorded {
		t.Run(name, func(t *testing.T) {
			a.body = body
			s, err := a.c.Read(t.Context(), "any", nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := encode(s)
			if err != nil {
				t.Fatal(err)
			}
			file, want := theirs(t, body)
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if !reflect.DeepEqual(parsed(t, got), parsed(t, file)) {
				t.Errorf("a reader does not see the same in\n%s\nand\n%s", got, file)
			}
		})
	}
}

func parsed(t testing.TB, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTheSumKnowsAllButTheRequest(t *testing.T) {
	one := sumOf([]byte("{\n  \"request_id\": \"a\",\n  \"lease_id\": \"l\"\n}"))
	if one != sumOf([]byte("{\n  \"request_id\": \"b\",\n  \"lease_id\": \"l\"\n}")) {
		t.Error("another request makes another sum")
	}
	if one == sumOf([]byte("{\n  \"request_id\": \"a\",\n  \"lease_id\": \"m\"\n}")) {
		t.Error("another lease makes the same sum")
	}
}

// Whatever a server answers, the data come through digit by digit.
func FuzzEncode(f *testing.F) {
	for _, body := range recorded {
		f.Add(body)
	}
	f.Add(`{"data":{"n":1e999,"m":-0.0,"k":[0.10,"\ud800"]}}`)
	a := newAnswering(f)
	f.Fuzz(func(t *testing.T, body string) {
		a.body = body
		s, err := a.c.Read(t.Context(), "any", nil)
		if err != nil {
			t.Skip()
		}
		got, err := encode(s)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if !json.Valid(got) || bytes.HasSuffix(got, []byte("\n")) {
			t.Fatalf("%q becomes %q", body, got)
		}
		_, want := theirs(t, body)
		var ours, wanted struct{ Data json.RawMessage }
		if json.Unmarshal(got, &ours) != nil || json.Unmarshal(want, &wanted) != nil {
			t.Fatalf("%q becomes %s", body, got)
		}
		if s.RequestID != "" && !bytes.Equal(ours.Data, wanted.Data) {
			t.Errorf("%q: data is\n%s\nwant\n%s", body, ours.Data, wanted.Data)
		}
	})
}
