package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/meter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside counts who got in, and keeps the last of them.
type inside struct {
	n    int
	last *http.Request
}

func (i *inside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.n++
	i.last = r
	w.WriteHeader(http.StatusNoContent)
}

// guarded is a handler with the guards before it.
func guarded(t testing.TB, o Options) (http.Handler, *inside) {
	t.Helper()
	in := &inside{}
	h, err := Handler(in, o)
	if err != nil {
		t.Fatal(err)
	}
	return h, in
}

// ask makes a request as it comes over the wire from a program on this machine;
// headers are "Name: value".
func ask(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:8200"
	if strings.HasPrefix(target, "/") {
		r.URL.Scheme, r.URL.Host = "", "" // httptest fills in what a server does not
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

// refused says how a request was refused: the status and the reason; "" and 204
// for one that got in. The form of a refusal is tested on the way.
func refused(t testing.TB, h http.Handler, r *http.Request) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusNoContent {
		return w.Code, ""
	}
	var body struct{ Errors []string }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 || body.Errors[0] == "" {
		t.Fatalf("a refusal of another form: %v, %s", err, w.Body)
	}
	if ct, cc := w.Header().Get("Content-Type"), w.Header().Get("Cache-Control"); ct != "application/json" || cc != "no-store" {
		t.Errorf("Content-Type %q, Cache-Control %q", ct, cc)
	}
	if n := w.Header().Get("Content-Length"); n != fmt.Sprint(w.Body.Len()) {
		t.Errorf("Content-Length %s for %d", n, w.Body.Len())
	}
	return w.Code, body.Errors[0]
}

func TestNoGuardCostsNothing(t *testing.T) {
	next := &inside{}
	h, err := Handler(next, Options{Namespace: "ns", Unix: true})
	if err != nil || h != http.Handler(next) {
		t.Errorf("%T, %v", h, err)
	}
}

func TestEachGuardLetsInAndRefuses(t *testing.T) {
	key := func() (cred.Redacted, error) { return cred.Redact("open sesame"), nil }
	strict, header, token := Options{Strict: true}, Options{RequireHeader: true}, Options{Token: key}
	gone := func() func() (cred.Redacted, error) {
		n := 0
		return func() (cred.Redacted, error) {
			if n++; n == 1 {
				return cred.Redact("x"), nil
			}
			return cred.Redacted{}, errors.New("no such file")
		}
	}
	const get = "GET /v1/secret/data/app/db"
	for _, tc := range []struct {
		name string
		o    Options
		line string
		head []string
		code int
		has  string
	}{
		{"the header", header, get, []string{"X-Vault-Request: true"}, 204, ""},
		{"the header in another spelling", header, get, []string{"x-vault-request: true"}, 204, ""},
		{"no header", header, get, nil, 412, "X-Vault-Request"},
		{"the header twice", header, get, []string{"X-Vault-Request: true", "X-Vault-Request: true"}, 412, "exactly one"},
		{"another value", header, get, []string{"X-Vault-Request: True"}, 412, "exactly one"},
		{"no value", header, get, []string{"X-Vault-Request: "}, 412, "exactly one"},
		{"our own endpoints want the header too", header, "GET /agent/v1/health", nil, 412, "exactly one"},

		{"a program", strict, get, []string{"User-Agent: Go-http-client/1.1", "X-Vault-Token: t", "Referer: x"}, 204, ""},
		{"a proxy", strict, get, []string{"X-Forwarded-For: 10.0.0.1"}, 403, "X-Forwarded-*"},
		{"a proxy that says nothing", strict, get, []string{"X-Forwarded-For: "}, 403, "X-Forwarded-*"},
		{"a proxy of another kind", strict, get, []string{"X-Forwarded-Proto-Version: 1"}, 403, "X-Forwarded-*"},
		{"a proxy of a short kind", strict, get, []string{"X-Forwarded: for=1"}, 403, "X-Forwarded"},
		{"a proxy by the standard", strict, get, []string{"Forwarded: for=10.0.0.1"}, 403, "Forwarded"},
		{"a proxy that names itself", strict, get, []string{"Via: 1.1 squid"}, 403, "Via"},
		{"a page", strict, get, []string{"Origin: http://127.0.0.1:8200"}, 403, "Origin"},
		{"a sandboxed page", strict, get, []string{"Origin: null"}, 403, "Origin"},
		{"a page that reads", strict, get, []string{"Sec-Fetch-Site: same-origin"}, 403, "Sec-Fetch-*"},
		{"an image", strict, get, []string{"Sec-Fetch-Dest: image"}, 403, "Sec-Fetch-*"},
		{"what browsers may send next year", strict, get, []string{"Sec-Fetch-Storage-Access: none"}, 403, "Sec-Fetch-*"},
		{"our own endpoints want it too", strict, "GET /agent/v1/metrics", []string{"Via: x"}, 403, "Via"},
		{"a forward proxy is asked", strict, "GET http://127.0.0.1:8200/v1/x", nil, 403, "forward proxy"},
		{"two hosts", strict, get, []string{"Host: evil.example"}, 403, "two hosts"},
		{"the same host twice", strict, get, []string{"Host: 127.0.0.1:8200"}, 204, ""},

		{"the token", token, get, []string{"X-Latchkey-Token: open sesame"}, 204, ""},
		{"no token", token, get, nil, 403, "exactly one header X-Latchkey-Token"},
		{"two tokens", token, get, []string{"X-Latchkey-Token: open sesame", "X-Latchkey-Token: open sesame"}, 403, "exactly one"},
		{"an empty token", token, get, []string{"X-Latchkey-Token: "}, 403, "is not the one"},
		{"the beginning of the token", token, get, []string{"X-Latchkey-Token: open sesam"}, 403, "is not the one"},
		{"more than the token", token, get, []string{"X-Latchkey-Token: open sesames"}, 403, "is not the one"},
		{"our own endpoints want the token too", token, "GET /agent/v1/health", nil, 403, "exactly one"},
		{"a token that is not there any more", Options{Token: gone()}, get, []string{"X-Latchkey-Token: x"}, 503, "cannot be read"},

		{"reading", Options{ReadOnly: true}, get, nil, 204, ""},
		{"looking", Options{ReadOnly: true}, "HEAD /v1/x", nil, 204, ""},
		{"listing", Options{ReadOnly: true}, "LIST /v1/x", nil, 204, ""},
		{"writing", Options{ReadOnly: true}, "PUT /v1/x", nil, 405, "read-only"},
		{"posting", Options{ReadOnly: true}, "POST /v1/auth/token/lookup-self", nil, 405, "read-only"},
		{"a method in small letters", Options{ReadOnly: true}, "get /v1/x", nil, 405, "read-only"},
		{"clearing the cache", Options{ReadOnly: true}, "POST /agent/v1/cache-clear", nil, 405, "read-only"},
		{"health of a read-only listener", Options{ReadOnly: true}, "GET /agent/v1/health", nil, 204, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, in := guarded(t, tc.o)
			method, target, _ := strings.Cut(tc.line, " ")
			code, text := refused(t, h, ask(method, target, tc.head...))
			if code != tc.code || !strings.Contains(text, tc.has) || (code == 204) != (in.n == 1) {
				t.Errorf("%d %q, %d got in", code, text, in.n)
			}
		})
	}
}

func TestAReadOnlyListenerSaysWhatItAllows(t *testing.T) {
	h, _ := guarded(t, Options{ReadOnly: true})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, ask("DELETE", "/v1/x"))
	if got := w.Header().Get("Allow"); got != "GET, HEAD, LIST" {
		t.Errorf("Allow: %s", got)
	}
}

func TestHostsOfThisMachineAreServed(t *testing.T) {
	o := Options{Strict: true}
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:8200": true, "127.0.0.1": true, "127.0.0.1:1": true, "127.9.9.9:65535": true,
		"[::1]": true, "[::1]:8200": true, "[::ffff:127.0.0.1]:8200": true, "[0:0:0:0:0:0:0:1]": true,

		"": false, "localhost.": false, "a.localhost": false, "localhost.evil.example": false, "evil.example": false,
		"localhost:": false, "localhost:http": false, "localhost:1:2": false, "localhost:123456": false, "localhost@evil": false,
		"0.0.0.0": false, "0": false, "127.1": false, "127.0.0.1.": false, "0x7f.0.0.1": false, "2130706433": false, "0177.0.0.1": false,
		"::1": false, "[::1": false, "[::1]x": false, "[::1%lo]:1": false, "[127.0.0.1]": false, "[::]": false, "[localhost]": false,
		"192.168.0.1": false, "169.254.169.254": false, "only.example:8200": false, "10.0.0.5:8200": false, "[fd00::2]": false,
		"127.0.0.1 ": false, " localhost": false, ":8200": false,
	} {
		h, _ := guarded(t, o)
		r := ask("GET", "/v1/x")
		r.Host = host
		code, _ := refused(t, h, r)
		if got := code == 204; got != want {
			t.Errorf("%q: %d", host, code)
		}
	}
}

// Nobody rebinds a name to a unix socket, and clients write any Host there.
func TestASocketHasNoHost(t *testing.T) {
	h, _ := guarded(t, Options{Strict: true, Unix: true})
	r := ask("GET", "/v1/x")
	r.Host = "vault"
	if code, text := refused(t, h, r); code != 204 {
		t.Errorf("%d %s", code, text)
	}
	r.Header.Set("Origin", "null")
	if code, _ := refused(t, h, r); code != 403 {
		t.Errorf("a page got %d", code)
	}
}

func TestTheFirstGuardInOrderSpeaks(t *testing.T) {
	o := Options{
		Strict: true, RequireHeader: true, Unix: true, Peers: []string{"uid:1"}, Token: Fixed(cred.Redact("t")), ReadOnly: true, AllowPaths: []string{"a"},
		Peer: func(r *http.Request) (Peer, bool) { return Peer{UID: 1}, r.Header.Get("Friend") != "" },
	}
	h, in := guarded(t, o)
	r := ask("PUT", "/v1/b", "Via: x")
	for _, step := range []struct {
		code int
		mend func()
	}{
		{403, func() { r.Header.Del("Via") }},
		{412, func() { r.Header.Set("X-Vault-Request", "true") }},
		{403, func() { r.Header.Set("Friend", "yes") }},
		{403, func() { r.Header.Set(Header, "t") }},
		{405, func() { r.Method = "GET"; r.Header.Set(Header, "t") }},
		{403, func() { r.URL.Path = "/v1/a"; r.Header.Set(Header, "t") }},
		{204, func() {}},
	} {
		code, text := refused(t, h, r)
		if code != step.code {
			t.Fatalf("%d %s, want %d", code, text, step.code)
		}
		step.mend()
	}
	if got := in.last.Header; got.Get(Header) != "" || got.Get("X-Vault-Request") != "true" {
		t.Errorf("went on with %v", got)
	}
}

func TestPeersAreServedByUserAndGroup(t *testing.T) {
	for _, tc := range []struct {
		name  string
		peers []string
		peer  Peer
		known bool
		want  int
	}{
		{"the user", []string{"uid:1000"}, Peer{UID: 1000}, true, 204},
		{"another user", []string{"uid:1000"}, Peer{UID: 1001, GID: 1000}, true, 403},
		{"root is no exception", []string{"uid:1000"}, Peer{}, true, 403},
		{"root by name", []string{"user:root"}, Peer{GID: 5}, true, 204},
		{"one of several", []string{"uid:1", "gid:7", "uid:2"}, Peer{UID: 2}, true, 204},
		{"the group", []string{"gid:7"}, Peer{UID: 1, GID: 7}, true, 204},
		{"one of the groups", []string{"gid:7"}, Peer{UID: 1, GID: 1, Groups: []uint32{3, 7}}, true, 204},
		{"none of the groups", []string{"gid:7"}, Peer{UID: 7, GID: 1, Groups: []uint32{3}}, true, 403},
		{"nobody knows who", []string{"uid:0"}, Peer{}, false, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, _ := guarded(t, Options{Unix: true, Peers: tc.peers, Peer: func(*http.Request) (Peer, bool) { return tc.peer, tc.known }})
			if code, text := refused(t, h, ask("GET", "/v1/x")); code != tc.want {
				t.Errorf("%d %s", code, text)
			}
		})
	}
}

func TestGuardsThatCannotStandAreToldWithTheirPlace(t *testing.T) {
	someone := func(*http.Request) (Peer, bool) { return Peer{}, true }
	pos := config.Pos{File: "f.hcl", Line: 3}
	for _, tc := range []struct {
		name, key, has string
		o              Options
	}{
		{"peers on tcp", "allow_peers", "unix", Options{Peers: []string{"uid:1"}, Peer: someone}},
		{"peers that the system does not tell", "allow_peers", "cannot be held", Options{Unix: true, Peers: []string{"uid:1"}}},
		{"no such user", "allow_peers", "user:no-such-user", Options{Unix: true, Peer: someone, Peers: []string{"user:no-such-user"}}},
		{"no such group", "allow_peers", "group:no-such-group", Options{Unix: true, Peer: someone, Peers: []string{"group:no-such-group"}}},
		{"no number", "allow_peers", "uid:x", Options{Unix: true, Peer: someone, Peers: []string{"uid:x"}}},
		{"no user has this number", "allow_peers", "uid:4294967295", Options{Unix: true, Peer: someone, Peers: []string{"uid:4294967295"}}},
		{"no name", "allow_peers", "group:", Options{Unix: true, Peer: someone, Peers: []string{"group:"}}},
		{"no kind", "allow_peers", "root", Options{Unix: true, Peer: someone, Peers: []string{"root"}}},
		{"an empty token", "caller_token_env", "empty", Options{Token: Fixed(cred.Redacted{})}},
		{"an empty path", "allow_paths", "no path", Options{AllowPaths: []string{""}}},
		{"a star inside", "allow_paths", "before its end", Options{AllowPaths: []string{"secret/*/x"}}},
		{"two stars", "allow_paths", "before its end", Options{AllowPaths: []string{"secret/**"}}},
		{"a plus and a star", "allow_paths", "+*", Options{AllowPaths: []string{"secret/+*"}}},
		{"the version in front", "allow_paths", "v1/", Options{AllowPaths: []string{"v1/secret"}}},
		{"dot segments", "allow_paths", "dot segments", Options{AllowPaths: []string{"secret/../x"}}},
		{"two slashes", "allow_paths", "two slashes", Options{AllowPaths: []string{"secret//x"}}},
		{"an encoded path", "allow_paths", "'%'", Options{AllowPaths: []string{"secret/a%20b"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Name, tc.o.Pos = "listener[1]", pos
			h, err := Handler(&inside{}, tc.o)
			var p *config.Problem
			if h != nil || !errors.As(err, &p) || p.Key != "listener[1]."+tc.key || p.Pos != pos || !strings.Contains(p.Text, tc.has) || p.Hint == "" {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
	t.Run("several at once", func(t *testing.T) {
		_, err := Handler(&inside{}, Options{AllowPaths: []string{"", "ok", "a//b"}})
		if err == nil || strings.Count(err.Error(), "allow_paths") != 2 || strings.Contains(err.Error(), "ok") {
			t.Error(err)
		}
	})
}

// counter counts by name and labels.
type counter struct {
	meter.Meter
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) Count(name string, n int, labels ...meter.Label) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[fmt.Sprint(name, labels)] += n
}

func TestRefusalsAreCountedAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := &counter{n: map[string]int{}}
		h, _ := guarded(t, Options{RequireHeader: true, ReadOnly: true, Log: slog.New(slog.NewTextHandler(&log, nil)), Meter: m})
		for range 5 {
			refused(t, h, ask("GET", "/v1/secret/data/precious?q=precious"))
			time.Sleep(time.Second)
		}
		refused(t, h, ask("PUT", "/v1/x", "X-Vault-Request: true"))
		time.Sleep(time.Minute)
		refused(t, h, ask("GET", "/v1/x"))
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "reason=header") || !strings.Contains(lines[1], "reason=method") || !strings.Contains(lines[2], "others_like_it=4") {
			t.Errorf("%q", lines)
		}
		if strings.Contains(log.String(), "precious") {
			t.Error("a path was logged")
		}
		if m.n["guard.refused[{reason header}]"] != 6 || m.n["guard.refused[{reason method}]"] != 1 {
			t.Errorf("%v", m.n)
		}
	})
}

func TestAListenerBlockSaysWhichGuardsStand(t *testing.T) {
	l := config.Listener{
		Type: "unix", RequireRequestHeader: true, Guard: true, CallerTokenEnv: "TOKEN", AllowPaths: []string{"a"}, AllowPeers: []string{"uid:1"},
		ReadOnly: true, Pos: config.Pos{Line: 4},
	}
	o := For(l, cred.Redact("t"))
	token, err := o.Token()
	if !o.RequireHeader || !o.Strict || !o.Unix || !o.ReadOnly || len(o.AllowPaths) != 1 || len(o.Peers) != 1 || o.Pos.Line != 4 ||
		err != nil || !token.Equal(cred.Redact("t")) {
		t.Errorf("%+v, %v", o, err)
	}
	if o := For(config.Listener{Type: "tcp"}, cred.Redact("of another listener")); o.Token != nil || o.Unix {
		t.Errorf("%+v", o)
	}
	if o := For(config.Listener{CallerTokenFile: "/no/such/file"}, cred.Redacted{}); o.Token == nil {
		t.Errorf("%+v", o)
	}
}

// Over a real connection net/http has its own opinion about headers and hosts.
func TestGuardsStandBeforeARealServer(t *testing.T) {
	h, in := guarded(t, Options{Strict: true, RequireHeader: true, AllowPaths: []string{"secret/data/app/*"}})
	s := httptest.NewServer(h)
	defer s.Close()
	for _, tc := range []struct {
		name, raw string
		want      int
	}{
		{"a good one", "GET /v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 204},
		{"an old one without a host", "GET /v1/secret/data/app/x HTTP/1.0\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"rebound", "GET /v1/secret/data/app/x HTTP/1.1\r\nHost: rebound.example:8200\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"rebound, by the request line", "GET http://rebound.example/v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"a forward proxy", "GET http://localhost/v1/secret/data/app/x HTTP/1.1\r\nHost: rebound.example\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"a strange spelling", "GET /v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\noRIGIN: x\r\n\r\n", 403},
		{"a header in the trailer is none", "GET /v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nTrailer: X-Vault-Request\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Vault-Request: true\r\n\r\n", 412},
		{"dots", "GET /v1/secret/data/app/../other HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"encoded dots", "GET /v1/secret/data/app/%2e%2E/other HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"an authority instead of a path", "GET //v1/secret/data/app/x HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"CONNECT", "CONNECT localhost:8200 HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 403},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nX-Vault-Request: true\r\n\r\n", 200}, // net/http's own, see listen
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := in.n
			resp := talk(t, s.Listener.Addr().String(), tc.raw)
			if resp.StatusCode != tc.want || (tc.want == 204) != (in.n > before) {
				text, _ := io.ReadAll(resp.Body)
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
}

func BenchmarkGuards(b *testing.B) {
	for _, bm := range []struct {
		name string
		o    Options
	}{
		{"none", Options{}},
		{"header", Options{RequireHeader: true}},
		{"strict", Options{RequireHeader: true, Strict: true}},
		{"token", Options{RequireHeader: true, Token: Fixed(cred.Redact(strings.Repeat("k", 64)))}},
		{"paths", Options{RequireHeader: true, ReadOnly: true, AllowPaths: []string{"secret/data/other/*", "secret/+/app/*"}}},
		{"all", Options{RequireHeader: true, Strict: true, ReadOnly: true, AllowPaths: []string{"secret/data/app/*"}, Token: Fixed(cred.Redact(strings.Repeat("k", 64))),
			Unix: true, Peers: []string{"gid:7"}, Peer: func(*http.Request) (Peer, bool) { return Peer{Groups: []uint32{1, 2, 7}}, true }}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			h, err := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), bm.o)
			if err != nil {
				b.Fatal(err)
			}
			r := ask("GET", "/v1/secret/data/app/db", "X-Vault-Request: true", "X-Vault-Token: hvs.x", "User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip")
			token := []string{strings.Repeat("k", 64)}
			b.ReportAllocs()
			for b.Loop() {
				r.Header[Header] = token
				h.ServeHTTP(nil, r)
			}
		})
	}
}
