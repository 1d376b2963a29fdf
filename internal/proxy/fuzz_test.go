package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest: what a request looks like when it has come through. Whatever path,
// query and headers a client sends, the server gets one request, with one token,
// under /v1/.
func FuzzRequest(f *testing.F) {
	type seed struct{ method, uri, token, auth, namespace, name, value string }
	for _, s := range []seed{
		{"GET", "/v1/secret/a", "", "", "", "X-Trace", "1"},
		{"GET", "/v1/secret/a%2F..%2fb?x=%0d%0aX: y", "mine", "Bearer other", "ns", "Connection", "X-Vault-Token"},
		{"LIST", "/v1/../v1//a/%2e%2e/b/./", "", "bearer  x", "/", "Transfer-Encoding", "chunked"},
		{"PO ST", "/v1/a b\r\nX-Vault-Token: evil", "a\r\nb", "Basic eDp5", "root", "X-Vault-Token", "second"},
		{"GET", "http://evil/v1/a#b", "", "", "", "Host", "evil"},
		{"GET", "/v1/%00/\xff?\x00", "", "", "", "Content-Length", "5"},
		{"OPTIONS", "*", "", "", "", "Upgrade", "websocket"},
	} {
		f.Add(s.method, s.uri, s.token, s.auth, s.namespace, s.name, s.value)
	}
	b := set(f, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }, nil)
	f.Fuzz(func(t *testing.T, method, uri, token, auth, ns, name, value string) {
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			return
		}
		b.mu.Lock()
		b.heard = nil
		b.mu.Unlock()
		// As net/http's server hands it over, and a little worse.
		r := &http.Request{
			Method: method, URL: u, RequestURI: uri, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, Header: http.Header{},
		}
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		for k, v := range map[string]string{"X-Vault-Token": token, "Authorization": auth, "X-Vault-Namespace": ns} {
			if v != "" {
				r.Header[k] = append(r.Header[k], v)
			}
		}
		w := &kept{sink: sink{header: http.Header{}}}
		b.handler.ServeHTTP(w, r)
		if strings.Contains(w.text.String(), "CANARY") {
			t.Errorf("%q answers %q", uri, w.text.String())
		}
		if to := w.header.Get("Location"); w.status == 307 && (!strings.HasPrefix(to, "/v1/") || strings.ContainsAny(to, "\r\n")) {
			t.Errorf("%q is redirected to %q", uri, to)
		}
		got := b.requests()
		if len(got) > 1 {
			t.Fatalf("%q became %d requests: %+v", uri, len(got), got)
		}
		for _, g := range got {
			if !strings.HasPrefix(g.uri, "/v1/") || dotted(g.uri) || g.method != method {
				t.Errorf("%q %q was sent as %q %q", method, uri, g.method, g.uri)
			}
			tokens, auths := g.header["X-Vault-Token"], g.header["Authorization"]
			_, isBearer := bearer(g.header)
			if len(tokens) > 1 || len(auths) > 1 || len(tokens) == 1 && isBearer {
				t.Errorf("sent %q and %q", tokens, auths)
			}
			if len(tokens) == 1 && tokens[0] == canary && (strings.TrimSpace(token) != "" && token != canary) {
				t.Errorf("ours was sent in the place of %q", token)
			}
			if g.header.Get("X-Vault-Request") == "" {
				t.Errorf("sent without X-Vault-Request: %v", g.header)
			}
			for _, n := range []string{"Connection", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Keep-Alive"} {
				if g.header[n] != nil && !upgrades(r.Header) {
					t.Errorf("sent %s", n)
				}
			}
		}
	})
}

// kept is a ResponseWriter that remembers.
type kept struct {
	sink
	status int
	text   strings.Builder
}

func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(p []byte) (int, error) { return k.text.Write(p) }
