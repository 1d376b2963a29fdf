package cache

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// household fills a cache: an identity of ours with a lease and a child token, the
// child with a lease and a child of its own, that one with a lease, a login by
// approle with a lease, and a client's token with a lease in a namespace.
func household(t testing.TB) *kin {
	k := newKin(t)
	k.adopt("default", "ours")
	k.creds("@default", "ours", "/v1/db/creds/app")
	k.creds("@default", "ours", "/v1/db/creds/app2")
	k.ask(by("@default", "POST", "/v1/auth/token/create", "{}"), "ours", 200, loginAnswer("child", 3600, false, ""))
	k.creds("child", "", "/v1/mq/creds/child")
	k.ask(by("child", "POST", "/v1/auth/token/create", "{}"), "", 200, loginAnswer("grand", 3600, false, ""))
	k.creds("grand", "", "/v1/mq/creds/grand")
	k.ask(by("", "POST", "/v1/auth/approle/login", "{}"), "", 200, loginAnswer("role", 3600, true, ""))
	k.creds("role", "", "/v1/db/creds/role")
	k.ask(in("team/", by("alice", "GET", "/v1/db/creds/app", "")), "", 200, `{"lease_id":"db/creds/app/team.ns1","renewable":true,"lease_duration":60,"data":{}}`)
	k.living(everything...)
	return k
}

var everything = []string{"alice", "app", "app2", "child", "child's", "grand", "grand's", "role", "role's"}

func (k *kin) living(want ...string) {
	k.t.Helper()
	var got []string
	for name, a := range map[string]*exchange.Ask{
		"app":     by("@default", "GET", "/v1/db/creds/app", ""),
		"app2":    by("@default", "GET", "/v1/db/creds/app2", ""),
		"child":   by("@default", "POST", "/v1/auth/token/create", "{}"),
		"child's": by("child", "GET", "/v1/mq/creds/child", ""),
		"grand":   by("child", "POST", "/v1/auth/token/create", "{}"),
		"grand's": by("grand", "GET", "/v1/mq/creds/grand", ""),
		"role":    by("", "POST", "/v1/auth/approle/login", "{}"),
		"role's":  by("role", "GET", "/v1/db/creds/role", ""),
		"alice":   in("team/", by("alice", "GET", "/v1/db/creds/app", "")),
	} {
		if _, ok := k.c.Look(a); ok {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	want = slices.Clone(want)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		k.t.Errorf("given out are %q, want %q", got, want)
	}
	k.sound()
}

// except is everything but.
func except(gone ...string) []string {
	return slices.DeleteFunc(slices.Clone(everything), func(name string) bool { return slices.Contains(gone, name) })
}

func TestARevocationThroughTheProxyIsSeen(t *testing.T) {
	json := func(name, value string) string { return fmt.Sprintf(`{%q:%q}`, name, value) }
	for name, tc := range map[string]struct {
		a    *exchange.Ask
		gone []string
	}{
		"a token":                  {by("root", "POST", "/v1/auth/token/revoke", json("token", "child")), []string{"child", "child's", "grand", "grand's"}},
		"a token, with PUT":        {by("root", "PUT", "/v1/auth/token/revoke", json("token", "grand")), []string{"grand", "grand's"}},
		"a token in the URL":       {by("root", "POST", "/v1/auth/token/revoke/grand", ""), []string{"grand", "grand's"}},
		"a token in a form":        {by("root", "POST", "/v1/auth/token/revoke", "token=grand&x=y"), []string{"grand", "grand's"}},
		"another token":            {by("root", "POST", "/v1/auth/token/revoke", json("token", "bob")), nil},
		"the token itself":         {by("child", "POST", "/v1/auth/token/revoke-self", ""), []string{"child", "child's", "grand", "grand's"}},
		"our token itself":         {by("@default", "POST", "/v1/auth/token/revoke-self", ""), []string{"app", "app2", "child", "child's", "grand", "grand's"}},
		"our token":                {by("root", "POST", "/v1/auth/token/revoke", json("token", "ours")), []string{"app", "app2", "child", "child's", "grand", "grand's"}},
		"an accessor":              {by("root", "POST", "/v1/auth/token/revoke-accessor", json("accessor", "acc-role")), []string{"role", "role's"}},
		"our accessor":             {by("root", "POST", "/v1/auth/token/revoke-accessor", json("accessor", "acc-ours")), []string{"app", "app2", "child", "child's", "grand", "grand's"}},
		"a strange accessor":       {by("root", "POST", "/v1/auth/token/revoke-accessor", json("accessor", "acc-bob")), nil},
		"an orphan":                {by("root", "POST", "/v1/auth/token/revoke-orphan", json("token", "child")), []string{"child", "child's", "grand"}},
		"a lease":                  {by("root", "PUT", "/v1/sys/leases/revoke", json("lease_id", "db/creds/app/lease1")), []string{"app"}},
		"a lease, at once":         {by("root", "PUT", "/v1/sys/leases/revoke", `{"sync":true,"lease_id":"db/creds/app/lease1"}`), []string{"app"}},
		"a lease in the URL":       {by("root", "PUT", "/v1/sys/leases/revoke/db/creds/app/lease1", ""), []string{"app"}},
		"a lease, escaped":         {by("root", "PUT", "/v1/sys/leases/revoke/db%2Fcreds%2Fapp%2Flease1", ""), []string{"app"}},
		"a lease, body first":      {by("root", "PUT", "/v1/sys/leases/revoke/db/creds/app/lease1", json("lease_id", "db/creds/app2/lease2")), []string{"app2"}},
		"a lease of old":           {by("root", "PUT", "/v1/sys/revoke", json("lease_id", "db/creds/app/lease1")), []string{"app"}},
		"a lease of old, URL":      {by("root", "PUT", "/v1/sys/revoke/db/creds/app/lease1", ""), []string{"app"}},
		"a lease of a team":        {in("team/", by("root", "PUT", "/v1/sys/leases/revoke", json("lease_id", "db/creds/app/team.ns1"))), []string{"alice"}},
		"another lease":            {by("root", "PUT", "/v1/sys/leases/revoke", json("lease_id", "db/creds/app/lease")), nil},
		"a login's lease":          {by("root", "PUT", "/v1/sys/leases/revoke", json("lease_id", "auth/approle/login/h123")), []string{"role", "role's", "app", "app2", "child", "child's", "grand", "grand's", "alice"}},
		"a prefix":                 {by("root", "PUT", "/v1/sys/leases/revoke-prefix/db/creds/app", ""), []string{"app"}},
		"a prefix with a slash":    {by("root", "PUT", "/v1/sys/leases/revoke-prefix/db/", ""), []string{"app", "app2", "role's"}},
		"part of a name":           {by("root", "PUT", "/v1/sys/leases/revoke-prefix/db/creds/ap", ""), nil},
		"a prefix that is a lease": {by("root", "PUT", "/v1/sys/leases/revoke-prefix/db/creds/app/lease1", ""), []string{"app"}},
		"by force":                 {by("root", "PUT", "/v1/sys/leases/revoke-force/mq", ""), []string{"child's", "grand's"}},
		"a prefix of old":          {by("root", "PUT", "/v1/sys/revoke-prefix/mq/creds", ""), []string{"child's", "grand's"}},
		"by force, of old":         {by("root", "PUT", "/v1/sys/revoke-force/mq/creds/grand", ""), []string{"grand's"}},
		"a team's prefix":          {in("/team", by("root", "PUT", "/v1/sys/leases/revoke-prefix/db/creds", "")), []string{"alice"}},
		"a team's prefix by path":  {by("root", "PUT", "/v1/team/sys/leases/revoke-prefix/db", ""), []string{"alice"}},
		// Where our own token and alice's come from, nobody knows: their leases are
		// asked for anew.
		"the logins of a method": {by("root", "PUT", "/v1/sys/leases/revoke-prefix/auth/approle", ""), []string{"role", "role's", "app", "app2", "child", "child's", "grand", "grand's", "alice"}},
		"a mount":                {by("root", "DELETE", "/v1/sys/mounts/mq", ""), []string{"child's", "grand's"}},
		"a mount of a team":      {by("root", "DELETE", "/v1/team/sys/mounts/db/", ""), []string{"alice"}},
		"an auth mount":          {by("root", "DELETE", "/v1/sys/auth/approle", ""), []string{"role", "role's", "app", "app2", "child", "child's", "grand", "grand's", "alice"}},
		"a namespace":            {by("root", "DELETE", "/v1/sys/namespaces/team", ""), []string{"alice"}},
		"a move":                 {by("root", "POST", "/v1/sys/remount", `{"from":"mq","to":"mq2"}`), []string{"child's", "grand's"}},
		"a new mount":            {by("root", "POST", "/v1/sys/mounts/mq2", `{"type":"rabbitmq"}`), nil},
		"a write of that name":   {by("root", "POST", "/v1/secret/data/sys/leases/revoke-prefix/mq", `{"data":{}}`), nil},
		"nothing":                {by("root", "POST", "/v1/auth/token/revoke", `{"x":"y"}`), nil},
		"a body beyond us":       {by("root", "POST", "/v1/auth/token/revoke", ""), everything},
		"no body but a number":   {by("root", "POST", "/v1/auth/token/revoke", `{"token":5}`), everything},
		"reading":                {by("root", "GET", "/v1/sys/leases/revoke-prefix/db", ""), nil},
	} {
		t.Run(name, func(t *testing.T) {
			k := household(t)
			token := "ours"
			k.ask(tc.a, token, 204, "")
			k.living(except(tc.gone...)...)

			// What was refused was not done.
			k = household(t)
			k.ask(tc.a, token, 403, `{"errors":["permission denied"]}`)
			k.living(everything...)

			// Where nobody knows whether it was done, nothing is given out, and all is
			// kept alive.
			k = household(t)
			before := k.leases.keys()
			k.c.Passed(tc.a, 0)
			gone := tc.gone
			if strings.HasSuffix(tc.a.Path, "revoke-orphan") {
				gone = []string{"child", "child's", "grand", "grand's"}
			}
			k.living(except(gone...)...)
			if after := k.leases.keys(); !slices.Equal(before, after) {
				t.Errorf("kept alive were %q, and are %q", before, after)
			}
		})
	}
}

func TestARevokedTokenIsNotKeptAlive(t *testing.T) {
	k := household(t)
	k.ask(by("root", "POST", "/v1/auth/token/revoke", `{"token":"child"}`), "", 204, "")
	k.kept("db/creds/app/lease1", "db/creds/app2/lease2", "token acc-role", "db/creds/role/lease5", "db/creds/app/team.ns1", "token acc-alice")
	k.ask(by("root", "POST", "/v1/auth/token/revoke", `{"token":"ours"}`), "", 204, "")
	k.kept("token acc-role", "db/creds/role/lease5", "db/creds/app/team.ns1", "token acc-alice")
	// Our token's standing is the session's affair: what it gets is cached.
	k.creds("@default", "ours", app)
	k.cached(true, "@default", app)
}

func TestOrphansStandAlone(t *testing.T) {
	k := household(t)
	k.ask(by("root", "POST", "/v1/auth/token/revoke-orphan", `{"token":"child"}`), "", 204, "")
	k.ask(by("root", "POST", "/v1/auth/token/revoke", `{"token":"ours"}`), "", 204, "")
	// It lives, but was the answer to a request with a token that is no more.
	k.living("grand's", "role", "role's", "alice")
}

func TestATokenThatTheServerDoesNotKnowGivesNothingOut(t *testing.T) {
	refusal := `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`
	k := household(t)
	before := k.leases.keys()
	k.ask(by("child", "GET", "/v1/secret/data/x", ""), "", 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`)
	k.living(everything...)
	k.ask(by("child", "GET", "/v1/secret/data/x", ""), "", 403, refusal)
	k.living(except("child", "child's", "grand", "grand's")...)
	k.ask(by("@default", "GET", "/v1/secret/data/x", ""), "ours", 403, refusal)
	k.living("role", "role's", "alice")
	if after := k.leases.keys(); !slices.Equal(before, after) {
		t.Errorf("kept alive were %q, and are %q", before, after)
	}
}

func TestAClientsRenewalIsTakenOver(t *testing.T) {
	lease := func(id string, n int, renewable bool) string {
		return fmt.Sprintf(`{"lease_id":%q,"renewable":%v,"lease_duration":%d,"data":null,"auth":null}`, id, renewable, n)
	}
	token := func(n int) string {
		return fmt.Sprintf(`{"lease_id":"","auth":{"client_token":"role","accessor":"acc-role","lease_duration":%d,"renewable":true}}`, n)
	}
	const id = "db/creds/role/lease5"
	for name, tc := range map[string]struct {
		a     *exchange.Ask
		body  string
		lives time.Duration // of role's lease, of a minute
		heard string
	}{
		"longer":               {by("role", "PUT", "/v1/sys/leases/renew", `{"lease_id":"`+id+`","increment":600}`), lease(id, 600, true), 10 * time.Minute, id + " 10m0s"},
		"shorter":              {by("role", "PUT", "/v1/sys/leases/renew", `{"lease_id":"`+id+`","increment":10}`), lease(id, 10, true), 10 * time.Second, id + " 10s"},
		"no more":              {by("role", "PUT", "/v1/sys/leases/renew", `{"lease_id":"`+id+`"}`), lease(id, 20, false), 20 * time.Second, id + " 20s"},
		"by the URL":           {by("role", "PUT", "/v1/sys/leases/renew/"+id, ""), lease(id, 10, true), 10 * time.Second, id + " 10s"},
		"of old":               {by("role", "PUT", "/v1/sys/renew", `{"lease_id":"`+id+`"}`), lease(id, 10, true), 10 * time.Second, id + " 10s"},
		"in a namespace":       {by("role", "PUT", "/v1/x/sys/leases/renew", `{"lease_id":"`+id+`"}`), lease(id, 10, true), 10 * time.Second, id + " 10s"},
		"nothing is left":      {by("role", "PUT", "/v1/sys/leases/renew", `{"lease_id":"`+id+`"}`), lease(id, 0, true), 0, ""},
		"another":              {by("role", "PUT", "/v1/sys/leases/renew", `{"lease_id":"x"}`), lease("x", 10, true), time.Minute, ""},
		"the token itself":     {by("role", "POST", "/v1/auth/token/renew-self", `{"increment":30}`), token(30), 30 * time.Second, "token acc-role 30s"},
		"the token":            {by("root", "POST", "/v1/auth/token/renew", `{"token":"role"}`), token(30), 30 * time.Second, "token acc-role 30s"},
		"the token by the URL": {by("root", "POST", "/v1/auth/token/renew/role", ""), token(30), 30 * time.Second, "token acc-role 30s"},
		"the accessor":         {by("root", "POST", "/v1/auth/token/renew-accessor", `{"accessor":"acc-role"}`), strings.Replace(token(30), `"role"`, `""`, 1), 30 * time.Second, "token acc-role 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := household(t)
				k.ask(tc.a, "", 200, tc.body)
				if tc.heard == "" && len(k.leases.heard) > 0 || tc.heard != "" && !slices.Equal(k.leases.heard, []string{tc.heard}) {
					t.Errorf("who keeps it alive heard %q, want %q", k.leases.heard, tc.heard)
				}
				if tc.lives > 0 {
					time.Sleep(tc.lives - time.Second)
					k.cached(true, "role", "/v1/db/creds/role")
					time.Sleep(time.Second)
				}
				k.cached(false, "role", "/v1/db/creds/role")
				k.sound()
			})
		})
	}
}

func TestARenewalNobodyLookedIntoIsNotTrusted(t *testing.T) {
	k := household(t)
	a := by("role", "PUT", "/v1/sys/leases/renew", `{"lease_id":"db/creds/role/lease5","increment":1}`)
	k.c.Passed(a, 503)
	k.c.Passed(a, 0)
	k.c.Passed(a, 400)
	k.living(everything...)
	k.c.Passed(a, 200)
	k.living(except("role's")...)
	k.leases.get(t, "db/creds/role/lease5")
}

func TestOurOwnTokensRenewalByAClientIsTheSessionsAffair(t *testing.T) {
	k := household(t)
	k.ask(by("@default", "POST", "/v1/auth/token/renew-self", `{}`), "ours", 200,
		`{"auth":{"client_token":"ours","accessor":"acc-ours","lease_duration":1,"renewable":true}}`)
	k.living(everything...)
	if until := k.c.family.lent["default"].until; until != 0 {
		t.Error("an end that nobody will move was taken down")
	}
}

// What was revoked while its answer was under way must not be kept afterwards.
func TestWhatIsRevokedWhileUnderWayIsNotKept(t *testing.T) {
	for name, revoke := range map[string]func(k *kin){
		"our token": func(k *kin) {
			k.ask(by("root", "POST", "/v1/auth/token/revoke", `{"token":"ours"}`), "", 204, "")
		},
		"by accessor": func(k *kin) {
			k.ask(by("root", "POST", "/v1/auth/token/revoke-accessor", `{"accessor":"acc-ours"}`), "", 204, "")
		},
		"prefix": func(k *kin) { k.ask(by("root", "PUT", "/v1/sys/leases/revoke-prefix/db", ""), "", 204, "") },
		"lease": func(k *kin) {
			k.ask(by("root", "PUT", "/v1/sys/leases/revoke", `{"lease_id":"db/creds/app/new"}`), "", 204, "")
		},
		"perhaps":      func(k *kin) { k.c.Passed(by("root", "PUT", "/v1/sys/leases/revoke-force/db", ""), 0) },
		"mount":        func(k *kin) { k.ask(by("root", "DELETE", "/v1/sys/mounts/db", ""), "", 204, "") },
		"cleared":      func(k *kin) { k.c.clear(clearing{Type: "all"}) },
		"cleared path": func(k *kin) { k.c.clear(clearing{Type: "request_path", Value: "/v1/db/cr"}) },
		"token cleared": func(k *kin) {
			k.c.clear(clearing{Type: "token", Value: "ours"})
		},
		"unknown token": func(k *kin) {
			k.ask(by("@default", "GET", "/v1/x", ""), "ours", 403, `{"errors":["permission denied","invalid token"]}`)
		},
		"a thousand others": func(k *kin) {
			for i := range 1000 {
				k.ask(by("root", "POST", "/v1/auth/token/revoke", fmt.Sprintf(`{"token":"t%d"}`, i)), "", 204, "")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKin(t)
			k.adopt("default", "ours")
			_, err := k.c.Do(t.Context(), by("@default", "GET", app, ""), func(context.Context) (*exchange.Answer, error) {
				revoke(k)
				return told("ours", 200, `{"lease_id":"db/creds/app/new","renewable":true,"lease_duration":60,"data":{}}`), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			k.cached(false, "@default", app)
			k.kept()
		})
	}
	t.Run("something else", func(t *testing.T) {
		k := newKin(t)
		k.adopt("default", "ours")
		_, err := k.c.Do(t.Context(), by("@default", "GET", app, ""), func(context.Context) (*exchange.Answer, error) {
			for i := range 100 {
				k.ask(by("root", "POST", "/v1/auth/token/revoke", fmt.Sprintf(`{"token":"t%d"}`, i)), "", 204, "")
			}
			k.ask(by("root", "PUT", "/v1/sys/leases/revoke-prefix/mq", ""), "", 204, "")
			return told("ours", 200, k.lease("db/creds/app")), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		k.cached(true, "@default", app)
	})
	t.Run("during the lookup", func(t *testing.T) {
		k := newKin(t)
		k.server.lookup = func(string) (cred.Token, error) {
			k.ask(by("root", "POST", "/v1/auth/token/revoke", `{"token":"alice"}`), "", 204, "")
			return cred.Token{Accessor: "a", Lease: cred.Lease{Duration: time.Hour}}, nil
		}
		k.creds("alice", "", app)
		k.cached(false, "alice", app)
		k.kept()
	})
}

// Many read, many revoke; after a revocation was answered nobody may get what it
// ended.
func TestNobodyGetsWhatWasRevoked(t *testing.T) {
	k := newKin(t)
	k.adopt("default", "ours")
	var mu sync.Mutex
	gone, issued := map[string]bool{}, map[int]int{}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 300 {
				path := fmt.Sprintf("db/creds/r%d", i%5)
				a := by("@default", "GET", "/v1/"+path, "")
				mu.Lock()
				before := map[string]bool{}
				for id := range gone {
					before[id] = true
				}
				mu.Unlock()
				ans, ok := k.c.Look(a)
				if !ok {
					var err error
					ans, err = k.c.Do(t.Context(), a, func(context.Context) (*exchange.Answer, error) {
						mu.Lock()
						issued[i%5]++
						id := fmt.Sprintf("%s/lease%d-%d", path, i%5, issued[i%5])
						mu.Unlock()
						return told("ours", 200, fmt.Sprintf(`{"lease_id":%q,"renewable":true,"lease_duration":60,"data":{}}`, id)), nil
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
				top, _ := scan(ans.Body)
				if before[top.leaseID] {
					t.Errorf("%s was revoked before it was asked for", top.leaseID)
				}
				switch {
				case (w+i)%7 == 0:
					revoked(k, by("root", "PUT", "/v1/sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, top.leaseID)))
					mu.Lock()
					gone[top.leaseID] = true
					mu.Unlock()
				case (w+i)%31 == 0:
					// All that were issued so far are over.
					mu.Lock()
					ids := []string{}
					for r, n := range issued {
						for j := range n {
							ids = append(ids, fmt.Sprintf("db/creds/r%d/lease%d-%d", r, r, j+1))
						}
					}
					mu.Unlock()
					revoked(k, by("root", "PUT", "/v1/sys/leases/revoke-prefix/db", ""))
					mu.Lock()
					for _, id := range ids {
						gone[id] = true
					}
					mu.Unlock()
				case (w+i)%41 == 0:
					k.adopt("other", fmt.Sprintf("ours%d", i))
				case (w+i)%17 == 0:
					k.c.clear(clearing{Type: "request_path", Value: "/v1/" + path})
				}
			}
		})
	}
	wg.Wait()
	k.sound()
}

func revoked(k *kin, a *exchange.Ask) {
	_, _ = k.c.Do(k.t.Context(), a, func(context.Context) (*exchange.Answer, error) {
		return told("root", http.StatusNoContent, ""), nil
	})
}

func FuzzRevocation(f *testing.F) {
	f.Add("POST", "/v1/auth/token/revoke", "", []byte(`{"token":"child"}`), 204)
	f.Add("PUT", "/v1/sys/leases/revoke-prefix/db", "team", []byte(nil), 0)
	f.Add("PUT", "/v1/sys/leases/renew", "", []byte(`{"lease_id":"db/creds/app/lease1"}`), 200)
	f.Add("DELETE", "/v1/a/b/sys/mounts/%2f", "/", []byte(`x=%`), 500)
	f.Fuzz(func(t *testing.T, method, path, ns string, body []byte, status int) {
		k := household(t)
		a := by("root", method, path, string(body))
		a.Namespace = ns
		k.c.observe(a, told("root", status, string(body)))
		k.sound()
	})
}
