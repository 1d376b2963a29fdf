package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/logging"
)

func TestSeverityLogSortsLinesByLevelAndFilesThemAll(t *testing.T) {
	var info, warn, bad bytes.Buffer
	file := filepath.Join(t.TempDir(), "log")
	var level slog.LevelVar
	log, out, err := severityLog(&info, &warn, &bad)(logging.Options{Level: &level, File: file})
	if err != nil {
		t.Fatal(err)
	}
	log = logging.Named(log, "room").With("a", 1).WithGroup("g")
	log.Debug("nobody wants this")
	log.Info("one", "b", 2)
	log.Warn("two")
	log.Error("three")
	level.Set(slog.LevelWarn)
	log.Info("nor this")
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	filed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"info", info.String(), "room: one: a=1 g.b=2\n"},
		{"warnings", warn.String(), "room: two: a=1\n"},
		{"errors", bad.String(), "room: three: a=1\n"},
	} {
		if !strings.HasSuffix(c.got, c.want) || strings.Count(c.got, "\n") != 1 || !strings.Contains(string(filed), c.got) {
			t.Errorf("%s hold %q, and the file %q", c.name, c.got, filed)
		}
	}
	if strings.Count(string(filed), "\n") != 3 {
		t.Errorf("the file holds %q", filed)
	}
	if _, _, err := severityLog(&info, &warn, &bad)(logging.Options{File: filepath.Join(file, "below")}); err == nil {
		t.Error("a log file that cannot be is no error")
	}
}

func TestTheServiceIsStartedWithTheFlagsItWasInstalledWith(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
		err  string
	}{
		{"paths become absolute, in the order of the flags",
			[]string{"install", "-log-level=warn", "-config", "a b.hcl", "-config=/etc/x", "-name", "mine", "-tls-skip-verify", "-revoke-on-exit"},
			[]string{"service", "run", "-name=mine", "-config=" + filepath.Join(dir, "a b.hcl"), "-config=/etc/x", "-revoke-on-exit=true", "-tls-skip-verify=true", "-log-level=warn"}, ""},
		{"no configuration", []string{"install"}, nil, "needs -config"},
		{"a header", []string{"install", "-config=/x", "-header=X-Key=CANARY"}, nil, "set VAULT_HEADERS"},
	} {
		service := find("service")
		g, verb, err := parse(service, c.args)
		if err != nil || !slices.Equal(verb, []string{"install"}) {
			t.Fatalf("%s: %v, %v", c.name, verb, err)
		}
		got, err := serviceArgs(service, g)
		if c.err == "" && (err != nil || !slices.Equal(got, c.want)) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		// What is installed must be understood when it is started.
		if c.err == "" {
			again, verb, err := parse(service, got[1:])
			if err != nil || !slices.Equal(verb, []string{"run"}) || again["config"] == "" || serviceName(again) != serviceName(g) {
				t.Errorf("%s: read again as %v, %v: %v", c.name, verb, again, err)
			}
		}
	}
}

func TestWhereTheDaemonListens(t *testing.T) {
	for _, c := range []struct {
		name, want string
		f          config.File
	}{
		{"the socket before all", "/run/s t.sock", config.File{StatusSocket: "/run/s t.sock", Listeners: []config.Listener{{Type: "tcp", Address: "127.0.0.1:1", TLSDisable: true}}}},
		{"a listener", "http://127.0.0.1:1", config.File{Listeners: []config.Listener{{Type: "tcp", Address: "127.0.0.1:1", TLSDisable: true}}}},
		{"one with TLS", "https://vault.local:1", config.File{Listeners: []config.Listener{{Type: "tcp", Address: "vault.local:1"}}}},
		{"not one for metrics alone", "/a", config.File{Listeners: []config.Listener{{Type: "tcp", Address: "127.0.0.1:1", Role: "metrics_only"}, {Type: "unix", Address: "/a"}}}},
		{"every interface is this machine, too", "http://127.0.0.1:1", config.File{Listeners: []config.Listener{{Type: "tcp", Address: "0.0.0.0:1", TLSDisable: true}}}},
		{"every interface without a name", "http://127.0.0.1:1", config.File{Listeners: []config.Listener{{Type: "tcp", Address: ":1", TLSDisable: true}}}},
		{"every interface of IPv6", "http://[::1]:1", config.File{Listeners: []config.Listener{{Type: "tcp", Address: "[::]:1", TLSDisable: true}}}},
		{"nowhere", "", config.File{}},
	} {
		socket, address := listensAt(&c.f)
		if got := socket + address; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWhatMayBeRevoked(t *testing.T) {
	file := func(change func(*config.AutoAuth)) *config.File {
		a := &config.AutoAuth{Method: config.Method{Type: "approle"}}
		change(a)
		return &config.File{AutoAuth: a}
	}
	plain := file(func(*config.AutoAuth) {})
	wraps := file(func(a *config.AutoAuth) { a.Method.WrapTTL = time.Minute })
	hands := file(func(a *config.AutoAuth) { a.Handover = &config.Handover{} })
	borrows := file(func(a *config.AutoAuth) { a.Method.Type = "token_file" })
	also := func(other *config.File) *config.File {
		return &config.File{AutoAuth: plain.AutoAuth, Identities: []*config.AutoAuth{other.AutoAuth}}
	}
	keeps := &config.File{AutoAuth: plain.AutoAuth, Cache: &config.Cache{Persist: &config.Persist{}}}
	for _, c := range []struct {
		name, flag string
		f          *config.File
		ok         bool
	}{
		{"what all of us logged in for", "true", also(plain), true},
		{"a borrowed token beside ours", "true", also(borrows), false},
		{"a token beside ours that is kept for the next start", "true", also(hands), false},
		{"tokens that the cache keeps for the next start", "true", keeps, false},
		{"tokens that the cache keeps for the next start, all the same", "force", keeps, true},
		{"what we logged in for", "true", plain, true},
		{"a wrapped token", "force", wraps, false},
		{"a token that is kept for the next start", "force", hands, false},
		{"a borrowed token", "true", borrows, false},
		{"a borrowed token, all the same", "force", borrows, true},
		{"no token", "true", &config.File{}, false},
	} {
		if err := revocable(given{"revoke-on-exit": c.flag}, c.f); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := revocable(given{}, c.f); err != nil {
			t.Errorf("%s, not asked for: %v", c.name, err)
		}
	}
}

func TestWhatIsLeftUndoneDoesNotSpoilAnEndThatWasAskedFor(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupted{15})
	var out bytes.Buffer
	w := world{stderr: &out, lookup: func(string) (string, bool) { return "", false }}
	if code := told(ctx, newSetup(w, given{}), errUndone); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "stopped by terminated; left undone: something did not end") {
		t.Errorf("it says %q", got)
	}
	out.Reset()
	if code := told(ctx, newSetup(w, given{}), nil); code != 0 || out.Len() > 0 {
		t.Errorf("exit code %d, and it says %q", code, out.String())
	}
}

func TestWorkThatDoesNotEndIsLeftBehind(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	still, end := make(chan struct{}), make(chan struct{})
	code, left := attended(over, world{stderr: &bytes.Buffer{}}, func() time.Duration { return time.Millisecond }, func(context.Context) int {
		defer close(end)
		<-still
		return 1
	})
	if code != 0 || !left {
		t.Errorf("code %d, left %v", code, left)
	}
	close(still)
	<-end

	var out bytes.Buffer
	code, left = attended(t.Context(), world{stderr: &out}, nil, func(context.Context) int { panic(errors.New("CANARY")) })
	if code != exitInternal || left || !strings.Contains(out.String(), "internal error: panic with a *errors.errorString") || strings.Contains(out.String(), "CANARY") {
		t.Errorf("code %d, left %v:\n%s", code, left, &out)
	}
}

// Standard error may be a pipe that is full.
func TestALastWordThatNobodyReadsIsNotWaitedFor(t *testing.T) {
	never, said := make(chan struct{}), make(chan struct{})
	code := briefly(func() int {
		defer close(said)
		<-never
		return exitInternal
	})
	if code != exitDone {
		t.Errorf("exit code %d", code)
	}
	close(never)
	<-said
	if code := briefly(func() int { return exitInternal }); code != exitInternal {
		t.Errorf("exit code %d of one that is read", code)
	}
}
