//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/e2e/postgres"
	"latchkey/internal/vaulttest/cases"
)

// TestDatabaseCredentialsInAFileAlwaysLogIn has Vault make users of a real
// PostgreSQL, who live seconds, and a daemon keep a file with one. Whoever reads
// that file and logs in at once gets in, at every moment.
func TestDatabaseCredentialsInAFileAlwaysLogIn(t *testing.T) {
	t.Parallel()
	db, err := postgres.Start(os.Stderr)
	if errors.Is(err, postgres.ErrUnavailable) {
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED: live database credentials. %v ***\n\n", err)
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Stop)
	k := cases.NewKit(t, vault{t}, program(t))
	site := k.Shared()
	site.Mount("database", "database", nil)
	site.OK("POST", "database/config/main", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "app",
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@127.0.0.1:%d/postgres?sslmode=disable", db.Port),
		"username":       postgres.Admin, "password": db.Password,
	})
	site.OK("POST", "database/roles/app", map[string]any{
		"db_name": "main", "default_ttl": "5s", "max_ttl": "20s",
		"creation_statements": `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';`,
	})
	site.Policy("database-app", map[string][]string{"database/creds/app": {"read"}})
	site.EnableAuth("database-login", "approle")
	k.Write("role_id", site.AppRole("database-login", "app", map[string]any{
		"token_policies": "database-app,default", "token_ttl": "7s", "token_max_ttl": "25s",
	}))
	k.Write("secret_id", site.SecretID("database-login", "app"))
	d := k.Daemon(`
auto_auth {
  method "approle" {
    mount_path = "auth/database-login"
    config = {
      role_id_file_path   = "role_id"
      secret_id_file_path = "secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
  sink "file" {
    config = { path = "token" }
  }
}
template {
  destination = "credentials"
  contents    = <<EOT
{{ with secret "database/creds/app" }}{{ .Data.username }}
{{ .Data.password }}
{{ .LeaseID }}{{ end }}
EOT
}
`).Ready()
	watch(t, k, db)
	for path, limit := range map[string]int{"database/creds/app": 8, "sys/leases/renew": 30, "auth/database-login/login": 5, "auth/token/renew-self": 25} {
		if n := k.Site.Front.Count("", path); n > limit {
			t.Errorf("%d requests to %s, at most %d are in order", n, path, limit)
		}
	}
	d.Stops()
}

// watch reads the file and logs in, again and again.
func watch(t *testing.T, k *cases.Kit, db *postgres.Cluster) {
	t.Helper()
	path := filepath.Join(k.Dir, "credentials")
	users := map[string]int{}
	read := func() (text, name, password string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(data), "\n")
		if len(lines) < 3 {
			t.Fatalf("half a file: %d lines", len(lines))
		}
		return string(data), lines[0], lines[1]
	}
	k.For(40*time.Second, func() {
		text, name, password := read()
		start := time.Now()
		rows, err := db.Query(t.Context(), name, password, "select current_user")
		took := time.Since(start)
		if err != nil {
			again, _, _ := read()
			if again == text || took < time.Second/2 {
				t.Fatalf("after %v: what the file says does not log in (%s, the file changed meanwhile: %v): %v", users, took, again != text, err)
			}
			// The machine was so slow that the user ended on the way.
			t.Logf("a login took %s, in which its user was replaced: %v", took, err)
			return
		}
		if len(rows) != 1 || rows[0] != name {
			t.Fatalf("logged in as %v, not %s", rows, name)
		}
		users[name]++
	})
	t.Logf("users and their logins: %v", users)
	if len(users) < 3 {
		t.Errorf("only %d users in 40 s of at most 20 s each", len(users))
	}
	// Those who were replaced are dropped by Vault; none piles up.
	k.Until("no more than two users are left", func() bool {
		rows, err := db.Query(t.Context(), postgres.Admin, db.Password, "select rolname from pg_roles where rolname like 'v-%'")
		if err != nil {
			t.Fatal(err)
		}
		return len(rows) <= 2
	})
}
