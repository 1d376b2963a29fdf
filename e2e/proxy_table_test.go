//go:build linux

package e2e

import "slices"

const (
	toVault  = "vault {\n  address = \"{vault}\"\n  retry { num_retries = -1 }\n}\n"
	theLogin = `auto_auth {
  method "approle" {
    mount_path = "auth/proxy-login"
    config = {
      role_id_file_path                   = "role_id"
      secret_id_file_path                 = "secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
  sink "file" { config = { path = "token" } }
}
`
	theListeners = `listener "tcp" {
  address     = "{host}:18200"
  tls_disable = true
  agent_api { enable_quit = true }
}
listener "tcp" {
  address                = "{host}:18201"
  tls_disable            = true
  require_request_header = true
}
listener "tcp" {
  address     = "{host}:18202"
  tls_disable = true
  role        = "metrics_only"
}
listener "unix" {
  address     = "{socket}"
  tls_disable = true
}
telemetry {
  prometheus_retention_time = "1h"
  disable_hostname          = true
}
`
)

// What docs/compatibility.md says of each difference, in part.
const (
	byKey       = "`User-Agent`, tracing headers"
	byElsewhere = "a token that was not made through the listener"
	byRenewal   = "answers to renewals"
	byPath      = "a lease that is revoked with its id in the path"
	byPrefix    = "`sys/leases/revoke-prefix` and `revoke-force`"
	byClearing  = "`cache-clear` of everything"
	byBearer    = "`Authorization: Bearer`"
	bySelf      = "answers about the token that is lent"
	byNoCache   = "`X-Cache` where there is no `cache`"
	byRefusal   = "our own refusals"
	byOther     = "paths outside of `/v1/`"
	byHeader    = "what `require_request_header` guards"
)

var scenes = map[string]scene{
	"lent":                   {config: toVault + theLogin + theListeners + "cache { }\napi_proxy { use_auto_auth_token = true }\n", steps: slices.Concat(cacheSteps, faultSteps, clearSteps, kvSteps, tokenSteps, ownSteps)},
	"lent by force":          {config: toVault + theLogin + theListeners + "cache { }\napi_proxy { use_auto_auth_token = \"force\" }\n", steps: forceSteps},
	"lent by the cache":      {config: toVault + theLogin + theListeners + "cache { use_auto_auth_token = true }\n", steps: []step{{what: "a lent token", path: "proxy-kv1/shared"}}},
	"api_proxy decides":      {config: toVault + theLogin + theListeners + "cache { use_auto_auth_token = true }\napi_proxy { }\n", steps: []step{{what: "nothing is lent", path: "proxy-kv1/shared"}}},
	"nothing lent":           {config: toVault + theLogin + theListeners + "cache { }\n", steps: nothingSteps},
	"no cache":               {config: toVault + theLogin + theListeners + "api_proxy { use_auto_auth_token = true }\n", steps: noCacheSteps},
	"nothing but a listener": {config: toVault + theListeners, steps: bareSteps},
}

// tokens makes a token of one hour by default, which the body can be told from.
func tokens(what, body string, s step) step {
	s.what, s.method, s.path, s.body = what, "POST", "auth/token/create", body
	return s
}

var saveToken = map[string]string{"tok": "auth.client_token", "acc": "auth.accessor"}

const first = `{"policies":["proxy-app"],"ttl":"1h"}`

// cacheSteps are about what is cached, for whom, and until when.
var cacheSteps = []step{
	tokens("a token is made", first, step{save: saveToken}),
	tokens("the same token", first, step{}),
	{what: "by PUT", method: "PUT", path: "auth/token/create", body: first},
	tokens("with another User-Agent", first, step{differs: byKey, latchkey: `200 HIT aged`, header: []string{"User-Agent: other/1.0"}}),
	tokens("with a tracing header", first, step{differs: byKey, latchkey: `200 HIT aged`, header: []string{"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}),
	tokens("with another body", `{"policies":["default"],"ttl":"1h"}`, step{}),
	{what: "it works", path: "auth/token/lookup-self", header: []string{"X-Vault-Token: {tok}"}},
	tokens("a batch token", `{"policies":["default"],"type":"batch","ttl":"1h"}`, step{}),
	tokens("another batch token", `{"policies":["default"],"type":"batch","ttl":"1h"}`, step{}),
	tokens("a token that cannot be renewed", `{"renewable":false,"ttl":"1h"}`, step{}),
	tokens("another that cannot be renewed", `{"renewable":false,"ttl":"1h"}`, step{}),
	tokens("a wrapped token", `{"ttl":"1h"}`, step{header: []string{"X-Vault-Wrap-TTL: 60"}}),
	tokens("another wrapped token", `{"ttl":"1h"}`, step{header: []string{"X-Vault-Wrap-TTL: 60"}}),
	{what: "a secret id", method: "POST", path: "auth/proxy-login/role/app/secret-id", save: map[string]string{"sid": "data.secret_id"}},
	{what: "a role id", path: "auth/proxy-login/role/app/role-id", save: map[string]string{"rid": "data.role_id"}},
	{what: "a login", method: "POST", path: "auth/proxy-login/login", body: `{"role_id":"{rid}","secret_id":"{sid}"}`},
	{what: "the same login", method: "POST", path: "auth/proxy-login/login", body: `{"role_id":"{rid}","secret_id":"{sid}"}`},

	{what: "a leased secret", path: "proxy-mq/creds/a", save: map[string]string{"lease": "lease_id"}},
	{what: "the same secret", path: "proxy-mq/creds/a"},
	{what: "with a query", path: "proxy-mq/creds/a?x=1"},
	{what: "its lease is looked up", method: "POST", path: "sys/leases/lookup", body: `{"lease_id":"{lease}"}`},
	{what: "its lease is revoked", method: "POST", path: "sys/leases/revoke", body: `{"lease_id":"{lease}"}`, evicts: 1},
	{what: "a new one", path: "proxy-mq/creds/a", save: map[string]string{"lease": "lease_id"}},
	{what: "which is cached", path: "proxy-mq/creds/a"},
	{what: "a lease of a token made through us", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {tok}"}},
	{what: "which is cached too", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {tok}"}},

	tokens("a child of that token", `{"ttl":"30m"}`, step{header: []string{"X-Vault-Token: {tok}"}, save: map[string]string{"child": "auth.client_token"}}),
	tokens("the same child", `{"ttl":"30m"}`, step{header: []string{"X-Vault-Token: {tok}"}}),
	{what: "the child revokes itself", method: "POST", path: "auth/token/revoke-self", header: []string{"X-Vault-Token: {child}"}, evicts: 1},
	tokens("another child", `{"ttl":"30m"}`, step{header: []string{"X-Vault-Token: {tok}"}, save: map[string]string{"child": "auth.client_token"}}),
	{what: "the parent is revoked by its accessor", method: "POST", path: "auth/token/revoke-accessor", body: `{"accessor":"{acc}"}`, evicts: 3},
	{what: "the child is gone", path: "auth/token/lookup-self", header: []string{"X-Vault-Token: {child}"}},
	{what: "so is the lease", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {tok}"}},
	tokens("a new token", first, step{save: saveToken}),
	tokens("its child", `{"ttl":"30m"}`, step{header: []string{"X-Vault-Token: {tok}"}, save: map[string]string{"child": "auth.client_token"}}),
	{what: "the child's lease", path: "proxy-mq/creds/c", header: []string{"X-Vault-Token: {child}"}},
	{what: "the parent is revoked as an orphan's", method: "POST", path: "auth/token/revoke-orphan", body: `{"token":"{tok}"}`, evicts: 1},
	{what: "the child's lease lives", path: "proxy-mq/creds/c", header: []string{"X-Vault-Token: {child}"}},
	{what: "the child is revoked", method: "POST", path: "auth/token/revoke", body: `{"token":"{child}"}`, evicts: 2},
	{what: "and its lease", path: "proxy-mq/creds/c", header: []string{"X-Vault-Token: {child}"}},
	{what: "a token is revoked that is none", method: "POST", path: "auth/token/revoke", body: `{"token":"none"}`},
}

// faultSteps are about what the agent does wrong.
var faultSteps = []step{
	tokens("a token is made with an index", `{"ttl":"9h"}`, step{header: []string{"X-Vault-Index: x"}}),
	tokens("another with an index", `{"ttl":"9h"}`, step{header: []string{"X-Vault-Index: x"}}),
	{what: "a lease of a token made elsewhere", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {own}"}},
	{what: "it is cached", differs: byElsewhere, latchkey: `200 HIT aged`, path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {own}"}},

	{what: "a lease to renew", path: "proxy-mq/creds/b", save: map[string]string{"lease": "lease_id"}},
	{what: "it is renewed", method: "POST", path: "sys/leases/renew", body: `{"lease_id":"{lease}"}`},
	{what: "it is renewed again", differs: byRenewal, latchkey: `200 MISS`, method: "POST", path: "sys/leases/renew", body: `{"lease_id":"{lease}"}`},
	{what: "it is revoked", method: "POST", path: "sys/leases/revoke", body: `{"lease_id":"{lease}"}`},
	{what: "after it was renewed and revoked", differs: byRenewal, latchkey: `200 MISS`, path: "proxy-mq/creds/b"},

	{what: "a lease to revoke in the path", path: "proxy-mq/creds/c", save: map[string]string{"lease": "lease_id"}},
	{what: "it is revoked in the path", method: "PUT", path: "sys/leases/revoke/{lease}"},
	{what: "after it was revoked in the path", differs: byPath, latchkey: `200 MISS`, path: "proxy-mq/creds/c"},

	{what: "a lease of a prefix", path: "proxy-mq/creds/d"},
	{what: "the prefix is revoked", method: "POST", path: "sys/leases/revoke-prefix/proxy-mq/creds/d"},
	{what: "after the prefix was revoked", differs: byPrefix, latchkey: `200 MISS`, path: "proxy-mq/creds/d"},

	{what: "a lease of another prefix", path: "proxy-mq/creds/e"},
	{what: "it is revoked by force", method: "POST", path: "sys/leases/revoke-force/proxy-mq/creds/e"},
	{what: "after the prefix was revoked by force", differs: byPrefix, latchkey: `200 MISS`, path: "proxy-mq/creds/e"},

	tokens("a token to renew", `{"policies":["proxy-app"],"ttl":"2h"}`, step{save: saveToken}),
	{what: "it renews itself", method: "POST", path: "auth/token/renew-self", header: []string{"X-Vault-Token: {tok}"}},
	{what: "it renews itself again", differs: byRenewal, latchkey: `200 MISS`, method: "POST", path: "auth/token/renew-self", header: []string{"X-Vault-Token: {tok}"}},
	{what: "it is revoked by its accessor", method: "POST", path: "auth/token/revoke-accessor", body: `{"accessor":"{acc}"}`},
	tokens("after it was renewed and revoked by its accessor", `{"policies":["proxy-app"],"ttl":"2h"}`, step{differs: byRenewal, latchkey: `200 MISS`}),
}

const third = `{"policies":["proxy-app"],"ttl":"3h"}`

func clearing(what, body string, s step) step {
	s.what, s.path, s.body = what, "/agent/v1/cache-clear", body
	if s.method == "" {
		s.method = "POST"
	}
	return s
}

// clearSteps are about cache-clear.
var clearSteps = []step{
	tokens("a token to clear", third, step{save: saveToken}),
	clearing("clear a token", `{"type":"token","value":"{tok}"}`, step{evicts: 1}),
	tokens("made anew after the token was cleared", third, step{save: saveToken}),
	clearing("clear an accessor", `{"type":"token_accessor","value":"{acc}"}`, step{evicts: 1}),
	tokens("made anew after the accessor was cleared", third, step{}),
	{what: "a lease to clear", path: "proxy-mq/creds/f", save: map[string]string{"lease": "lease_id"}},
	clearing("clear a lease", `{"type":"lease","value":"{lease}"}`, step{evicts: 1}),
	{what: "made anew after the lease was cleared", path: "proxy-mq/creds/f"},
	clearing("clear a path", `{"type":"request_path","value":"/v1/proxy-mq/creds/f"}`, step{evicts: 1}),
	{what: "made anew after the path was cleared", path: "proxy-mq/creds/f"},
	clearing("clear a prefix of a path", `{"type":"request_path","value":"/v1/proxy-mq/creds/"}`, step{method: "PUT", evicts: 1}),
	{what: "made anew after the prefix was cleared", path: "proxy-mq/creds/f"},
	clearing("clear a path in another namespace", `{"type":"request_path","value":"/v1/proxy-mq/creds/f","namespace":"other"}`, step{}),
	{what: "which clears nothing", path: "proxy-mq/creds/f"},
	clearing("clear what is not there", `{"type":"lease","value":"none"}`, step{}),
	clearing("clear an unknown type", `{"type":"none","value":"x"}`, step{}),
	clearing("clear without a type", `{"value":"x"}`, step{}),
	clearing("clear without a value", `{"type":"token"}`, step{}),
	clearing("clear a path without a value", `{"type":"request_path"}`, step{}),
	clearing("clear with nothing", ``, step{}),
	clearing("clear with half a body", `{"type":`, step{}),
	clearing("clear by GET", ``, step{method: "GET"}),
	clearing("clear by DELETE", ``, step{method: "DELETE"}),
	clearing("clear everything", `{"type":"all"}`, step{evicts: 1}),
	{what: "made anew after everything was cleared", path: "proxy-mq/creds/f"},
	{what: "which is cached again", differs: byClearing, latchkey: `200 HIT aged`, path: "proxy-mq/creds/f"},
}

// kvSteps are about what is never cached here.
var kvSteps = []step{
	{what: "a secret that is not there", path: "proxy-kv/data/{me}/none"},
	{what: "a secret is written", method: "POST", path: "proxy-kv/data/{me}/app", body: `{"data":{"a":"1"}}`},
	{what: "a secret is read", path: "proxy-kv/data/{me}/app"},
	{what: "and again", path: "proxy-kv/data/{me}/app"},
	{what: "a version of it", path: "proxy-kv/data/{me}/app?version=1"},
	{what: "a version that is not there", path: "proxy-kv/data/{me}/app?version=7"},
	{what: "its metadata", path: "proxy-kv/metadata/{me}/app"},
	{what: "a secret is patched", method: "PATCH", path: "proxy-kv/data/{me}/app", header: []string{"Content-Type: application/merge-patch+json"}, body: `{"data":{"b":"2"}}`},
	{what: "a secret is put", method: "PUT", path: "proxy-kv/data/{me}/app", body: `{"data":{"a":"2"}}`},
	{what: "a list", method: "LIST", path: "proxy-kv/metadata/{me}"},
	{what: "a list by GET", path: "proxy-kv/metadata/{me}?list=true"},
	{what: "a list of nothing", method: "LIST", path: "proxy-kv/metadata/{me}/none"},
	{what: "a version is deleted", method: "DELETE", path: "proxy-kv/data/{me}/app"},
	{what: "a deleted secret", path: "proxy-kv/data/{me}/app"},
	{what: "a secret of version 1 is written", method: "POST", path: "proxy-kv1/{me}/app", body: `{"a":"1"}`},
	{what: "a secret of version 1", path: "proxy-kv1/{me}/app"},
	{what: "a name with a space and a plus is written", method: "POST", path: "proxy-kv1/{me}/a%20b+c%2Bd", body: `{"a":"1"}`},
	{what: "a name with a space and a plus", path: "proxy-kv1/{me}/a%20b+c%2Bd"},
	{what: "a name that needs another escape", path: "proxy-kv1/{me}/a%25b"},
	{what: "half a body", method: "POST", path: "proxy-kv/data/{me}/app", body: `{"data":`},
	{what: "no body", method: "POST", path: "proxy-kv/data/{me}/app"},
	{what: "HEAD", method: "HEAD", path: "proxy-kv1/{me}/app"},
	{what: "OPTIONS", method: "OPTIONS", path: "proxy-kv1/{me}/app"},
	{what: "a path of nobody", path: "no-such-mount/a"},
	{what: "what the token may not", path: "sys/policies/acl"},
	{what: "a read that needs no token", path: "sys/seal-status"},
	{what: "health", path: "sys/health"},
}

// tokenSteps are about whose token a request carries, and what is said of ours.
var tokenSteps = []step{
	{what: "a client's own token", path: "auth/token/lookup-self", header: []string{"X-Vault-Token: {own}"}},
	{what: "a bearer token", differs: byBearer, latchkey: `200 MISS`, path: "auth/token/lookup-self", header: []string{"Authorization: Bearer {own}"}},
	{what: "an invalid token", path: "proxy-kv1/{me}/app", header: []string{"X-Vault-Token: hvs.invalid"}},
	{what: "an invalid bearer token", differs: byBearer, latchkey: `403`, path: "proxy-kv1/{me}/app", header: []string{"Authorization: Bearer hvs.invalid"}},
	{what: "an empty token", path: "proxy-kv1/{me}/app", header: []string{"X-Vault-Token: "}},
	{what: "a namespace", path: "proxy-kv1/{me}/app", header: []string{"X-Vault-Namespace: team"}},
	{what: "the root namespace", path: "proxy-kv1/{me}/app", header: []string{"X-Vault-Namespace: root"}},
	{what: "our own token looked up", differs: bySelf, latchkey: `200 MISS`, path: "auth/token/lookup-self"},
	{what: "our own token looked up by POST", method: "POST", path: "auth/token/lookup-self"},
	{what: "our own token looked up by an empty one", differs: bySelf, latchkey: `200 MISS`, method: "POST", path: "auth/token/lookup", body: `{"token":""}`},
	{what: "another token looked up", method: "POST", path: "auth/token/lookup", body: `{"token":"{own}"}`},
	{what: "our own token renewed by an empty one", method: "POST", path: "auth/token/renew", body: `{"token":""}`},
	{what: "our own token renewed", differs: bySelf, latchkey: `200 MISS`, method: "POST", path: "auth/token/renew-self"},
}

// ownSteps are about what the program answers itself.
var ownSteps = []step{
	{what: "metrics", path: "/agent/v1/metrics", shape: true},
	{what: "metrics for Prometheus", path: "/agent/v1/metrics?format=prometheus", shape: true},
	{what: "metrics in no format", differs: byRefusal, latchkey: `400 metric response format`, path: "/agent/v1/metrics?format=none"},
	{what: "metrics by POST", differs: byRefusal, latchkey: `405 {"errors":["the method must be GET`, method: "POST", path: "/agent/v1/metrics"},
	{what: "metrics alone", on: "metrics", path: "/agent/v1/metrics", shape: true},
	{what: "no proxy on metrics_only", differs: byRefusal, latchkey: `404 {"errors":["nothing is served at this path"]}`, on: "metrics", path: "sys/health"},
	clearing("no clearing on metrics_only", `{"type":"all"}`, step{differs: byRefusal, latchkey: `404 {"errors":["nothing is served at this path"]}`, on: "metrics"}),
	{what: "no quitting on metrics_only", differs: byRefusal, latchkey: `404 {"errors":["nothing is served at this path"]}`, on: "metrics", method: "POST", path: "/agent/v1/quit"},
	{what: "the top", differs: byOther, latchkey: `404`, path: "/", shape: true},
	{what: "the user interface", differs: byOther, latchkey: `404`, path: "/ui/", shape: true},
	{what: "no endpoint of ours", differs: byOther, latchkey: `404`, path: "/agent/v1/none", shape: true},
	{what: "quit by GET", differs: byRefusal, latchkey: `405 {"errors":["the method must be POST"]}`, path: "/agent/v1/quit"},

	{what: "without the header", differs: byRefusal, latchkey: `412 {"errors":["this listener serves only`, on: "guarded", path: "sys/seal-status"},
	{what: "with the header", on: "guarded", path: "sys/seal-status", header: []string{"X-Vault-Request: true"}},
	{what: "with another value", differs: byRefusal, latchkey: `412 {"errors":["this listener serves only`, on: "guarded", path: "sys/seal-status", header: []string{"X-Vault-Request: 1"}},
	{what: "with the header twice", differs: byRefusal, latchkey: `412 {"errors":["this listener serves only`, on: "guarded", path: "sys/seal-status", header: []string{"X-Vault-Request: true", "X-Vault-Request: true"}},
	{what: "metrics without the header", differs: byHeader, latchkey: `412`, on: "guarded", path: "/agent/v1/metrics", shape: true},
	clearing("clearing without the header", `{"type":"lease","value":"x"}`, step{differs: byHeader, latchkey: `412`, on: "guarded"}),
	{what: "quitting where it is not enabled", differs: byRefusal, latchkey: `404 {"errors":["nothing is served at this path"]}`, on: "guarded", method: "POST", path: "/agent/v1/quit", header: []string{"X-Vault-Request: true"}},

	{what: "through the socket", on: "unix", path: "proxy-kv1/{me}/app"},
	{what: "quitting through the socket", differs: byRefusal, latchkey: `404 {"errors":["nothing is served at this path"]}`, on: "unix", method: "POST", path: "/agent/v1/quit"},
	{what: "quit", quits: true, method: "POST", path: "/agent/v1/quit"},
}

var forceSteps = []step{
	{what: "a client's own token", differs: bySelf, latchkey: `200 MISS`, path: "auth/token/lookup-self", header: []string{"X-Vault-Token: {own}"}},
	{what: "an invalid token", path: "proxy-kv1/shared", header: []string{"X-Vault-Token: hvs.invalid"}},
	{what: "a bearer token", differs: bySelf, latchkey: `200 MISS`, path: "auth/token/lookup-self", header: []string{"Authorization: Bearer {own}"}},
	{what: "an invalid bearer token", path: "proxy-kv1/shared", header: []string{"Authorization: Bearer hvs.invalid"}},
	{what: "none", path: "proxy-kv1/shared"},
	{what: "a lease", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {own}"}},
	{what: "the same for another", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: hvs.other"}},
}

var nothingSteps = []step{
	{what: "no token", path: "proxy-kv1/shared"},
	{what: "no token needed", path: "sys/health"},
	{what: "a client's own token", path: "auth/token/lookup-self", header: []string{"X-Vault-Token: {own}"}},
	{what: "a bearer token of its own", path: "auth/token/lookup-self", header: []string{"Authorization: Bearer {own}"}},
	tokens("a token is made", `{"ttl":"5m"}`, step{header: []string{"X-Vault-Token: {own}"}}),
	tokens("the same token", `{"ttl":"5m"}`, step{differs: byElsewhere, latchkey: `200 HIT aged`, header: []string{"X-Vault-Token: {own}"}}),
	{what: "an orphan is made", method: "POST", path: "auth/token/create-orphan", header: []string{"X-Vault-Token: {own}"}, body: `{"ttl":"5m"}`},
	{what: "the same orphan", method: "POST", path: "auth/token/create-orphan", header: []string{"X-Vault-Token: {own}"}, body: `{"ttl":"5m"}`},
	{what: "a lease", path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {own}"}},
	{what: "the same lease", differs: byElsewhere, latchkey: `200 HIT aged`, path: "proxy-mq/creds/a", header: []string{"X-Vault-Token: {own}"}},
}

var noCacheSteps = []step{
	tokens("a token is made without a cache", `{"ttl":"5m"}`, step{differs: byNoCache, latchkey: `200 {`}),
	{what: "a refusal", path: "sys/policies/acl"},
	clearing("clear a path where nothing is cached", `{"type":"request_path","value":"/v1/auth/token/create"}`, step{}),
	clearing("clear an unknown type where nothing is cached", `{"type":"none","value":"x"}`, step{}),
}

var bareSteps = []step{
	{what: "no token", path: "proxy-kv1/shared"},
	{what: "a client's own token", differs: byNoCache, latchkey: `200 {`, path: "auth/token/lookup-self", header: []string{"X-Vault-Token: {own}"}},
	clearing("clear where nothing is cached", `{"type":"all"}`, step{}),
	{what: "metrics", path: "/agent/v1/metrics", shape: true},
}
