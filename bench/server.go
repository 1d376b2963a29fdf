package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	vault "latchkey/e2e/server"
)

// findVault returns the binary that -vault or LATCHKEY_VAULT_BIN names, or the
// one that the e2e tests use, which is built at the first call.
func findVault() (string, error) {
	if *vaultBin != "" {
		return filepath.Abs(*vaultBin)
	}
	return vault.Binary(os.Stderr)
}

// seeded is a server with an AppRole and secrets; the credentials stand in dir,
// in the files role_id and secret_id.
type seeded struct {
	*vault.Server
	dir    string
	client *http.Client

	// broker is what leased secrets are made in, of that many roles; see lend.
	broker *httptest.Server
	roles  int
}

func (d *seeded) close() {
	if d.broker != nil {
		d.broker.Close()
	}
}

// benchPolicy is that of a daemon: it may look at the versions as well. A proxy's
// clients have it make tokens.
const benchPolicy = `
path "secret/data/bench/*"     { capabilities = ["read"] }
path "secret/metadata/bench/*" { capabilities = ["read"] }
path "rabbitmq/creds/*"        { capabilities = ["read"] }
path "auth/token/create"       { capabilities = ["update"] }
`

// seed gives s an AppRole that may read n secrets of one KV version 2 mount.
func seed(ctx context.Context, s *vault.Server, dir string, n int) (*seeded, error) {
	d := &seeded{Server: s, dir: dir, client: &http.Client{Timeout: 30 * time.Second}}
	if s.CA != nil {
		var err error
		if d.client, err = s.CA.HTTPClient(30 * time.Second); err != nil {
			return nil, err
		}
	}
	type m = map[string]any
	if err := d.call(ctx, "POST", "sys/auth/approle", m{"type": "approle"}, nil); err != nil {
		return nil, err
	}
	if err := d.call(ctx, "PUT", "sys/policies/acl/bench", m{"policy": benchPolicy}, nil); err != nil {
		return nil, err
	}
	if err := d.call(ctx, "POST", "auth/approle/role/bench", m{"token_policies": "bench", "token_ttl": "1h"}, nil); err != nil {
		return nil, err
	}
	for i := range n {
		data := m{"data": m{"username": fmt.Sprintf("user-%d", i), "password": fmt.Sprintf("pass-%d", i)}}
		if err := d.patiently(ctx, "POST", fmt.Sprintf("secret/data/bench/%04d", i), data); err != nil {
			return nil, err
		}
	}
	for _, id := range []struct{ method, path, key string }{
		{"GET", "auth/approle/role/bench/role-id", "role_id"},
		{"POST", "auth/approle/role/bench/secret-id", "secret_id"},
	} {
		var answer struct{ Data m }
		if err := d.call(ctx, id.method, id.path, nil, &answer); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, id.key), fmt.Append(nil, answer.Data[id.key]), 0o600); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// login makes a token as the programs make theirs.
func (d *seeded) login(ctx context.Context) (string, error) {
	ids := map[string]string{}
	for _, name := range []string{"role_id", "secret_id"} {
		id, err := os.ReadFile(filepath.Join(d.dir, name))
		if err != nil {
			return "", err
		}
		ids[name] = string(id)
	}
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	err := d.call(ctx, "POST", "auth/approle/login", ids, &answer)
	return answer.Auth.Token, err
}

// patiently tries for a few seconds: a new mount refuses writes until it has
// upgraded itself to version 2.
func (d *seeded) patiently(ctx context.Context, method, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := d.call(ctx, method, path, body, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *seeded) call(ctx context.Context, method, path string, body, into any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, d.Addr+"/v1/"+path, bytes.NewReader(payload))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", d.RootToken)
	resp, err := d.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s %s", method, path, resp.Status, strings.TrimSpace(string(text)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// bareEnvironment keeps the caller's VAULT_* and token helper out of a run.
func bareEnvironment(home string) []string {
	return []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + home}
}
