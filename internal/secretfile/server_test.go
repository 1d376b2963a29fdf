package secretfile

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers what it was told to, over a network in memory, so that a simulated
// clock can go on while it is asked.
type server struct {
	mu sync.Mutex
	// answers by path; a number at the beginning is the status.
	answers map[string]func() string
	asked   map[string]int
	tokens  []string
	good    string
	delay   time.Duration
	atOnce  int
	most    int
	conns   chan net.Conn
	shut    chan struct{}
}

func (s *server) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.shut:
		return nil, net.ErrClosed
	}
}

func (s *server) Close() error   { return nil }
func (s *server) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (s *server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case s.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	s.mu.Lock()
	s.asked[path]++
	s.atOnce++
	s.most = max(s.most, s.atOnce)
	token := r.Header.Get("X-Vault-Token")
	s.tokens = append(s.tokens, token)
	answer, delay, good := s.answers[path], s.delay, s.good
	s.mu.Unlock()
	time.Sleep(delay)
	status, body := 404, `{"errors":[]}`
	if token != good {
		status, body = 403, `{"errors":["permission denied","invalid token"]}`
	} else if answer != nil {
		status, body = 200, answer()
		if _, err := fmt.Sscanf(body, "%d", &status); err == nil {
			body = body[3:]
		}
	}
	s.mu.Lock()
	s.atOnce--
	s.mu.Unlock()
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// set has a path answered with this text from now on.
func (s *server) set(path, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[path] = func() string { return answer }
}

func (s *server) count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

// kv is an answer of a key-value engine, with another request id each time.
func (s *server) kv(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	s.answers[path] = func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		n++
		return fmt.Sprintf(`{"request_id":"r%d","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"v":%q},"metadata":{"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`, n, value)
	}
}

// leased is an answer with a lease of this many seconds, another one each time.
func (s *server) leased(path string, seconds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	s.answers[path] = func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		n++
		return fmt.Sprintf(`{"request_id":"r","lease_id":"%s/%d","renewable":true,"lease_duration":%d,"data":{"username":"u%d"},"warnings":null}`, path, n, seconds, n)
	}
}

// identity lends the token t1, and t2 and so on when it is told that one is bad.
type identity struct {
	mu    sync.Mutex
	n     int
	told  func(cred.Token)
	fails error
}

func (i *identity) now() cred.Redacted { return cred.Redact(fmt.Sprintf("t%d", i.n)) }

func (i *identity) Token(context.Context) (cred.Redacted, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now(), i.fails
}

func (i *identity) Replace(_ context.Context, bad cred.Redacted) (cred.Redacted, error) {
	i.mu.Lock()
	if bad.Equal(i.now()) {
		i.n++
	}
	now := i.now()
	i.mu.Unlock()
	i.told(cred.Token{Value: now})
	return now, i.fails
}

// place is a server, an identity and a directory, in one bubble of simulated time.
type place struct {
	*testing.T
	*server
	id  *identity
	dir string
	log strings.Builder
	f   *Files
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// files begins anew with these secrets, "path" to the file of that name.
func (p *place) files(o Options, specs ...Spec) {
	p.Helper()
	c, err := vault.New(vault.Config{Address: "http://vault.test", Dial: p.dial})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = c.Close() })
	o.Client, o.Identity = c, p.id
	o.Log = slog.New(slog.NewTextHandler(&p.log, nil))
	if p.f, err = New(specs, o); err != nil {
		p.Fatal(err)
	}
	p.id.told = p.f.Use
}

// tend is Tend that has to succeed.
func (p *place) tend(ahead time.Duration) {
	p.Helper()
	if err := p.f.Tend(p.Context(), time.Now().Add(ahead)); err != nil {
		p.Fatal(err)
	}
}

// holds says whether a file holds this text somewhere.
func (p *place) holds(name, text string) {
	p.Helper()
	b, err := os.ReadFile(p.path(name))
	if err != nil || !strings.Contains(string(b), text) {
		p.Errorf("%s holds %s (%v), and not %s", name, b, err, text)
	}
}

// patient is what a start uses.
var patient = retry.Schedule{Attempts: 3, Base: 100 * time.Millisecond, Max: time.Second}

// in runs a test in a bubble.
func in(t *testing.T, test func(p *place)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{
			answers: map[string]func() string{}, asked: map[string]int{}, good: "t1",
			conns: make(chan net.Conn), shut: make(chan struct{}),
		}
		srv := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0)}
		var served sync.WaitGroup
		served.Go(func() { _ = srv.Serve(s) })
		t.Cleanup(func() {
			close(s.shut)
			_ = srv.Close()
			served.Wait()
		})
		test(&place{T: t, server: s, id: &identity{n: 1}, dir: t.TempDir()})
	})
}
