package auth

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func TestTokenFileAsksAboutItsToken(t *testing.T) {
	file := write(t, in(t, "token"), "  hvs.canary-token\n")
	s := newServer(t, func(c call) (int, string) {
		return 200, `{"data":{"id":"` + c.Token + `","accessor":"acc","ttl":3600,"renewable":true,"type":"service","policies":["p"]}}`
	})
	m, _ := build(t, TokenFile, "token_file", map[string]any{"token_file_path": file})
	tok := mustLogin(t, m, s.client(t).In("team"))
	calls := s.seen()
	if paths(calls) != "auth/token/lookup-self" || calls[0].Token != "hvs.canary-token" || calls[0].Method != "GET" || calls[0].Namespace != "team/" {
		t.Errorf("the server saw %v", calls)
	}
	if !tok.Lease.Renewable || tok.Type != "service" || len(tok.Policies) != 1 {
		t.Errorf("got %v", tok)
	}
	if !exists(file) {
		t.Error("the file was removed")
	}
}

// A root token has ttl 0; older servers leave fields out.
func TestTokenFileTakesARootToken(t *testing.T) {
	file := write(t, in(t, "token"), "hvs.canary-root")
	for _, data := range []string{
		`{"id":"x","policies":["root"],"ttl":0,"type":"service"}`,
		`{"id":"x","policies":["root"]}`,
		`{"id":"x","ttl":null,"type":null}`,
	} {
		s := newServer(t, func(call) (int, string) { return 200, `{"data":` + data + `}` })
		m, _ := build(t, TokenFile, "token_file", map[string]any{"token_file_path": file})
		tok, err := m.Login(t.Context(), s.client(t))
		if err != nil || tok.Value.Reveal() != "hvs.canary-root" || tok.Lease.Duration != 0 {
			t.Errorf("%s: got %v, %v", data, tok, err)
		}
	}
}

func TestTokenFileAtFault(t *testing.T) {
	s := newServer(t, func(call) (int, string) { return 403, errors1("permission denied; invalid token") })
	file := in(t, "token")
	m, _ := build(t, TokenFile, "token_file", map[string]any{"token_file_path": file})
	if _, err := m.Login(t.Context(), s.client(t)); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), file) {
		t.Errorf("no file: got %v", err)
	}
	write(t, file, "hvs.canary-dead\n")
	_, err := m.Login(t.Context(), s.client(t))
	if !errors.Is(err, vault.ErrDenied) {
		t.Errorf("dead token: got %v", err)
	}
	quiet(t, err.Error())
	// Not a token at all: nothing of it may be sent or told.
	write(t, file, "canary one\ncanary two\n")
	s.seen()
	_, err = m.Login(t.Context(), s.client(t))
	if err == nil || s.seen() != nil {
		t.Errorf("got %v", err)
	}
	quiet(t, err.Error())
}

func TestTokenFileWrapped(t *testing.T) {
	file := write(t, in(t, "token"), "hvs.canary-token")
	answer := wrapped
	s := newServer(t, func(call) (int, string) { return 200, answer })
	o := options("token_file", map[string]any{"token_file_path": file}, os.Stderr)
	o.Wrap = time.Minute
	m, err := TokenFile(o)
	if err != nil {
		t.Fatal(err)
	}
	c := s.client(t).Wrapping(time.Minute)
	tok, err := m.Login(t.Context(), c)
	if err != nil || tok.Wrap == nil || !tok.Value.Empty() || tok.Wrap.Token.Reveal() != "hvs.canary-wrapping" {
		t.Fatalf("got %v, %v", tok, err)
	}
	if calls := s.seen(); calls[0].Wrap != "60s" || calls[0].Token != "hvs.canary-token" {
		t.Errorf("the server saw %v", calls)
	}
	answer = `{"data":{"id":"hvs.canary-token"}}`
	if tok, err := m.Login(t.Context(), c); !errors.Is(err, vault.ErrNoToken) {
		t.Errorf("an answer that is not wrapped: got %v, %v", tok, err)
	}
}

func TestJWTIsSentTrimmedAndRemovedAfterTheLogin(t *testing.T) {
	file := write(t, in(t, "jwt"), "canary.j.w.t\n")
	down := true
	s := newServer(t, func(call) (int, string) {
		if down {
			return 503, ""
		}
		return 200, granted
	})
	m, log := build(t, JWT, "jwt", map[string]any{"path": file, "role": "web", "jwt_read_period": "1m"})
	if _, err := m.Login(t.Context(), s.client(t)); !errors.Is(err, vault.ErrSealed) || !exists(file) {
		t.Fatalf("got %v; the file is there: %v", err, exists(file))
	}
	down = false
	s.seen()
	mustLogin(t, m, s.client(t))
	mustLogin(t, m, s.client(t)) // from memory
	for _, c := range s.seen() {
		if c.Path != "auth/jwt/login" || c.Body["role"] != "web" || c.Body["jwt"] != "canary.j.w.t" {
			t.Errorf("the server saw %v", c)
		}
	}
	if exists(file) {
		t.Error("still there")
	}
	write(t, file, "canary.2")
	mustLogin(t, m, s.client(t))
	if calls := s.seen(); calls[0].Body["jwt"] != "canary.2" {
		t.Errorf("the server saw %v", calls)
	}
	quiet(t, log.String())
}

func TestJWTRemovalAndSymbolicLinks(t *testing.T) {
	for _, tc := range []struct {
		name         string
		extra        map[string]any
		link, target bool // left afterwards
	}{
		{"the link is removed", nil, false, true},
		{"what it names is removed", map[string]any{"remove_jwt_follows_symlinks": true}, true, false},
		{"both are kept", map[string]any{"remove_jwt_after_reading": "false", "remove_jwt_follows_symlinks": true}, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			target := write(t, filepath.Join(dir, "target"), "canary.jwt")
			link := filepath.Join(dir, "link")
			if err := os.Symlink("target", link); err != nil {
				t.Skip(err)
			}
			values := map[string]any{"path": link, "role": "web"}
			for k, v := range tc.extra {
				values[k] = v
			}
			s := newServer(t, grant)
			m, _ := build(t, JWT, "jwt", values)
			mustLogin(t, m, s.client(t))
			if exists(link) != tc.link || exists(target) != tc.target {
				t.Errorf("link there: %v, target there: %v", exists(link), exists(target))
			}
		})
	}
}

func TestJWTOnAReadOnlyMountIsSaidOnce(t *testing.T) {
	file := write(t, in(t, "jwt"), "canary.jwt")
	s := newServer(t, grant)
	m, log := build(t, JWT, "jwt", map[string]any{"path": unremovable(t, file), "role": "web"})
	for range 3 {
		mustLogin(t, m, s.client(t))
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
	quiet(t, log.String())
}

func TestKubernetesReadsTheTokenAtEachLogin(t *testing.T) {
	file := write(t, in(t, "token"), "canary.one\n")
	s := newServer(t, grant)
	m, _ := build(t, Kubernetes, "kubernetes", map[string]any{"role": "web", "token_path": file})
	mustLogin(t, m, s.client(t))
	write(t, file, "canary.two\n")
	mustLogin(t, m, s.client(t))
	calls := s.seen()
	if paths(calls) != "auth/kubernetes/login auth/kubernetes/login" || calls[0].Body["role"] != "web" ||
		calls[0].Body["jwt"] != "canary.one" || calls[1].Body["jwt"] != "canary.two" {
		t.Errorf("the server saw %v", calls)
	}
	if !exists(file) {
		t.Error("the file was removed")
	}
	os.Remove(file)
	if _, err := m.Login(t.Context(), s.client(t)); !errors.Is(err, ErrCredentials) {
		t.Errorf("a pod without its token: got %v", err)
	}
}

func TestKubernetesLooksWhereThePodHasIt(t *testing.T) {
	m, _ := build(t, Kubernetes, "kubernetes", map[string]any{"role": "web"})
	if got := m.(*kubernetes).file.path; got != "/var/run/secrets/kubernetes.io/serviceaccount/token" {
		t.Errorf("got %s", got)
	}
}

func TestUserPassKeepsBlanksAndTheFile(t *testing.T) {
	file := write(t, in(t, "password"), " canary pass \r\n")
	s := newServer(t, grant)
	m, _ := build(t, UserPass, "userpass", map[string]any{"username": "ada@corp", "password_file_path": file})
	mustLogin(t, m, s.client(t))
	calls := s.seen()
	if paths(calls) != "auth/userpass/login/ada@corp" || calls[0].Body["password"] != " canary pass " || len(calls[0].Body) != 1 {
		t.Errorf("the server saw %v", calls)
	}
	if !exists(file) {
		t.Error("the file was removed")
	}
}

func TestUserPassRemovesTheFileWhenTold(t *testing.T) {
	file := write(t, in(t, "password"), "canary-pass")
	s := newServer(t, grant)
	m, _ := build(t, UserPass, "userpass", map[string]any{"username": "ada", "password_file_path": file, "remove_password_after_reading": true})
	mustLogin(t, m, s.client(t))
	mustLogin(t, m, s.client(t))
	if exists(file) {
		t.Error("still there")
	}
}

func TestUserPassRefused(t *testing.T) {
	file := write(t, in(t, "password"), "canary-pass")
	s := newServer(t, func(call) (int, string) { return 400, errors1("invalid username or password canary-pass") })
	m, log := build(t, UserPass, "userpass", map[string]any{"username": "ada", "password_file_path": file, "remove_password_after_reading": true})
	_, err := m.Login(t.Context(), s.client(t))
	if !errors.Is(err, vault.ErrBadRequest) || !strings.HasPrefix(err.Error(), "userpass at auth/userpass: ") {
		t.Errorf("got %v", err)
	}
	quiet(t, err.Error()+log.String())
	if !exists(file) {
		t.Error("removed although it did not serve")
	}
}

func TestConfigurationAtFault(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ctor   Constructor
		values map[string]any
	}{
		{"token_file without a path", TokenFile, nil},
		{"token_file with an unknown key", TokenFile, map[string]any{"token_file_path": "x", "path": "y"}},
		{"jwt without a path", JWT, map[string]any{"role": "r"}},
		{"jwt without a role", JWT, map[string]any{"path": "p"}},
		{"jwt with a negative period", JWT, map[string]any{"path": "p", "role": "r", "jwt_read_period": "-1s"}},
		{"kubernetes without a role", Kubernetes, nil},
		{"cert with half a pair", Cert, map[string]any{"client_cert": "c"}},
		{"cert with the other half", Cert, map[string]any{"client_key": "k"}},
		{"cert that reloads never", Cert, map[string]any{"reload": true, "reload_period": "0s"}},
		{"userpass without a name", UserPass, map[string]any{"password_file_path": "p"}},
		{"userpass without a password", UserPass, map[string]any{"username": "u"}},
		{"userpass whose name is a path", UserPass, map[string]any{"username": "../../sys", "password_file_path": "p"}},
	} {
		if _, err := tc.ctor(options("x", tc.values, os.Stderr)); !isProblem(err) {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
	if _, err := JWT(Options{Config: options("jwt", map[string]any{"path": "p", "role": "r"}, nil).Config}); err != nil {
		t.Errorf("without a logger: %v", err)
	}
}

func TestAMissingFileMayStillAppear(t *testing.T) {
	for name, build := range map[string]func(path string) (Method, error){
		"jwt": func(p string) (Method, error) {
			return JWT(options("jwt", map[string]any{"path": p, "role": "r"}, os.Stderr))
		},
		"kubernetes": func(p string) (Method, error) {
			return Kubernetes(options("kubernetes", map[string]any{"token_path": p, "role": "r"}, os.Stderr))
		},
		"userpass": func(p string) (Method, error) {
			return UserPass(options("userpass", map[string]any{"password_file_path": p, "username": "u"}, os.Stderr))
		},
		"token_file": func(p string) (Method, error) {
			return TokenFile(options("token_file", map[string]any{"token_file_path": p}, os.Stderr))
		},
	} {
		s := newServer(t, grant)
		file := in(t, "late")
		m, err := build(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Login(t.Context(), s.client(t))
		if !errors.Is(err, ErrCredentials) || retry.IsPermanent(err) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
