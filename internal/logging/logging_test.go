package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/cred"
	"latchkey/internal/loglevel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// at gives a handler's line a fixed time, so that it can be compared whole.
var at = time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)

func line(t *testing.T, f Format, log func(*slog.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) { // its clock stands at 2000-01-01T00:00:00Z
		l, c, err := New(Options{Level: loglevel.Trace, Format: f, Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		log(l)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return out.String()
}

type nilStringer struct{ s string }

func (n *nilStringer) String() string { return n.s }

type panicker struct{}

func (panicker) Error() string { panic("hvs.CANARY in a panic") }

func TestLines(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	secret := cred.Redact("hvs.CANARY")
	tests := []struct {
		name, standard, json string
		log                  func(*slog.Logger)
	}{
		{"a message alone",
			`2000-01-01T00:00:00.000Z [INFO]  agent.auth.handler: authentication successful`,
			`{"@level":"info","@message":"authentication successful","@module":"agent.auth.handler","@timestamp":"2000-01-01T00:00:00.000000Z"}`,
			func(l *slog.Logger) {
				Named(Named(l, "agent"), "auth.handler").Info("authentication successful")
			}},
		{"attributes follow a colon",
			`2000-01-01T00:00:00.000Z [WARN]  login failed: attempt=2 next=1.5s ok=false error="open x: no such file"`,
			`{"@level":"warn","@message":"login failed","@timestamp":"2000-01-01T00:00:00.000000Z","attempt":2,"next":"1.5s","ok":false,"error":"open x: no such file"}`,
			func(l *slog.Logger) {
				l.Warn("login failed", "attempt", 2, "next", 1500*time.Millisecond, "ok", false, "error", errors.New("open x: no such file"))
			}},
		{"a secret keeps quiet",
			`2000-01-01T00:00:00.000Z [DEBUG] s: v=[redacted] p=[redacted] in={A:[redacted]} e="bad [redacted]"`,
			`{"@level":"debug","@message":"s","@timestamp":"2000-01-01T00:00:00.000000Z","v":"[redacted]","p":"[redacted]","in":"{A:[redacted]}","e":"bad [redacted]"}`,
			func(l *slog.Logger) {
				l.Debug("s", "v", secret, "p", &secret, "in", struct{ A cred.Redacted }{secret}, "e", fmt.Errorf("bad %s", secret))
			}},
		{"a token shows its accessor",
			`2000-01-01T00:00:00.000Z [ERROR] t: tok.accessor=acc tok.ttl=1h0m0s tok.renewable=true tok.policies=a,b`,
			`{"@level":"error","@message":"t","@timestamp":"2000-01-01T00:00:00.000000Z","tok.accessor":"acc","tok.ttl":"1h0m0s","tok.renewable":true,"tok.policies":"a,b"}`,
			func(l *slog.Logger) {
				l.Error("t", "tok", cred.Token{Value: secret, Accessor: "acc", Policies: []string{"a", "b"}, Lease: cred.Lease{Duration: time.Hour, Renewable: true}})
			}},
		{"nil and panicking values end no run",
			`2000-01-01T00:00:00.000Z [INFO]  n: a=<nil> b="[a value that cannot be printed]" c="[a value that cannot be printed]" d="[a value that cannot be printed]" f="[10 bytes]"`,
			`{"@level":"info","@message":"n","@timestamp":"2000-01-01T00:00:00.000000Z","a":"<nil>","b":"[a value that cannot be printed]","c":"[a value that cannot be printed]","d":"[a value that cannot be printed]","f":"[10 bytes]"}`,
			func(l *slog.Logger) {
				l.Info("n", "a", nil, "b", (*nilStringer)(nil), "c", panicker{}, "d", (*cred.Token)(nil), "f", []byte("hvs.CANARY"))
			}},
		{"one line stays one line",
			`2000-01-01T00:00:00.000Z [TRACE] a\n2000 [INFO] "b": k="x\ny" "odd key"=ü empty=""`,
			`{"@level":"trace","@message":"a\n2000 [INFO] \"b\"","@timestamp":"2000-01-01T00:00:00.000000Z","k":"x\ny","odd key":"ü","empty":""}`,
			func(l *slog.Logger) {
				l.Log(t.Context(), loglevel.Trace, "a\n2000 [INFO] \"b\"", "k", "x\ny", "odd key", "ü", "empty", "")
			}},
		{"groups become dots",
			`2000-01-01T00:00:00.000Z [INFO]  g: w=1 req.path=kv/a req.in.n=2.5`,
			`{"@level":"info","@message":"g","@timestamp":"2000-01-01T00:00:00.000000Z","w":1,"req.path":"kv/a","req.in.n":2.5}`,
			func(l *slog.Logger) {
				l.With("w", 1).WithGroup("req").With("path", "kv/a").Info("g", slog.Group("in", "n", 2.5), slog.Attr{})
			}},
		{"lists and times",
			`2000-01-01T00:00:00.000Z [INFO]  l: l="[a b]" t=2026-11-21T18:00:00Z`,
			`{"@level":"info","@message":"l","@timestamp":"2000-01-01T00:00:00.000000Z","l":["a","b"],"t":"2026-11-21T18:00:00Z"}`,
			func(l *slog.Logger) { l.Info("l", "l", []string{"a", "b"}, "t", at) }},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for f, want := range map[Format]string{Standard: tc.standard, JSON: tc.json} {
				got := line(t, f, tc.log)
				if got != want+"\n" {
					t.Errorf("%s:\n got %s want %s", f, got, want)
				}
				if strings.Contains(got, "CANARY") {
					t.Errorf("%s: the secret got out: %s", f, got)
				}
				if f == JSON && !json.Valid([]byte(got)) {
					t.Errorf("not JSON: %s", got)
				}
			}
		})
	}
}

func TestWithOnOneLoggerDoesNotDisturbItsSiblings(t *testing.T) {
	var out bytes.Buffer
	l, _, err := New(Options{Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	base := l.With("a", 1)
	left, right := base.With("left", 1), base.With("right", 1)
	left.Info("m")
	right.Info("m")
	lines := strings.Split(out.String(), "\n")
	if !strings.HasSuffix(lines[0], "m: a=1 left=1") || !strings.HasSuffix(lines[1], "m: a=1 right=1") {
		t.Errorf("got %q", lines)
	}
}

func TestLevelsAndFormatsAreReadInAnyCase(t *testing.T) {
	for s, want := range map[string]slog.Level{
		"trace": loglevel.Trace, "DEBUG": slog.LevelDebug, "Info": slog.LevelInfo, "notice": slog.LevelInfo,
		"warn": slog.LevelWarn, "WARNING": slog.LevelWarn, "error": slog.LevelError, "err": slog.LevelError,
	} {
		if got, err := loglevel.Parse(s); err != nil || got != want {
			t.Errorf("loglevel.Parse(%q) = %v, %v", s, got, err)
		}
	}
	if _, err := loglevel.Parse("loud"); err == nil || !strings.Contains(err.Error(), `"loud": use trace, debug, info, warn or error`) {
		t.Errorf("an unknown level says %v", err)
	}
	if f, err := ParseFormat("JSON"); f != JSON || err != nil {
		t.Errorf("ParseFormat(JSON) = %v, %v", f, err)
	}
	for _, err := range []error{second(ParseFormat("xml")), third(New(Options{Format: "xml"}))} {
		if err == nil || !strings.Contains(err.Error(), `"xml": use standard or json`) {
			t.Errorf("an unknown format says %v", err)
		}
	}
}

func second[A any](_ A, err error) error      { return err }
func third[A, B any](_ A, _ B, e error) error { return e }

func TestTheLevelCanChangeWhileRunning(t *testing.T) {
	var out bytes.Buffer
	var lv slog.LevelVar
	l, _, err := New(Options{Stderr: &out, Level: &lv})
	if err != nil {
		t.Fatal(err)
	}
	l.Debug("unseen")
	lv.Set(slog.LevelDebug)
	l.Debug("seen")
	if got := out.String(); strings.Contains(got, "unseen") || !strings.Contains(got, "seen") {
		t.Errorf("got %q", got)
	}
}

// logFile logs to a file and returns the lines on stderr and a function that
// closes the log.
func logFile(t *testing.T, o Options) (*slog.Logger, *bytes.Buffer, io.Closer) {
	t.Helper()
	var out bytes.Buffer
	o.Stderr = &out
	l, c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return l, &out, c
}

func TestTheFileHoldsWhatStderrShows(t *testing.T) {
	dir := t.TempDir()
	l, out, c := logFile(t, Options{File: filepath.Join(dir, "sub") + string(filepath.Separator)})
	l.Info("first")
	l.Info("second", "k", "v")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	l.Info("after the end") // to stderr alone, and the file stays closed
	if err := c.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	path := filepath.Join(dir, "sub", "agent.log")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), string(got)) || strings.Count(string(got), "\n") != 2 {
		t.Errorf("stderr %q, file %q", out, got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestARestartAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	for range 2 {
		l, _, c := logFile(t, Options{File: path})
		l.Info("hello")
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(path); strings.Count(string(got), "hello") != 2 {
		t.Errorf("got %q", got)
	}
}

func TestTwoProcessesShareAFileAndNoLineIsLost(t *testing.T) {
	for name, rotate := range map[string]int{"a new file": 0, "after a rotation": 60} {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.log")
		a, _, closeA := logFile(t, Options{File: path, RotateBytes: rotate})
		if rotate > 0 {
			a.Info("a line that is moved aside")
			a.Info("a line that is moved aside")
		}
		b, _, closeB := logFile(t, Options{File: path})
		for range 3 {
			b.Info("of b")
			if rotate == 0 {
				a.Info("of a")
			}
		}
		a.Info("end")
		if err := errors.Join(closeA.Close(), closeB.Close()); err != nil {
			t.Fatal(err)
		}
		var got []byte
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			text, _ := os.ReadFile(f)
			got = append(got, text...)
		}
		for word, n := range map[string]int{"of a": 3, "of b": 3, "end": 1, "moved": 2} {
			if rotate == 0 && word == "moved" || rotate > 0 && word == "of a" {
				n = 0
			}
			if strings.Count(string(got), word) != n {
				t.Errorf("%s: %q not %d times in %q", name, word, n, got)
			}
		}
	}
}

func TestRotation(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name  string
		o     Options
		pause time.Duration
		files int // in the directory, the current one included
	}{
		{"never without a limit", Options{}, day, 1},
		{"by bytes, keeping all", Options{RotateBytes: 70}, 0, 6},
		{"by bytes, keeping two", Options{RotateBytes: 70, RotateMaxFiles: 2}, time.Second, 3},
		{"by bytes, keeping none", Options{RotateBytes: 70, RotateMaxFiles: -1}, 0, 1},
		{"by age, keeping all", Options{RotateDuration: day}, day, 6},
		{"by age, not yet", Options{RotateDuration: day}, time.Hour, 1},
		{"a line longer than the limit is not lost", Options{RotateBytes: 5}, 0, 6},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				tc.o.File = filepath.Join(dir, "a.log")
				l, out, c := logFile(t, tc.o)
				for i := range 6 {
					l.Info("a line of some forty bytes", "n", i)
					time.Sleep(tc.pause)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(out.String(), "cannot be written") {
					t.Error(out)
				}
			})
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != tc.files {
				t.Errorf("%d files, want %d: %v %v", len(entries), tc.files, entries, err)
			}
			if got, _ := os.ReadFile(filepath.Join(dir, "a.log")); !strings.HasSuffix(string(got), "n=5\n") {
				t.Errorf("the current file ends with %q", got)
			}
		})
	}
}

func TestATightenedModeSurvivesRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, _, c := logFile(t, Options{File: path, RotateBytes: 10})
	l.Info("one")
	l.Info("two")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestALogFileThatCannotBeIsToldBeforeTheRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"glob characters", filepath.Join(dir, "a*.log"), "cannot be rotated"},
		{"a directory without its separator", dir, "is a directory: end the path with a separator"},
		{"a device is not moved aside", os.DevNull, "is not a regular file"},
		{"a parent that is a file", filepath.Join(file, "a.log"), "not a directory"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := New(Options{File: tc.path, Stderr: io.Discard})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "log file") {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was moved or made: %v", entries)
	}
}

func TestAFileThatFailsLaterIsToldOnStderrOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	l, out, _ := logFile(t, Options{File: filepath.Join(dir, "a.log"), RotateBytes: 10})
	l.Info("one")
	// A file where the directory was: no rotation can succeed any more, not
	// even for root.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Info("two")
	l.Info("three")
	if got := out.String(); strings.Count(got, "the log file cannot be written") != 1 || !strings.Contains(got, "three") {
		t.Errorf("got %s", got)
	}
}

func TestALineCostsFewAllocations(t *testing.T) {
	for _, f := range []Format{Standard, JSON} {
		l, _, err := New(Options{Format: f, Stderr: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		l = Named(l, "auth")
		n := testing.AllocsPerRun(100, func() { l.Info("logged in", "method", "approle", "attempt", 3) })
		if n > 1 {
			t.Errorf("%s: %v allocations for a line", f, n)
		}
		if n := testing.AllocsPerRun(100, func() { l.Debug("unseen", "k", "v") }); n != 0 {
			t.Errorf("%s: %v allocations for a line that is not logged", f, n)
		}
	}
}

// FuzzLine looks for a value that breaks out of its line or its JSON.
func FuzzLine(f *testing.F) {
	f.Add("a message", "key", "value")
	f.Add("", "", "")
	f.Add("\x1b[2J\n", "\"", "\xff\u2028")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		for _, form := range []Format{Standard, JSON} {
			var out bytes.Buffer
			l, _, err := New(Options{Format: form, Stderr: &out})
			if err != nil {
				t.Fatal(err)
			}
			l.Info(msg, key, value)
			got := out.String()
			if strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\r\x1b\x00") {
				t.Errorf("%s: %q", form, got)
			}
			if form == JSON && !json.Valid(out.Bytes()) {
				t.Errorf("not JSON: %q", got)
			}
		}
	})
}
