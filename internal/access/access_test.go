package access

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/hcl"
)

const approle = `
auto_auth {
  method "approle" {
    METHOD
    config = { role_id_file_path = "/role_id", secret_id_file_path = "/secret_id" }
  }
}
`

// load reads a configuration as the program does.
func load(t *testing.T, text string) (*config.File, config.Origins) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load([]string{path}, config.Options{Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	f, origins, err := loaded.Resolve(config.Flags{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f, origins
}

func options(origins config.Origins) Options {
	return Options{
		Method: func(string) (auth.Constructor, error) { return auth.AppRole, nil }, Origins: origins,
		Log: slog.New(slog.DiscardHandler), Named: func(l *slog.Logger, _ string) *slog.Logger { return l }, Version: "test",
	}
}

func TestRetrySchedules(t *testing.T) {
	for _, c := range []struct {
		name, method, vault string
		login, loginMax     time.Duration
		attempts            int
		read, readMax       time.Duration
		reads               int
	}{
		{"defaults", "", "", time.Second, 5 * time.Minute, MaxAttempts, 250 * time.Millisecond, time.Minute, 13},
		{"backoff set", `min_backoff = "2s"
    max_backoff = "7s"`, "", 2 * time.Second, 7 * time.Second, MaxAttempts, 2 * time.Second, 7 * time.Second, 13},
		{"exit_on_err", "exit_on_err = true", "", time.Second, 5 * time.Minute, 1, 250 * time.Millisecond, time.Minute, 13},
		{"num_retries", "", "retry { num_retries = 2 }", time.Second, 5 * time.Minute, MaxAttempts, 250 * time.Millisecond, time.Minute, 3},
		{"no retries", "", "retry { num_retries = -1 }", time.Second, 5 * time.Minute, MaxAttempts, 250 * time.Millisecond, time.Minute, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, origins := load(t, strings.Replace(approle, "METHOD", c.method, 1)+"vault {\n"+c.vault+"\n}\n")
			l, r := loginSchedule(f.AutoAuth.Method, 0), ReadSchedule(f, origins)
			if l.Base != c.login || l.Max != c.loginMax || l.Attempts != c.attempts {
				t.Errorf("login schedule is %+v", l)
			}
			if r.Base != c.read || r.Max != c.readMax || r.Attempts != c.reads {
				t.Errorf("read schedule is %+v", r)
			}
		})
	}
}

func TestWhichNamespaceALoginGoesTo(t *testing.T) {
	f, _ := load(t, strings.Replace(approle, "METHOD", `namespace = "own"`, 1)+`vault { namespace = "all" }`)
	for _, c := range []struct{ all, own, want string }{
		{"file a.hcl:1", "file a.hcl:2", "own"},
		{"flag -namespace", "file a.hcl:2", "all"},
		{"env VAULT_NAMESPACE", "file a.hcl:2", "all"},
		{"env VAULT_NAMESPACE", "env LATCHKEY_AUTH_NAMESPACE", "own"},
		{"default", "env LATCHKEY_AUTH_NAMESPACE", "own"},
	} {
		o := options(config.Origins{"vault.namespace": c.all, "auto_auth.method.namespace": c.own})
		if got := strings.Trim(authNamespace(f.AutoAuth.Method, f, o), "/"); got != c.want {
			t.Errorf("%v: %q", c, got)
		}
	}
}

func TestOneConnectionServesLoginAndReads(t *testing.T) {
	f, origins := load(t, strings.Replace(approle, "METHOD", "", 1))
	p, err := Build(f, options(origins))
	if err != nil {
		t.Fatal(err)
	}
	if shared, err := p.authClient(f, options(origins)); err != nil || shared != p.Client {
		t.Errorf("the login has a client of its own: %v", err)
	}
	f.DisableKeepAlives = []string{"auto-auth"}
	if own, err := p.authClient(f, options(origins)); err != nil || own == p.Client {
		t.Errorf("disable_keep_alives is not heeded: %v", err)
	}
}

func TestAFaultOfTheServersSettingsIsToldOnce(t *testing.T) {
	f, origins := load(t, strings.Replace(approle, "METHOD", "", 1)+`vault { ca_cert = "/nowhere/ca.pem" }`)
	for _, apart := range [][]string{nil, {"auto-auth"}} {
		f.DisableKeepAlives = apart
		p, err := Build(f, options(origins))
		if !errors.Is(err, ErrServerSettings) || strings.Count(err.Error(), "/nowhere/ca.pem") != 1 {
			t.Errorf("%v apart: %v", apart, err)
		}
		if p == nil || len(p.Logins) != 1 {
			t.Errorf("%v apart: nothing to judge the rest by", apart)
		}
	}
}
