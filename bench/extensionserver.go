package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"latchkey/internal/vaulttest"
)

// stand is the server before which extensions are measured. It is none: it answers
// as fast as a handler can, with what a real one says, so that its own noise is not
// in the numbers. It takes any signature.
type stand struct {
	*httptest.Server
	ca            string // PEM file of the CA, "" in plain HTTP
	logins, reads atomic.Int64
}

const (
	standToken  = "hvs.CAESIJbenchbenchbenchbenchbenchbenchbenchbenchGh4KHGh2cy5iZW5jaGJlbmNoYmVuY2g"
	standSecret = "secret/data/bench"
	standValue  = "pass-of-the-bench"
)

// newStand starts it, with TLS and a certificate of its own in dir, or without.
func newStand(dir string, secure bool) (*stand, error) {
	s := &stand{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	if !secure {
		s.Start()
		return s, nil
	}
	ca, err := vaulttest.NewCA("bench")
	if err != nil {
		return nil, err
	}
	if s.TLS, err = ca.ServerTLS(); err != nil {
		return nil, err
	}
	s.ca = filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(s.ca, ca.PEM, 0o600); err != nil {
		return nil, err
	}
	s.EnableHTTP2 = true // as Vault has it
	s.StartTLS()
	return s, nil
}

func (s *stand) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	refuse := func(why string) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, "{\"errors\":[%q]}\n", why)
	}
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case path == "auth/aws/login" && (r.Method == http.MethodPut || r.Method == http.MethodPost):
		body, _ := io.ReadAll(r.Body)
		var in map[string]any
		if err := json.Unmarshal(body, &in); err != nil || in["role"] != "bench" || in["iam_request_url"] == nil || in["iam_request_headers"] == nil || in["iam_request_body"] == nil {
			refuse("this is no login")
			return
		}
		s.logins.Add(1)
		_, _ = io.WriteString(w, standLogin)
	case r.Header.Get("X-Vault-Token") != standToken:
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "{\"errors\":[\"permission denied\"]}\n")
	case path == standSecret && r.Method == http.MethodGet:
		s.reads.Add(1)
		_, _ = io.WriteString(w, standAnswer)
	case path == "auth/token/revoke-self":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "{\"errors\":[]}\n")
	}
}

// What Vault 1.21 says.
const (
	standLogin = `{"request_id":"7a59ad1a-0bd1-2d33-cd8c-2f6b6a24a5d2","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,` +
		`"auth":{"client_token":"` + standToken + `","accessor":"8HHF1yJQ5KjJ4gzcBBBkyKz1","policies":["bench","default"],"token_policies":["bench","default"],` +
		`"metadata":{"account_id":"123456789012","auth_type":"iam","role_id":"b4a0bb2e-1b1e-0a0a-6a22-7d1e8a2f3f21"},"lease_duration":3600,"renewable":true,` +
		`"entity_id":"f3d1a1f2-0d4e-6c2f-2f4c-3c4b7d0e5a11","token_type":"service","orphan":true,"mfa_requirement":null,"num_uses":0},"mount_type":""}` + "\n"
	standAnswer = `{"request_id":"5aef1c6c-8a39-31c4-9f0f-42a3e11b0f9c","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"password":"` + standValue + `","username":"user-of-the-bench"},` +
		`"metadata":{"created_time":"2026-01-01T00:00:00.000000000Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}` + "\n"
)
