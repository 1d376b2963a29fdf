package aws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/auth"
	"latchkey/internal/awstest"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// server sends the signed request on, as the AWS auth method of a server does.
type server struct {
	t   *testing.T
	url string
	sts string // its sts_endpoint
	id  string // its iam_server_id_header_value

	mu    sync.Mutex
	arns  []string          // who logged in
	last  map[string]any    // body of the last login
	paths []string          // where logins came
	fails func() (int, any) // answers instead, when not nil
}

func serve(t *testing.T, sts string) *server {
	s := &server{t: t, sts: sts}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, strings.TrimPrefix(r.URL.Path, "/v1/"))
	s.last = map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&s.last)
	if s.fails != nil {
		status, v := s.fails()
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
		return
	}
	if s.last["iam_request_url"] != nil {
		if no := s.pass(r); no != "" {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{no}})
			return
		}
	}
	fmt.Fprint(w, `{"auth":{"client_token":"hvs.canary-token","lease_duration":60,"renewable":true}}`)
}

// pass asks STS what was signed, and returns why not.
func (s *server) pass(r *http.Request) string {
	field := func(name string) string {
		text, _ := s.last[name].(string)
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			s.t.Errorf("%s is not base64: %v", name, err)
		}
		return string(b)
	}
	signed, err := url.Parse(field("iam_request_url"))
	if err != nil || s.last["iam_http_request_method"] != "POST" {
		return "no URL, or not a POST"
	}
	var headers http.Header
	if err := json.Unmarshal([]byte(field("iam_request_headers")), &headers); err != nil {
		return "no headers: " + err.Error()
	}
	if s.id != "" && headers.Get("X-Vault-AWS-IAM-Server-ID") == "" {
		return "error validating X-Vault-AWS-IAM-Server-ID header: missing header \"X-Vault-AWS-IAM-Server-ID\""
	}
	if s.id != "" && (headers.Get("X-Vault-AWS-IAM-Server-ID") != s.id || !strings.Contains(headers.Get("Authorization"), "x-vault-aws-iam-server-id")) {
		return "error validating X-Vault-AWS-IAM-Server-ID header: expected another value"
	}
	on, err := http.NewRequestWithContext(r.Context(), http.MethodPost, s.sts+signed.RequestURI(), strings.NewReader(field("iam_request_body")))
	if err != nil {
		return err.Error()
	}
	on.Host = signed.Host
	if strings.HasPrefix(signed.Host, "127.") {
		on.Host = "" // an endpoint of the configuration
	}
	on.Header = headers
	resp, err := http.DefaultClient.Do(on)
	if err != nil {
		return "error making upstream request: " + err.Error()
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("error making upstream request: received error code %d from STS: %s", resp.StatusCode, answer)
	}
	s.arns = append(s.arns, text(string(answer), "Arn"))
	return ""
}

func (s *server) who() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.arns) == 0 {
		return ""
	}
	return s.arns[len(s.arns)-1]
}

// environ makes a lookup of NAME=value.
func environ(list ...string) func(string) (string, bool) {
	m := map[string]string{}
	for _, e := range list {
		k, v, _ := strings.Cut(e, "=")
		m[k] = v
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

// bench is a method, the server it logs in to, and what it said.
type bench struct {
	t   *testing.T
	aws *awstest.AWS
	srv *server
	m   auth.Method
	c   *vault.Client
	log bytes.Buffer
}

type table func(Settings) Credentials

// try builds a method for an environment and a block.
func try(t *testing.T, a *awstest.AWS, s *server, from table, typ string, env []string, block map[string]any) *bench {
	t.Helper()
	b := &bench{t: t, aws: a, srv: s}
	settings := Settings{Environ: environ(env...)}
	settings.Credentials = from(settings)
	build := New(settings)
	if typ == "aws_web_identity" {
		build = WebIdentity(settings)
	}
	cfg := vault.Config{Address: s.url}
	var err error
	b.m, err = build(auth.Options{
		Mount: "auth/" + typ, Config: config.NewBlock(typ, block), Client: cfg,
		Log: slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug - 8})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.c, err = vault.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.c.Close() })
	return b
}

// login logs in, and looks whether a secret is told.
func (b *bench) login() (cred.Token, error) {
	b.t.Helper()
	tok, err := b.m.Login(b.t.Context(), b.c)
	said := fmt.Sprintf("%v\n%+v\n%+v\n%#v\n%s", err, tok, b.m, b.m, b.log.String())
	for _, s := range append(b.aws.Secrets(), "canary") {
		if strings.Contains(said, s) {
			b.t.Errorf("a secret is told: %s", said)
		}
	}
	return tok, err
}

func (b *bench) ok() {
	b.t.Helper()
	if tok, err := b.login(); err != nil || tok.Value.Reveal() != "hvs.canary-token" {
		b.t.Fatalf("got %v", err)
	}
}

// no logs in and is refused, with these words.
func (b *bench) no(words ...string) error {
	b.t.Helper()
	_, err := b.login()
	if err == nil {
		b.t.Fatal("logged in")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			b.t.Errorf("%q is not in: %v", w, err)
		}
	}
	return err
}
