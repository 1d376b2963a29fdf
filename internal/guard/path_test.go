package guard

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"
)

// talk sends what it is given, byte for byte, and reads the answer's head.
func talk(t *testing.T, address, raw string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func TestOnlyListedPathsAreServed(t *testing.T) {
	for _, tc := range []struct {
		pattern, line string
		want          bool
	}{
		{"secret/data/app/db", "GET /v1/secret/data/app/db", true},
		{"/v1/secret/data/app/db", "GET /v1/secret/data/app/db", true},
		{"secret/data/app/db", "PUT /v1/secret/data/app/db?version=2", true},
		{"secret/data/app/db", "GET /v1/secret/data/app/db/", true},
		{"secret/data/app/db/", "GET /v1/secret/data/app/db", true},
		{"secret/data/app/db", "GET /v1/secret/data/app/dbx", false},
		{"secret/data/app/db", "GET /v1/secret/data/app", false},
		{"secret/data/app/db", "GET /v1/secret/data/app/db/x", false},
		{"secret/data/app/db", "GET /v1/Secret/data/app/db", false},
		{"secret/data/app/db", "GET /V1/secret/data/app/db", false},
		{"secret/data/app/db", "GET /secret/data/app/db", false},
		{"secret/data/app/my key", "GET /v1/secret/data/app/my%20key", true},
		{"secret/data/app/ключ", "GET /v1/secret/data/app/%D0%BA%D0%BB%D1%8E%D1%87", true},

		{"secret/data/app/*", "GET /v1/secret/data/app/db", true},
		{"secret/data/app/*", "GET /v1/secret/data/app/a/b/c", true},
		{"secret/data/app/*", "GET /v1/secret/data/app/%64%62", true},
		{"secret/data/app/*", "GET /v1/secret/data/app/a:b@c=d+e,f", true},
		{"secret/data/app/*", "GET /v1/secret/data/app", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/", false},
		{"secret/data/app/*", "GET /v1/secret/data/apple", false},
		{"secret/data/app*", "GET /v1/secret/data/apple/x", true},
		{"secret/data/app*", "GET /v1/secret/data/app", true},
		{"*", "DELETE /v1/sys/mounts/x", true},
		{"*", "POST /agent/v1/quit", false},
		{"/*", "POST /agent/v1/quit", true},

		{"secret/+/app/*", "GET /v1/secret/data/app/db", true},
		{"secret/+/app/*", "GET /v1/secret/metadata/app/db", true},
		{"secret/+/app/*", "GET /v1/secret/a/b/app/db", false},
		{"secret/data/+", "GET /v1/secret/data/x", true},
		{"secret/data/+", "GET /v1/secret/data", false},
		{"secret/data/+", "GET /v1/secret/data/", false},
		{"secret/data/+", "GET /v1/secret/data/x/y", false},
		{"+/data", "GET /v1//data", false},
		{"a+b", "GET /v1/a+b", true},
		{"a+b", "GET /v1/axb", false},

		// Lists are asked for with the slash and without.
		{"secret/metadata/app/*", "LIST /v1/secret/metadata/app", true},
		{"secret/metadata/app/*", "LIST /v1/secret/metadata/app/", true},
		{"secret/metadata/app/*", "GET /v1/secret/metadata/app?list=true", true},
		{"secret/metadata/app/*", "GET /v1/secret/metadata/app/?x=1&list=1", true},
		{"secret/metadata/app/*", "GET /v1/secret/metadata/app?list=false", false},
		{"secret/metadata/app/*", "GET /v1/secret/metadata/app?list=false&list=true", false},
		{"secret/metadata/app/*", "GET /v1/secret/metadata/app?list=true;x", false},
		{"secret/metadata/app/*", "GET /v1/secret/metadata/app?notalist=true", false},
		{"secret/metadata/app/*", "PUT /v1/secret/metadata/app?list=true", false},
		{"secret/metadata/app", "LIST /v1/secret/metadata/app/", true},

		// What two readers may take for two.
		{"secret/data/app/*", "GET /v1/secret/data/app/../other", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/./db", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/..", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/%2e%2e/other", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/.%2E/other", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/..;/other", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/..%5cother", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/a%2fb", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/a%2Fb", false},
		{"secret/data/app/*", "GET /v1/secret%2Fdata/app/b", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/%252e%252e/x", false},
		{"secret/data/app/*", "GET /v1/secret/data/app//db", false},
		{"secret/data/app/*", "GET /v1//secret/data/app/db", false},
		{"secret/data/app/*", "GET //v1/secret/data/app/db", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/x%00", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/x%0ay", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/x%3fy", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/x%23y", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/%ff", false},
		{"secret/data/app/*", "GET /v1/secret/data/app/...", true},
		{"secret/data/app/*", "GET /v1/secret/data/app/.hidden", true},

		// A namespace in the path is a part of it.
		{"secret/data/app/*", "GET /v1/team/secret/data/app/db", false},
		{"team/secret/data/app/*", "GET /v1/team/secret/data/app/db", true},

		// Our own endpoints.
		{"a", "GET /agent/v1/health", true},
		{"a", "GET /agent/v1/ready", true},
		{"a", "GET /agent/v1/status", true},
		{"a", "GET /agent/v1/metrics?format=prometheus", true},
		{"a", "GET /agent/v1/%68ealth", false},
		{"a", "GET /agent/v1/health/", false},
		{"a", "POST /agent/v1/quit", false},
		{"a", "POST /agent/v1/cache-clear", false},
		{"/agent/v1/cache-clear", "POST /agent/v1/cache-clear", true},
		{"/agent/v1/cache-clear", "GET /v1/agent/v1/cache-clear", false},
	} {
		h, _ := guarded(t, Options{AllowPaths: []string{"never/this", tc.pattern}})
		method, target, _ := strings.Cut(tc.line, " ")
		r := ask(method, "/")
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		code, text := refused(t, h, r)
		if got := code == 204; got != tc.want {
			t.Errorf("%s for %s: %d %s", tc.pattern, tc.line, code, text)
		}
	}
}

func TestAListOfPathsHoldsInOneNamespace(t *testing.T) {
	for _, tc := range []struct {
		configured string
		sent       []string
		want       int
	}{
		{"", nil, 204},
		{"", []string{""}, 204},
		{"", []string{"/"}, 204},
		{"", []string{"team"}, 403},
		{"team/", nil, 204},
		{"team", []string{"team/"}, 204},
		{"/team/", []string{"team"}, 204},
		{"team/sub", []string{"/team/sub/"}, 204},
		{"team", []string{"team", "team"}, 403},
		{"team", []string{"Team"}, 403},
		{"team", []string{"team/sub"}, 403},
		{"team", []string{"team//"}, 403},
		{"team", []string{""}, 403},
		{"team", []string{"secret"}, 403}, // where secret/* would mean another's
		{"team", []string{"root"}, 403},
	} {
		h, _ := guarded(t, Options{AllowPaths: []string{"secret/*"}, Namespace: tc.configured})
		r := ask("GET", "/v1/secret/x")
		if tc.sent != nil {
			r.Header["X-Vault-Namespace"] = tc.sent
		}
		if code, text := refused(t, h, r); code != tc.want {
			t.Errorf("%q in %q: %d %s", tc.sent, tc.configured, code, text)
		}
	}
}

// readings are what a path may come to with somebody who is less careful.
func readings(decoded string) []string {
	all := []string{decoded}
	for range 3 { // decoded again
		more, err := url.PathUnescape(all[len(all)-1])
		if err != nil {
			break
		}
		all = append(all, more)
	}
	for _, s := range all {
		all = append(all, strings.ReplaceAll(s, `\`, "/"))
	}
	for _, s := range all {
		var parts []string
		for p := range strings.SplitSeq(s, "/") {
			p, _, _ = strings.Cut(p, ";")
			parts = append(parts, strings.Trim(p, " \t\r\n\x00"))
		}
		all = append(all, strings.Join(parts, "/"))
	}
	for _, s := range all {
		cut, _, _ := strings.Cut(s, "?")
		cut, _, _ = strings.Cut(cut, "#")
		cut, _, _ = strings.Cut(cut, "\x00")
		all = append(all, cut)
	}
	for _, s := range all {
		all = append(all, path.Clean(s))
	}
	return all
}

// Whatever net/http accepts: what gets through is on the list, however it is read.
func FuzzPathsCannotBeTricked(f *testing.F) {
	for _, s := range []string{
		"/v1/secret/data/app/x", "/v1/secret/data/app/../x", "/v1/secret/data/app/%2e%2e/x", "/v1/secret/data/app/%252e%252e%252fx",
		"/v1/secret/data/app/..;/x", "//v1/secret/data/app/x", "/v1/secret/data/app/%5c..%5cx", "/v1/sys/health/", "http://h/v1/secret/data/app/x",
		"/v1/secret/data/app?list=true", "*", "/agent/v1/health", "/agent/v1/quit", "/v1/secret/data/app/x%00", "/v1/secret/data/app/ /..", "/v1/sys/health%2f..",
	} {
		f.Add("GET", s, "")
		f.Add("LIST", s, "team")
	}
	h, in := guarded(f, Options{AllowPaths: []string{"secret/data/app/*", "sys/health"}})
	f.Fuzz(func(t *testing.T, method, target, namespace string) {
		raw := method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nX-Vault-Namespace: " + namespace + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		before := in.n
		h.ServeHTTP(httptest.NewRecorder(), r)
		if in.n == before {
			return
		}
		if telling[r.URL.Path] {
			return
		}
		if strings.Trim(r.Header.Get("X-Vault-Namespace"), "/") != "" {
			t.Fatalf("%q got in with namespace %q", target, r.Header.Get("X-Vault-Namespace"))
		}
		if strings.Contains(strings.ToLower(r.URL.EscapedPath()), "%2f") {
			t.Fatalf("%q got in with an encoded slash", target)
		}
		for _, p := range readings(r.URL.Path) {
			trimmed := strings.TrimRight(p, "/")
			switch {
			case strings.HasPrefix(p, "/v1/secret/data/app/") && trimmed != "/v1/secret/data/app", trimmed == "/v1/sys/health":
			case trimmed == "/v1/secret/data/app" && lists(r):
			default:
				t.Fatalf("%s %q got in, and may be read as %q", method, target, p)
			}
		}
	})
}

// Whatever net/http accepts: what gets through has none of the headers, in any
// spelling, and exactly one X-Vault-Request.
func FuzzHeadersCannotBeHidden(f *testing.F) {
	const good = "X-Vault-Request: true"
	for _, s := range []string{
		good, good + "\r\nOrigin: x", good + "\r\noRiGiN : x", good + "\nVIA: x", good + "\r\nx-forwarded-for:", good + "\r\nX_Forwarded_For: x",
		good + "\r\nA: b\r\n Origin: folded", good + "\r\nSec-fetch-mode: cors", good + "\r\n\r\nOrigin: in the body", "X-Vault-Request: true, true",
		good + "\r\n" + good, "x-vault-request:true\t", good + "\r\nHost: evil", good + "\r\nForwarded\t: x", good + "\r\nTransfer-Encoding: chunked\r\nTrailer: Origin",
	} {
		f.Add("localhost", s)
	}
	f.Add("evil.example", good)
	f.Add("[::1]:8200", good)
	h, in := guarded(f, Options{Strict: true, RequireHeader: true})
	f.Fuzz(func(t *testing.T, host, raw string) {
		text := "GET /v1/x HTTP/1.1\r\nHost: " + host + "\r\n" + raw + "\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		for name := range r.Header {
			if strings.ContainsAny(name, " \t") {
				return // the server refuses it
			}
		}
		r.Header.Del("Host") // as the server does
		before := in.n
		h.ServeHTTP(httptest.NewRecorder(), r)
		if in.n == before {
			return
		}
		if u, err := url.Parse("http://" + r.Host); err != nil || u.Hostname() != "" && !strings.EqualFold(u.Hostname(), "localhost") && !net.ParseIP(u.Hostname()).IsLoopback() {
			t.Fatalf("Host %q got in: %v", r.Host, err)
		}
		asked := 0
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.TrimSuffix(line, "\r")
			if line == "" {
				break // the body
			}
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				continue // belongs to the line before
			}
			name, value, _ := strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimSpace(name))
			switch {
			case name == "origin", name == "via", name == "forwarded", strings.HasPrefix(name, "x-forwarded-"), strings.HasPrefix(name, "sec-fetch-"):
				t.Fatalf("got in with %q", line)
			case name == "x-vault-request" && strings.TrimSpace(value) == "true":
				asked++
			case name == "x-vault-request":
				t.Fatalf("got in with %q", line)
			}
		}
		if asked != 1 {
			t.Fatalf("got in with %d headers", asked)
		}
	})
}

// A pattern is refused or matches itself, where nothing in it stands for more.
func FuzzPatterns(f *testing.F) {
	for _, s := range []string{"a/b", "/v1/a", "a/*", "+/a", "a//b", "a/", "*", "/", "a/+", "ü", "a b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, text, _ := parse(s)
		if text != "" {
			return
		}
		whole := s
		if !strings.HasPrefix(s, "/") {
			whole = "/v1/" + s
		}
		whole = strings.NewReplacer("*", "x", "+", "x").Replace(whole)
		if plain(whole) == "" && !strings.Contains(strings.Trim(s, "+"), "+") && !(patterns{p}).match(whole, false) && !strings.Contains(s, "+") {
			t.Errorf("%q does not match %q", s, whole)
		}
	})
}
