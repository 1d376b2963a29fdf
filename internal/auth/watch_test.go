package auth

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// fileMethods builds each method that logs in with one file.
var fileMethods = map[string]struct {
	build  Constructor
	values func(path string) map[string]any
}{
	"approle": {AppRole, func(p string) map[string]any {
		return map[string]any{"role_id_file_path": p + ".role", "secret_id_file_path": p}
	}},
	"approle without a secret_id": {AppRole, func(p string) map[string]any { return map[string]any{"role_id_file_path": p} }},
	"jwt": {JWT, func(p string) map[string]any {
		return map[string]any{"path": p, "role": "r", "remove_jwt_after_reading": false}
	}},
	"kubernetes": {Kubernetes, func(p string) map[string]any { return map[string]any{"token_path": p, "role": "r"} }},
	"token_file": {TokenFile, func(p string) map[string]any { return map[string]any{"token_file_path": p} }},
	"userpass": {UserPass, func(p string) map[string]any {
		return map[string]any{"password_file_path": p, "username": "ada"}
	}},
}

func answerAll(c call) (int, string) {
	if c.Path == "auth/token/lookup-self" {
		return 200, `{"data":{"id":"x","ttl":60}}`
	}
	return 200, granted
}

func fresh(t *testing.T, m Method, want bool, when string) {
	t.Helper()
	for range 2 {
		if got := m.(Watcher).Fresh(); got != want {
			t.Errorf("%s: fresh is %v", when, got)
		}
	}
}

func login1(t *testing.T, m Method, c *vault.Client) {
	t.Helper()
	if _, err := m.Login(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// replace puts a new file in the place of an old one, as careful writers do.
func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.Rename(write(t, path+".new", content), path); err != nil {
		t.Fatal(err)
	}
}

func TestNewCredentialsInAFile(t *testing.T) {
	for name, m := range fileMethods {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, answerAll)
			path := in(t, "credential")
			write(t, path+".role", "canary-role")
			write(t, path, "canary-1\n")
			m, _ := build(t, m.build, "x", m.values(path))
			c := s.client(t)
			fresh(t, m, false, "at the start")
			login1(t, m, c)
			fresh(t, m, false, "after the login")

			replace(t, path, "canary-2")
			fresh(t, m, true, "a new file")
			login1(t, m, c)
			fresh(t, m, false, "after the login with it")

			replace(t, path, "\ncanary-2\n")
			fresh(t, m, false, "the same content in another file")
			write(t, path, "")
			fresh(t, m, false, "an empty file")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			fresh(t, m, false, "no file")
			write(t, path, "canary-2")
			fresh(t, m, false, "the same file again")
			write(t, path, "canary-3")
			fresh(t, m, true, "written in place")
			if n := len(s.seen()); n != 2 {
				t.Errorf("%d requests for two logins", n)
			}
			if every := m.(Watcher).Every(); every <= 0 || every > time.Minute {
				t.Errorf("every %v", every)
			}
		})
	}
}

func TestACredentialThatArrivesAfterALoginThatFailed(t *testing.T) {
	for name, m := range fileMethods {
		t.Run(name, func(t *testing.T) {
			path := in(t, "credential")
			write(t, path+".role", "canary-role")
			m, _ := build(t, m.build, "x", m.values(path))
			c := newServer(t, answerAll).client(t)
			fresh(t, m, false, "nothing there")
			if _, err := m.Login(t.Context(), c); err == nil {
				t.Fatal("logged in with nothing")
			}
			write(t, path, "canary")
			fresh(t, m, true, "it arrived")
			login1(t, m, c)
			fresh(t, m, false, "after the login")
		})
	}
}

func TestACredentialThatIsOfNoUseIsTriedOnce(t *testing.T) {
	for name, m := range fileMethods {
		t.Run(name, func(t *testing.T) {
			path := in(t, "credential")
			write(t, path+".role", "canary-role")
			write(t, path, "canary-1")
			m, _ := build(t, m.build, "x", m.values(path))
			c := newServer(t, func(call) (int, string) { return 400, invalid }).client(t)
			fresh(t, m, false, "at the start")
			write(t, path, "canary-2")
			fresh(t, m, true, "a new file")
			if _, err := m.Login(t.Context(), c); err == nil {
				t.Fatal("not refused")
			}
			fresh(t, m, false, "after it was refused")
		})
	}
}

// The kubelet, and everybody who mounts a secret as it does, swaps a symbolic
// link to a folder.
func TestNewCredentialsBehindASwappedLink(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, "..v"+v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "..v"+v, "token"), "canary-"+v)
	}
	swap := func(to string) {
		t.Helper()
		tmp := filepath.Join(dir, "..tmp")
		if err := os.Symlink(to, tmp); err != nil {
			t.Skip(err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..v1")
	path := filepath.Join(dir, "token")
	if err := os.Symlink(filepath.Join("..data", "token"), path); err != nil {
		t.Fatal(err)
	}
	m, _ := build(t, Kubernetes, "kubernetes", map[string]any{"token_path": path, "role": "r"})
	fresh(t, m, false, "at the start")
	login1(t, m, newServer(t, answerAll).client(t))
	fresh(t, m, false, "after the login")
	swap("..v2")
	fresh(t, m, true, "after the swap")
}

func TestWhatWeRemovedOurselvesIsNotFresh(t *testing.T) {
	s := newServer(t, answerAll)
	for name, m := range map[string]struct {
		build  Constructor
		values func(string) map[string]any
	}{
		"approle": fileMethods["approle"],
		"jwt":     {JWT, func(p string) map[string]any { return map[string]any{"path": p, "role": "r"} }},
		"userpass": {UserPass, func(p string) map[string]any {
			return map[string]any{"password_file_path": p, "username": "u", "remove_password_after_reading": true}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := in(t, "credential")
			write(t, path+".role", "canary-role")
			write(t, path, "canary-1")
			m, _ := build(t, m.build, "x", m.values(path))
			fresh(t, m, false, "at the start")
			login1(t, m, s.client(t))
			if exists(path) {
				t.Fatal("the file is still there")
			}
			fresh(t, m, false, "after it was removed")
			write(t, path, "canary-2")
			fresh(t, m, true, "a new one")
		})
	}
}

func TestACredentialThatArrivesDuringTheLoginIsFresh(t *testing.T) {
	path := in(t, "jwt")
	write(t, path, "canary-1")
	s := newServer(t, func(call) (int, string) {
		_ = os.WriteFile(path, []byte("canary-2"), 0o600)
		return 200, granted
	})
	m, _ := build(t, JWT, "jwt", map[string]any{"path": path, "role": "r"})
	fresh(t, m, false, "at the start")
	login1(t, m, s.client(t))
	fresh(t, m, true, "after the login")
}

func TestANewRoleIDIsFresh(t *testing.T) {
	p := newPlace(t)
	m, _ := build(t, AppRole, "approle", p.config())
	fresh(t, m, false, "at the start")
	login1(t, m, newServer(t, answerAll).client(t))
	replace(t, p.role, "canary-role-2")
	fresh(t, m, true, "another role_id")
}

func TestHowOftenToLookForNewCredentials(t *testing.T) {
	cert := func(more ...any) map[string]any {
		v := map[string]any{"client_cert": "c", "client_key": "k"}
		for i := 0; i < len(more); i += 2 {
			v[more[i].(string)] = more[i+1]
		}
		return v
	}
	for _, c := range []struct {
		name   string
		build  Constructor
		values map[string]any
		want   time.Duration
	}{
		{"a JWT that is removed", JWT, map[string]any{"path": "p", "role": "r"}, 500 * time.Millisecond},
		{"a JWT that stays", JWT, map[string]any{"path": "p", "role": "r", "remove_jwt_after_reading": false}, time.Minute},
		{"a JWT as often as told", JWT, map[string]any{"path": "p", "role": "r", "jwt_read_period": "7s"}, 7 * time.Second},
		{"a certificate", Cert, cert(), time.Minute},
		{"a certificate as often as told", Cert, cert("reload_period", "7s"), 7 * time.Second},
		{"a certificate, explicitly", Cert, cert("reload", true), time.Minute},
		{"a certificate, explicitly not", Cert, cert("reload", false), 0},
		{"a certificate that takes no time", Cert, cert("reload_period", "0s"), 0},
		{"no certificate", Cert, nil, 0},
	} {
		m, _ := build(t, c.build, "x", c.values)
		if got := m.(Watcher).Every(); got != c.want {
			t.Errorf("%s: every %v, want %v", c.name, got, c.want)
		}
	}
}

func TestANewCertificateIsFresh(t *testing.T) {
	p := newTLSPlace(t)
	for name, own := range map[string]bool{"of its own": true, "of the vault stanza": false} {
		values := map[string]any{}
		o := options("cert", values, os.Stderr)
		o.Client = vault.Config{Address: p.url, CACert: p.ca, TLSServerName: "example.com"}
		if own {
			o = options("cert", map[string]any{"client_cert": p.cert, "client_key": p.key}, os.Stderr)
			o.Client = vault.Config{Address: p.url, CACert: p.ca, TLSServerName: "example.com"}
		} else {
			o.Client.ClientCert, o.Client.ClientKey = p.cert, p.key
		}
		m, err := Cert(o)
		if err != nil {
			t.Fatal(err)
		}
		fresh(t, m, false, name+" at the start")
		login1(t, m, p.client(t, o.Client))
		fresh(t, m, false, name+" after the login")
		p.rotate(t, "next")
		fresh(t, m, true, name+" after the rotation")
	}
}

// A one-shot never asks, and pays nothing for it.
func TestWithoutAWatcherNothingIsRemembered(t *testing.T) {
	path := write(t, in(t, "token"), "canary")
	m, _ := build(t, Kubernetes, "kubernetes", map[string]any{"token_path": path, "role": "r"})
	login1(t, m, newServer(t, answerAll).client(t))
	if m.(*kubernetes).known != nil {
		t.Error("a digest was taken")
	}
}
