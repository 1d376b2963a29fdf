package cases

import (
	"fmt"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

// renewal is what a daemon does with its own token: it is renewed until
// renewals extend it no more, and every way in which that is refused. What is
// written down has long times to live, so that it is the same on a slow
// machine; what ends is only told of.
func renewal(s *Script) {
	s.EnableAuth("renewal-a", "approle")
	tok := s.roleToken("renewal-a", "long", m{"token_policies": "default", "token_ttl": "100s", "token_max_ttl": "200s"})
	s.Using(tok, "PUT", "auth/token/renew-self", m{})
	s.Using(tok, "PUT", "auth/token/renew-self", nil)
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 40})
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 0})
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 200})
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 6000})
	s.Note("the role is changed while the token lives")
	s.OK("POST", "auth/renewal-a/role/long", m{"token_policies": "default,other", "token_ttl": "80s", "token_max_ttl": "160s"})
	s.Using(tok, "PUT", "auth/token/renew-self", m{})
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 6000})
	s.Note("near its last moment, and after it")
	short := s.roleToken("renewal-a", "short", m{"token_policies": "default", "token_ttl": "5s", "token_max_ttl": "8s"})
	s.Pass(4 * time.Second)
	s.grants(short, 5, 4)
	s.grants(short, 4, 3)
	s.Gone(short)
	s.Using(short, "PUT", "auth/token/renew-self", m{})
	s.Using(short, "GET", "auth/token/lookup-self", nil)
	s.Note("periodic")
	period := s.roleToken("renewal-a", "period", m{"token_policies": "default", "token_period": "50s"})
	s.Using(period, "PUT", "auth/token/renew-self", m{})
	s.Using(period, "PUT", "auth/token/renew-self", m{"increment": 600})
	s.Using(period, "PUT", "auth/token/renew-self", m{"increment": 30})
	s.Note("periodic, with a hard end")
	hard := s.roleToken("renewal-a", "hard", m{"token_policies": "default", "token_period": "50s", "token_explicit_max_ttl": "80s"})
	s.Using(hard, "PUT", "auth/token/renew-self", m{})
	s.Using(hard, "PUT", "auth/token/renew-self", m{"increment": 600})
	s.Note("batch")
	batch := s.roleToken("renewal-a", "batch", m{"token_policies": "default", "token_type": "batch", "token_ttl": "3s"})
	s.Using(batch, "PUT", "auth/token/renew-self", m{})
	s.Gone(batch)
	s.Using(batch, "PUT", "auth/token/renew-self", m{})
	s.Note("not allowed by policy")
	bare := s.roleToken("renewal-a", "bare", m{"token_policies": "nothing", "token_no_default_policy": true, "token_ttl": "5m"})
	s.Using(bare, "PUT", "auth/token/renew-self", m{})
	s.Using(bare, "GET", "auth/token/lookup-self", nil)
	s.Note("the role is gone")
	orphaned := s.roleToken("renewal-a", "gone", m{"token_policies": "default", "token_ttl": "5m"})
	s.OK("DELETE", "auth/renewal-a/role/gone", nil)
	s.Using(orphaned, "PUT", "auth/token/renew-self", m{})
	s.Using(orphaned, "GET", "auth/token/lookup-self", nil)
	s.Note("revoked from outside, by its accessor")
	revoked := s.roleToken("renewal-a", "revoked", m{"token_policies": "default", "token_ttl": "5m"})
	s.RevokeAccessor(s.As(revoked).OK("GET", "auth/token/lookup-self", nil).Str("data.accessor"))
	s.Using(revoked, "PUT", "auth/token/renew-self", m{})
	s.Using(revoked, "GET", "secret/data/x", nil)
	s.Note("the method is disabled")
	disabled := s.roleToken("renewal-a", "disabled", m{"token_policies": "default", "token_ttl": "5m"})
	s.OK("DELETE", "sys/auth/renewal-a", nil)
	s.Gone(disabled)
	s.Using(disabled, "PUT", "auth/token/renew-self", m{})
}

// grants renews a token and tells whether what is granted is one of two
// numbers of seconds: a machine may be slow between two requests.
func (s *Script) grants(tok string, most, least int) {
	s.tb.Helper()
	ans := s.As(tok).OK("PUT", "auth/token/renew-self", m{})
	got := ans.Int("auth.lease_duration")
	capped := strings.Contains(fmt.Sprint(ans.At("warnings")), "exceeded")
	s.Note("renewed for %d to %d seconds: %v; with a warning: %v", least, most, got >= least && got <= most, capped)
}

// roleToken makes a role and logs in with it.
func (s *Script) roleToken(mount, role string, opts m) string {
	s.tb.Helper()
	id := s.AppRole(mount, role, opts)
	ans := s.As("").OK("PUT", "auth/"+mount+"/login", m{"role_id": id, "secret_id": s.SecretID(mount, role)})
	tok := ans.Str("auth.client_token")
	s.Name(tok, "<"+role+">")
	if accessor, isText := ans.At("auth.accessor").(string); isText && accessor != "" {
		s.Name(accessor, "<accessor of "+role+">")
	}
	return tok
}

// renewalKinds is the same for tokens of other origins.
func renewalKinds(s *Script) {
	s.Note("made with token create: increments, and what is given without one")
	tok := s.NewToken(m{"ttl": "60s", "explicit_max_ttl": "90s", "policies": []string{"default"}})
	s.Name(tok, "<explicit>")
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 20})
	s.Using(tok, "PUT", "auth/token/renew-self", m{})
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": 300})
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": "-5"})
	fixed := s.NewToken(m{"ttl": "60s", "renewable": false, "policies": []string{"default"}})
	s.Name(fixed, "<fixed>")
	s.Using(fixed, "PUT", "auth/token/renew-self", m{})
	s.Note("userpass: the user's policies are changed, then the user is deleted")
	s.EnableAuth("renewalkinds-u", "userpass")
	s.OK("POST", "auth/renewalkinds-u/users/ann", m{"password": "pw", "token_policies": "default", "token_ttl": "5m"})
	ann := s.As("").OK("PUT", "auth/renewalkinds-u/login/ann", m{"password": "pw"}).Str("auth.client_token")
	s.Name(ann, "<ann>")
	s.Using(ann, "PUT", "auth/token/renew-self", m{})
	s.OK("POST", "auth/renewalkinds-u/users/ann", m{"token_policies": "default,other"})
	s.Using(ann, "PUT", "auth/token/renew-self", m{})
	s.OK("POST", "auth/renewalkinds-u/users/ann", m{"token_policies": "default", "token_ttl": "2m"})
	s.Using(ann, "PUT", "auth/token/renew-self", m{})
	s.OK("DELETE", "auth/renewalkinds-u/users/ann", nil)
	s.Using(ann, "PUT", "auth/token/renew-self", m{})
	s.Using(ann, "GET", "auth/token/lookup-self", nil)
	s.Note("jwt: the role is changed, then deleted")
	s.EnableAuth("renewalkinds-j", "jwt")
	signer := vaulttest.NewSigner(s.tb, "ES256")
	s.OK("POST", "auth/renewalkinds-j/config", m{"jwt_validation_pubkeys": []string{signer.PEM}})
	role := m{"role_type": "jwt", "bound_audiences": []string{"vault"}, "user_claim": "sub", "token_policies": "default", "token_ttl": "5m"}
	s.OK("POST", "auth/renewalkinds-j/role/app", role)
	jwt := signer.Sign(s.tb, m{"aud": "vault", "sub": "job", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
	job := s.As("").OK("PUT", "auth/renewalkinds-j/login", m{"role": "app", "jwt": jwt}).Str("auth.client_token")
	s.Name(job, "<job>")
	s.Using(job, "PUT", "auth/token/renew-self", m{})
	role["token_ttl"], role["token_policies"] = "2m", "other"
	s.OK("POST", "auth/renewalkinds-j/role/app", role)
	s.Using(job, "PUT", "auth/token/renew-self", m{})
	s.OK("DELETE", "auth/renewalkinds-j/role/app", nil)
	s.Using(job, "PUT", "auth/token/renew-self", m{})
	s.Note("kubernetes: the role is changed, then deleted")
	cluster := vaulttest.NewCluster(s.tb)
	s.EnableAuth("renewalkinds-k", "kubernetes")
	s.OK("POST", "auth/renewalkinds-k/config", m{"kubernetes_host": cluster.Addr, "kubernetes_ca_cert": cluster.CAPEM, "disable_local_ca_jwt": true})
	role = m{"bound_service_account_names": "app", "bound_service_account_namespaces": "default", "token_policies": "default", "token_ttl": "5m"}
	s.OK("POST", "auth/renewalkinds-k/role/app", role)
	pod := s.As("").OK("PUT", "auth/renewalkinds-k/login", m{"role": "app", "jwt": cluster.Account(s.tb, "default", "app")}).Str("auth.client_token")
	s.Name(pod, "<pod>")
	s.Using(pod, "PUT", "auth/token/renew-self", m{})
	role["token_ttl"], role["token_policies"] = "2m", "other"
	s.OK("POST", "auth/renewalkinds-k/role/app", role)
	s.Using(pod, "PUT", "auth/token/renew-self", m{})
	s.OK("DELETE", "auth/renewalkinds-k/role/app", nil)
	s.Using(pod, "PUT", "auth/token/renew-self", m{})
}

// uses shows which requests a limited token pays for.
func uses(s *Script) {
	s.Mount("uses-kv", "kv", m{"version": "2"})
	s.WriteKV2("uses-kv", "a", m{"v": "1"})
	s.Policy("uses-one", map[string][]string{"uses-kv/data/a": {"read"}, "uses-kv/data/none": {"read"}})
	s.EnableAuth("uses-a", "approle")
	counted := func(what string, ask func(tok string)) {
		made := s.OK("POST", "auth/token/create", m{"num_uses": 10, "ttl": "1h", "policies": []string{"default", "uses-one"}})
		tok := made.Str("auth.client_token")
		ask(tok)
		left := s.OK("POST", "auth/token/lookup", m{"token": tok})
		s.Note("%s: %s of 10 are left", what, left.At("data.num_uses"))
	}
	plain := func(method, path string, body any) func(string) {
		return func(tok string) { s.As(tok).Do(method, path, body) }
	}
	counted("nothing", func(string) {})
	counted("a read", plain("GET", "uses-kv/data/a", nil))
	counted("a read of what is not there", plain("GET", "uses-kv/data/none", nil))
	counted("a read that policy denies", plain("GET", "uses-kv/data/b", nil))
	counted("a path without a mount", plain("GET", "nope/x", nil))
	counted("a bad request", plain("PUT", "sys/wrapping/unwrap", m{"token": "bad"}))
	counted("a lookup of itself", plain("GET", "auth/token/lookup-self", nil))
	counted("a renewal", plain("PUT", "auth/token/renew-self", m{}))
	counted("its capabilities", plain("PUT", "sys/capabilities-self", m{"paths": []string{"a"}}))
	counted("a preflight", plain("GET", "sys/internal/ui/mounts/uses-kv/a", nil))
	counted("a preflight that is refused", plain("GET", "sys/internal/ui/mounts/nope/a", nil))
	counted("health", plain("GET", "sys/health", nil))
	counted("a login that sends it along", plain("PUT", "auth/uses-a/login", m{"role_id": "x", "secret_id": "x"}))
	s.Note("the last use cannot read what has a lease, and ends the leases that were read before")
	broker := NewBroker(s.tb)
	s.Mount("uses-mq", "rabbitmq", nil)
	s.OK("POST", "uses-mq/config/connection", m{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	s.OK("POST", "uses-mq/roles/r", m{"vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	s.Policy("uses-mq", map[string][]string{"uses-mq/creds/*": {"read"}})
	two := s.NewToken(m{"num_uses": 2, "policies": []string{"uses-mq"}})
	s.Name(two, "<two>")
	id := s.As(two).OK("GET", "uses-mq/creds/r", nil).Str("lease_id")
	s.Using(two, "GET", "uses-mq/creds/r", nil)
	s.Ends("the lease has ended", func() bool { return s.Do("PUT", "sys/leases/lookup", m{"lease_id": id}).Status == 400 })
	s.Note("the login tells how many there are, each lookup how many are left")
	tok := s.roleToken("uses-a", "three", m{"token_policies": "default", "token_num_uses": 3, "token_ttl": "1h"})
	s.Using(tok, "PUT", "auth/token/renew-self", m{})
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
}

// shortLeases are leases that end while they are looked at.
func shortLeases(s *Script) {
	broker := NewBroker(s.tb)
	s.Mount("shortleases-mq", "rabbitmq", nil)
	s.OK("POST", "shortleases-mq/config/connection", m{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	s.OK("POST", "shortleases-mq/config/lease", m{"ttl": 40, "max_ttl": 90})
	s.OK("POST", "shortleases-mq/roles/r", m{"vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	s.Policy("shortleases-read", map[string][]string{"shortleases-mq/creds/*": {"read"}})
	tok := s.NewToken(m{"policies": []string{"shortleases-read", "default"}, "ttl": "1h"})
	s.Name(tok, "<reader>")
	id := s.Using(tok, "GET", "shortleases-mq/creds/r", nil).Str("lease_id")
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": id})
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": id, "increment": 20})
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": id, "increment": 0})
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": id, "increment": 600})
	s.Using(tok, "PUT", "sys/leases/renew/"+id, m{})
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": id, "increment": "x"})
	other := s.NewToken(m{"policies": []string{"default"}, "ttl": "1h"})
	s.Name(other, "<other>")
	s.Note("another token may renew it; one without the policy may not, nor revoke it")
	s.Using(other, "PUT", "sys/leases/renew", m{"lease_id": id})
	bare := s.NewToken(m{"policies": []string{"shortleases-read"}, "no_default_policy": true})
	s.Name(bare, "<bare>")
	s.Using(bare, "PUT", "sys/leases/renew", m{"lease_id": id})
	s.Using(tok, "PUT", "sys/leases/revoke", m{"lease_id": id})
	s.Note("near its last moment, and after it")
	s.OK("POST", "shortleases-mq/config/lease", m{"ttl": 4, "max_ttl": 6})
	id = s.As(tok).OK("GET", "shortleases-mq/creds/r", nil).Str("lease_id")
	s.Pass(3 * time.Second)
	near := s.As(tok).Do("PUT", "sys/leases/renew", m{"lease_id": id})
	s.Note("renewed for less than before: %v", near.Status == 200 && near.Int("lease_duration") < 4)
	s.Ends("the lease has ended", func() bool {
		return s.Do("PUT", "sys/leases/lookup", m{"lease_id": id}).Status == 400
	})
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": id})
	s.Note("its token goes first")
	brief := s.NewToken(m{"policies": []string{"shortleases-read"}, "ttl": "3s"})
	s.Name(brief, "<brief>")
	s.OK("POST", "shortleases-mq/config/lease", m{"ttl": 600, "max_ttl": 900})
	theirs := s.Using(brief, "GET", "shortleases-mq/creds/r", nil).Str("lease_id")
	s.Gone(brief)
	s.Ends("the lease has ended", func() bool {
		return s.Do("PUT", "sys/leases/lookup", m{"lease_id": theirs}).Status == 400
	})
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": theirs})
	s.Note("of a batch token")
	batch := s.NewToken(m{"type": "batch", "policies": []string{"shortleases-read"}, "ttl": "60s"})
	s.Name(batch, "<batch>")
	ans := s.As(batch).OK("GET", "shortleases-mq/creds/r", nil)
	s.Note("lease_duration is at most the token's: %v, renewable: %v", ans.Int("lease_duration") <= 60, ans.At("renewable"))
	s.Using(tok, "PUT", "sys/leases/renew", m{"lease_id": ans.Str("lease_id")})
	s.Note("a certificate with a lease, which no renewal extends")
	s.Mount("shortleases-pki", "pki", nil)
	s.OK("POST", "shortleases-pki/root/generate/internal", m{"common_name": "Test Root", "ttl": "24h", "key_type": "ec", "key_bits": 256})
	s.OK("POST", "shortleases-pki/roles/r", m{
		"allowed_domains": "example.test", "allow_subdomains": true, "ttl": "1h", "key_type": "ec", "key_bits": 256, "generate_lease": true,
	})
	cert := s.Root("PUT", "shortleases-pki/issue/r", m{"common_name": "a.example.test"}).Str("lease_id")
	s.Root("PUT", "sys/leases/renew", m{"lease_id": cert})
	s.Root("PUT", "sys/leases/lookup", m{"lease_id": cert})
}

// versions is the metadata that a poll looks at before it reads.
func versions(s *Script) {
	s.Mount("versions-kv", "kv", m{"version": "2"})
	s.Root("GET", "versions-kv/metadata/app", nil)
	s.Root("PUT", "versions-kv/data/app", m{"data": m{"a": 1}})
	s.Root("GET", "versions-kv/metadata/app", nil)
	s.Root("PUT", "versions-kv/data/app", m{"data": m{"a": 2}})
	s.Root("DELETE", "versions-kv/data/app", nil)
	s.Root("GET", "versions-kv/metadata/app", nil)
	s.Root("PUT", "versions-kv/undelete/app", m{"versions": []int{2}})
	s.Root("GET", "versions-kv/metadata/app", nil)
	s.Root("PUT", "versions-kv/destroy/app", m{"versions": []int{2}})
	s.Root("GET", "versions-kv/metadata/app", nil)
	s.Root("PUT", "versions-kv/undelete/app", m{"versions": []int{2}})
	s.Root("GET", "versions-kv/data/app", nil)
	s.Root("PUT", "versions-kv/undelete/none", m{"versions": []int{1}})
	s.Root("PUT", "versions-kv/delete/app", m{})
	s.Root("PUT", "versions-kv/destroy/app", m{"versions": []int{9}})
	s.Note("who may read the data and not the metadata")
	s.Policy("versions-data", map[string][]string{"versions-kv/data/*": {"read"}})
	tok := s.NewToken(m{"policies": []string{"versions-data"}})
	s.Name(tok, "<data>")
	s.Using(tok, "GET", "versions-kv/metadata/app", nil)
	s.Note("deleted after some time")
	s.Root("PUT", "versions-kv/metadata/brief", m{"delete_version_after": "3s"})
	s.Root("PUT", "versions-kv/data/brief", m{"data": m{"a": 1}})
	s.Root("GET", "versions-kv/data/brief", nil)
	s.Root("GET", "versions-kv/metadata/brief", nil)
	s.Ends("the version is deleted", func() bool { return s.Do("GET", "versions-kv/data/brief", nil).Status == 404 })
	s.Root("GET", "versions-kv/data/brief", nil)
	s.Root("GET", "versions-kv/metadata/brief", nil)
	s.Root("PUT", "versions-kv/config", m{"delete_version_after": "10m", "max_versions": 3})
	s.Root("GET", "versions-kv/config", nil)
	s.Root("PUT", "versions-kv/data/kept", m{"data": m{"a": 1}})
	s.Root("GET", "versions-kv/metadata/kept", nil)
	s.Root("PUT", "versions-kv/metadata/kept", m{"delete_version_after": "-1s"})
	s.Root("PUT", "versions-kv/data/kept", m{"data": m{"a": 2}})
	s.Root("GET", "versions-kv/metadata/kept", nil)
	s.Root("PUT", "versions-kv/metadata/kept", m{"delete_version_after": "x"})
}

// living is a policy that changes under a token that has it.
func living(s *Script) {
	s.Mount("living-kv", "kv", m{"version": "1"})
	s.WriteKV1("living-kv", "a", m{"v": "a"})
	s.Policy("living-one", map[string][]string{"living-kv/a": {"read"}})
	tok := s.NewToken(m{"policies": []string{"default", "living-one"}})
	s.Name(tok, "<living>")
	s.Using(tok, "GET", "living-kv/a", nil)
	s.Policy("living-one", map[string][]string{"living-kv/b": {"read"}})
	s.Using(tok, "GET", "living-kv/a", nil)
	s.Using(tok, "PUT", "auth/token/renew-self", m{})
	s.OK("DELETE", "sys/policies/acl/living-one", nil)
	s.Using(tok, "GET", "living-kv/a", nil)
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Policy("living-one", map[string][]string{"living-kv/a": {"read"}})
	s.Using(tok, "GET", "living-kv/a", nil)
}

// events is what the free server says to who asks for events.
func events(s *Script) {
	s.Policy("events-one", map[string][]string{"sys/events/subscribe/*": {"read"}, "secret/data/*": {"read", "subscribe"}})
	tok := s.NewToken(m{"policies": []string{"events-one"}})
	s.Name(tok, "<subscriber>")
	plain := s.NewToken(m{"policies": []string{"default"}})
	s.Name(plain, "<plain>")
	socket := func(with, token, path string) {
		up := s.As(token).With("Connection", "Upgrade").With("Upgrade", "websocket").
			With("Sec-WebSocket-Version", "13").With("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		s.Try(up, "[websocket, "+with+"] ", "GET", path, nil)
	}
	for _, path := range []string{"sys/events/subscribe/kv-v2/data-write?json=true", "sys/events/subscribe/*?json=true"} {
		socket("root", s.Token, path)
		socket("<subscriber>", tok, path)
		socket("<plain>", plain, path)
		socket("no token", "", path)
		socket("a bad token", "bad", path)
	}
	s.Root("GET", "sys/events/subscribe/kv-v2/data-write", nil)
}
