package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "hvs.CANARY-ours-0123456789abcdef"

// heard is a request as the upstream got it.
type heard struct {
	method, uri, body string
	header            http.Header
}

// bench is a proxy between a client and an upstream of one's own.
type bench struct {
	url      string
	up       *httptest.Server
	client   *http.Client
	handler  http.Handler
	log      *journal
	identity *identity
	counts   *tally
	seen     *[]error

	mu    sync.Mutex
	heard []heard
}

// journal is a log that may be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (m *tally) Count(name string, n int, _ ...meter.Label) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts[name] += n
}
func (m *tally) Gauge(string, float64, ...meter.Label)      {}
func (m *tally) Time(string, time.Duration, ...meter.Label) {}

// identity lends tokens, one after the other.
type identity struct {
	mu       sync.Mutex
	tokens   []string
	replaced int
	wait     <-chan struct{}
	err      error
}

func (i *identity) Token(ctx context.Context) (cred.Redacted, error) {
	i.mu.Lock()
	wait, err := i.wait, i.err
	i.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return cred.Redacted{}, &vault.Error{Kind: vault.ErrNotLoggedIn, Op: "lend a token of", Path: "auth/approle", Cause: errors.New("connection refused")}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		return cred.Redacted{}, err
	}
	return cred.Redact(i.tokens[0]), nil
}

func (i *identity) Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error) {
	i.mu.Lock()
	if bad.Reveal() == i.tokens[0] && len(i.tokens) > 1 {
		i.tokens = i.tokens[1:]
		i.replaced++
	}
	i.mu.Unlock()
	return i.Token(ctx)
}

// times is how often a token was replaced.
func (i *identity) times() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.replaced
}

// ours is what Options.Ours is given: every token that was ever lent here.
func isCanary(tok cred.Redacted) bool { return strings.Contains(tok.Reveal(), "CANARY") }

// set starts an upstream and a proxy before it. change, unless nil, gets the
// options to alter.
func set(t testing.TB, upstream http.HandlerFunc, change func(*Options, *vault.Config)) *bench {
	t.Helper()
	b := &bench{log: &journal{}, counts: &tally{counts: map[string]int{}}, seen: new([]error)}
	b.up = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := heard{method: r.Method, uri: r.RequestURI, header: r.Header.Clone()}
		if r.ContentLength != 0 {
			body, _ := io.ReadAll(io.LimitReader(r.Body, 1000))
			h.body = string(body)
			r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
		}
		b.mu.Lock()
		b.heard = append(b.heard, h)
		b.mu.Unlock()
		upstream(w, r)
	}))
	t.Cleanup(b.up.Close)
	b.identity = &identity{tokens: []string{canary, canary + "-2", canary + "-3"}}
	o := Options{
		Lend: LendYes, Name: "default", Identity: b.identity, Ours: isCanary, Version: "1.2.3",
		Seen: func(tok cred.Redacted, err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if !isCanary(tok) {
				t.Errorf("told of a token that is not ours: %v", tok.Reveal())
			}
			*b.seen = append(*b.seen, err)
		},
		Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Meter: b.counts,
	}
	vc := vault.Config{Address: b.up.URL, UserAgent: "not this one", MaxIdle: 32}
	if change != nil {
		change(&o, &vc)
	}
	c, err := vault.New(vc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	o.Client = c
	b.handler = Handler(o)
	front := httptest.NewServer(b.handler)
	t.Cleanup(front.Close)
	b.url = front.URL
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	b.client = &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		if log := b.log.String(); strings.Contains(log, "CANARY") || strings.Contains(log, "hvs.") {
			t.Errorf("the log holds a token: %s", log)
		}
	})
	return b
}

// ask sends a request; headers are pairs.
func (b *bench) ask(t testing.TB, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, b.url+path, rd)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(data)
}

func (b *bench) requests() []heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]heard(nil), b.heard...)
}

// last is the latest request that came to the upstream.
func (b *bench) last(t testing.TB) heard {
	t.Helper()
	all := b.requests()
	if len(all) == 0 {
		t.Fatal("nothing came to the server")
	}
	return all[len(all)-1]
}

func (b *bench) told() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]error(nil), *b.seen...)
}

// asJSON answers so.
func asJSON(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// reason is the one error of an answer of ours.
func reason(t testing.TB, body string) string {
	t.Helper()
	var v struct{ Errors []string }
	if err := json.Unmarshal([]byte(body), &v); err != nil || len(v.Errors) != 1 {
		t.Fatalf("not an error as the server writes it: %q", body)
	}
	return v.Errors[0]
}

func TestAClientsTokenIsNeverSentBesideOurs(t *testing.T) {
	for _, lend := range []Lend{LendNo, LendYes, LendForce} {
		for _, c := range []struct {
			name              string
			headers           []string
			token, auth       string // what is sent where nothing is forced
			none              bool   // the client brings no token
			keepAuthorization bool   // what is no Bearer stays
			withoutAnIdentity bool
		}{
			{name: "none", none: true},
			{name: "an empty one", headers: []string{"X-Vault-Token", ""}, none: true},
			{name: "its own", headers: []string{"X-Vault-Token", "mine"}, token: "mine"},
			{name: "a bearer", headers: []string{"Authorization", "Bearer mine"}, auth: "Bearer mine"},
			{name: "a bearer in small letters", headers: []string{"Authorization", "bearer mine"}, auth: "Bearer mine"},
			{name: "a bearer without a token", headers: []string{"Authorization", "Bearer "}, none: true},
			{name: "both kinds", headers: []string{"X-Vault-Token", "mine", "Authorization", "Bearer other"}, token: "mine"},
			{name: "an empty one and a bearer", headers: []string{"X-Vault-Token", "", "Authorization", "Bearer mine"}, auth: "Bearer mine"},
			{name: "basic", headers: []string{"Authorization", "Basic eDp5"}, none: true, auth: "Basic eDp5", keepAuthorization: true},
			{name: "no identity", none: true, withoutAnIdentity: true},
		} {
			t.Run(fmt.Sprintf("lend %q, %s", lend, c.name), func(t *testing.T) {
				b := set(t, asJSON(200, `{}`), func(o *Options, _ *vault.Config) {
					o.Lend = lend
					if c.withoutAnIdentity {
						o.Identity = nil
					}
				})
				if resp, body := b.ask(t, "GET", "/v1/secret/a", "", c.headers...); resp.StatusCode != 200 {
					t.Fatalf("%d %s", resp.StatusCode, body)
				}
				lent := !c.withoutAnIdentity && (lend == LendForce || lend == LendYes && c.none)
				token, auth := c.token, c.auth
				if lent {
					token = canary
					if !c.keepAuthorization {
						auth = ""
					}
				}
				got := b.last(t).header
				if got.Get("X-Vault-Token") != token || len(got["X-Vault-Token"]) > 1 {
					t.Errorf("sent the token %q, want %q", got["X-Vault-Token"], token)
				}
				if a := got.Get("Authorization"); strings.TrimSpace(a) != strings.TrimSpace(auth) && !(c.none && !lent && strings.TrimSpace(a) == "Bearer") {
					t.Errorf("sent Authorization %q, want %q", a, auth)
				}
				if n := len(b.told()); n != 0 != lent {
					t.Errorf("told of %d requests with our token, lent: %v", n, lent)
				}
			})
		}
	}
}

func TestWhatIsSentIsWhatWasAsked(t *testing.T) {
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "X-Gone")
		w.Header().Set("X-Gone", "1")
		w.Header().Set("Keep-Alive", "timeout=3")
		w.Header().Set("X-Vault-Token", "what was sent")
		w.Header().Set("X-Stays", "1")
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Date", "Tue, 01 Jul 2025 00:00:00 GMT")
		w.WriteHeader(207)
		_, _ = io.WriteString(w, "as it is\x00\xff")
	}, func(_ *Options, c *vault.Config) {
		c.Address += "/pre%2Ffix/"
		c.Namespace = "team"
		c.Headers = map[string]string{"X-Extra": "1"}
	})
	resp, body := b.ask(t, "PUT", "/v1/secret/a%2Fb%20c/d%C3%A9?x=1&y=%20+&x=%2f", `{"a":  1}`,
		"Connection", "keep-alive, X-Mine", "X-Mine", "1", "Te", "trailers", "Keep-Alive", "3", "Proxy-Authorization", "Basic eDp5",
		"Accept-Encoding", "gzip", "User-Agent", "Me/1", "X-Trace", "t1", "X-Latchkey-Token", "guard", "X-Vault-Cache-Control", "nocache",
		"Content-Type", "application/merge-patch+json", "X-Vault-Namespace", "")
	if resp.StatusCode != 207 || body != "as it is\x00\xff" || resp.Header.Get("X-Stays") != "1" || resp.Header.Get("X-Gone") != "" ||
		resp.Header.Get("Keep-Alive") != "" || resp.Header.Get("X-Vault-Token") != "" || resp.Header.Get("Date") != "Tue, 01 Jul 2025 00:00:00 GMT" || resp.Header.Get("X-Cache") != "" {
		t.Errorf("answer %d %q %v", resp.StatusCode, body, resp.Header)
	}
	got := b.last(t)
	if got.method != "PUT" || got.uri != "/pre%2Ffix/v1/secret/a%2Fb%20c/d%C3%A9?x=1&y=%20+&x=%2f" || got.body != `{"a":  1}` {
		t.Errorf("sent %s %s %q", got.method, got.uri, got.body)
	}
	for name, want := range map[string]string{
		"User-Agent": "latchkey/1.2.3 (proxying); Me/1", "X-Vault-Request": "true", "X-Vault-Namespace": "team/", "X-Trace": "t1", "X-Extra": "1",
		"Content-Type": "application/merge-patch+json", "Accept-Encoding": "", "Te": "", "X-Mine": "", "Keep-Alive": "",
		"Proxy-Authorization": "", "X-Latchkey-Token": "", "X-Vault-Cache-Control": "", "Connection": "",
	} {
		if v := got.header.Get(name); v != want {
			t.Errorf("sent %s: %q, want %q", name, v, want)
		}
	}
	b.ask(t, "LIST", "/v1/secret/metadata/", "", "User-Agent", "", "X-Vault-Namespace", "other")
	if got := b.last(t); got.method != "LIST" || got.header.Get("X-Vault-Namespace") != "other" || got.header.Get("User-Agent") != "latchkey/1.2.3 (proxying)" {
		t.Errorf("sent %+v", got)
	}
}

func TestRequestsThatAreNotPassedOn(t *testing.T) {
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
		location   string
	}{
		{"outside", "/ui/", nil, 400, ""},
		{"no path", "/", nil, 400, ""},
		{"beside", "/v1secret", nil, 400, ""},
		{"dots", "/v1/secret/./a/../b?x=1", nil, 307, "/v1/secret/b?x=1"},
		{"dots at the end", "/v1/secret/a/..", nil, 307, "/v1/secret"},
		{"two slashes", "/v1//secret//a/", nil, 307, "/v1/secret/a/"},
		{"out of the API", "/v1/../secret", nil, 400, ""},
		{"out of everything", "/v1/../../../", nil, 400, ""},
		{"dots in escapes", "/v1/secret/%2e%2E/a", nil, 400, ""},
		{"dots behind an escaped slash", "/v1/secret/..%2fa", nil, 400, ""},
		{"two tokens", "/v1/secret/a", []string{"X-Vault-Token", "a", "X-Vault-Token", "b"}, 400, ""},
		{"two bearers", "/v1/secret/a", []string{"Authorization", "Bearer a", "Authorization", "Bearer b"}, 400, ""},
		{"two namespaces", "/v1/secret/a", []string{"X-Vault-Namespace", "a", "X-Vault-Namespace", "b"}, 400, ""},
		{"a token taken away on the way", "/v1/secret/a", []string{"Connection", "x-vault-token", "X-Vault-Token", "a"}, 400, ""},
		{"a namespace taken away on the way", "/v1/secret/a", []string{"Connection", "close, X-Vault-Namespace"}, 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := set(t, asJSON(200, `{}`), nil)
			// The path is to reach the proxy as it stands here.
			req, err := http.NewRequest("GET", b.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque, req.Close = c.path, true
			for i := 0; i < len(c.headers); i += 2 {
				req.Header.Add(c.headers[i], c.headers[i+1])
			}
			resp, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || resp.Header.Get("Location") != c.location || reason(t, string(body)) == "" {
				t.Errorf("%d %q %s", resp.StatusCode, resp.Header.Get("Location"), body)
			}
			if n := len(b.requests()); n != 0 {
				t.Errorf("%d requests came to the server", n)
			}
		})
	}
}

func TestAMethodThatShowsWhatWasSentIsRefused(t *testing.T) {
	b := set(t, asJSON(200, `{}`), nil)
	if resp, body := b.ask(t, "TRACE", "/v1/secret/a", ""); resp.StatusCode != 405 || reason(t, body) == "" || len(b.requests()) != 0 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestNamesWithDotsAreNoDetour(t *testing.T) {
	b := set(t, asJSON(200, `{}`), nil)
	for _, p := range []string{"/v1/secret/.well-known/a", "/v1/secret/...", "/v1/secret/a.b/..c", "/v1/secret/a%2F%2Fb", "/v1/secret/a;b", "/v1/secret/%00"} {
		if resp, body := b.ask(t, "GET", p, ""); resp.StatusCode != 200 || b.last(t).uri != p {
			t.Errorf("%s: %d %s, sent %s", p, resp.StatusCode, body, b.last(t).uri)
		}
	}
}

func TestBeforeTheFirstLoginARequestWaits(t *testing.T) {
	login := make(chan struct{})
	b := set(t, asJSON(200, `{}`), nil)
	b.identity.wait = login
	done := make(chan int)
	go func() {
		resp, _ := b.ask(t, "GET", "/v1/secret/a", "")
		done <- resp.StatusCode
	}()
	if resp, _ := b.ask(t, "GET", "/v1/secret/a", "", "X-Vault-Token", "mine"); resp.StatusCode != 200 {
		t.Errorf("a client with its own token got %d", resp.StatusCode)
	}
	close(login)
	if status := <-done; status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestWhoWaitsForTheFirstLoginInVainIsToldSo(t *testing.T) {
	b := set(t, asJSON(200, `{}`), func(o *Options, _ *vault.Config) { o.Patience = time.Millisecond })
	b.identity.wait = make(chan struct{})
	resp, body := b.ask(t, "GET", "/v1/secret/a", "")
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "2" || !strings.Contains(reason(t, body), "connection refused") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	if n := len(b.requests()); n != 0 {
		t.Errorf("%d requests came to the server", n)
	}
	if b.counts.counts["proxy.error"] != 1 {
		t.Errorf("counted %v", b.counts.counts)
	}
}

const (
	unknownToken = `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`
	denied       = `{"errors":["permission denied"]}`
)

// knows answers 403 with words unless the token is one of those that are known.
func knows(words string, known ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, k := range known {
			if r.Header.Get("X-Vault-Token") == k {
				body, _ := io.ReadAll(r.Body)
				asJSON(200, `{"data":{"id":"`+k+`"},"sent":"`+string(body)+`"}`)(w, r)
				return
			}
		}
		asJSON(403, words)(w, r)
	}
}

func TestATokenOfOursThatIsGoneIsReplacedWithinTheRequest(t *testing.T) {
	for _, words := range []string{unknownToken, denied} {
		b := set(t, knows(words, canary+"-2"), nil)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				resp, body := b.ask(t, "POST", "/v1/secret/a", "held")
				if resp.StatusCode != 200 || !strings.Contains(body, `"sent":"held"`) {
					t.Errorf("%d %s", resp.StatusCode, body)
				}
			})
		}
		all.Wait()
		if n := b.identity.times(); n != 1 {
			t.Errorf("replaced %d times", n)
		}
		lookups, invalid := 0, 0
		for _, r := range b.requests() {
			if r.uri == "/v1/auth/token/lookup-self" {
				lookups++
			}
		}
		for _, err := range b.told() {
			if errors.Is(err, vault.ErrInvalidToken) {
				invalid++
			}
		}
		if invalid == 0 || words == unknownToken && lookups != 0 || words == denied && lookups != 1 {
			t.Errorf("%s: %d lookups, told %d times that the token is invalid", words, lookups, invalid)
		}
	}
}

func TestADenialIsTheClientsToSee(t *testing.T) {
	t.Run("with its own token nobody asks anything", func(t *testing.T) {
		for _, words := range []string{unknownToken, denied} {
			b := set(t, knows(words), nil)
			if resp, body := b.ask(t, "GET", "/v1/secret/a", "", "X-Vault-Token", "mine"); resp.StatusCode != 403 || body != words {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if len(b.requests()) != 1 || b.identity.times() != 0 {
				t.Errorf("requests: %+v", b.requests())
			}
		}
	})
	t.Run("with a token of ours that is known it costs one lookup in a while", func(t *testing.T) {
		b := set(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/auth/token/lookup-self" {
				asJSON(200, `{"data":{"id":"x"}}`)(w, r)
				return
			}
			asJSON(403, denied)(w, r)
		}, nil)
		for range 5 {
			if resp, body := b.ask(t, "GET", "/v1/secret/a", ""); resp.StatusCode != 403 || body != denied {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		}
		if n := len(b.requests()); n != 6 || b.identity.times() != 0 {
			t.Errorf("%d requests, replaced %d times", n, b.identity.times())
		}
	})
	t.Run("with a token of ours that may not look itself up it costs one login at most", func(t *testing.T) {
		b := set(t, asJSON(403, denied), nil)
		for range 5 {
			if resp, body := b.ask(t, "GET", "/v1/secret/a", ""); resp.StatusCode != 403 || body != denied {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		}
		if n := b.identity.times(); n != 1 {
			t.Errorf("replaced %d times", n)
		}
	})
}

func TestABodyThatWasStreamedIsNotSentTwice(t *testing.T) {
	b := set(t, knows(unknownToken, canary+"-2"), func(o *Options, _ *vault.Config) { o.MaxBuffer = 8 })
	if resp, _ := b.ask(t, "POST", "/v1/secret/a", "longer than that"); resp.StatusCode != 403 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if err := b.told(); len(err) != 1 || !errors.Is(err[0], vault.ErrInvalidToken) {
		t.Errorf("told %v", err)
	}
	if r := b.requests(); len(r) != 1 || r[0].body != "longer than that" {
		t.Errorf("requests %+v", r)
	}
}

var soon = retry.Schedule{Attempts: 4, Base: time.Millisecond, Max: time.Millisecond}

func TestWhatIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name, method, when string
		statuses           []int // 0: the connection is closed
		want, sent         int
	}{
		{"sealed for a moment", "GET", "", []int{503, 503, 200}, 200, 3},
		{"sealed for long", "GET", "", []int{503, 503, 503, 503, 200}, 503, 4},
		{"overloaded", "POST", "", []int{429, 200}, 200, 2},
		{"broken", "POST", "", []int{500, 200}, 200, 2},
		{"not implemented", "GET", "", []int{501, 200}, 501, 1},
		{"not there", "GET", "", []int{404, 200}, 404, 1},
		{"a connection that ends", "LIST", "", []int{0, 0, 200}, 200, 3},
		{"a connection that ends always", "LIST", "", []int{0, 0, 0, 0, 200}, 502, 4},
		{"a write and a connection that ends", "PUT", "", []int{0, 200}, 200, 2},
		{"behind, and that is to fail", "GET", "fail", []int{412, 200}, 412, 1},
		{"behind, and that is to be tried again", "GET", "retry", []int{412, 200}, 200, 2},
		{"behind, and the server forwards", "GET", "forward", []int{412, 200}, 412, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b *bench
			b = set(t, func(w http.ResponseWriter, r *http.Request) {
				status := c.statuses[min(len(b.requests()), len(c.statuses))-1]
				if status == 0 {
					panic(http.ErrAbortHandler)
				}
				asJSON(status, fmt.Sprint(status))(w, r)
			}, func(o *Options, _ *vault.Config) {
				o.Retry, o.Consistency.When = soon, c.when
			})
			body := ""
			if !exchange.Reads(c.method) {
				body = "held"
			}
			resp, got := b.ask(t, c.method, "/v1/secret/a", body)
			if resp.StatusCode != c.want {
				t.Errorf("%d %s", resp.StatusCode, got)
			}
			if n := len(b.requests()); n != c.sent || b.last(t).body != body {
				t.Errorf("%d requests, want %d: %+v", n, c.sent, b.last(t))
			}
		})
	}
}

func TestAWaitThatWouldBeTooLongIsNotBegun(t *testing.T) {
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "60")
		asJSON(503, `{"errors":["Vault is sealed"]}`)(w, r)
	}, func(o *Options, c *vault.Config) { o.Retry, c.Timeout = soon, 5*time.Second })
	start := time.Now()
	resp, body := b.ask(t, "GET", "/v1/secret/a", "")
	if resp.StatusCode != 503 || !strings.Contains(body, "sealed") || resp.Header.Get("Retry-After") != "60" || time.Since(start) > 4*time.Second {
		t.Errorf("%d %s after %s", resp.StatusCode, body, time.Since(start))
	}
}

func TestErrorsOfOurs(t *testing.T) {
	t.Run("a server that is not there", func(t *testing.T) {
		b := set(t, asJSON(200, ""), nil)
		b.up.Close()
		resp, body := b.ask(t, "GET", "/v1/auth/token/lookup/"+canary, "")
		if resp.StatusCode != 502 || !strings.Contains(reason(t, body), "refused") || strings.Contains(body, "CANARY") {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("header %v", resp.Header)
		}
	})
	t.Run("a server that does not answer", func(t *testing.T) {
		b := set(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(o *Options, c *vault.Config) { o.Retry, c.Timeout = soon, 20*time.Millisecond })
		resp, body := b.ask(t, "GET", "/v1/secret/a", "")
		if resp.StatusCode != 504 || !strings.Contains(reason(t, body), "did not answer") || len(b.requests()) != 1 {
			t.Errorf("%d %s after %d requests", resp.StatusCode, body, len(b.requests()))
		}
	})
	t.Run("a body that breaks off", func(t *testing.T) {
		b := set(t, asJSON(200, ""), nil)
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "PUT /v1/secret/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || len(b.requests()) != 0 {
			t.Errorf("%s", answer)
		}
	})
}

func TestAClientThatHangsUpEndsTheRequestToTheServer(t *testing.T) {
	for _, name := range []string{"before the head", "in the body"} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan struct{})
			b := set(t, func(w http.ResponseWriter, r *http.Request) {
				if name == "in the body" {
					w.Header().Set("Content-Type", "text/plain")
					_, _ = io.WriteString(w, "first")
					_ = http.NewResponseController(w).Flush()
				}
				close(begun)
				<-r.Context().Done()
				close(ended)
			}, nil)
			ctx, hangUp := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, "GET", b.url+"/v1/sys/monitor", nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if resp, err := b.client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}()
			<-begun
			hangUp()
			<-ended
			<-done
		})
	}
}

// strict is a cache that keeps every 200 for ever, by path and who, and says what
// it was asked.
type strict struct {
	mu     sync.Mutex
	kept   map[string]*exchange.Answer
	passed []int
}

func (c *strict) key(a *exchange.Ask) string {
	return a.Method + a.Path + a.Query + a.Namespace + string(a.Body) + a.Who.Lent + "/" + a.Who.Token.Reveal()
}

func (c *strict) Look(a *exchange.Ask) (*exchange.Answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ans, ok := c.kept[c.key(a)]
	return ans, ok
}

func (c *strict) Do(ctx context.Context, a *exchange.Ask, fetch exchange.Fetch) (*exchange.Answer, error) {
	// The context of a flight is not that of the client who began it.
	flight, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	ans, err := fetch(flight)
	if err == nil && ans.Status == 200 && ans.Stream == nil {
		hit := *ans
		hit.From, hit.At = exchange.Hit, hit.At.Add(-90*time.Second)
		c.mu.Lock()
		c.kept[c.key(a)] = &hit
		c.mu.Unlock()
	}
	return ans, err
}

func (c *strict) Passed(_ *exchange.Ask, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed = append(c.passed, status)
}

// before notes how much of an answer the client has when the cache hears of it.
type before struct {
	*httptest.ResponseRecorder
	cache *strict
	t     *testing.T
}

func (b before) WriteHeader(status int) {
	b.cache.mu.Lock()
	defer b.cache.mu.Unlock()
	if len(b.cache.passed) == 0 {
		b.t.Errorf("the client has %d before the cache knows", status)
	}
	b.ResponseRecorder.WriteHeader(status)
}

func TestAWriteThatIsTooLargeToHoldIsKnownBeforeItsWriterHasTheAnswer(t *testing.T) {
	for _, status := range []int{200, 204, 502} {
		cache := &strict{kept: map[string]*exchange.Answer{}}
		b := set(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(status)
		}, func(o *Options, _ *vault.Config) { o.Cache = cache })
		w := before{httptest.NewRecorder(), cache, t}
		b.handler.ServeHTTP(w, httptest.NewRequest("PUT", "/v1/secret/data/a", flood(defaultBuffer+1)))
		if w.Code != status || len(cache.passed) != 1 || cache.passed[0] != status {
			t.Errorf("%d: status %d, the cache was told of %v", status, w.Code, cache.passed)
		}
	}
}

func withCache(o *Options, _ *vault.Config) { o.Cache = &strict{kept: map[string]*exchange.Answer{}} }

func TestTheCacheIsAskedAndTold(t *testing.T) {
	long := `{"data":"` + strings.Repeat("x", 5000) + `"}`
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Connection", "X-Gone")
		w.Header().Set("X-Gone", "1")
		switch {
		case strings.Contains(r.URL.Path, "missing"):
			asJSON(404, `{"errors":[]}`)(w, r)
		case strings.Contains(r.URL.Path, "text"):
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "text")
		case strings.Contains(r.URL.Path, "long"):
			asJSON(200, long)(w, r)
		default:
			asJSON(200, `{"a":1}`)(w, r)
		}
	}, withCache)
	for _, c := range []struct {
		method, path, body  string
		status              int
		want, first, second string
	}{
		{"GET", "/v1/secret/a", "", 200, `{"a":1}`, "MISS", "HIT"},
		{"GET", "/v1/secret/long", "", 200, long, "MISS", "HIT"},
		{"PUT", "/v1/auth/x/login", "{}", 200, `{"a":1}`, "MISS", "HIT"},
		{"HEAD", "/v1/secret/a", "", 200, "", "MISS", "HIT"},
		{"GET", "/v1/secret/missing", "", 404, `{"errors":[]}`, "", ""},
		{"GET", "/v1/secret/text", "", 200, "text", "MISS", "MISS"},
	} {
		for i, x := range []string{c.first, c.second} {
			resp, body := b.ask(t, c.method, c.path, c.body)
			if resp.StatusCode != c.status || body != c.want || resp.Header.Get("X-Cache") != x || resp.Header.Get("X-Gone") != "" || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s (%d): %d %.60q %v", c.method, c.path, i+1, resp.StatusCode, body, resp.Header)
			}
			if age := resp.Header.Get("Age"); (age != "") != (x == "HIT") || x == "HIT" && age < "90" {
				t.Errorf("%s: Age is %q", c.path, age)
			}
			if want := int64(len(c.want)); c.method != "HEAD" && resp.ContentLength != want {
				t.Errorf("%s: the length is %d", c.path, resp.ContentLength)
			}
			if c.method == "HEAD" && resp.ContentLength != 7 {
				t.Errorf("a HEAD says %d", resp.ContentLength)
			}
			if at, err := http.ParseTime(resp.Header.Get("Date")); err != nil || time.Since(at) > time.Minute || len(resp.Header["Date"]) != 1 {
				t.Errorf("%s: Date is %q", c.path, resp.Header["Date"])
			}
		}
	}
}

func TestAnAnswerThatIsTooLargeToHoldGoesByTheCache(t *testing.T) {
	long := `{"data":"` + strings.Repeat("x", 300_000) + `"}`
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "chunked") {
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.WriteString(w, long)
	}, func(o *Options, c *vault.Config) {
		withCache(o, c)
		o.MaxBuffer = 1000
	})
	for _, p := range []string{"/v1/secret/a", "/v1/secret/chunked"} {
		for range 2 {
			if resp, body := b.ask(t, "GET", p, ""); resp.StatusCode != 200 || body != long || resp.Header.Get("X-Cache") != "MISS" {
				t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(body), resp.Header)
			}
		}
	}
}

func TestAWriteThatWentByTheCacheIsToldToIt(t *testing.T) {
	c := &strict{kept: map[string]*exchange.Answer{}}
	b := set(t, asJSON(200, `{}`), func(o *Options, _ *vault.Config) { o.Cache, o.MaxBuffer = c, 8 })
	b.ask(t, "PUT", "/v1/secret/a", "longer than that")
	b.up.Close()
	b.ask(t, "PUT", "/v1/secret/a", "longer than that")
	if len(c.passed) != 2 || c.passed[0] != 200 || c.passed[1] != 0 {
		t.Errorf("told %v", c.passed)
	}
}

func TestStatesOfAnswersAreAskedFor(t *testing.T) {
	state := func(local, replicated int) string { return stateOf(local, replicated) }
	answer := ""
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Vault-Index", answer)
		asJSON(200, `{}`)(w, r)
	}, func(o *Options, _ *vault.Config) { o.Consistency = Consistency{Enforce: true, When: "forward"} })
	ask := func(newest string, headers ...string) http.Header {
		answer = newest
		b.ask(t, "GET", "/v1/secret/a", "", headers...)
		return b.last(t).header
	}
	if h := ask(state(5, 5)); h.Get("X-Vault-Index") != "" || h.Get("X-Vault-Inconsistent") != "" {
		t.Errorf("before any answer: %v", h)
	}
	if h := ask(state(4, 4)); h.Get("X-Vault-Index") != state(5, 5) || h.Get("X-Vault-Inconsistent") != "forward-active-node" {
		t.Errorf("after one: %v", h)
	}
	if h := ask(state(6, 4)); len(h["X-Vault-Index"]) != 1 || h.Get("X-Vault-Index") != state(5, 5) {
		t.Errorf("an older one was kept: %v", h)
	}
	if h := ask(state(7, 7)); len(h["X-Vault-Index"]) != 2 {
		t.Errorf("two that cannot be compared: %v", h["X-Vault-Index"])
	}
	for _, name := range []string{"X-Vault-Index", "X-Vault-Forward", "X-Vault-Inconsistent"} {
		h := ask(state(7, 7), name, "mine")
		for _, other := range []string{"X-Vault-Index", "X-Vault-Forward", "X-Vault-Inconsistent"} {
			if want := map[bool]string{true: "mine"}[other == name]; h.Get(other) != want {
				t.Errorf("client says %s: %s is %q", name, other, h.Get(other))
			}
		}
	}
	if h := ask(state(7, 7)); len(h["X-Vault-Index"]) != 1 || h.Get("X-Vault-Index") != state(7, 7) {
		t.Errorf("the newest replaces both: %v", h["X-Vault-Index"])
	}
}
