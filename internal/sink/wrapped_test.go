package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// wrapper is a server that can wrap, and counts.
type wrapper struct {
	client *vault.Client
	status int
	calls  []string
}

func newWrapper(t *testing.T) *wrapper {
	t.Helper()
	w := &wrapper{status: 200}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.calls = append(w.calls, fmt.Sprintf("%s %s token=%s ttl=%s %s", r.Method, r.URL.Path, r.Header.Get("X-Vault-Token"), r.Header.Get("X-Vault-Wrap-TTL"), body))
		rw.WriteHeader(w.status)
		if w.status != 200 {
			fmt.Fprintf(rw, `{"errors":["no: %s"]}`, r.Header.Get("X-Vault-Token"))
			return
		}
		fmt.Fprintf(rw, `{"wrap_info":{"token":"hvs.canary-w%d","accessor":"wacc","ttl":300,"creation_time":"2026-01-02T03:04:05.6Z","creation_path":"sys/wrapping/wrap","wrapped_accessor":""}}`, len(w.calls))
	}))
	t.Cleanup(s.Close)
	c, err := vault.New(vault.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	w.client = c
	return w
}

func TestWrappedSinkHoldsTheWrapping(t *testing.T) {
	w, r := newWrapper(t), newReader(t)
	st := r.stanza()
	st.DHType, st.DHPath, st.WrapTTL = "", "", 5*time.Minute
	s := mustNew(t, st, Options{Client: w.client})
	if err := s.(Checker).Check(); err != nil || len(w.calls) != 0 {
		t.Errorf("the check: %v, the server saw %v", err, w.calls)
	}
	mustWrite(t, s)
	if len(w.calls) != 1 || w.calls[0] != `PUT /v1/sys/wrapping/wrap token=hvs.canary-token ttl=300s {"token":"hvs.canary-token"}` {
		t.Errorf("the server saw %q", w.calls)
	}
	const want = `{"token":"hvs.canary-w1","accessor":"wacc","ttl":300,"creation_time":"2026-01-02T03:04:05.6Z","creation_path":"sys/wrapping/wrap","wrapped_accessor":""}` + "\n"
	if got := string(r.envelope(t)); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	mustWrite(t, s) // a wrapping is used once, so each write has its own
	if len(w.calls) != 2 || !strings.Contains(string(r.envelope(t)), "canary-w2") {
		t.Errorf("the server saw %q", w.calls)
	}
}

func TestWrappedAndSealedSinkHoldsTheWrappingSealed(t *testing.T) {
	w, r := newWrapper(t), newReader(t)
	st := r.stanza()
	st.WrapTTL = 5 * time.Minute
	s := mustNew(t, st, Options{Client: w.client})
	os.Remove(r.dhPath)
	for range 3 {
		if err := s.Write(t.Context(), canary); err == nil {
			t.Fatal("written without a reader")
		}
	}
	r.announce(t, r.key)
	mustWrite(t, s)
	if len(w.calls) != 1 {
		t.Errorf("the server wrapped %d times while the reader was late", len(w.calls))
	}
	got, err := Open(r.envelope(t), r.key, nil, false)
	var line wrapJSON
	if err != nil || json.Unmarshal(got, &line) != nil || line.Token != "hvs.canary-w1" || got[len(got)-1] != '\n' {
		t.Errorf("got %q, %v", got, err)
	}
	// Another token is another wrapping.
	os.Remove(r.path)
	if err := s.Write(t.Context(), cred.Token{Value: cred.Redact("hvs.canary-2")}); err != nil || len(w.calls) != 2 {
		t.Errorf("got %v; the server saw %q", err, w.calls)
	}
}

func TestWrappingThatFails(t *testing.T) {
	for status, tc := range map[int]struct {
		kind      error
		permanent bool
	}{403: {vault.ErrDenied, true}, 400: {vault.ErrBadRequest, true}, 503: {vault.ErrSealed, false}, 429: {vault.ErrRateLimited, false}, 500: {vault.ErrServer, false}} {
		w, r := newWrapper(t), newReader(t)
		w.status = status
		st := r.stanza()
		st.WrapTTL = time.Minute
		err := mustNew(t, st, Options{Client: w.client}).Write(t.Context(), canary)
		if !errors.Is(err, tc.kind) || retry.IsPermanent(err) != tc.permanent || strings.Contains(err.Error(), "canary") {
			t.Errorf("%d: got %v", status, err)
		}
		if _, err := os.Stat(r.path); err == nil {
			t.Errorf("%d: something was written", status)
		}
	}
}

func TestALoginThatIsWrappedIsNotWrappedAgain(t *testing.T) {
	w := newWrapper(t)
	st := config.Sink{Type: "stdout", WrapTTL: time.Minute}
	err := mustNew(t, st, Options{Client: w.client, Stdout: io.Discard}).Write(t.Context(), cred.Token{Wrap: &cred.WrapInfo{Token: cred.Redact("w")}})
	if !retry.IsPermanent(err) || len(w.calls) != 0 {
		t.Errorf("got %v; the server saw %q", err, w.calls)
	}
}
