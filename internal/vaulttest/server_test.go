package vaulttest_test

import (
	"os"
	"testing"
	"time"

	"latchkey/internal/vaulttest"
)

func TestTokensAndLeasesEndWhenTheClockMoves(t *testing.T) {
	s := vaulttest.New(t)
	a := s.Admin(t)
	tok := a.NewToken(vaulttest.Map{"ttl": "1h", "policies": []string{"default"}})
	wrapping := a.Wrap("5m", vaulttest.Map{"a": 1})
	a.Mount("database", "rabbitmq", nil)
	a.OK("POST", "database/config/lease", vaulttest.Map{"ttl": "10m"})
	a.OK("POST", "database/roles/app", vaulttest.Map{"tags": "x"})
	a.OK("GET", "database/creds/app", nil)
	if s.Tokens() != 2 || len(s.Leases()) != 1 {
		t.Fatalf("%d tokens, leases %v", s.Tokens(), s.Leases())
	}

	s.Advance(6 * time.Minute)
	if ans := a.Do("PUT", "sys/wrapping/unwrap", vaulttest.Map{"token": wrapping}); ans.Status != 400 {
		t.Errorf("unwrapped after its end: %d", ans.Status)
	}
	if ttl := a.As(tok).OK("GET", "auth/token/lookup-self", nil).At("data.ttl"); ttl == nil || ttl.(interface{ String() string }).String() > "3241" {
		t.Errorf("ttl is %v after six minutes", ttl)
	}
	a.As(tok).OK("PUT", "auth/token/renew-self", vaulttest.Map{"increment": "1h"})
	s.Advance(55 * time.Minute)
	if ans := a.As(tok).Do("GET", "auth/token/lookup-self", nil); ans.Status != 200 {
		t.Errorf("the renewed token has ended: %s", ans.Body)
	}
	s.Advance(10 * time.Minute)
	if ans := a.As(tok).Do("GET", "auth/token/lookup-self", nil); ans.Status != 403 {
		t.Errorf("the token has not ended: %d", ans.Status)
	}
	if s.Tokens() != 0 || len(s.Leases()) != 0 {
		t.Errorf("%d tokens, leases %v", s.Tokens(), s.Leases())
	}
}

func TestARestartKeepsOrForgets(t *testing.T) {
	s := vaulttest.New(t)
	a := vaulttest.NewAdmin(t, s.Addr(), s.RootToken, nil, nil)
	a.WriteKV2("secret", "app", vaulttest.Map{"a": 1})
	addr := s.Addr()

	s.Seal()
	s.Down()
	if _, _, err := get(t, s, "sys/health"); err == nil {
		t.Error("answers though it is down")
	}
	if err := s.Up(vaulttest.Keep); err != nil {
		t.Fatal(err)
	}
	if s.Addr() != addr {
		t.Errorf("moved from %s to %s", addr, s.Addr())
	}
	a.OK("GET", "secret/data/app", nil)

	if err := s.Restart(vaulttest.Forget); err != nil {
		t.Fatal(err)
	}
	if ans := a.Do("GET", "secret/data/app", nil); ans.Status != 404 {
		t.Errorf("remembers: %d", ans.Status)
	}
}

func TestTLSHasACAFileAndHTTP2(t *testing.T) {
	s, err := vaulttest.Start(vaulttest.WithTLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pem, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	a := vaulttest.NewAdmin(t, s.Addr(), s.RootToken, pem, nil)
	a.OK("GET", "auth/token/lookup-self", nil)
	if p := s.Requests()[0].Proto; p != "HTTP/2.0" {
		t.Errorf("spoke %s", p)
	}
	s.Close()
	s.Close()
	if _, err := os.Stat(s.CAFile()); !os.IsNotExist(err) {
		t.Errorf("the CA file is still there: %v", err)
	}
}

func TestTheAdminGoesPastFrontAndNetwork(t *testing.T) {
	s := vaulttest.New(t)
	a := s.Admin(t)
	s.Rude(vaulttest.Match{}, vaulttest.Rudeness{Drop: true})
	s.Down()
	a.WriteKV2("secret", "app", vaulttest.Map{"a": 1})
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests recorded", n)
	}
}

// What the fake cannot do it must not seem to do.
func TestWhatTheFakeDoesNotHaveIsRefused(t *testing.T) {
	a := vaulttest.New(t).Admin(t)
	for _, c := range []struct {
		method, path string
		body         any
		want         int
	}{
		{"PUT", "sys/policies/acl/p", vaulttest.Map{"policy": `path "x" { capabilities = ["read"] allowed_parameters = { a = [] } }`}, 400},
		{"POST", "sys/mounts/x", vaulttest.Map{"type": "transit"}, 400},
		{"POST", "sys/auth/x", vaulttest.Map{"type": "ldap"}, 400},
		{"GET", "identity/entity/id/x", nil, 404},
		{"GET", "sys/host-info", nil, 404},
		{"GET", "auth/token/roles/x", nil, 404},
	} {
		if ans := a.Do(c.method, c.path, c.body); ans.Status != c.want {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, ans.Status, ans.Body, c.want)
		}
	}
}

func TestPoliciesMayBeJSON(t *testing.T) {
	s := vaulttest.New(t)
	a := s.Admin(t)
	a.OK("PUT", "sys/policies/acl/p", vaulttest.Map{"policy": `{"path":{"secret/data/*":{"capabilities":["read"]}}}`})
	a.WriteKV2("secret", "app", vaulttest.Map{"a": 1})
	tok := a.NewToken(vaulttest.Map{"policies": []string{"p"}})
	a.As(tok).OK("GET", "secret/data/app", nil)
	if ans := a.As(tok).Do("DELETE", "secret/data/app", nil); ans.Status != 403 {
		t.Errorf("deleted: %d", ans.Status)
	}
}
