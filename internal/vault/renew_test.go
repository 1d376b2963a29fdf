package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/internal/cred"
)

func TestRenewSelf(t *testing.T) {
	for _, c := range []struct {
		name      string
		increment time.Duration
		sent      string
		status    int
		answer    string
		want      time.Duration
		err       error
	}{
		{"as long as the server likes", 0, `{}`, 200, `{"auth":{"client_token":"hvs.CANARY","lease_duration":5,"renewable":true}}`, 5 * time.Second, nil},
		{"as long as asked", 1500 * time.Millisecond, `{"increment":2}`, 200, `{"auth":{"client_token":"hvs.CANARY","lease_duration":2,"renewable":true}}`, 2 * time.Second, nil},
		{"not renewable", 0, `{}`, 400, `{"errors":["lease is not renewable"]}`, 0, ErrBadRequest},
		{"not allowed", 0, `{}`, 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, 0, ErrDenied},
		{"revoked", 0, `{}`, 403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, 0, ErrInvalidToken},
		{"an answer of something else", 0, `{}`, 200, `{"data":{}}`, 0, ErrNoToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if got := r.Method + " " + r.URL.Path + " " + string(body); got != "PUT /v1/auth/token/renew-self "+c.sent || r.Header.Get("X-Vault-Wrap-TTL") != "" {
					t.Errorf("sent %s", got)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.answer)
			}))
			defer s.Close()
			cl, err := New(Config{Address: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			before := cred.Wall(time.Now())
			lease, err := cl.As(cred.Redact("hvs.CANARY")).Wrapping(time.Minute).RenewSelf(t.Context(), c.increment)
			if !errors.Is(err, c.err) || lease.Duration != c.want || c.err == nil && (!lease.Renewable || lease.Issued.Before(before)) {
				t.Errorf("%+v %v", lease, err)
			}
			if c.err == ErrDenied && errors.Is(err, ErrInvalidToken) {
				t.Error("a denial is taken for an invalid token")
			}
		})
	}
}

func TestWhoeverWatchesTokensIsToldOfEachRequest(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/gone" {
			w.WriteHeader(403)
			fmt.Fprint(w, `{"errors":["permission denied","invalid token"]}`)
			return
		}
		fmt.Fprint(w, `{"data":{"id":"x"},"auth":{"client_token":"hvs.CANARY-new"}}`)
	}))
	var tokens []string
	var errs []error
	cl, err := New(Config{Address: s.URL, Seen: func(tok cred.Redacted, err error) {
		tokens, errs = append(tokens, tok.Reveal()), append(errs, err)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	mine := cl.As(cred.Redact("hvs.CANARY"))
	ctx := t.Context()
	if _, err := cl.Login(ctx, "auth/x/login", nil); err != nil || len(tokens) != 0 {
		t.Errorf("a request without a token was told of: %v", err)
	}
	_, _ = mine.Read(ctx, "here", nil)
	_, _ = mine.In("team").Read(ctx, "gone", nil)
	_, _ = cl.Unwrap(ctx, cred.Redact("hvs.wrapping"))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, _ = mine.LookupSelf(ended)
	s.Close()
	_, _ = mine.Write(ctx, "here", nil)
	if len(tokens) != 5 || tokens[0] != "hvs.CANARY" || tokens[2] != "hvs.wrapping" {
		t.Fatalf("told of %q", tokens)
	}
	for i, want := range []error{nil, ErrInvalidToken, nil, ErrUnreachable, ErrUnreachable} {
		if !errors.Is(errs[i], want) {
			t.Errorf("request %d: %v, want %v", i, errs[i], want)
		}
	}
}
