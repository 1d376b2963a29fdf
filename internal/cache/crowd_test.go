package cache

import (
	"context"
	"fmt"
	"testing"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

func TestAnyNumberOfTokensDoesNotFillTheMemory(t *testing.T) {
	for name, one := range map[string]func(k *kin, n int){
		// Of each, the one that was used last is still given out.
		"logins": func(k *kin, n int) {
			a := by("", "POST", "/v1/auth/jwt/login", fmt.Sprintf(`{"jwt":"%d"}`, n))
			body := loginAnswer(fmt.Sprint("made", n), 3600, true, "")
			if k.ask(a, "", 200, body); k.ask(a, "", 200, body).From != exchange.Hit {
				k.t.Errorf("login %d is not kept", n)
			}
		},
		"tokens made elsewhere": func(k *kin, n int) {
			tok := fmt.Sprint("elsewhere", n)
			if k.creds(tok, "", app); k.creds(tok, "", app) != exchange.Hit {
				k.t.Errorf("the lease of token %d is not kept", n)
			}
		},
	} {
		k := newKin(t, func(o *Options) { o.MaxEntries = 4 })
		k.adopt("default", "ours")
		k.creds("@default", "ours", "/v1/db/creds/other")
		for n := range 100 {
			one(k, n)
		}
		if n := len(k.c.family.byToken); n > most*4 {
			t.Errorf("%s: %d tokens are known, with room for 4 answers", name, n)
		}
		if n := len(k.leases.keys()); n > most*4+4 {
			t.Errorf("%s: %d leases and tokens are watched, with room for 4 answers", name, n)
		}
		if k.c.family.lent["default"] == nil {
			t.Errorf("%s: our own token was forgotten", name)
		}
		k.sound()
	}
}

// forgetful is a server that knows no token when it is asked about rights.
type forgetful struct{ *kinServer }

func (forgetful) Capabilities(context.Context, cred.Redacted, string, []string) (map[string][]string, error) {
	return nil, &vault.Error{Kind: vault.ErrInvalidToken, Status: 403}
}

func TestATokenThatACheckOfItsRightsFoundRevokedGetsItsLeasesNoMore(t *testing.T) {
	k := newKin(t, func(o *Options) { o.Server = forgetful{&kinServer{}} })
	k.creds("mine", "", app)
	k.creds("other", "", app)
	check := func() {
		k.c.store.mu.Lock()
		h := k.c.holder(exchange.Who{Token: cred.Redact("mine")})
		k.c.store.mu.Unlock()
		if err := k.c.verify(t.Context(), []*entry{{holder: h}}); err != nil {
			t.Error(err)
		}
	}
	check()
	k.cached(false, "mine", app)
	k.cached(true, "other", app)
	_, err := k.c.Do(t.Context(), by("mine", "GET", app+"2", ""), func(context.Context) (*exchange.Answer, error) {
		check() // while another is under way
		return told("mine", 200, k.lease("db/creds/app2")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	k.cached(false, "mine", app+"2")
	k.sound()
}
