package daemonmode_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/daemonmode"
	"latchkey/internal/config"
	"latchkey/internal/hcl"
	"latchkey/internal/methods"
	"latchkey/internal/systemd"
	"latchkey/internal/telemetry"
	"latchkey/internal/vaulttest"
	"latchkey/internal/wiring"
)

// pipes is a network in memory, so that a simulated clock can go on while
// connections wait.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	shut  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), shut: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.shut:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.shut) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.shut:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// simulation is a daemon and its server in one bubble of simulated time.
type simulation struct {
	t       *testing.T
	dir     string
	server  *vaulttest.Server
	net     *pipes
	signals chan os.Signal
	// next is what a reload reads.
	next func() (daemonmode.Job, error)
	// build makes a job of a configuration.
	build func(text string) daemonmode.Job

	mu  sync.Mutex
	log strings.Builder
}

// Write is the log.
func (s *simulation) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *simulation) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// reload has the daemon read this configuration.
func (s *simulation) reload(text string) {
	s.hangUp(func() (daemonmode.Job, error) { return s.build(text), nil })
}

// hangUp has a reload read what next gives.
func (s *simulation) hangUp(next func() (daemonmode.Job, error)) {
	s.mu.Lock()
	s.next = next
	s.mu.Unlock()
	s.signals <- syscall.SIGHUP
	time.Sleep(time.Second)
}

func (s *simulation) rebuild() (daemonmode.Job, error) {
	s.mu.Lock()
	next := s.next
	s.mu.Unlock()
	return next()
}

// job builds a configuration as the program does.
func (s *simulation) job(text string, log *slog.Logger, m *telemetry.Telemetry) daemonmode.Job {
	s.t.Helper()
	path := filepath.Join(s.dir, "agent.hcl")
	text = strings.NewReplacer("DIR", s.dir).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	env := map[string]string{"VAULT_ADDR": "http://vault.test:8200"}
	look := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	loaded, err := config.Load([]string{path}, config.Options{Env: look, Lex: hcl.Lex})
	if err != nil {
		s.t.Fatal(err)
	}
	f, origins, err := loaded.Resolve(config.Flags{}, look)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := config.Check(f, config.ModeDaemon); err != nil {
		s.t.Fatal(err)
	}
	l, err := wiring.BuildLasting(f, wiring.Options{
		Method: methods.All(nil).Lookup, Origins: origins, Output: os.Stderr, Log: log, Version: "test", Dial: s.net.dial, Meter: m,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Client.Close() })
	var logins []daemonmode.Login
	for _, i := range l.Logins() {
		logins = append(logins, daemonmode.Login(i))
	}
	return daemonmode.Job{
		Sections: l.Sections, Access: daemonmode.Access{Identity: l.Identity, Events: l.Events}, Logins: logins,
		SinkKeep: l.SinkKeep, Leases: l.Leases, Templates: l.Templates, Watch: l.Watch, Proxy: daemonmode.Proxy(l.Proxy), Guards: l.Guards,
		Child: l.Child, Environ: l.Environ, Listeners: f.Listeners, StatusSocket: f.StatusSocket,
		Use: func(logins []daemonmode.Login) {
			var use []wiring.Identity
			for _, i := range logins {
				use = append(use, wiring.Identity(i))
			}
			l.Use(use)
		},
	}
}

func (s *simulation) read(name string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Error(err)
	}
	return string(data)
}

// simulate runs a daemon in simulated time while act goes on, and ends it.
func simulate(t *testing.T, server *vaulttest.Server, credentials map[string]string, text string, act func(*simulation)) {
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{t: t, dir: t.TempDir(), server: server, net: newPipes(), signals: make(chan os.Signal, 1)}
		for name, content := range credentials {
			if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		front := &http.Server{Handler: server.Front}
		var running sync.WaitGroup
		running.Go(func() { _ = front.Serve(s.net) })
		log := slog.New(slog.NewTextHandler(s, nil))
		m, err := telemetry.New(telemetry.Options{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var ended error
		s.build = func(text string) daemonmode.Job { return s.job(text, log, m) }
		job := s.build(text)
		running.Go(func() {
			ended = daemonmode.Run(ctx, job, daemonmode.Options{
				Metrics: m, Notify: systemd.New(log), Log: log, Version: "test",
				Signals: s.signals, Rebuild: s.rebuild,
			})
		})
		synctest.Wait()
		act(s)
		start := time.Now()
		cancel()
		_ = front.Close()
		_ = s.net.Close()
		running.Wait()
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the end took %v", took)
		}
		if ended != nil {
			t.Errorf("the daemon ended with %v", ended)
		}
		if t.Failed() {
			t.Log(s.logged())
		}
	})
}
