package daemonmode_test

import (
	"context"
	"fmt"
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

	"latchkey/daemonmode"
	"latchkey/internal/config"
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
	t      *testing.T
	dir    string
	server *vaulttest.Server
	net    *pipes
	log    *strings.Builder
	mu     sync.Mutex
}

// Write is the log.
func (s *simulation) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
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
	loaded, err := config.Load([]string{path}, config.Options{Env: look})
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
		Method: methods.Lookup, Origins: origins, Attempts: -1, Output: os.Stderr, Log: log, Version: "test", Dial: s.net.dial, Meter: m,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = l.Client.Close() })
	return daemonmode.Job{
		Sections: l.Sections, Access: daemonmode.Access{Session: l.Session, Identity: l.Identity, Events: l.Events},
		Sinks: l.Sinks, SinkKeep: l.SinkKeep, Leases: l.Leases, Templates: l.Templates, Watch: l.Watch,
		Child: l.Child, Environ: l.Environ, Listeners: f.Listeners, StatusSocket: f.StatusSocket,
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
		s := &simulation{t: t, dir: t.TempDir(), server: server, net: newPipes(), log: &strings.Builder{}}
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
		job := s.job(text, log, m)
		running.Go(func() {
			ended = daemonmode.Run(ctx, job, daemonmode.Options{
				Metrics: m, Notify: systemd.New(log), Log: log, Version: "test",
				Rebuild: func() (daemonmode.Job, error) { return daemonmode.Job{}, fmt.Errorf("not in this test") },
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
			t.Log(s.log.String())
		}
	})
}

const keeping = `
auto_auth {
  method "approle" {
    config = { role_id_file_path = "DIR/role_id", secret_id_file_path = "DIR/secret_id", remove_secret_id_file_after_reading = false }
  }
  sink "file" { config = { path = "DIR/token" } }
}
template_config { static_secret_render_interval = "INTERVAL" }
template {
  contents    = "{{ with secret \"secret/app\" }}{{ .Data.data.password }}{{ end }}"
  destination = "DIR/app"
}
template {
  contents    = "{{ with secret \"secret/other\" }}{{ .Data.data.password }}{{ end }}"
  destination = "DIR/other"
}
`

// TestADayOfADaemon is TestADaemonThroughTroubles with hours as hours. The race
// detector of Go 1.26 crashes when a bubble does so much (golang/go#78156), so
// that it is run without.
func TestADayOfADaemon(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector does not survive a simulated day (golang/go#78156); 'make unit' runs this without it")
	}
	troubles(t, time.Hour, "5m")
}

func TestADaemonThroughTroubles(t *testing.T) { troubles(t, time.Minute, "5s") }

// troubles lets 24 hours of some length pass: a token of one hour that lives four
// at most, a secret that changes, an outage of half an hour, a token that somebody
// revokes, a file that somebody removes.
func troubles(t *testing.T, hour time.Duration, interval string) {
	server := vaulttest.New(t)
	admin := server.Admin(t)
	admin.Policy("app", map[string][]string{"secret/data/*": {"read"}, "secret/metadata/*": {"read"}})
	admin.WriteKV2("secret", "app", vaulttest.Map{"password": "first"})
	admin.WriteKV2("secret", "other", vaulttest.Map{"password": "steady"})
	admin.EnableAuth("approle", "approle")
	roleID := admin.AppRole("approle", "app", vaulttest.Map{
		"token_ttl": hour.String(), "token_max_ttl": (4 * hour).String(), "token_policies": "app", "secret_id_ttl": "0", "secret_id_num_uses": 0,
	})
	credentials := map[string]string{"role_id": roleID, "secret_id": admin.SecretID("approle", "app")}
	simulate(t, server, credentials, strings.ReplaceAll(keeping, "INTERVAL", interval), func(s *simulation) {
		good := func(at string) {
			s.t.Helper()
			tok := s.read("token")
			if ans := admin.As(tok).Do("GET", "auth/token/lookup-self", nil); ans.Status != http.StatusOK {
				s.t.Errorf("%s: the sink's token is answered %d", at, ans.Status)
			}
			if got := s.read("other"); got != "steady" {
				s.t.Errorf("%s: other is %q", at, got)
			}
		}
		begin := time.Now()
		until := func(h float64) { time.Sleep(time.Until(begin.Add(time.Duration(h * float64(hour))))) }

		until(0.1)
		good("after the start")
		for h := 0.5; h < 5; h += 0.5 {
			until(h)
			good(fmt.Sprintf("hour %.1f", h))
		}
		until(6)
		admin.WriteKV2("secret", "app", vaulttest.Map{"password": "second"})
		until(6.1)
		if got := s.read("app"); got != "second" {
			s.t.Errorf("the file has %q after the secret changed", got)
		}

		stop := server.Rude(vaulttest.Match{}, vaulttest.Rudeness{Status: http.StatusServiceUnavailable})
		until(6.6)
		if got := s.read("app"); got != "second" {
			s.t.Errorf("the outage left %q", got)
		}
		stop()
		until(8)
		good("after the outage")

		admin.Revoke(s.read("token"))
		until(8.3) // the next look at a secret tells
		good("after the token was revoked")

		if err := os.Remove(filepath.Join(s.dir, "token")); err != nil {
			s.t.Error(err)
		}
		time.Sleep(5 * time.Second)
		good("after the sink's file was removed")
		until(24)
		good("at the end of the day")

		logins := server.Count("PUT", "auth/approle/login")
		renewals := server.Count("PUT", "auth/token/renew-self")
		looks := len(server.Requests()) - logins - renewals
		s.t.Logf("%d logins, %d renewals, %d other requests", logins, renewals, looks)
		// Lives of four hours and a bit, one revoked; five renewals each; a look at
		// each of two secrets every four and a half minutes.
		if logins < 6 || logins > 10 || renewals < 20 || renewals > 60 || looks > 2*24*60/4+150 {
			s.t.Errorf("%d logins, %d renewals, %d other requests in a day", logins, renewals, looks)
		}
	})
}
