package vault

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/cred"
)

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	for name, v := range r.Header {
		w.Header()["Got-"+name] = v
	}
	w.Header().Set("Got-Host", r.Host)
	_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+string(body))
}

func forwarder(t *testing.T, h http.HandlerFunc, cfg Config) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	if cfg.Address == "" {
		cfg.Address = srv.URL
	}
	cfg.Address = strings.ReplaceAll(cfg.Address, "SERVER", strings.TrimPrefix(srv.URL, "http://"))
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// text reads an answer and closes it.
func text(t *testing.T, resp *http.Response, err error) (*http.Response, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestForwardSendsWhatItIsGiven(t *testing.T) {
	for _, c := range []struct {
		name    string
		address string
		p       Passage
		want    string
	}{
		{"plain", "", Passage{Method: "GET", Path: "/v1/secret/a"}, "GET /v1/secret/a "},
		{"LIST and a query as it was", "", Passage{Method: "LIST", Path: "/v1/secret/", Query: "a=%2f+&b"}, "LIST /v1/secret/?a=%2f+&b "},
		{"escapes", "", Passage{Method: "GET", Path: "/v1/a%2Fb/c%20d/%C3%A9;x[1]"}, "GET /v1/a%2Fb/c%20d/%C3%A9;x[1] "},
		{"a prefix", "http://SERVER/pre/", Passage{Method: "GET", Path: "/v1/a%2Fb"}, "GET /pre/v1/a%2Fb "},
		{"a prefix with escapes", "http://SERVER/a%2Fb/", Passage{Method: "GET", Path: "/v1/c"}, "GET /a%2Fb/v1/c "},
		{"a body", "", Passage{Method: "PUT", Path: "/v1/a", Body: strings.NewReader("body"), Length: 4}, "PUT /v1/a body"},
		{"a body of unknown length", "", Passage{Method: "PUT", Path: "/v1/a", Body: strings.NewReader("body"), Length: -1}, "PUT /v1/a body"},
		{"a body of nothing", "", Passage{Method: "PUT", Path: "/v1/a", Body: strings.NewReader(""), Length: 0}, "PUT /v1/a "},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl := forwarder(t, echo, Config{Address: c.address})
			c.p.Header = http.Header{}
			resp, err := cl.Forward(t.Context(), c.p)
			if _, got := text(t, resp, err); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func TestForwardAddsWhatTheViewSays(t *testing.T) {
	c := forwarder(t, echo, Config{Address: "http://me:pass@SERVER", Namespace: "team", Headers: map[string]string{"X-Extra": "1"}})
	send := func(c *Client, h http.Header) http.Header {
		resp, err := c.Forward(t.Context(), Passage{Method: "GET", Path: "/v1/a", Header: h})
		resp, _ = text(t, resp, err)
		return resp.Header
	}
	got := send(c.As(cred.Redact("tok")).Agent("agent"), http.Header{})
	for name, want := range map[string]string{
		"X-Vault-Token": "tok", "X-Vault-Namespace": "team/", "User-Agent": "agent", "X-Extra": "1", "Authorization": "Basic bWU6cGFzcw==",
	} {
		if v := got.Get("Got-" + name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	got = send(c, http.Header{"X-Vault-Token": {"theirs"}, "X-Vault-Namespace": {"other"}, "User-Agent": {"them"}, "Authorization": {"Bearer x"}})
	for name, want := range map[string]string{
		"X-Vault-Token": "theirs", "X-Vault-Namespace": "other", "User-Agent": "them", "X-Extra": "1", "Authorization": "Bearer x",
	} {
		if v := got.Get("Got-" + name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
}

func TestForwardOverAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(echo)}}
	srv.Start()
	defer srv.Close()
	c, err := New(Config{Address: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	resp, err := c.Forward(t.Context(), Passage{Method: "GET", Path: "/v1/a", Header: http.Header{}})
	if resp, got := text(t, resp, err); got != "GET /v1/a " || resp.Header.Get("Got-Host") != "localhost" {
		t.Errorf("%q %v", got, resp.Header)
	}
}

func TestForwardFollowsOneRedirect(t *testing.T) {
	var other *httptest.Server
	hops := 0
	there := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "tok" {
			t.Error("the token did not go along")
		}
		echo(w, r)
	}
	other = httptest.NewServer(http.HandlerFunc(there))
	defer other.Close()
	for _, c := range []struct {
		name, to string
		status   int
		address  string
		once     bool // the body can be sent only once
		disabled bool
		want     int
		basic    bool // what the address holds goes along
	}{
		{"to the active node", "OTHER", 307, "http://me:pass@SERVER", false, false, 200, false},
		{"to a path of its own", "/v1/b", 308, "http://me:pass@SERVER", false, false, 200, true},
		{"found", "OTHER", 302, "", false, false, 200, false},
		{"a body that is gone", "OTHER", 307, "", true, false, 307, false},
		{"not followed", "OTHER", 307, "", false, true, 307, false},
		{"to nowhere", "", 307, "", false, false, 307, false},
		{"no redirect", "OTHER", 304, "", false, false, 304, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			hops = 0
			cl := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
				if hops++; hops > 1 {
					there(w, r)
					return
				}
				if c.to != "" {
					w.Header().Set("Location", strings.ReplaceAll(c.to, "OTHER", other.URL+"/v1/b"))
				}
				w.WriteHeader(c.status)
			}, Config{Address: c.address, DisableRedirects: c.disabled})
			p := Passage{Method: "PUT", Path: "/v1/a", Header: http.Header{}, Body: strings.NewReader("body"), Length: 4}
			if !c.once {
				p.Replay = func() io.Reader { return strings.NewReader("body") }
			}
			resp, err := cl.As(cred.Redact("tok")).Forward(t.Context(), p)
			resp, got := text(t, resp, err)
			if resp.StatusCode != c.want || c.want == 200 && got != "PUT /v1/b body" {
				t.Errorf("%d %q", resp.StatusCode, got)
			}
			if sent := resp.Header.Get("Got-Authorization") != ""; c.want == 200 && sent != c.basic {
				t.Errorf("what the address holds went along: %v", sent)
			}
		})
	}
}

func TestForwardRefusesARedirectToPlainText(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://me:hvs.CANARY@"+r.Host+"/v1/a", http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	c, err := New(Config{Address: srv.URL, SkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Forward(t.Context(), Passage{Method: "GET", Path: "/v1/a", Header: http.Header{}})
	if !errors.Is(err, ErrInsecure) || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("error is %v", err)
	}
}

func TestForwardWaitsForTheHeadOnly(t *testing.T) {
	const wait = 200 * time.Millisecond
	slow := make(chan struct{})
	c := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/never":
			<-r.Context().Done()
		case "/v1/upload":
			_, _ = io.Copy(io.Discard, r.Body)
			if r.URL.RawQuery == "never" {
				<-r.Context().Done()
			}
			w.WriteHeader(204)
		default:
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-slow
			_, _ = io.WriteString(w, "late")
		}
	}, Config{Timeout: wait})
	after := func(f func()) {
		<-time.After(2 * wait)
		f()
	}
	upload := func(query string) Passage {
		r, w := io.Pipe()
		go after(func() { _, _ = io.WriteString(w, "body"); w.Close() })
		return Passage{Method: "PUT", Path: "/v1/upload", Query: query, Header: http.Header{}, Body: r, Length: -1}
	}
	t.Run("a body may take longer", func(t *testing.T) {
		go after(func() { close(slow) })
		resp, err := c.Forward(t.Context(), Passage{Method: "GET", Path: "/v1/slow", Header: http.Header{}})
		if _, got := text(t, resp, err); got != "late" {
			t.Errorf("%q", got)
		}
	})
	t.Run("so may the body of a request", func(t *testing.T) {
		resp, err := c.Forward(t.Context(), upload(""))
		if resp, _ := text(t, resp, err); resp.StatusCode != 204 {
			t.Errorf("%d", resp.StatusCode)
		}
	})
	for name, p := range map[string]Passage{
		"the head may not":           {Method: "GET", Path: "/v1/never", Header: http.Header{}},
		"nor after a streamed body":  upload("never"),
		"nor longer than this takes": {Method: "GET", Path: "/v1/never", Header: http.Header{}, Wait: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Forward(t.Context(), p)
			if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within") {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("unless nobody is to say so", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*wait)
		defer cancel()
		_, err := c.Forward(ctx, Passage{Method: "GET", Path: "/v1/never", Header: http.Header{}, Wait: -1})
		if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "no answer within") || ctx.Err() == nil {
			t.Errorf("error is %v", err)
		}
	})
}

func TestForwardRefusesWhatWouldBecomeAnotherRequest(t *testing.T) {
	c := forwarder(t, func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }, Config{})
	for _, p := range []Passage{
		{Method: "GET", Path: "/v2/a"},
		{Method: "GET", Path: "/v1/%zz"},
		{Method: "GET", Path: "/v1/a", Query: "x HTTP/1.1"},
		{Method: "GET", Path: "/v1/a", Query: "x\r\nX: y"},
		{Method: "GET /v1/b HTTP/1.1", Path: "/v1/a"},
		{Method: "GET", Path: "/v1/a", Header: http.Header{"X": {"a\r\nX-Vault-Token: b"}}},
		{Method: "GET", Path: "/v1/a", Header: http.Header{"X: y\r\nZ": {"a"}}},
	} {
		if p.Header == nil {
			p.Header = http.Header{}
		}
		if _, err := c.Forward(t.Context(), p); err == nil {
			t.Errorf("%+v was sent", p)
		}
	}
	if _, err := c.As(cred.Redact("tok\n")).Forward(t.Context(), Passage{Method: "GET", Path: "/v1/a", Header: http.Header{}}); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("error is %v", err)
	}
}

func TestRefusalIsTheErrorOfOurOwnRequests(t *testing.T) {
	c := forwarder(t, echo, Config{}).As(cred.Redact("hvs.CANARY"))
	for _, x := range []struct {
		status int
		body   string
		kind   error
	}{
		{403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, ErrInvalidToken},
		{403, `{"errors":["permission denied for hvs.CANARY"]}`, ErrDenied},
		{503, `{"errors":["Vault is sealed"]}`, ErrSealed},
		{412, ``, ErrNotReady},
		{404, `not JSON`, ErrNotFound},
	} {
		resp := &http.Response{StatusCode: x.status, Header: http.Header{"Retry-After": {"7"}}}
		err := c.Refusal("proxy", "secret/a", resp, []byte(x.body))
		var ve *Error
		if !errors.Is(err, x.kind) || !errors.As(err, &ve) || ve.After != 7*time.Second || ve.Status != x.status || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%d %s: %v", x.status, x.body, err)
		}
	}
}

func TestMaxIdleKeepsConnections(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want int
	}{{Config{}, 2}, {Config{MaxConnsPerHost: 9}, 9}, {Config{MaxIdle: 100}, 100}, {Config{MaxIdle: 1, MaxConnsPerHost: 50}, 2}} {
		if cl := forwarder(t, echo, c.cfg); cl.transport.MaxIdleConnsPerHost != c.want {
			t.Errorf("%+v keeps %d", c.cfg, cl.transport.MaxIdleConnsPerHost)
		}
	}
}
