package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// shelf is a Handover in memory.
type shelf struct {
	kept                     string
	loadErr, saveErr, forget error
	saves, forgets           int
}

func (s *shelf) Load() (cred.Redacted, error) { return cred.Redact(s.kept), s.loadErr }
func (s *shelf) Save(tok cred.Token) error {
	s.saves++
	s.kept = tok.Value.Reveal()
	return s.saveErr
}
func (s *shelf) Forget() error { s.forgets++; s.kept = ""; return s.forget }

const living = `{"data":{"id":"hvs.CANARY-old","accessor":"acc-old","ttl":1800,"renewable":true,"type":"service"}}`

func TestTheTokenOfAnEarlierRun(t *testing.T) {
	type answer struct {
		status int
		body   string
	}
	denied := answer{403, `{"errors":["permission denied","invalid token"]}`}
	sealed := answer{503, `{"errors":["Vault is sealed"]}`}
	elsewhere := answer{404, `<html>no such page`}
	for _, c := range []struct {
		name    string
		shelf   shelf
		answers []answer
		token   string // what Keep tells of
		logins  int
		kept    string // what is there at the end
		forgets int
		log     string
	}{
		{"is taken when the server knows it", shelf{kept: "hvs.CANARY-old"}, []answer{{200, living}}, "acc-old", 0, "hvs.CANARY-old", 0, "going on with the token"},
		{"is asked about until the server can say", shelf{kept: "hvs.CANARY-old"}, []answer{sealed, elsewhere, {200, living}}, "acc-old", 0, "hvs.CANARY-old", 0, "going on with"},
		{"is forgotten when the server refuses it", shelf{kept: "hvs.CANARY-old"}, []answer{denied}, "acc", 1, "hvs.CANARY", 1, "is not good any more"},
		{"is forgotten when asking was its last use", shelf{kept: "hvs.CANARY-old"}, []answer{{200, `{"data":{"id":"x","num_uses":-1,"ttl":1800}}`}}, "acc", 1, "hvs.CANARY", 1, "is not good any more"},
		{"is not there", shelf{}, nil, "acc", 1, "hvs.CANARY", 0, ""},
		{"cannot be read", shelf{kept: "hvs.CANARY-old", loadErr: errors.New("other key")}, nil, "acc", 1, "hvs.CANARY", 0, "other key"},
		{"cannot be kept", shelf{saveErr: errors.New("disk full")}, nil, "acc", 1, "hvs.CANARY", 0, "disk full"},
		{"cannot be removed", shelf{kept: "hvs.CANARY-old", forget: errors.New("read-only")}, []answer{denied}, "acc", 1, "hvs.CANARY", 1, "read-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if len(c.answers) == 0 || r.URL.Path != "/v1/auth/token/lookup-self" || r.Header.Get("X-Vault-Token") != "hvs.CANARY-old" {
					t.Errorf("asked for %s", r.URL)
					return
				}
				w.WriteHeader(c.answers[0].status)
				fmt.Fprint(w, c.answers[0].body)
				c.answers = c.answers[1:]
			}))
			defer srv.Close()
			client, err := vault.New(vault.Config{Address: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var log strings.Builder
			m := &method{}
			s := New(m, client, Options{
				Retry: retry.Schedule{Attempts: -1, Base: time.Millisecond, Max: time.Millisecond}, Handover: &c.shelf,
				Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			var got []string
			err = s.Keep(ctx, func(tok cred.Token) { got = append(got, tok.Accessor); cancel(errStop) })
			if !errors.Is(err, errStop) || len(got) != 1 || got[0] != c.token || m.logins != c.logins {
				t.Errorf("%v: told of %q after %d logins", err, got, m.logins)
			}
			if c.shelf.kept != c.kept || c.shelf.forgets != c.forgets || c.shelf.saves != c.logins {
				t.Errorf("kept %q, saved %d times, forgotten %d times", c.shelf.kept, c.shelf.saves, c.shelf.forgets)
			}
			if st := s.State(); c.token == "acc-old" && (st.Token.Borrowed || st.Token.Lease.Duration != 30*time.Minute || st.Next != "renew") {
				t.Errorf("state %+v", st)
			}
			if !strings.Contains(log.String(), c.log) || strings.Contains(log.String(), "CANARY") || len(c.answers) != 0 {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

func TestWhatIsNotOursIsNotKept(t *testing.T) {
	for _, tok := range []cred.Token{
		{Value: cred.Redact("hvs.CANARY"), Borrowed: true},
		{Wrap: &cred.WrapInfo{Token: cred.Redact("hvs.CANARY")}},
	} {
		kept := &shelf{}
		s := New(methodFunc(func() (cred.Token, error) { return tok, nil }), nil, Options{Handover: kept, Log: slog.New(slog.DiscardHandler)})
		if _, err := s.Login(t.Context()); err != nil || kept.saves != 0 {
			t.Errorf("%v: %v, saved %d times", tok, err, kept.saves)
		}
	}
}

func TestTheEarlierTokenIsAskedForOnce(t *testing.T) {
	kept := &shelf{}
	s := New(&method{}, nil, Options{Handover: kept, Log: slog.New(slog.DiscardHandler)})
	for range 2 {
		if tok, err := s.Login(t.Context()); err != nil || tok.Accessor != "acc" {
			t.Errorf("%v %v", tok, err)
		}
		kept.loadErr = errors.New("must not be asked")
	}
	if kept.saves != 2 {
		t.Errorf("saved %d times", kept.saves)
	}
}

func TestARevokedTokenIsNotKept(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }))
	defer srv.Close()
	client, err := vault.New(vault.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	kept := &shelf{}
	s := New(&method{}, client, Options{Handover: kept, Log: slog.New(slog.DiscardHandler)})
	if _, err := s.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context()); err != nil || kept.kept != "" || kept.forgets != 1 || !s.State().Token.Value.Empty() {
		t.Errorf("%v: kept %q", err, kept.kept)
	}
	kept.forget = errors.New("read-only")
	if _, err := s.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Revoke(t.Context()); !errors.Is(err, kept.forget) {
		t.Errorf("error is %v", err)
	}
}
