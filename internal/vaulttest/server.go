package vaulttest

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Server is the fake: initialised, unsealed, with KV version 2 at secret/, as a
// dev server is. It is safe for concurrent use.
type Server struct {
	*Front
	// RootToken may do everything; UnsealKey unseals.
	RootToken string
	UnsealKey string
	// CA issued the certificate of a server with TLS; nil otherwise.
	CA *CA

	door   *door
	caFile string
	clean  func()

	mu      sync.Mutex
	shift   time.Duration
	sealed  bool
	events  bool
	streams map[*stream]bool
	storage storage
	*state
}

// state is what a server forgets when it is restarted without keeping it.
type state struct {
	tokens     map[string]*token
	accessors  map[string]*token
	leases     map[string]*lease
	mounts     map[string]*mount // by path, with its slash; methods under auth/
	policies   map[string]acl
	policyText map[string]string
	entities   map[string]string // by mount accessor and alias
}

// Option changes how a Server is made.
type Option func(*Server)

// WithTLS serves https, HTTP/2 included, and asks clients for a certificate
// without needing one.
func WithTLS() Option {
	return func(s *Server) { s.door.tls = &tls.Config{MinVersion: tls.VersionTLS12} }
}

// New starts a server on a free loopback port, until the test ends.
func New(tb TB, opts ...Option) *Server {
	tb.Helper()
	s, err := Start(opts...)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start is New for a program that is no test; the caller closes the server.
func Start(opts ...Option) (*Server, error) {
	s := &Server{RootToken: "hvs." + randomString(24), UnsealKey: randomKey(), clean: func() {}, streams: map[*stream]bool{}}
	s.Front = newFront(&api{s})
	s.door = &door{handler: s.Front}
	for _, o := range opts {
		o(s)
	}
	if s.door.tls != nil {
		if err := s.certify(); err != nil {
			return nil, err
		}
	}
	s.forget()
	if err := s.door.open(); err != nil {
		s.clean()
		return nil, err
	}
	return s, nil
}

func (s *Server) certify() error {
	ca, err := NewCA("vaulttest")
	if err != nil {
		return fmt.Errorf("vaulttest: CA: %w", err)
	}
	if s.door.tls, err = ca.ServerTLS(); err != nil {
		return fmt.Errorf("vaulttest: certificate: %w", err)
	}
	dir, clean, err := tempDir()
	if err != nil {
		return fmt.Errorf("vaulttest: %w", err)
	}
	s.CA, s.clean = ca, clean
	if s.caFile, err = writeFile(dir, "ca.pem", ca.PEM); err != nil {
		clean()
		return fmt.Errorf("vaulttest: %w", err)
	}
	return nil
}

// forget makes everything as new; the root token and the unseal key stay.
func (s *Server) forget() {
	s.state = &state{
		tokens: map[string]*token{}, accessors: map[string]*token{}, leases: map[string]*lease{},
		mounts: map[string]*mount{}, policies: map[string]acl{}, policyText: map[string]string{},
		entities: map[string]string{},
	}
	s.setPolicy("default", defaultPolicy)
	s.addMount("sys/", "system", "system endpoints used for control, policy and debugging", nil)
	s.addMount("cubbyhole/", "cubbyhole", "per-token private secret storage", nil)
	s.addMount("identity/", "identity", "identity store", nil)
	s.addMount("auth/token/", "token", "token based credentials", nil)
	s.addMount("secret/", "kv", "key/value secret storage", Map{"version": "2"})
	root := &token{
		id: s.RootToken, typ: "service", policies: []string{"root"}, path: "auth/token/create",
		display: "token", created: s.now(), orphan: true,
	}
	s.keep(root)
}

// Addr is the server's URL; it stays the same across Down and Up.
func (s *Server) Addr() string { return s.door.url() }

// CAFile is the CA's certificate as a file, "" on plain HTTP.
func (s *Server) CAFile() string { return s.caFile }

// Admin sets the server up, for a test. It goes past the Front, so that its
// requests are neither counted nor treated rudely, and past the network, so
// that it works while the server is down.
func (s *Server) Admin(tb TB) *Admin {
	tb.Helper()
	a := NewAdmin(tb, s.Addr(), s.RootToken, nil, nil)
	a.http.Transport = direct{&api{s}}
	return a
}

// direct hands requests to a handler without a network in between.
type direct struct{ h http.Handler }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &held{header: http.Header{}, status: http.StatusOK}
	d.h.ServeHTTP(w, r)
	return &http.Response{
		StatusCode: w.status, Header: w.header, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(w.body)), ContentLength: int64(len(w.body)),
	}, nil
}

// now is the server's clock. The caller may hold the lock or not: the shift
// is read by those who hold it and written by Advance alone.
func (s *Server) now() time.Time { return time.Now().Add(s.shift).UTC() }

// Advance moves the server's clock: what would have ended by then has.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shift += d
}

// Seal makes the server answer as a sealed one does; Unseal ends that.
func (s *Server) Seal() { s.setSealed(true) }

// Unseal is described at Seal.
func (s *Server) Unseal() { s.setSealed(false) }

func (s *Server) setSealed(sealed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed = sealed
	if sealed {
		s.endStreams()
	}
}

// Memory says what a restart leaves.
type Memory bool

// Keep keeps what the server knew, as one with storage does; Forget starts it
// anew, as a dev server does: every token but the root's is invalid.
const (
	Keep   Memory = true
	Forget Memory = false
)

// Down stops listening and drops every connection, so that clients are refused.
func (s *Server) Down() {
	s.dropStreams()
	s.door.shut()
}

// Up listens again at the same address, unsealed.
func (s *Server) Up(m Memory) error {
	s.mu.Lock()
	s.sealed = false
	if m == Forget {
		s.forget()
	}
	s.mu.Unlock()
	return s.door.open()
}

// Restart is Down and Up.
func (s *Server) Restart(m Memory) error {
	s.Down()
	return s.Up(m)
}

// Close stops the server for good; it may be called twice.
func (s *Server) Close() {
	s.release()
	s.Down()
	s.clean()
}
