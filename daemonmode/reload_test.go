package daemonmode_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/daemonmode"
	"latchkey/internal/vaulttest"
)

const reloadable = `
auto_auth {
  method "approle" {
    config = { role_id_file_path = "DIR/role_id", secret_id_file_path = "DIR/secret_id", remove_secret_id_file_after_reading = false }
  }
  sink "file" { config = { path = "DIR/token" } }
}
template {
  contents    = "{{ with secret \"leased/creds/app\" }}{{ .Data.username }}{{ end }}"
  destination = "DIR/creds"
}
`

const another = `
template {
  contents    = "{{ with secret \"leased/creds/app\" }}again {{ .Data.username }}{{ end }}"
  destination = "DIR/again"
}
`

// reloading starts a daemon that renders a leased secret.
func reloading(t *testing.T, act func(*simulation)) {
	server := vaulttest.New(t)
	admin := server.Admin(t)
	admin.Policy("app", map[string][]string{"leased/creds/*": {"read"}})
	admin.Mount("leased", "rabbitmq", nil)
	admin.OK("PUT", "leased/config/lease", vaulttest.Map{"ttl": "1h", "max_ttl": "24h"})
	admin.OK("PUT", "leased/roles/app", vaulttest.Map{"tags": "x"})
	admin.EnableAuth("approle", "approle")
	roleID := admin.AppRole("approle", "app", vaulttest.Map{"token_ttl": "1h", "token_policies": "app", "secret_id_num_uses": 0})
	credentials := map[string]string{"role_id": roleID, "secret_id": admin.SecretID("approle", "app")}
	simulate(t, server, credentials, reloadable, func(s *simulation) {
		time.Sleep(time.Second)
		act(s)
	})
}

func TestATemplateIsAddedWithoutANewLeaseOrLogin(t *testing.T) {
	reloading(t, func(s *simulation) {
		user := s.read("creds")
		s.reload(reloadable + another)
		if got := s.read("again"); user == "" || got != "again "+user {
			s.t.Errorf("the new file has %q, the old one %q", got, user)
		}
		if n := s.server.Count("GET", "leased/creds/app"); n != 1 {
			s.t.Errorf("%d leases were made", n)
		}
		if n := s.server.Count("PUT", "auth/approle/login"); n != 1 {
			s.t.Errorf("%d logins", n)
		}
	})
}

func TestAConfigurationThatIsWrongChangesNothing(t *testing.T) {
	reloading(t, func(s *simulation) {
		user := s.read("creds")
		s.hangUp(func() (daemonmode.Job, error) { return daemonmode.Job{}, errors.New("agent.hcl:3: wrong") })
		if !strings.Contains(s.logged(), "agent.hcl:3: wrong") {
			s.t.Error("nobody is told")
		}
		if err := os.Remove(filepath.Join(s.dir, "token")); err != nil {
			s.t.Error(err)
		}
		time.Sleep(5 * time.Second)
		if s.read("token") == "" || s.read("creds") != user {
			s.t.Error("what was in force is no more")
		}
	})
}

func TestAnotherSinkGetsTheTokenThatIsThere(t *testing.T) {
	reloading(t, func(s *simulation) {
		s.reload(strings.Replace(reloadable, "DIR/token\"", "DIR/token2\"", 1))
		if s.read("token2") != s.read("token") {
			s.t.Error("the new sink has another token")
		}
		if n := s.server.Count("PUT", "auth/approle/login"); n != 1 {
			s.t.Errorf("%d logins", n)
		}
	})
}

func TestAnotherLoginRendersEverythingAgain(t *testing.T) {
	reloading(t, func(s *simulation) {
		token, user := s.read("token"), s.read("creds")
		s.reload(strings.Replace(reloadable, `method "approle" {`, `method "approle" { min_backoff = "2s"`, 1))
		if s.read("token") == token || s.read("creds") == user {
			s.t.Error("the old login's token or lease is still in use")
		}
	})
}

func TestTwentyReloadsLeaveNothingBehind(t *testing.T) {
	reloading(t, func(s *simulation) {
		for i := range 20 {
			text := reloadable
			if i%2 == 0 {
				text += another
			}
			s.reload(text)
		}
		if n := s.server.Count("GET", "leased/creds/app"); n != 1 {
			s.t.Errorf("%d leases were made", n)
		}
		if strings.Contains(s.logged(), "level=ERROR") {
			s.t.Error("errors are logged")
		}
	})
}

func TestALoginThatFailsLeavesTheOldOneInForce(t *testing.T) {
	reloading(t, func(s *simulation) {
		token, user := s.read("token"), s.read("creds")
		if err := os.WriteFile(filepath.Join(s.dir, "wrong"), []byte("no-such-id"), 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.reload(strings.ReplaceAll(reloadable, "DIR/secret_id", "DIR/wrong"))
		if !strings.Contains(s.logged(), "what was in force stays") {
			s.t.Error("nobody is told")
		}
		time.Sleep(2 * time.Hour) // beyond the first token's time
		if s.read("token") != token || s.read("creds") != user {
			s.t.Error("the old login was let go")
		}
		if n := s.server.Count("PUT", "auth/token/renew-self"); n < 2 {
			s.t.Errorf("%d renewals", n)
		}
	})
}
