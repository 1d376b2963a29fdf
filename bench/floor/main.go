// Command floor is the least a program can do for the same result: log in with
// AppRole, read the secrets one after the other, write each value to a file.
// It checks little, retries nothing and is what latchkey's cost is compared
// with.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

var (
	address  = flag.String("address", "", "address of the server")
	ca       = flag.String("ca", "", "PEM file with the CA of the server's certificate")
	roleID   = flag.String("role-id", "", "file with the role_id")
	secretID = flag.String("secret-id", "", "file with the secret_id")
	mount    = flag.String("mount", "secret", "KV version 2 mount")
	count    = flag.Int("n", 1, "secrets to read")
	out      = flag.String("out", ".", "directory to write to")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	client := http.DefaultClient
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	}
	role, err := os.ReadFile(*roleID)
	if err != nil {
		return err
	}
	secret, err := os.ReadFile(*secretID)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{
		"role_id": strings.TrimSpace(string(role)), "secret_id": strings.TrimSpace(string(secret)),
	})
	if err != nil {
		return err
	}
	var login struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	if err := call(client, "PUT", "auth/approle/login", "", body, &login); err != nil {
		return err
	}
	token := login.Auth.ClientToken
	if err := os.WriteFile(filepath.Join(*out, "token"), []byte(token), 0o640); err != nil {
		return err
	}
	for i := range *count {
		var answer struct {
			Data struct {
				Data map[string]string `json:"data"`
			} `json:"data"`
		}
		if err := call(client, "GET", fmt.Sprintf("%s/data/bench/%04d", *mount, i), token, nil, &answer); err != nil {
			return err
		}
		text := answer.Data.Data["username"] + ":" + answer.Data.Data["password"] + "\n"
		if err := os.WriteFile(filepath.Join(*out, fmt.Sprintf("%04d", i)), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func call(client *http.Client, method, path, token string, body []byte, into any) error {
	req, err := http.NewRequest(method, *address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Request", "true")
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
