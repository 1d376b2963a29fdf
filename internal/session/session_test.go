package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// method answers each login with the next of its errors, then with a token.
type method struct {
	errs   []error
	logins int
	closed bool
}

func (m *method) Login(context.Context, *vault.Client) (cred.Token, error) {
	m.logins++
	if m.logins <= len(m.errs) {
		return cred.Token{}, m.errs[m.logins-1]
	}
	return cred.Token{Value: cred.Redact("hvs.CANARY"), Accessor: "acc"}, nil
}

func (m *method) Close() error { m.closed = true; return nil }

var patient = retry.Schedule{Attempts: 100, Base: time.Second, Max: 5 * time.Minute}

func session(m auth.Method, c *vault.Client, s retry.Schedule, log *slog.Logger) *Session {
	return New(m, c, Options{Name: "approle", Mount: "auth/approle", Retry: s, Log: log})
}

func TestLogin(t *testing.T) {
	sealed := &vault.Error{Kind: vault.ErrSealed, Op: "login", Status: 503}
	slow := &vault.Error{Kind: vault.ErrRateLimited, Op: "login", Status: 429, After: 20 * time.Second}
	denied := &vault.Error{Kind: vault.ErrBadRequest, Op: "login", Status: 400}
	for _, c := range []struct {
		name   string
		errs   []error
		sched  retry.Schedule
		want   error
		logins int
		took   time.Duration
	}{
		{"good", nil, patient, nil, 1, 0},
		{"sealed, then good", []error{sealed, sealed}, patient, nil, 3, 3 * time.Second},
		{"rate limited, then good", []error{slow}, patient, nil, 2, 20 * time.Second},
		{"refused ends at once", []error{denied}, patient, denied, 1, 0},
		{"an answer without a token ends at once", []error{&vault.Error{Kind: vault.ErrNoToken}}, patient, vault.ErrNoToken, 1, 0},
		{"a credential file that appears", []error{auth.ErrCredentials, auth.ErrCredentials}, patient, nil, 3, 3 * time.Second},
		{"a credential file that never does", []error{auth.ErrCredentials, auth.ErrCredentials, auth.ErrCredentials}, retry.Schedule{Attempts: 3, Base: time.Second, Max: time.Minute}, auth.ErrCredentials, 3, 3 * time.Second},
		{"exit_on_err: the first failure", []error{sealed}, retry.Schedule{Attempts: 1}, vault.ErrSealed, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &method{errs: c.errs}
				var log strings.Builder
				s := session(m, nil, c.sched, slog.New(slog.NewTextHandler(&log, nil)))
				start := time.Now()
				tok, err := s.Login(t.Context())
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if m.logins != c.logins {
					t.Errorf("%d logins, want %d", m.logins, c.logins)
				}
				if c.want == nil {
					if err != nil || tok.Accessor != "acc" {
						t.Errorf("%v %v", tok, err)
					}
				} else if !errors.Is(err, c.want) || !errors.Is(err, ErrLogin) {
					t.Errorf("error is %v", err)
				}
				if strings.Contains(log.String(), "CANARY") {
					t.Errorf("the log holds the token: %s", log.String())
				}
			})
		})
	}
}

func TestAMethodThatForgetsTheTokenIsAnError(t *testing.T) {
	_, err := session(empty{}, nil, patient, slog.New(slog.DiscardHandler)).Login(t.Context())
	if !errors.Is(err, vault.ErrNoToken) {
		t.Errorf("error is %v", err)
	}
}

type empty struct{}

func (empty) Login(context.Context, *vault.Client) (cred.Token, error) { return cred.Token{}, nil }

func TestRevoke(t *testing.T) {
	var seen []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Vault-Token")+r.Header.Get("X-Vault-Wrap-TTL"))
		w.WriteHeader(204)
		_, _ = io.WriteString(w, "")
	}))
	defer srv.Close()
	c, err := vault.New(vault.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	m := &method{}
	s := session(m, c, patient, slog.New(slog.DiscardHandler))
	if err := s.Revoke(t.Context()); err != nil || len(seen) != 0 {
		t.Errorf("without a token: %v, %v", err, seen)
	}
	if _, err := s.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Revoke(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 1 || seen[0] != "PUT /v1/auth/token/revoke-self hvs.CANARY" {
		t.Errorf("requests: %q", seen)
	}
	if err := s.Close(); err != nil || !m.closed {
		t.Error("the method was not closed")
	}
}
