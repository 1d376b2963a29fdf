// Command floorext is the least that a Lambda extension can be and still do the
// work: it signs the request that AWS's auth method wants, logs in, reads one
// secret, writes its file, registers, and asks for events until the last one. It
// checks little, tries nothing again, has no proxy and keeps nothing current; it is
// what the cost of latchkey's extension is compared with.
//
// It reads the variables that vault-lambda-extension reads, as far as it needs
// them: VAULT_ADDR, VAULT_CACERT, VAULT_AUTH_PROVIDER, VAULT_AUTH_ROLE,
// VAULT_SECRET_PATH and VAULT_SECRET_FILE.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "floorext:", err)
		os.Exit(1)
	}
}

func run() error {
	client := http.DefaultClient
	if ca := os.Getenv("VAULT_CACERT"); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	}
	login, err := payload()
	if err != nil {
		return err
	}
	var who struct {
		Auth struct {
			ClientToken string `json:"client_token"`
		} `json:"auth"`
	}
	answer, err := call(client, "PUT", "auth/"+os.Getenv("VAULT_AUTH_PROVIDER")+"/login", "", login)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, &who); err != nil {
		return err
	}
	secret, err := call(client, "GET", os.Getenv("VAULT_SECRET_PATH"), who.Auth.ClientToken, nil)
	if err != nil {
		return err
	}
	file := os.Getenv("VAULT_SECRET_FILE")
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, secret, "", "  "); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, pretty.Bytes(), 0o600); err != nil {
		return err
	}
	return attend()
}

// payload is the body of a login: a signed request to STS that Vault sends on.
func payload() ([]byte, error) {
	const text = "Action=GetCallerIdentity&Version=2011-06-15"
	region, url := "us-east-1", "https://sts.amazonaws.com/"
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	keys := aws.Credentials{
		AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
	}
	sum := sha256.Sum256([]byte(text))
	if err := v4.NewSigner().SignHTTP(context.Background(), keys, req, hex.EncodeToString(sum[:]), "sts", region, time.Now()); err != nil {
		return nil, err
	}
	headers, err := json.Marshal(req.Header)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"role": os.Getenv("VAULT_AUTH_ROLE"), "iam_http_request_method": http.MethodPost,
		"iam_request_url": []byte(url), "iam_request_body": []byte(text), "iam_request_headers": headers,
	})
}

func call(client *http.Client, method, path, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, os.Getenv("VAULT_ADDR")+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Request", "true")
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	return do(client, req)
}

func do(client *http.Client, req *http.Request) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", req.Method, req.URL.Path, resp.Status, text)
	}
	return text, err
}

// attend registers, and asks for events until SHUTDOWN.
func attend() error {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2020-01-01/extension/"
	req, err := http.NewRequest(http.MethodPost, base+"register", strings.NewReader(`{"events":["INVOKE","SHUTDOWN"]}`))
	if err != nil {
		return err
	}
	req.Header.Set("Lambda-Extension-Name", filepath.Base(os.Args[0]))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	id := resp.Header.Get("Lambda-Extension-Identifier")
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	for {
		req, err := http.NewRequest(http.MethodGet, base+"event/next", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Lambda-Extension-Identifier", id)
		text, err := do(http.DefaultClient, req)
		if err != nil {
			return err
		}
		var event struct {
			EventType string `json:"eventType"`
		}
		if err := json.Unmarshal(text, &event); err != nil || event.EventType == "SHUTDOWN" {
			return err
		}
	}
}
