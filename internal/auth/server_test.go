package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// call is one request that the server saw.
type call struct {
	Method, Path, Token, Wrap, Namespace string
	Body                                 map[string]any
}

// server answers with what the test says, and remembers what it was asked.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call
	answer func(call) (status int, body string)
}

func newServer(t *testing.T, answer func(call) (int, string)) *server {
	t.Helper()
	s := &server{answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	c := call{
		Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, "/v1/"), Token: r.Header.Get("X-Vault-Token"),
		Wrap: r.Header.Get("X-Vault-Wrap-TTL"), Namespace: r.Header.Get("X-Vault-Namespace"),
	}
	if data, _ := io.ReadAll(r.Body); len(data) > 0 {
		if json.Unmarshal(data, &c.Body) != nil {
			http.Error(w, "not JSON", http.StatusTeapot)
			return
		}
	}
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	status, body := s.answer(c)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// seen lists the paths asked for so far, and forgets them.
func (s *server) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func paths(calls []call) string {
	var out []string
	for _, c := range calls {
		out = append(out, c.Path)
	}
	return strings.Join(out, " ")
}

func (s *server) client(t *testing.T) *vault.Client {
	t.Helper()
	c, err := vault.New(vault.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

const (
	granted = `{"auth":{"client_token":"hvs.canary-token","accessor":"acc","lease_duration":3600,"renewable":true,"token_type":"service"}}`
	wrapped = `{"wrap_info":{"token":"hvs.canary-wrapping","accessor":"wacc","ttl":60,"creation_time":"2026-01-02T03:04:05Z","creation_path":"auth/x/login","wrapped_accessor":"acc"}}`
	invalid = `{"errors":["invalid role or secret ID"]}`
)

func errors1(text string) string {
	b, _ := json.Marshal(map[string][]string{"errors": {text}})
	return string(b)
}

// build makes a method, and returns what it logs.
func build(t *testing.T, ctor Constructor, typ string, values map[string]any) (Method, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	m, err := ctor(options(typ, values, &log))
	if err != nil {
		t.Fatal(err)
	}
	return m, &log
}

func options(typ string, values map[string]any, log io.Writer) Options {
	return Options{
		Mount: "auth/" + typ, Config: config.NewBlock(typ, values),
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func mustLogin(t *testing.T, m Method, c *vault.Client) cred.Token {
	t.Helper()
	tok, err := m.Login(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if tok.Value.Reveal() != "hvs.canary-token" || tok.Accessor != "acc" || tok.Lease.Duration != time.Hour {
		t.Fatalf("got %v", tok)
	}
	return tok
}

// quiet fails the test when a text holds one of its secrets.
func quiet(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(text, "canary") {
		t.Errorf("a secret is told: %s", text)
	}
}

func in(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }

// unremovable returns another path of a file that even root cannot remove.
func unremovable(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	other := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	if !exists(other) {
		t.Skip("needs Linux's /proc")
	}
	return other
}

func isProblem(err error) bool {
	var p *config.Problem
	return errors.As(err, &p)
}
