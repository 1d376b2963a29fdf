package wiring

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"latchkey/internal/access"
	"latchkey/internal/auth"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/hcl"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/template"
	"latchkey/internal/vault"
	"latchkey/internal/vaulttest"
)

const approle = `
auto_auth {
  method "approle" {
    METHOD
    config = { role_id_file_path = "DIR/role_id", secret_id_file_path = "DIR/secret_id", remove_secret_id_file_after_reading = false }
  }
  sink "file" {
    wrap_ttl = "5m"
    config = { path = "DIR/token" }
  }
}
template {
  secret      = "secret/app"
  destination = "DIR/app.json"
}
`

// load reads a configuration as the program does.
func load(t *testing.T, text string, env map[string]string) (*config.File, config.Origins) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	loaded, err := config.Load([]string{path}, config.Options{Env: look, Lex: hcl.Lex})
	if err != nil {
		t.Fatal(err)
	}
	f, origins, err := loaded.Resolve(config.Flags{}, look)
	if err != nil {
		t.Fatal(err)
	}
	return f, origins
}

func options(origins config.Origins) Options {
	return Options{
		Method: func(name string) (auth.Constructor, error) {
			if name != "approle" {
				return nil, &config.Problem{Key: "auto_auth.method.type", Text: "unknown"}
			}
			return auth.AppRole, nil
		},
		Origins: origins, Log: slog.New(slog.DiscardHandler), Output: io.Discard, Version: "test",
	}
}

// TestNamespaces holds what vault agent 1.21 was seen to send, for every
// combination of the three places that may name a namespace.
func TestNamespaces(t *testing.T) {
	for _, c := range []struct{ stanza, method, env, login, read string }{
		{"", "", "", "", ""},
		{"", "", "env", "env/", "env/"},
		{"vns", "", "", "vns/", "vns/"},
		{"vns", "", "env", "env/", "env/"},
		{"", "mns", "", "mns/", "mns/"},
		{"", "mns", "env", "env/", "env/"},
		{"vns", "mns", "", "mns/", "vns/"},
		{"vns", "mns", "env", "env/", "env/"},
	} {
		t.Run(strings.Join([]string{c.stanza, c.method, c.env}, ","), func(t *testing.T) {
			s := vaulttest.New(t)
			dir := t.TempDir()
			for _, name := range []string{"role_id", "secret_id"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			text := strings.ReplaceAll(approle, "DIR", dir)
			text = strings.Replace(text, "METHOD", namespace(c.method), 1) + "vault {\n" + namespace(c.stanza) + "\n}\n"
			env := map[string]string{"VAULT_ADDR": s.Addr()}
			if c.env != "" {
				env["VAULT_NAMESPACE"] = c.env
			}
			f, origins := load(t, text, env)
			p, err := Build(f, options(origins))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = p.Session.Login(t.Context())
			_, _ = p.Client.Read(t.Context(), "secret/data/app", nil)
			_ = p.Sinks[0].Write(t.Context(), cred.Token{Value: cred.Redact("tok")})
			for _, want := range []struct{ path, namespace string }{
				{"auth/approle/login", c.login}, {"sys/wrapping/wrap", c.login}, {"secret/data/app", c.read},
			} {
				seen := false
				for _, r := range s.Requests() {
					if r.Path != want.path {
						continue
					}
					seen = true
					if got := r.Header.Get("X-Vault-Namespace"); got != want.namespace {
						t.Errorf("%s went to namespace %q, want %q", want.path, got, want.namespace)
					}
				}
				if !seen {
					t.Errorf("no request for %s", want.path)
				}
			}
		})
	}
}

func namespace(ns string) string {
	if ns == "" {
		return ""
	}
	return `namespace = "` + ns + `"`
}

func TestUserAgentNamesProgramAndSubsystem(t *testing.T) {
	s := vaulttest.New(t)
	dir := t.TempDir()
	for _, name := range []string{"role_id", "secret_id"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, origins := load(t, strings.ReplaceAll(strings.Replace(approle, "METHOD", "", 1), "DIR", dir), map[string]string{"VAULT_ADDR": s.Addr()})
	p, err := Build(f, options(origins))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = p.Session.Login(t.Context())
	_, _ = p.Client.Read(t.Context(), "secret/data/app", nil)
	if got := strings.Join(s.UserAgents(), "; "); !strings.Contains(got, "latchkey/test (auto-auth)") || !strings.Contains(got, "latchkey/test (templating)") {
		t.Errorf("user agents: %s", got)
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	text := strings.Replace(approle, "METHOD", "", 1) + `
vault { ca_cert = "/no/such/ca.pem" }
template {
  contents    = "{{ with"
  destination = "x"
}
`
	text = strings.Replace(text, `path = "DIR/token"`, `path = "DIR/token", mod = 0640`, 1)
	text = strings.Replace(text, `role_id_file_path`, `rol_id_file_path`, 1)
	f, origins := load(t, text, nil)
	_, err := Build(f, options(origins))
	var problem *config.Problem
	for name, ok := range map[string]bool{
		"settings": errors.Is(err, access.ErrServerSettings), "absent file": errors.Is(err, fs.ErrNotExist),
		"problem": errors.As(err, &problem), "template": errors.Is(err, template.ErrParse),
	} {
		if !ok {
			t.Errorf("no %s in: %v", name, err)
		}
	}
	for _, want := range []string{"ca.pem", "rol_id_file_path", "mod", "template at"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told: %v", want, err)
		}
	}
}

func TestAnUnknownMethodHasThePlaceOfItsStanza(t *testing.T) {
	f, origins := load(t, strings.Replace(strings.Replace(approle, "METHOD", "", 1), `"approle"`, `"other"`, 1), nil)
	_, err := Build(f, options(origins))
	var p *config.Problem
	if !errors.As(err, &p) || p.Pos.Line != 3 {
		t.Errorf("error is %v", err)
	}
}

// hopeless is a method that never gets a token.
type hopeless struct{}

func (hopeless) Login(context.Context, *vault.Client) (cred.Token, error) {
	return cred.Token{}, auth.ErrCredentials
}

func TestARunThatStaysNeverGivesUpLoggingIn(t *testing.T) {
	for _, c := range []struct {
		method string
		fails  int
	}{{"", 2 * access.MaxAttempts}, {"exit_on_err = true", 1}} {
		synctest.Test(t, func(t *testing.T) {
			f, origins := load(t, strings.Replace(approle, "METHOD", c.method, 1), nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o, fails := options(origins), 1
			o.Method = func(string) (auth.Constructor, error) {
				return func(auth.Options) (auth.Method, error) { return hopeless{}, nil }, nil
			}
			o.Observer = func(retry.Notice) {
				if fails++; fails == 2*access.MaxAttempts {
					cancel()
				}
			}
			l, err := BuildLasting(f, o)
			if err != nil {
				t.Fatal(err)
			}
			err = l.Session.Keep(ctx, func(cred.Token) {})
			if fails != c.fails || errors.Is(err, session.ErrLogin) != (ctx.Err() == nil) {
				t.Errorf("%q: ended after %d failures: %v", c.method, fails, err)
			}
		})
	}
}

func TestACertificateInTheFolderOfCAsIsAChange(t *testing.T) {
	dir := t.TempDir()
	add := func(name string) {
		ca, err := vaulttest.NewCA(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".pem"), ca.PEM, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	digest := func() string {
		f, origins := load(t, "vault { ca_path = \""+filepath.ToSlash(dir)+"\" }", nil)
		l, err := BuildLasting(f, options(origins))
		if err != nil {
			t.Fatal(err)
		}
		return l.Sections["vault"]
	}
	// Digests are of one process, so those of two readings compare.
	add("one")
	before := digest()
	if again := digest(); again != before {
		t.Errorf("the same folder is %s and %s", before, again)
	}
	add("two")
	if digest() == before {
		t.Error("a certificate that was added is no change")
	}
}

func TestEventsNeedALogin(t *testing.T) {
	const ask = "template_config { static_secret_events = true }\n"
	for text, want := range map[string]bool{ask: false, ask + strings.Replace(approle, "METHOD", "", 1): true} {
		f, origins := load(t, text, nil)
		l, err := BuildLasting(f, options(origins))
		if err != nil {
			t.Fatal(err)
		}
		if (l.Events != nil) != want {
			t.Errorf("%s: events %v", text, l.Events)
		}
	}
}

func TestTheLogSaysWhichIdentityLoggedIn(t *testing.T) {
	s := vaulttest.New(t)
	dir := t.TempDir()
	a := s.Admin(t)
	a.EnableAuth("approle", "approle")
	for name, id := range map[string]string{"role_id": a.AppRole("approle", "app", nil), "secret_id": a.SecretID("approle", "app")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := strings.ReplaceAll(strings.Replace(approle, "METHOD", "", 1), "DIR", dir)
	f, origins := load(t, first+strings.Replace(first, "auto_auth", `auto_auth "reports"`, 1), map[string]string{"VAULT_ADDR": s.Addr()})
	var log strings.Builder
	o := options(origins)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	p, err := Build(f, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		log.Reset()
		if _, err := p.Logins()[i].Session.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "identity=reports"); got != want {
			t.Errorf("login %d: %s", i, log.String())
		}
	}
}
