package health

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func full() Status {
	return Status{
		Version: "1.2.3", StartedAt: noon.Add(-27 * time.Hour), Now: noon,
		Ready: false, Reasons: []string{"template app.env has not been rendered yet"},
		Token: Token{
			State: "valid", AccessorHash: Hash("accessor"), TTL: 2520, ExpiresAt: noon.Add(42 * time.Minute),
			Since: noon.Add(-3 * time.Minute), RenewedAt: noon.Add(-time.Minute), Policies: []string{"default", "app"},
			Logins: 1, Renewals: 7,
			Next:    Next{"renew", noon.Add(2*time.Minute + 10*time.Second)},
			Failure: Failure{"renew: the server is sealed", noon.Add(-30 * time.Second)},
		},
		Sinks: []Sink{{Name: "file /run/app/token", WrittenAt: noon.Add(-3 * time.Minute)}},
		Templates: []Template{
			{Name: "app.env", Destination: "/run/app/app.env", Next: Next{"retry", noon.Add(4 * time.Second)},
				Failure: Failure{"write /run/app/app.env: no space left on device", noon.Add(-time.Second)}},
			{Name: "env PASSWORD", Variable: "PASSWORD", RenderedAt: noon, ChangedAt: noon.Add(-50 * time.Hour)},
		},
		Leases: Leases{Count: 2, Entries: []Lease{
			{Key: "read secret/data/app", Kind: "static", IssuedAt: noon.Add(-time.Minute), Next: Next{"poll", noon.Add(4 * time.Minute)}},
			{Key: "read database/creds/app", Kind: "lease", ID: "database/creds/app/x", IssuedAt: noon.Add(-time.Hour),
				ExpiresAt: noon.Add(time.Hour), Next: Next{"renew", noon.Add(20 * time.Minute)},
				Failure: Failure{Error: "renew: connection refused"}},
		}},
		Child:  &Child{PID: 4711, StartedAt: noon.Add(-time.Hour), Restarts: 2, LastExit: "exit status 1"},
		Reload: &Reload{At: noon.Add(-time.Hour), Error: "agent.hcl:3:1: address: is not a URL"},
	}
}

func handler(s Status, quit func()) http.Handler {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("numbers")) })
	return Handler(Options{Status: func() Status { return s }, Metrics: metrics, Quit: quit})
}

func ask(h http.Handler, method, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWhoAsksGetsWhichAnswer(t *testing.T) {
	bad, good := full(), full()
	good.Ready, good.Reasons = true, nil
	all := handler(bad, func() {})
	for _, tc := range []struct {
		name, method, path string
		h                  http.Handler
		code               int
		has                string
	}{
		{"alive although not ready", "GET", pathHealth, all, 200, `"alive": true`},
		{"alive tells for how long", "GET", pathHealth, all, 200, `"uptime_seconds": 97200`},
		{"not ready is 503 and says why", "GET", pathReady, all, 503, "template app.env has not been rendered yet"},
		{"ready", "GET", pathReady, handler(good, nil), 200, `"ready": true`},
		{"not ready without a reason still has one", "GET", pathReady, handler(Status{}, nil), 503, "the first success"},
		{"the whole status", "GET", pathStatus, all, 200, `"next_action": "renew"`},
		{"metrics", "GET", pathMetrics, all, 200, "numbers"},
		{"quit", "POST", pathQuit, all, 200, ""},
		{"quit is not enabled", "POST", pathQuit, handler(bad, nil), 404, `"errors"`},
		{"GET on quit that is not enabled", "GET", pathQuit, handler(bad, nil), 404, `"errors"`},
		{"GET on quit", "GET", pathQuit, all, 405, `"errors"`},
		{"PUT on quit", "PUT", pathQuit, all, 405, `"errors"`},
		{"POST on ready", "POST", pathReady, all, 405, `"errors"`},
		{"POST on metrics", "POST", pathMetrics, all, 405, `"errors"`},
		{"another path", "GET", "/v1/sys/health", all, 404, `"errors"`},
		{"the root", "GET", "/", all, 404, `"errors"`},
		{"a path with a slash too many", "GET", pathHealth + "/", all, 404, `"errors"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := ask(tc.h, tc.method, tc.path)
			if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.has) {
				t.Errorf("%s %s: %d %s; want %d with %s", tc.method, tc.path, w.Code, w.Body, tc.code, tc.has)
			}
			if allow := w.Header().Get("Allow"); (tc.code == 405) != (allow != "") {
				t.Errorf("Allow is %q", allow)
			}
			if tc.code >= 400 && tc.code != 503 {
				var e struct{ Errors []string }
				if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || len(e.Errors) != 1 {
					t.Errorf("not Vault's shape of an error: %s", w.Body)
				}
			}
		})
	}
}

func TestHEADTellsTheCodeWithoutABody(t *testing.T) {
	s := httptest.NewServer(handler(full(), nil))
	defer s.Close()
	for path, code := range map[string]int{pathHealth: 200, pathReady: 503, pathStatus: 200, pathMetrics: 200} {
		resp, err := s.Client().Head(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != code || resp.ContentLength <= 0 {
			t.Errorf("HEAD %s: %s, %d bytes; want %d and the length of the body", path, resp.Status, resp.ContentLength, code)
		}
	}
}

func TestAMetricsOnlyListenerServesNothingElse(t *testing.T) {
	h := Handler(Options{Status: full, Metrics: http.NotFoundHandler(), Quit: func() { t.Error("quit") }, MetricsOnly: true})
	for _, path := range []string{pathHealth, pathReady, pathStatus, pathQuit} {
		if w := ask(h, "POST", path); w.Code != 404 {
			t.Errorf("POST %s: %d", path, w.Code)
		}
		if w := ask(h, "GET", path); w.Code != 404 {
			t.Errorf("GET %s: %d", path, w.Code)
		}
	}
	if w := ask(h, "GET", pathMetrics); w.Body.String() != "404 page not found\n" {
		t.Errorf("metrics were not asked: %d %s", w.Code, w.Body)
	}
}

func TestQuittingManyTimesAtOnceQuitsOnce(t *testing.T) {
	var n atomic.Int32
	s := httptest.NewServer(handler(full(), func() { n.Add(1) }))
	defer s.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, err := s.Client().Post(s.URL+pathQuit, "", nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 || resp.ContentLength != 0 {
				t.Errorf("%s with %d bytes", resp.Status, resp.ContentLength)
			}
		})
	}
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("quit ran %d times", n.Load())
	}
}

func TestAWebPageCannotQuitTheDaemon(t *testing.T) {
	h := handler(full(), func() { t.Error("quit ran") })
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		if w := ask(h, "POST", pathQuit, header...); w.Code != 403 {
			t.Errorf("%v: %d", header, w.Code)
		}
	}
}

func TestTheTokensTimeIsCountedWhenAsked(t *testing.T) {
	in := Token{ExpiresAt: time.Now().Add(time.Hour)}
	s := Status{Token: in, Identities: []Identity{{Name: "reports", Token: in}}}
	var got Status
	if err := json.Unmarshal(ask(handler(s, nil), "GET", pathStatus).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Token.TTL < 3590 || got.Token.TTL > 3600 || got.Now.IsZero() {
		t.Errorf("ttl %d at %v", got.Token.TTL, got.Now)
	}
	if l := got.Identities[0].Token.TTL; l < 3590 || l > 3600 {
		t.Errorf("another login's ttl is %d", l)
	}
	if s.Identities[0].Token.TTL != 0 {
		t.Error("what was handed in is changed")
	}
}

func TestAStatusListsAtMostAThousandLeases(t *testing.T) {
	s := Status{Leases: Leases{Count: 5000, Entries: make([]Lease, 5000)}}
	var got Status
	if err := json.Unmarshal(ask(handler(s, nil), "GET", pathStatus).Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Leases.Count != 5000 || len(got.Leases.Entries) != MaxEntries {
		t.Errorf("%d listed of %d", len(got.Leases.Entries), got.Leases.Count)
	}
}

func TestAnAccessorIsShownAsAHashOnly(t *testing.T) {
	h := Hash("hmac-accessor-0123456789")
	if len(h) != 32 || strings.Contains(h, "accessor") || h == Hash("another") || Hash("") != "" {
		t.Errorf("hash %q", h)
	}
}

// serveUnix serves h on a socket of its own and returns its path.
func serveUnix(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	return path
}

func TestAStatusComesThroughASocketAndAURL(t *testing.T) {
	want := full()
	h := handler(want, nil)
	web := httptest.NewServer(h)
	defer web.Close()
	path := serveUnix(t, h)
	for _, address := range []string{"unix://" + path, path, web.URL, web.URL + "/"} {
		got, err := Fetch(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v\nwant %+v", address, got, want)
		}
	}
}

func TestAStatusThatCannotBeHadIsExplained(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	if _, err := os.Lstat(dead); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer stuck.Close()
	defer close(release)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer page.Close()
	moved := httptest.NewServer(http.RedirectHandler(page.URL, http.StatusFound))
	defer moved.Close()
	short, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("no answer in time"))
	defer cancel()
	for _, tc := range []struct {
		name, address, has string
		ctx                context.Context
		nobody             bool
	}{
		{"no such socket", "unix://" + filepath.Join(dir, "none"), "is the daemon running", t.Context(), true},
		{"a socket nobody listens on", dead, "is the daemon running", t.Context(), true},
		{"a daemon that is stuck", stuck.URL, "no answer in time", short, false},
		{"another server", other.URL, "not the status address", t.Context(), false},
		{"a web page", page.URL, "is no status", t.Context(), false},
		{"a redirect", moved.URL, "302", t.Context(), false},
		{"a host without a scheme", "localhost:8200", "must be unix:///path or http://host:port", t.Context(), false},
		{"a relative socket", "unix://run/s", "must be unix:///path", t.Context(), false},
		{"nothing", "", "must be unix:///path", t.Context(), false},
		{"no URL", "http://[::1", "no address", t.Context(), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Fetch(tc.ctx, tc.address)
			if err == nil || !strings.Contains(err.Error(), tc.has) || !strings.Contains(err.Error(), tc.address) {
				t.Errorf("error %v; want %q and the address", err, tc.has)
			}
			if errors.Is(err, ErrNobody) != tc.nobody {
				t.Errorf("ErrNobody: %v", err)
			}
		})
	}
}

// Whoever builds on a field must find it described.
func TestEveryFieldIsDescribed(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "health.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() || seen[typ] {
			return
		}
		seen[typ] = true
		for f := range typ.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !strings.Contains(string(doc), "`"+name+"`") {
				t.Errorf("docs/health.md does not describe %s of %s", name, typ.Name())
			}
			visit(f.Type)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Status](), reflect.TypeFor[alive](), reflect.TypeFor[readiness]()} {
		visit(typ)
	}
	for _, path := range []string{pathHealth, pathReady, pathStatus, pathMetrics, pathQuit} {
		if !strings.Contains(string(doc), path) {
			t.Errorf("docs/health.md does not mention %s", path)
		}
	}
}
