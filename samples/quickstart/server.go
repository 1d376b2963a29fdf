package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"latchkey/internal/vaulttest"
)

// administrator is a client that may set a server up.
type administrator struct {
	*vaulttest.Admin
	// own says that the server was started here.
	own bool
}

// server returns the server that the environment names, or starts one.
func server(s *stage) (*administrator, error) {
	address := either("ADDR")
	if address == "" {
		admin := vaulttest.New(s).Admin(s)
		fmt.Printf("   VAULT_ADDR is not set: a small server is started in this process, %s\n", admin.Addr)
		return &administrator{admin, true}, nil
	}
	token := either("TOKEN")
	if token == "" {
		return nil, fmt.Errorf("VAULT_ADDR is %s, but there is no VAULT_TOKEN: set one that may make and remove an auth method, a mount and a policy named %s, or unset VAULT_ADDR to use a server of this program's own", address, name)
	}
	if either("SKIP_VERIFY") != "" {
		return nil, errors.New("VAULT_SKIP_VERIFY is set: this demonstration verifies the server; name its CA with VAULT_CACERT")
	}
	var ca []byte
	if file := either("CACERT"); file != "" {
		var err error
		if ca, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("VAULT_CACERT: %w", err)
		}
	}
	admin := vaulttest.NewAdmin(s, address, token, ca, nil)
	if ns := either("NAMESPACE"); ns != "" {
		admin = admin.With("X-Vault-Namespace", ns)
	}
	fmt.Printf("   the one at %s; the token must be allowed to make an auth method, a mount\n   and a policy, all named %s, which are removed at the end\n", address, name)
	return &administrator{admin, false}, nil
}

// either reads BAO_x or, when that is not set, VAULT_x.
func either(variable string) string {
	if v := os.Getenv("BAO_" + variable); v != "" {
		return v
	}
	return os.Getenv("VAULT_" + variable)
}

// prepare makes the AppRole, the policy and the secret, and puts role_id and
// secret_id into dir, as a machine's owner would.
func prepare(admin *administrator, dir string) error {
	admin.EnableAuth(name, "approle")
	fmt.Printf("   auth/%s, an AppRole mount\n", name)
	admin.Mount(name, "kv", vaulttest.Map{"version": "2"})
	fmt.Printf("   %s/, a KV version 2 mount\n", name)
	admin.Policy(name, map[string][]string{name + "/data/database": {"read"}})
	fmt.Printf("   the policy %s, which may read %s/data/database\n", name, name)
	role := admin.AppRole(name, "demo", vaulttest.Map{"token_policies": name, "token_ttl": "10m"})
	secret := admin.SecretID(name, "demo")
	if err := writeSecret(admin); err != nil {
		return err
	}
	fmt.Printf("   %s/data/database, a secret\n", name)
	for file, text := range map[string]string{"role_id": role, "secret_id": secret} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// writeSecret waits for a new mount, which refuses writes for a moment until it
// has made itself version 2.
func writeSecret(admin *administrator) error {
	secret := vaulttest.Map{"host": "db.example.com:5432", "username": "app", "password": `n0t "real" & $afe`}
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		answer := admin.Do("PUT", name+"/data/database", vaulttest.Map{"data": secret})
		switch {
		case answer.Status < 300:
			return nil
		case answer.Status != http.StatusBadRequest || wait > 5*time.Second:
			return fmt.Errorf("write the secret: %d %s", answer.Status, answer.Body)
		}
		time.Sleep(wait)
	}
}

// environment is what latchkey runs with: where the server is, and no token,
// because it logs in by itself.
func environment(admin *administrator) []string {
	environ := []string{"VAULT_ADDR=" + admin.Addr, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	if admin.own {
		return environ
	}
	for _, variable := range []string{"CACERT", "NAMESPACE"} {
		if v := either(variable); v != "" {
			if variable == "CACERT" {
				v, _ = filepath.Abs(v) // latchkey runs in another directory
			}
			environ = append(environ, "VAULT_"+variable+"="+v)
		}
	}
	return environ
}
