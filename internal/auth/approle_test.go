package auth

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// place is a folder with the files of an AppRole.
type place struct{ role, secret string }

func newPlace(t *testing.T) place {
	dir := t.TempDir()
	return place{
		role:   write(t, filepath.Join(dir, "role"), "canary-role\n"),
		secret: write(t, filepath.Join(dir, "secret"), "canary-secret\n"),
	}
}

func (p place) config(extra ...any) map[string]any {
	v := map[string]any{"role_id_file_path": p.role, "secret_id_file_path": p.secret}
	for i := 0; i < len(extra); i += 2 {
		v[extra[i].(string)] = extra[i+1]
	}
	return v
}

func grant(call) (int, string) { return 200, granted }

func TestAppRoleSendsBothAndRemovesTheSecretID(t *testing.T) {
	p, s := newPlace(t), newServer(t, grant)
	m, log := build(t, AppRole, "approle", p.config())
	mustLogin(t, m, s.client(t))
	calls := s.seen()
	if paths(calls) != "auth/approle/login" || calls[0].Body["role_id"] != "canary-role" || calls[0].Body["secret_id"] != "canary-secret" {
		t.Errorf("the server saw %v", calls)
	}
	if exists(p.secret) || !exists(p.role) {
		t.Errorf("secret_id there: %v, role_id there: %v", exists(p.secret), exists(p.role))
	}

	// A later login in the same process needs no file.
	if err := os.Remove(p.role); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, m, s.client(t))
	if calls := s.seen(); calls[0].Body["role_id"] != "canary-role" || calls[0].Body["secret_id"] != "canary-secret" {
		t.Errorf("the server saw %v", calls)
	}

	// What is delivered anew is used, and removed.
	write(t, p.role, "canary-role-2")
	write(t, p.secret, "canary-secret-2")
	mustLogin(t, m, s.client(t))
	if calls := s.seen(); calls[0].Body["role_id"] != "canary-role-2" || calls[0].Body["secret_id"] != "canary-secret-2" {
		t.Errorf("the server saw %v", calls)
	}
	if exists(p.secret) {
		t.Error("the second secret_id is still there")
	}
	quiet(t, log.String())
}

func TestAppRoleKeepsTheSecretIDWhenTold(t *testing.T) {
	for _, no := range []any{false, "false"} {
		p, s := newPlace(t), newServer(t, grant)
		m, _ := build(t, AppRole, "approle", p.config("remove_secret_id_file_after_reading", no))
		mustLogin(t, m, s.client(t))
		if !exists(p.secret) {
			t.Errorf("%T %v: removed", no, no)
		}
	}
}

func TestAppRoleWithoutSecretID(t *testing.T) {
	p, s := newPlace(t), newServer(t, grant)
	for _, values := range []map[string]any{
		{"role_id_file_path": p.role},
		{"role_id_file_path": p.role, "secret_id_file_path": "", "secret_id_response_wrapping_path": ""},
	} {
		m, _ := build(t, AppRole, "approle", values)
		mustLogin(t, m, s.client(t))
		if calls := s.seen(); len(calls[0].Body) != 1 || calls[0].Body["role_id"] != "canary-role" {
			t.Errorf("the server saw %v", calls)
		}
	}
}

func TestAppRoleKeepsTheSecretIDUntilALoginSucceeds(t *testing.T) {
	p := newPlace(t)
	down := true
	s := newServer(t, func(call) (int, string) {
		if down {
			return 503, errors1("Vault is sealed")
		}
		return 200, granted
	})
	m, _ := build(t, AppRole, "approle", p.config())
	if _, err := m.Login(t.Context(), s.client(t)); !errors.Is(err, vault.ErrSealed) || retry.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if !exists(p.secret) {
		t.Fatal("removed before it served; a run that ends now cannot be repeated")
	}
	down = false
	mustLogin(t, m, s.client(t))
	if exists(p.secret) {
		t.Error("still there after it served")
	}
}

func TestAppRoleLeavesASecretIDThatArrivedDuringTheLogin(t *testing.T) {
	p := newPlace(t)
	s := newServer(t, func(call) (int, string) {
		write(t, p.secret, "canary-next")
		return 200, granted
	})
	m, _ := build(t, AppRole, "approle", p.config())
	mustLogin(t, m, s.client(t))
	if !exists(p.secret) {
		t.Error("a secret_id that nobody has read was removed")
	}
}

func TestAppRoleFilesThatAreNotThere(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spoil  func(place)
		within []string
	}{
		{"no role_id", func(p place) { os.Remove(p.role) }, []string{"no role_id", "role_id_file_path", "no such file"}},
		{"empty role_id", func(p place) { os.WriteFile(p.role, []byte(" \n"), 0o600) }, []string{"no role_id", "is empty"}},
		{"role_id is a directory", func(p place) { os.Remove(p.role); os.Mkdir(p.role, 0o700) }, []string{"no role_id", "is a directory"}},
		{"no secret_id", func(p place) { os.Remove(p.secret) }, []string{"no secret_id", "remove_secret_id_file_after_reading"}},
		{"huge secret_id", func(p place) { os.Truncate(p.secret, maxCredential+1) }, []string{"no secret_id", "larger than 1 MiB"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, s := newPlace(t), newServer(t, grant)
			tc.spoil(p)
			m, _ := build(t, AppRole, "approle", p.config())
			_, err := m.Login(t.Context(), s.client(t))
			if !errors.Is(err, ErrCredentials) || retry.IsPermanent(err) {
				t.Fatalf("got %v", err)
			}
			for _, w := range append(tc.within, "approle at auth/approle: ", filepath.Dir(p.role)) {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
			if calls := s.seen(); calls != nil {
				t.Errorf("the server was asked: %v", calls)
			}
		})
	}
}

func TestAppRoleRefusedSecretIDOfEarlier(t *testing.T) {
	p := newPlace(t)
	status, body := 200, granted
	s := newServer(t, func(call) (int, string) { return status, body })
	m, _ := build(t, AppRole, "approle", p.config())
	mustLogin(t, m, s.client(t))
	status, body = 400, invalid
	_, err := m.Login(t.Context(), s.client(t))
	if !errors.Is(err, vault.ErrBadRequest) || !strings.Contains(err.Error(), "deliver a new one in "+p.secret) {
		t.Errorf("got %v", err)
	}
	quiet(t, err.Error())
}

func TestAppRoleRemovalThatFailsIsSaidOnce(t *testing.T) {
	p, s := newPlace(t), newServer(t, grant)
	m, log := build(t, AppRole, "approle", map[string]any{"role_id_file_path": p.role, "secret_id_file_path": unremovable(t, p.secret)})
	for range 3 {
		mustLogin(t, m, s.client(t))
	}
	if n := strings.Count(log.String(), "cannot remove"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
	quiet(t, log.String())
}

const creation = "auth/approle/role/web/secret-id"

// vaultWithWrapping is a server with one wrapping token that can be used once.
func vaultWithWrapping(t *testing.T, at string) *server {
	used := map[string]bool{}
	return newServer(t, func(c call) (int, string) {
		switch c.Path {
		case "sys/wrapping/lookup":
			token, _ := c.Body["token"].(string)
			if token == "" {
				token = c.Token
			}
			if used[token] {
				return 400, errors1("wrapping token is not valid or does not exist")
			}
			return 200, `{"data":{"creation_path":"` + at + `","creation_ttl":60,"creation_time":"2026-01-02T03:04:05Z"}}`
		case "sys/wrapping/unwrap":
			if used[c.Token] {
				return 400, errors1("wrapping token is not valid or does not exist")
			}
			used[c.Token] = true
			return 200, `{"data":{"secret_id":"secret-of-` + c.Token + `","secret_id_accessor":"a"}}`
		}
		return 200, granted
	})
}

func TestAppRoleUnwrapsTheSecretID(t *testing.T) {
	p, s := newPlace(t), vaultWithWrapping(t, creation)
	m, log := build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
	mustLogin(t, m, s.client(t))
	calls := s.seen()
	if paths(calls) != "sys/wrapping/lookup sys/wrapping/unwrap auth/approle/login" || calls[2].Body["secret_id"] != "secret-of-canary-secret" {
		t.Errorf("the server saw %v", calls)
	}
	if exists(p.secret) {
		t.Error("the spent wrapping token is still there")
	}
	mustLogin(t, m, s.client(t))
	write(t, p.secret, "canary-second")
	mustLogin(t, m, s.client(t))
	calls = s.seen()
	if paths(calls) != "auth/approle/login sys/wrapping/lookup sys/wrapping/unwrap auth/approle/login" || calls[3].Body["secret_id"] != "secret-of-canary-second" {
		t.Errorf("the server saw %v", calls)
	}
	quiet(t, log.String())
}

// vault agent tries the spent token again and never recovers.
func TestAppRoleSpentWrappingTokenThatStaysOnDisk(t *testing.T) {
	p, s := newPlace(t), vaultWithWrapping(t, creation)
	m, _ := build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation, "remove_secret_id_file_after_reading", false))
	for range 2 {
		mustLogin(t, m, s.client(t))
	}
	if got := paths(s.seen()); got != "sys/wrapping/lookup sys/wrapping/unwrap auth/approle/login auth/approle/login" {
		t.Errorf("the server saw %s", got)
	}
	if !exists(p.secret) {
		t.Error("removed")
	}

	// Another process, or this one after a restart, has nothing to fall back to.
	m, _ = build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
	_, err := m.Login(t.Context(), s.client(t))
	if !errors.Is(err, ErrCredentials) || !errors.Is(err, vault.ErrBadRequest) || !retry.IsPermanent(err) ||
		!strings.Contains(err.Error(), "was used already or has expired") || !strings.Contains(err.Error(), "intercepted") {
		t.Errorf("got %v", err)
	}
	quiet(t, err.Error())
	if !exists(p.secret) {
		t.Error("the evidence was removed")
	}
}

func TestAppRoleWrappingTokenFromElsewhereIsNotUsed(t *testing.T) {
	for _, at := range []string{"auth/approle/role/other/secret-id", "auth/approle/role/web/secret-id/", "sys/wrapping/wrap", ""} {
		p, s := newPlace(t), vaultWithWrapping(t, at)
		m, _ := build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
		_, err := m.Login(t.Context(), s.client(t))
		if !errors.Is(err, ErrCredentials) || !retry.IsPermanent(err) || !strings.Contains(err.Error(), "SECURITY") {
			t.Errorf("%q: got %v", at, err)
		}
		if got := paths(s.seen()); got != "sys/wrapping/lookup" {
			t.Errorf("%q: the server saw %s", at, got)
		}
		quiet(t, err.Error())
	}
}

func TestAppRoleUnwrapThatFails(t *testing.T) {
	for _, tc := range []struct {
		name, path, body string
		status           int
		kind             error
		permanent        bool
		want             string
	}{
		{"server sealed at look-up", "lookup", errors1("sealed"), 503, vault.ErrSealed, false, "sealed"},
		{"server sealed at unwrap", "unwrap", errors1("sealed"), 503, vault.ErrSealed, false, "sealed"},
		{"used between look-up and unwrap", "unwrap", errors1("wrapping token is not valid"), 400, ErrCredentials, true, "intercepted"},
		{"denied", "lookup", errors1("permission denied"), 403, ErrCredentials, true, "used already"},
		{"something else was wrapped", "unwrap", `{"data":{"token":"canary-x"}}`, 200, ErrCredentials, true, "held no secret_id"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			s := newServer(t, func(c call) (int, string) {
				switch c.Path {
				case "sys/wrapping/" + tc.path:
					return tc.status, tc.body
				case "sys/wrapping/lookup":
					return 200, `{"data":{"creation_path":"` + creation + `"}}`
				}
				return 500, ""
			})
			m, _ := build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
			_, err := m.Login(t.Context(), s.client(t))
			if !errors.Is(err, tc.kind) || retry.IsPermanent(err) != tc.permanent || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v (permanent: %v)", err, retry.IsPermanent(err))
			}
			quiet(t, err.Error())
			if !exists(p.secret) {
				t.Error("the file was removed")
			}
		})
	}
}

func TestAppRoleUnwrapWhoseAnswerWasLostIsNotCalledTheft(t *testing.T) {
	p := newPlace(t)
	lost := false
	s := newServer(t, func(c call) (int, string) {
		switch {
		case c.Path == "sys/wrapping/unwrap":
			lost = true
			return 502, "" // a proxy lost it
		case lost:
			return 400, errors1("wrapping token is not valid or does not exist")
		}
		return 200, `{"data":{"creation_path":"` + creation + `"}}`
	})
	m, _ := build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
	if _, err := m.Login(t.Context(), s.client(t)); retry.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	_, err := m.Login(t.Context(), s.client(t))
	if !retry.IsPermanent(err) || !strings.Contains(err.Error(), "got no answer") || strings.Contains(err.Error(), "intercepted") {
		t.Errorf("got %v", err)
	}
}

// The look-up and the unwrapping must not be wrapped themselves.
func TestAppRoleWrappedLoginUnwrapsPlainly(t *testing.T) {
	p, s := newPlace(t), vaultWithWrapping(t, creation)
	inner := s.answer
	s.answer = func(c call) (int, string) {
		if c.Path == "auth/approle/login" {
			return 200, wrapped
		}
		return inner(c)
	}
	m, _ := build(t, AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
	tok, err := m.Login(t.Context(), s.client(t).In("team").Wrapping(60e9))
	if err != nil || tok.Wrap == nil || !tok.Wrap.Token.Equal(cred.Redact("hvs.canary-wrapping")) || !tok.Value.Empty() {
		t.Fatalf("got %v, %v", tok, err)
	}
	for _, c := range s.seen() {
		if want := map[bool]string{true: "60s"}[c.Path == "auth/approle/login"]; c.Wrap != want {
			t.Errorf("%s: wrap ttl %q", c.Path, c.Wrap)
		}
		if c.Namespace != "team/" {
			t.Errorf("%s: namespace %q", c.Path, c.Namespace)
		}
	}
}

func TestAppRoleConfigurationAtFault(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"no role_id_file_path":    {},
		"empty role_id_file_path": {"role_id_file_path": ""},
		"misspelt key":            {"role_id_file_path": "x", "secret_id_path": "y"},
		"empty wrapping path":     {"role_id_file_path": "x", "secret_id_file_path": "y", "secret_id_response_wrapping_path": ""},
		"not a bool":              {"role_id_file_path": "x", "remove_secret_id_file_after_reading": "maybe"},
	} {
		if _, err := AppRole(options("approle", values, os.Stderr)); !isProblem(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTrialLeavesEverythingToTheRealLogin(t *testing.T) {
	p, s := newPlace(t), vaultWithWrapping(t, creation)
	trial := func(ctor Constructor, typ string, values map[string]any) (cred.Token, error) {
		o := options(typ, values, os.Stderr)
		o.Preserve = true
		m, err := ctor(o)
		if err != nil {
			t.Fatal(err)
		}
		return m.Login(t.Context(), s.client(t))
	}
	if _, err := trial(AppRole, "approle", p.config()); err != nil {
		t.Error(err)
	}
	if _, err := trial(JWT, "jwt", map[string]any{"path": p.secret, "role": "r"}); err != nil {
		t.Error(err)
	}
	if _, err := trial(UserPass, "userpass", map[string]any{"password_file_path": p.secret, "username": "u", "remove_password_after_reading": true}); err != nil {
		t.Error(err)
	}
	s.seen()
	_, err := trial(AppRole, "approle", p.config("secret_id_response_wrapping_path", creation))
	if !errors.Is(err, ErrWouldSpend) || !retry.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	quiet(t, err.Error())
	if got := paths(s.seen()); got != "sys/wrapping/lookup" {
		t.Errorf("the server saw %s", got)
	}
	if _, err = trial(AppRole, "approle", p.config("secret_id_response_wrapping_path", "auth/other")); errors.Is(err, ErrWouldSpend) || !errors.Is(err, ErrCredentials) {
		t.Errorf("a wrapping token from elsewhere: got %v", err)
	}
	if !exists(p.secret) {
		t.Error("removed")
	}
}
