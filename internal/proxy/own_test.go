package proxy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

const (
	lookedUp = `{"request_id":"r","lease_duration":0,"data":{"accessor":"acc","id":"%s","ttl":3600,"num":12345678901234567890},"auth":null,"wrap_info":null,"mount_type":"token"}`
	renewed  = `{"request_id":"r","data":null,"auth":{"client_token":"%s","accessor":"acc","lease_duration":3600},"mount_type":"token"}`
	// another spelling of our token, as the server has it inside
	inside = "hvs.INSIDE"
)

func TestAnswersAboutOurTokenDoNotHoldIt(t *testing.T) {
	const own, child = canary, "hvs.child"
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		answer                   string
		status                   int
		stripped                 bool
	}{
		{"lookup-self", "GET", "lookup-self", "", nil, fmt.Sprintf(lookedUp, own), 200, true},
		{"lookup-self in another form", "GET", "lookup-self", "", nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"with a slash", "GET", "lookup-self/", "", nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"in escapes", "GET", "lookup%2Dself", "", nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"with our token brought along", "GET", "lookup-self", "", []string{"X-Vault-Token", own}, fmt.Sprintf(lookedUp, inside), 200, true},
		{"with our token as a bearer", "GET", "lookup-self", "", []string{"Authorization", "Bearer " + own}, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup without a body", "POST", "lookup", "", nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of nothing", "POST", "lookup", "{}", nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of an empty token", "POST", "lookup", `{"token":" "}`, nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of no text", "POST", "lookup", `{"token":null}`, nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of what is no JSON", "POST", "lookup", `{"token":`, nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of our token", "POST", "lookup", `{"token":"` + own + `"}`, []string{"X-Vault-Token", "mine"}, fmt.Sprintf(lookedUp, inside), 200, true},
		{"the same in a form", "POST", "lookup", `token=` + own, []string{"X-Vault-Token", "mine"}, fmt.Sprintf(lookedUp, inside), 200, true},
		{"the same in the query", "GET", "lookup?token=" + own, "", []string{"X-Vault-Token", "mine"}, fmt.Sprintf(lookedUp, inside), 200, true},
		{"the same in the path", "POST", "lookup/" + own, "", []string{"X-Vault-Token", "mine"}, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of what only seems to be a form", "POST", "lookup", "null &token=" + child, nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"lookup of what only seems to be JSON", "POST", "lookup", strings.Repeat(" ", 600) + `{"token":"` + child + `"}`, nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"renew of what only seems to be a form", "POST", "renew", "null &token=" + child, nil, fmt.Sprintf(renewed, inside), 200, true},
		{"a query that a write has no use for", "POST", "lookup?token=" + child, "", nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"a body that a read has no use for", "GET", "lookup", `{"token":"` + child + `"}`, nil, fmt.Sprintf(lookedUp, inside), 200, true},
		{"an accessor that is our token's", "POST", "lookup-accessor", `{"accessor":"acc"}`, []string{"X-Vault-Token", "mine"}, fmt.Sprintf(lookedUp, own), 200, true},
		{"renew-self", "POST", "renew-self", "", nil, fmt.Sprintf(renewed, own), 200, true},
		{"renew", "POST", "renew", `{"token":"` + own + `"}`, []string{"X-Vault-Token", "mine"}, fmt.Sprintf(renewed, inside), 200, true},
		{"renew-accessor", "POST", "renew-accessor", `{"accessor":"acc"}`, nil, fmt.Sprintf(renewed, own), 200, true},

		{"lookup-self with another token", "GET", "lookup-self", "", []string{"X-Vault-Token", "mine"}, fmt.Sprintf(lookedUp, "mine"), 200, false},
		{"lookup of a child", "POST", "lookup", `{"token":"` + child + `"}`, nil, fmt.Sprintf(lookedUp, child), 200, false},
		{"lookup of a child in the query", "GET", "lookup?token=" + child, "", nil, fmt.Sprintf(lookedUp, child), 200, false},
		{"renew of a child", "POST", "renew", `{"token":"` + child + `"}`, nil, fmt.Sprintf(renewed, child), 200, false},
		{"a token made through us", "POST", "create", "{}", nil, fmt.Sprintf(renewed, child), 200, false},
		{"a secret at such a path", "GET", "lookup-self", "", nil, `{"data":{"id":"x","accessor":"acc"},"mount_type":"kv"}`, 200, false},
		{"no content", "POST", "renew-self", "", nil, ``, 200, false},

		{"wrapped on request", "GET", "lookup-self", "", []string{"X-Vault-Wrap-TTL", "60"}, `{"wrap_info":{"token":"w"}}`, 403, false},
		{"wrapped on request, of another token", "POST", "lookup", "null &token=" + child, []string{"X-Vault-Wrap-TTL", "60"}, `{"wrap_info":{"token":"w"}}`, 403, false},
		{"wrapped without one", "GET", "lookup-self", "", nil, `{"data":null,"wrap_info":{"token":"w"}}`, 403, false},
		{"no JSON", "GET", "lookup-self", "", nil, "id: " + own, 502, false},
		{"too large to be looked into", "GET", "lookup-self", "", nil, `{"data":{"id":"` + own + `","x":"` + strings.Repeat("x", 100_000) + `"}}`, 502, false},
		{"a body too large to be looked into", "POST", "lookup", `{"token":"` + strings.Repeat("x", 3000) + `"}`, nil, "{}", 413, false},
	} {
		for _, where := range []string{"/v1/auth/token/", "/v1/team/auth/token/"} {
			for _, cached := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s at %s, cached %v", c.name, where, cached), func(t *testing.T) {
					b := set(t, asJSON(200, c.answer), func(o *Options, vc *vault.Config) {
						if o.MaxBuffer = 2000; cached {
							withCache(o, vc)
						}
					})
					resp, body := b.ask(t, c.method, where+c.path, c.body, c.headers...)
					if resp.StatusCode != c.status {
						t.Fatalf("%d %s", resp.StatusCode, body)
					}
					switch {
					case c.status != 200:
						if strings.Contains(body, "CANARY") || strings.Contains(body, inside) {
							t.Errorf("got %s", body)
						}
					case !c.stripped:
						if body != c.answer {
							t.Errorf("got %s", body)
						}
					default:
						if strings.Contains(body, "CANARY") || strings.Contains(body, inside) || strings.Contains(body, "acc\"") || !json.Valid([]byte(body)) {
							t.Errorf("got %s", body)
						}
						if !strings.Contains(body, "3600") || strings.Contains(c.answer, "num") != strings.Contains(body, "12345678901234567890") {
							t.Errorf("the rest is gone: %s", body)
						}
						if resp.ContentLength != int64(len(body)) {
							t.Errorf("length %d for %d bytes", resp.ContentLength, len(body))
						}
					}
				})
			}
		}
	}
}

func TestALogLineShowsNoToken(t *testing.T) {
	for in, want := range map[string]string{
		"/v1/secret/data/app":                    "/v1/secret/data/app",
		"/v1/auth/token/lookup/" + canary:        "/v1/auth/token/lookup/redacted",
		"/v1/ns/auth/token/revoke-orphan/s.abc":  "/v1/ns/auth/token/revoke-orphan/redacted",
		"/v1/secret/hvs.0123456789012345678901":  "/v1/secret/redacted",
		"/v1/secret/s.conf":                      "/v1/secret/s.conf",
		"/v1/two\nlines":                         "/v1/two%0Alines",
		"/v1/x/s.0123456789012345678901234567/y": "/v1/x/redacted/y",
	} {
		if got := shown(in); got != want {
			t.Errorf("%s is shown as %s", in, got)
		}
	}
}

// FuzzSubject: whatever body, query and path a request about tokens has, an answer
// that holds our token does not reach the client with it.
func FuzzSubject(f *testing.F) {
	f.Add("lookup", "token=x", `{"token":"x"}`, true)
	f.Add("renew/../lookup", "", "token=", false)
	f.Add("lookup%2f", "%", `{"token":{"a":[]}}`, true)
	h := &handler{Options: Options{Ours: isCanary}}
	f.Fuzz(func(t *testing.T, call, query, body string, lent bool) {
		q := &question{Ask: exchange.Ask{Method: "POST", Path: "/v1/auth/token/" + call, Query: query, Body: []byte(body)}, held: true}
		if lent {
			q.Who.Lent = "default"
		} else {
			q.Who.Token = cred.Redact("mine")
		}
		if q.about = h.subjectOf(q); q.about == nobody {
			return
		}
		r := &reply{held: true, body: fmt.Appendf(nil, lookedUp, canary)}
		r.Response = response(200)
		if err := h.strip(q, r); err == nil && strings.Contains(string(r.body), "CANARY") {
			t.Errorf("%s %s %q: %s", call, query, body, r.body)
		}
	})
}
