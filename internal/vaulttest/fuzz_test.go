package vaulttest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Whatever a client sends, the fake answers and does not fall over.
func FuzzAnyRequestIsAnswered(f *testing.F) {
	s, err := Start()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	a := s.Admin(f)
	for path, kind := range map[string]string{"one": "kv", "pki": "pki", "mq": "rabbitmq"} {
		a.OK("POST", "sys/mounts/"+path, Map{"type": kind})
	}
	for kind := range methods {
		a.OK("POST", "sys/auth/"+kind, Map{"type": kind})
	}
	for _, seed := range [][3]string{
		{"PUT", "secret/data/x", `{"data":{"a":1},"options":{"cas":0}}`}, {"GET", "secret/data/x?version=2", ""},
		{"PUT", "secret/undelete/x", `{"versions":[1]}`}, {"LIST", "secret/metadata/", ""}, {"PUT", "one/a", `{"ttl":"x"}`},
		{"PUT", "auth/approle/role/r", `{"token_ttl":"1h","bind_secret_id":"x"}`}, {"PUT", "auth/approle/login", `{"role_id":1}`},
		{"PUT", "auth/jwt/config", `{"jwt_validation_pubkeys":"x"}`}, {"PUT", "auth/jwt/role/r", `{"user_claim":"s"}`},
		{"PUT", "auth/kubernetes/login", `{"role":"r","jwt":"a.e30.c"}`}, {"PUT", "auth/cert/certs/x", `{"certificate":"x"}`},
		{"PUT", "pki/root/generate/internal", `{"common_name":"x"}`}, {"PUT", "pki/issue/r", `{"common_name":"x"}`},
		{"PUT", "auth/token/create", `{"policies":["a"],"ttl":"-1h","num_uses":-1}`}, {"PUT", "sys/wrapping/unwrap", `{"token":"x"}`},
		{"PUT", "sys/policies/acl/p", `{"policy":"path \"x\" { capabilities = [\"read\"] }"}`}, {"GET", "sys/internal/ui/mounts/x", ""},
		{"PUT", "sys/leases/renew", `{"lease_id":"x"}`}, {"PATCH", "secret/data/x", `{}`}, {"GET", "//..", "null"}, {"PUT", "sys/seal", "[]"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		name, query, _ := strings.Cut(path, "?")
		req := &http.Request{
			Method: method, URL: &url.URL{Path: "/v1/" + name, RawQuery: query}, Header: http.Header{"X-Vault-Token": {s.RootToken}},
			Body: http.NoBody, RemoteAddr: "127.0.0.1:1",
		}
		req.Body = readCloser{strings.NewReader(body)}
		w := &held{header: http.Header{}, status: http.StatusOK}
		(&api{s}).ServeHTTP(w, req)
		s.Unseal()
		if w.status < 200 || w.status > 599 {
			t.Errorf("%s %s: status %d", method, path, w.status)
		}
	})
}

type readCloser struct{ *strings.Reader }

// Close implements io.Closer.
func (readCloser) Close() error { return nil }

func FuzzPolicy(f *testing.F) {
	f.Add(defaultPolicy)
	f.Add(`{"path":{"a":{"capabilities":["read"]}}}`)
	f.Add("path \"a\" { capabilities = [\"fly\"] }")
	f.Add("# path\npath \"a/+/b*\" {\n capabilities = [ \"deny\" , ]\n}")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parsePolicy(text)
		if err != nil {
			return
		}
		for p, cs := range a {
			for _, c := range cs {
				if !slices.Contains(caps, c) {
					t.Errorf("path %q: capability %q", p, c)
				}
			}
			fits(p, p)
		}
	})
}
