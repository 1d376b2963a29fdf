package methods

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/awstest"
	"latchkey/internal/config"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// mood is how the server receives a login.
type mood int

const (
	good mood = iota
	denied
	badRequest
	sealed
	rateLimited // with Retry-After: 7
	noToken
	silent // never answers
)

// world is a server in some mood that knows the credentials of the fixtures;
// the suite asks nothing else of it.
type world func(t *testing.T, method string, m mood) vault.Config

// worlds are the servers that the suite is run against.
var worlds = map[string]world{"plain": plain}

// plain is the least that is a server: it answers every path alike.
func plain(t *testing.T, _ string, m mood) vault.Config {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch m {
		case denied:
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		case badRequest:
			http.Error(w, `{"errors":["invalid credentials"]}`, http.StatusBadRequest)
		case sealed:
			http.Error(w, `{"errors":["Vault is sealed"]}`, http.StatusServiceUnavailable)
		case rateLimited:
			w.Header().Set("Retry-After", "7")
			http.Error(w, `{"errors":["rate limit quota exceeded"]}`, http.StatusTooManyRequests)
		case noToken:
			fmt.Fprint(w, `{"data":{},"auth":{"client_token":""},"wrap_info":{"token":""}}`)
		case silent:
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case good:
			if r.Header.Get("X-Vault-Wrap-TTL") != "" {
				fmt.Fprint(w, `{"wrap_info":{"token":"hvs.canary-wrapping","ttl":60,"creation_time":"2026-01-02T03:04:05Z"}}`)
				return
			}
			fmt.Fprint(w, `{"auth":{"client_token":"hvs.canary-token","lease_duration":60},"data":{"id":"hvs.canary-token","ttl":60}}`)
		}
	}))
	t.Cleanup(func() { close(release); s.Close() })
	return vault.Config{Address: s.URL}
}

// fixture says how a method is configured, and the key it cannot do without.
type fixture struct {
	config  func(dir string) map[string]any
	missing string
}

// amazon is the AWS of the fixtures.
var amazon *awstest.AWS

func amazonKeys(more map[string]any) map[string]any {
	more["access_key"], more["secret_key"], more["session_token"] = amazon.Function.ID, amazon.Function.Secret, amazon.Function.Token
	return more
}

// fixtures has one entry for each method of the table.
var fixtures = map[string]fixture{
	"approle": {func(dir string) map[string]any {
		return map[string]any{"role_id_file_path": put(dir, "role", "canary-role"), "secret_id_file_path": put(dir, "secret", "canary-secret")}
	}, "role_id_file_path"},
	"aws": {func(string) map[string]any { return amazonKeys(map[string]any{"type": "iam", "role": "web"}) }, "type"},
	"aws_web_identity": {func(string) map[string]any {
		return amazonKeys(map[string]any{"audience": "vault", "role": "web", "region": "eu-central-1", "sts_endpoint": amazon.STS("eu-central-1")})
	}, "audience"},
	"cert": {func(string) map[string]any { return map[string]any{"name": "web"} }, ""},
	"jwt": {func(dir string) map[string]any {
		return map[string]any{"path": put(dir, "jwt", "canary.jwt"), "role": "web"}
	}, "role"},
	"kubernetes": {func(dir string) map[string]any {
		return map[string]any{"token_path": put(dir, "sa", "canary.sa"), "role": "web"}
	}, "role"},
	"token_file": {func(dir string) map[string]any {
		return map[string]any{"token_file_path": put(dir, "token", "hvs.canary-token")}
	}, "token_file_path"},
	"userpass": {func(dir string) map[string]any {
		return map[string]any{"username": "ada", "password_file_path": put(dir, "pass", "canary-pass")}
	}, "username"},
}

func put(dir, name, content string) string {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		panic(err)
	}
	return path
}

// login builds a method and logs in once.
func login(t *testing.T, ctx context.Context, name string, w world, m mood, wrap time.Duration) (err error, wrapped bool) {
	t.Helper()
	var log bytes.Buffer
	cfg := w(t, name, m)
	o := auth.Options{
		Mount: "auth/" + name, Config: config.NewBlock(name, fixtures[name].config(t.TempDir())),
		Client: cfg, Wrap: wrap, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 8})),
	}
	method, err := All(nil)[name](o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := vault.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tok, err := method.Login(ctx, c.Wrapping(wrap))
	if text := fmt.Sprintf("%v %+v %s", err, tok, log.String()); strings.Contains(text, "canary") {
		t.Errorf("a secret is told: %s", text)
	}
	if err == nil && tok.Value.Empty() && tok.Wrap == nil {
		t.Error("success without a token")
	}
	if err != nil && (!tok.Value.Empty() || tok.Wrap != nil) {
		t.Error("an error and a token")
	}
	if err != nil && !strings.HasPrefix(err.Error(), name+" at auth/") {
		t.Errorf("the error does not begin with the method and its mount: %v", err)
	}
	return err, tok.Wrap != nil
}

func TestEveryMethodIsAsItShouldBe(t *testing.T) {
	amazon = awstest.Start(t)
	if got, want := slices.Sorted(maps.Keys(fixtures)), slices.Sorted(maps.Keys(All(nil))); !slices.Equal(got, want) {
		t.Fatalf("fixtures for %v, methods %v", got, want)
	}
	for where, w := range worlds {
		for name := range All(nil) {
			t.Run(where+"/"+name, func(t *testing.T) { conform(t, name, w) })
		}
	}
}

func conform(t *testing.T, name string, w world) {
	t.Run("logs in", func(t *testing.T) {
		if err, wrapped := login(t, t.Context(), name, w, good, 0); err != nil || wrapped {
			t.Errorf("got %v, wrapped: %v", err, wrapped)
		}
	})
	t.Run("logs in wrapped", func(t *testing.T) {
		if err, wrapped := login(t, t.Context(), name, w, good, time.Minute); err != nil || !wrapped {
			t.Errorf("got %v, wrapped: %v", err, wrapped)
		}
	})
	for m, want := range map[mood]error{
		denied: vault.ErrDenied, badRequest: vault.ErrBadRequest, sealed: vault.ErrSealed,
		rateLimited: vault.ErrRateLimited, noToken: vault.ErrNoToken,
	} {
		for _, wrap := range []time.Duration{0, time.Minute} {
			t.Run(fmt.Sprintf("says %v, wrap %s", want, wrap), func(t *testing.T) {
				err, _ := login(t, t.Context(), name, w, m, wrap)
				if !errors.Is(err, want) || retry.IsPermanent(err) && vault.Temporary(err) {
					t.Fatalf("got %v", err)
				}
				var after interface{ RetryAfter() time.Duration }
				if m == rateLimited && (!errors.As(err, &after) || after.RetryAfter() != 7*time.Second) {
					t.Errorf("the wish to wait 7s is lost: %v", err)
				}
			})
		}
	}
	t.Run("stops when told", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err, _ := login(t, ctx, name, w, silent, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err, _ := login(t, ctx, name, w, silent, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refuses an unknown key", func(t *testing.T) {
		values := fixtures[name].config(t.TempDir())
		values["no_such_key"] = "x"
		refuses(t, name, values)
	})
	if key := fixtures[name].missing; key != "" {
		t.Run("needs "+key, func(t *testing.T) {
			for _, spoil := range []func(map[string]any){
				func(v map[string]any) { delete(v, key) },
				func(v map[string]any) { v[key] = "" },
			} {
				values := fixtures[name].config(t.TempDir())
				spoil(values)
				refuses(t, name, values)
			}
		})
	}
	t.Run("reads nothing before it logs in", func(t *testing.T) {
		dir := t.TempDir()
		values := fixtures[name].config(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := All(nil)[name](auth.Options{Mount: "auth/" + name, Config: config.NewBlock(name, values)}); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

func refuses(t *testing.T, name string, values map[string]any) {
	t.Helper()
	_, err := All(nil)[name](auth.Options{Mount: "auth/" + name, Config: config.NewBlock(name, values)})
	var p *config.Problem
	if !errors.As(err, &p) {
		t.Fatalf("got %v", err)
	}
}
