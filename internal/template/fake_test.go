package template

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/cred"
)

var errDenied = errors.New("permission denied")

// fakeReader answers from a map and remembers what it was asked.
type fakeReader struct {
	mu      sync.Mutex
	secrets map[string]*cred.Secret
	errs    map[string]error
	batches [][]Request
}

func newReader() *fakeReader {
	return &fakeReader{secrets: map[string]*cred.Secret{}, errs: map[string]error{}}
}

// name is "kv/a", "kv/a?version=2", "write kv/a", "list kv".
func name(r Request) string {
	s := r.Path
	if r.Query != "" {
		s += "?" + r.Query
	}
	switch r.Op {
	case OpWrite:
		return "write " + s
	case OpList:
		return "list " + s
	}
	return s
}

func (f *fakeReader) ReadAll(_ context.Context, reqs []Request) []Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, reqs)
	out := make([]Result, len(reqs))
	for i, r := range reqs {
		if err := f.errs[name(r)]; err != nil {
			out[i] = Result{Err: err}
		} else if s := f.secrets[name(r)]; s != nil {
			out[i] = Result{Secret: s}
		} else {
			out[i] = Result{Err: fmt.Errorf("read %s: 404", r.Path)}
		}
	}
	return out
}

// kv2 answers as the server does for KV version 2.
func kv2(data map[string]any) *cred.Secret {
	return &cred.Secret{RequestID: "r", Data: map[string]any{
		"data":     data,
		"metadata": map[string]any{"created_time": "2026-01-01T00:00:00Z", "version": "1"},
	}}
}

func plainSecret(data map[string]any) *cred.Secret {
	return &cred.Secret{RequestID: "r", Data: data}
}

// fakeRunner remembers commands.
type fakeRunner struct {
	ran []Command
	err error
	// hook runs inside Run.
	hook func()
}

func (f *fakeRunner) Run(_ context.Context, c Command) error {
	f.ran = append(f.ran, c)
	if f.hook != nil {
		f.hook()
	}
	return f.err
}

// spec is a fatal template that writes to dir/name.
func spec(dir, file, contents string) Spec {
	return Spec{
		Name: "template at agent.hcl:1", Contents: contents, Destination: filepath.Join(dir, file),
		CreateDestDirs: true, ErrorFatal: true,
	}
}

func mustNew(t testing.TB, o Options, specs ...Spec) *Set {
	t.Helper()
	s, err := New(specs, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// render renders one text and returns what was written.
func render(t testing.TB, r Reader, o Options, contents string, change ...func(*Spec)) (string, error) {
	t.Helper()
	sp := spec(t.TempDir(), "out", contents)
	for _, c := range change {
		c(&sp)
	}
	s, err := New([]Spec{sp}, o)
	if err != nil {
		return "", err
	}
	if _, err := s.Render(t.Context(), r); err != nil {
		return "", err
	}
	return read(t, sp.Destination), nil
}

func wantError(t testing.TB, err error, kind error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("error %q is not %q", err, kind)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// logged is a log that can be read.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
