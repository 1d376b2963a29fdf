package cases

import "latchkey/internal/vaulttest"

// Scripts are the conversations, by the name of their transcript. Each one
// makes what it needs and may run once per server.
var Scripts = map[string]func(*Script){
	"approle":      approle,
	"capability":   capability,
	"events":       events,
	"jwt":          jwtScript,
	"kubernetes":   kubernetes,
	"kv1":          kv1,
	"kv2":          kv2,
	"leaseids":     leaseIDs,
	"leases":       leases,
	"limits":       limits,
	"living":       living,
	"mounts":       mounts,
	"namespaces":   namespaces,
	"patch":        patch,
	"pki":          pki,
	"policy":       policy,
	"protocol":     protocol,
	"renewal":      renewal,
	"renewalkinds": renewalKinds,
	"shortleases":  shortLeases,
	"sys":          sys,
	"token":        token,
	"tokenkinds":   tokenKinds,
	"userpass":     userpass,
	"uses":         uses,
	"versions":     versions,
	"wrapping":     wrapping,
	"wrappedauth":  wrappedAuth,
}

// patient are the conversations that wait for time to pass. They are held side
// by side, after the others: some of those list what the whole server has.
var patient = map[string]bool{"renewal": true, "renewalkinds": true, "shortleases": true, "versions": true}

// m is a JSON object.
type m = vaulttest.Map

// sys is what a server says of itself.
func sys(s *Script) {
	s.Anon("GET", "sys/health", nil)
	s.Anon("DELETE", "sys/health", nil)
	s.Anon("GET", "sys/seal-status", nil)
	s.Anon("GET", "sys/init", nil)
	s.Anon("GET", "sys/leader", nil)
	s.Anon("GET", "sys/mounts", nil)
	s.Root("GET", "sys/nothing-here", nil)
	s.Root("PUT", "sys/nothing-here", m{})
	s.Anon("GET", "sys/nothing-here", nil)
}

// protocol is what HTTP itself can get wrong.
func protocol(s *Script) {
	s.Root("GET", "nope/x", nil)
	s.Anon("GET", "nope/x", nil)
	s.Using("bad", "GET", "nope/x", nil)
	s.Root("GET", "", nil)
	s.Root("FOO", "secret/data/x", nil)
	s.Root("PATCH", "secret/data/x", m{"data": m{}})
	s.Note("bodies that are no JSON object")
	s.Root("PUT", "secret/data/x", `{"data":`)
	s.Root("PUT", "secret/data/x", `{"data":{}} trailing`)
	s.Root("PUT", "secret/data/x", `[1]`)
	s.Root("PUT", "secret/data/x", `"text"`)
	s.Root("PUT", "secret/data/x", `not json`)
	s.Root("PUT", "secret/data/x", ``)
	s.Root("PUT", "secret/data/x", `{}`)
	s.Root("PUT", "secret/data/x", `null`)
	s.Note("a token in the other header, and tokens of no kind")
	s.Try(s.As("").With("Authorization", "Bearer "+s.Token), "[bearer root] ", "GET", "auth/token/lookup-self", nil)
	s.Try(s.As("").With("Authorization", "Basic cm9vdA=="), "[basic] ", "GET", "auth/token/lookup-self", nil)
	s.Using("hvs.thisisnotatokenatallbutlookslikeone", "GET", "secret/data/x", nil)
	s.Using("hvb.thisisnotatokenatallbutlookslikeone", "GET", "secret/data/x", nil)
	s.Using("with space", "GET", "secret/data/x", nil)
	s.Note("a request header that a server does not ask for")
	s.Try(s.With("X-Vault-Request", "true"), "[x-vault-request true] ", "GET", "secret/data/x", nil)
	s.Try(s.With("X-Vault-Request", "false"), "[x-vault-request false] ", "GET", "secret/data/x", nil)
	s.Root("GET", "secret/data/x/", nil)
	s.Root("GET", "secret//data/x", nil)
	s.Root("GET", "secret/data/x y", nil)
}

// namespaces is what the free server makes of them.
func namespaces(s *Script) {
	s.Mount("ns-kv", "kv", m{"version": "2"})
	s.WriteKV2("ns-kv", "ns", m{"a": "1"})
	ns := s.With("X-Vault-Namespace", "team/one")
	s.Try(ns, "[namespace team/one] ", "GET", "ns-kv/data/ns", nil)
	s.Try(ns, "[namespace team/one] ", "GET", "sys/internal/ui/mounts/ns-kv/ns", nil)
	s.Try(ns.As(""), "[namespace team/one, no token] ", "GET", "ns-kv/data/ns", nil)
	s.Try(ns.As(""), "[namespace team/one, no token] ", "GET", "sys/health", nil)
	s.Root("GET", "team/one/ns-kv/data/ns", nil)
	s.Root("GET", "sys/namespaces?list=true", nil)
	s.Root("POST", "sys/namespaces/team", nil)
}

// mounts is the preflight that templates make.
func mounts(s *Script) {
	s.Mount("mounts-one", "kv", m{"version": "1"})
	s.Mount("mounts/two", "kv", m{"version": "2"})
	s.Root("GET", "sys/internal/ui/mounts/mounts-one/a/b", nil)
	s.Root("GET", "sys/internal/ui/mounts/mounts/two/a", nil)
	s.Root("GET", "sys/internal/ui/mounts/mounts/two", nil)
	s.Root("GET", "sys/internal/ui/mounts/mounts/two/", nil)
	s.Root("GET", "sys/internal/ui/mounts/mounts", nil)
	s.Root("GET", "sys/internal/ui/mounts/nope/x", nil)
	s.Root("GET", "sys/internal/ui/mounts/auth/token/lookup-self", nil)
	s.Root("GET", "sys/internal/ui/mounts/sys/health", nil)
	s.Root("GET", "sys/internal/ui/mounts/cubbyhole/a", nil)
	s.Root("GET", "sys/internal/ui/mounts/identity/entity", nil)
	s.Anon("GET", "sys/internal/ui/mounts/mounts-one/a", nil)
	s.Using("bad", "GET", "sys/internal/ui/mounts/mounts-one/a", nil)
	s.Policy("mounts-narrow", map[string][]string{"mounts/two/data/app/*": {"read"}})
	tok := s.NewToken(m{"policies": []string{"mounts-narrow"}})
	s.Using(tok, "GET", "sys/internal/ui/mounts/mounts/two/app/x", nil)
	s.Using(tok, "GET", "sys/internal/ui/mounts/mounts/two/other", nil)
	s.Using(tok, "GET", "sys/internal/ui/mounts/mounts-one/a", nil)
	s.Using(tok, "GET", "sys/internal/ui/mounts/nope/x", nil)
	s.Using(tok, "GET", "sys/internal/ui/mounts/cubbyhole/x", nil)
	s.Note("mounts themselves")
	s.Root("POST", "sys/mounts/mounts-one", m{"type": "kv"})
	s.Root("POST", "sys/mounts/mounts-one/below", m{"type": "kv"})
	s.Root("POST", "sys/mounts/mounts-other", m{"type": "no-such-engine"})
	s.Root("POST", "sys/auth/mounts-other", m{"type": "no-such-method"})
	s.Root("GET", "sys/mounts/mounts-one", nil)
	s.Root("DELETE", "sys/mounts/mounts-one", nil)
	s.Root("DELETE", "sys/mounts/mounts-one", nil)
	s.Root("GET", "mounts-one/a", nil)
}
