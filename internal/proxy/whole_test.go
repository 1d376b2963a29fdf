package proxy

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/vault"
	"latchkey/internal/vaulttest"
)

// approle logs in by itself, so that the room of the methods is not needed here.
type approle struct{ role, secret string }

func (a approle) Login(ctx context.Context, c *vault.Client) (cred.Token, error) {
	return c.Login(ctx, "auth/approle/login", map[string]any{"role_id": a.role, "secret_id": a.secret})
}

var _ auth.Method = approle{}

// The whole way, with a session that logs in and a server that revokes.
func TestATokenThatIsRevokedIsNotTheClientsAffair(t *testing.T) {
	srv := vaulttest.New(t)
	admin := srv.Admin(t)
	admin.Mount("kv", "kv", vaulttest.Map{"version": "2"})
	admin.WriteKV2("kv", "app", vaulttest.Map{"password": "p"})
	admin.Policy("read", map[string][]string{"kv/data/app": {"read"}})
	admin.EnableAuth("approle", "approle")
	role := admin.AppRole("approle", "app", vaulttest.Map{"token_policies": "read"})
	client, err := vault.New(vault.Config{Address: srv.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := session.New(approle{role, admin.SecretID("approle", "app")}, client, session.Options{
		Name: "approle", Mount: "auth/approle", Log: slog.New(slog.DiscardHandler),
		Retry: retry.Schedule{Attempts: -1, Base: 10 * time.Millisecond, Max: time.Second},
	})
	front := httptest.NewServer(Handler(Options{
		Client: client, Lend: LendYes, Name: "default", Identity: s, Seen: s.Seen, Retry: soon,
		Ours: func(tok cred.Redacted) bool { return s.State().Token.Value.Equal(tok) },
	}))
	defer front.Close()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	ask := func(path string) (int, string) {
		resp, err := (&http.Client{Transport: tr}).Get(front.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}

	ctx, stop := context.WithCancel(t.Context())
	var kept sync.WaitGroup
	defer kept.Wait()
	defer stop()
	kept.Go(func() { _ = s.Keep(ctx, func(cred.Token) {}) })

	if status, body := ask("/v1/kv/data/app"); status != 200 || !strings.Contains(body, `"password":"p"`) {
		t.Fatalf("before the first login was waited for: %d %s", status, body)
	}
	first := s.State().Token
	if status, body := ask("/v1/auth/token/lookup-self"); status != 200 || strings.Contains(body, first.Value.Reveal()) || strings.Contains(body, first.Accessor) {
		t.Errorf("lookup: %d %s", status, body)
	}
	if status, body := ask("/v1/kv/data/other"); status != 403 {
		t.Errorf("denied: %d %s", status, body)
	}
	admin.RevokeAccessor(first.Accessor)
	if status, body := ask("/v1/kv/data/app"); status != 200 || !strings.Contains(body, `"password":"p"`) {
		t.Errorf("after the token was revoked: %d %s", status, body)
	}
	if second := s.State().Token; second.Value.Equal(first.Value) {
		t.Error("the token is the same")
	}
}

func TestHTTP2OnBothSides(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if r.ProtoMajor != 2 || n != 0 && n != 100 {
			t.Errorf("%s with %d bytes", r.Proto, n)
		}
		asJSON(200, `{"a":1}`)(w, r)
	}))
	up.EnableHTTP2 = true
	up.StartTLS()
	defer up.Close()
	c, err := vault.New(vault.Config{Address: up.URL, SkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	front := httptest.NewUnstartedServer(Handler(Options{Client: c, MaxBuffer: 10}))
	front.EnableHTTP2 = true
	front.StartTLS()
	defer front.Close()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	for _, body := range []string{"", strings.Repeat("x", 100)} {
		resp, err := (&http.Client{Transport: tr}).Post(front.URL+"/v1/secret/a", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.ProtoMajor != 2 || resp.StatusCode != 200 || err != nil || string(got) != `{"a":1}` {
			t.Errorf("%s %d %s %v", resp.Proto, resp.StatusCode, got, err)
		}
	}
}
