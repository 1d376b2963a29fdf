package cases

import (
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

func approle(s *Script) {
	s.EnableAuth("approle-a", "approle")
	s.Root("GET", "auth/approle-a/role/r", nil)
	s.Root("LIST", "auth/approle-a/role", nil)
	s.Root("POST", "auth/approle-a/role/r", m{"token_policies": []string{"default", "p"}, "token_ttl": "20m", "token_max_ttl": "30m"})
	s.Root("GET", "auth/approle-a/role/r", nil)
	s.Root("LIST", "auth/approle-a/role", nil)
	role := s.Root("GET", "auth/approle-a/role/r/role-id", nil).Str("data.role_id")
	s.Name(role, "<role id>")
	secret := s.Root("POST", "auth/approle-a/role/r/secret-id", m{"metadata": `{"k":"v"}`}).Str("data.secret_id")
	s.Name(secret, "<secret id>")
	login := m{"role_id": role, "secret_id": secret}
	ans := s.Anon("PUT", "auth/approle-a/login", login)
	tok := ans.Str("auth.client_token")
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Using(tok, "PUT", "auth/token/renew-self", m{"increment": "5h"})
	s.Using(tok, "PUT", "auth/token/revoke-self", nil)
	s.Using("bad", "POST", "auth/approle-a/login", login)
	s.Note("refused")
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": "bad", "secret_id": secret})
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": role, "secret_id": "bad"})
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": role})
	s.Anon("PUT", "auth/approle-a/login", m{"secret_id": secret})
	s.Anon("PUT", "auth/approle-a/login", m{})
	s.Anon("PUT", "auth/approle-a/login", nil)
	s.Anon("GET", "auth/approle-a/login", nil)
	s.Anon("PUT", "auth/approle-a/logout", m{})
	s.Anon("PUT", "auth/approle-none/login", login)
	s.Anon("PUT", "auth/approle-a/login/", login)
	s.Note("a role without secret id, batch tokens, one use of a secret id, uses of a token")
	s.Root("POST", "auth/approle-a/role/open", m{"bind_secret_id": false, "token_policies": "default"})
	s.Root("POST", "auth/approle-a/role/open", m{"bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8", "token_policies": "default"})
	open := s.Root("GET", "auth/approle-a/role/open/role-id", nil).Str("data.role_id")
	s.Name(open, "<open role id>")
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": open})
	s.Root("POST", "auth/approle-a/role/batch", m{"token_type": "batch", "token_policies": "default", "token_ttl": "10m"})
	batch := s.Root("GET", "auth/approle-a/role/batch/role-id", nil).Str("data.role_id")
	s.Name(batch, "<batch role id>")
	sid := s.Root("POST", "auth/approle-a/role/batch/secret-id", nil).Str("data.secret_id")
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": batch, "secret_id": sid})
	s.Root("POST", "auth/approle-a/role/once", m{"secret_id_num_uses": 1, "token_num_uses": 3, "secret_id_ttl": "10m", "token_policies": "default", "token_period": "1h"})
	s.Root("POST", "auth/approle-a/role/once/role-id", m{"role_id": "approle-once"})
	once := s.Root("POST", "auth/approle-a/role/once/secret-id", nil).Str("data.secret_id")
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": "approle-once", "secret_id": once})
	s.Anon("PUT", "auth/approle-a/login", m{"role_id": "approle-once", "secret_id": once})
	s.Root("POST", "auth/approle-a/role/once/custom-secret-id", m{"secret_id": "my-own-secret-id"})
	s.Root("POST", "auth/approle-a/role/once/secret-id/lookup", m{"secret_id": "my-own-secret-id"})
	s.Root("POST", "auth/approle-a/role/once/secret-id/destroy", m{"secret_id": "my-own-secret-id"})
	s.Root("POST", "auth/approle-a/role/once/secret-id/lookup", m{"secret_id": "my-own-secret-id"})
	s.Root("POST", "auth/approle-a/role/none/secret-id", nil)
	s.Root("GET", "auth/approle-a/role/none/role-id", nil)
	s.Root("DELETE", "auth/approle-a/role/once", nil)
	s.Root("DELETE", "sys/auth/approle-a", nil)
	s.Anon("PUT", "auth/approle-a/login", login)
}

func userpass(s *Script) {
	s.EnableAuth("userpass-a", "userpass")
	s.Root("POST", "auth/userpass-a/users/Ann", m{"password": "pw", "token_policies": "default,p", "token_ttl": "15m"})
	s.Root("GET", "auth/userpass-a/users/ann", nil)
	s.Root("LIST", "auth/userpass-a/users", nil)
	tok := s.Anon("PUT", "auth/userpass-a/login/ann", m{"password": "pw"}).Str("auth.client_token")
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Anon("PUT", "auth/userpass-a/login/ANN", m{"password": "pw"})
	s.Anon("PUT", "auth/userpass-a/login/ann", m{"password": "bad"})
	s.Anon("PUT", "auth/userpass-a/login/ann", m{"password": "pw\n"})
	s.Anon("PUT", "auth/userpass-a/login/ann", m{})
	s.Anon("PUT", "auth/userpass-a/login/bob", m{"password": "pw"})
	s.Anon("PUT", "auth/userpass-a/login", m{"password": "pw"})
	s.Root("POST", "auth/userpass-a/users/carl", m{})
	s.Root("DELETE", "auth/userpass-a/users/ann", nil)
	s.Anon("PUT", "auth/userpass-a/login/ann", m{"password": "pw"})
}

func jwtScript(s *Script) {
	for _, alg := range []string{"RS256", "ES256"} {
		s.Note(alg)
		mount := "jwt-" + strings.ToLower(alg)
		s.EnableAuth(mount, "jwt")
		signer := vaulttest.NewSigner(s.tb, alg)
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": "x"})
		s.OK("POST", "auth/"+mount+"/config", m{"jwt_validation_pubkeys": []string{signer.PEM}, "bound_issuer": "me"})
		s.Root("POST", "auth/"+mount+"/role/r", m{
			"role_type": "jwt", "bound_audiences": []string{"vault"}, "user_claim": "sub", "bound_subject": "job",
			"token_policies": []string{"default"}, "token_ttl": "10m", "claim_mappings": m{"project": "project"},
		})
		now := time.Now().Unix()
		claims := func(change m) string {
			c := m{"iss": "me", "aud": "vault", "sub": "job", "project": "p", "iat": now, "nbf": now - 10, "exp": now + 600}
			for k, v := range change {
				c[k] = v
			}
			jwt := signer.Sign(s.tb, c)
			s.Name(jwt, "<jwt>")
			return jwt
		}
		good := claims(nil)
		tok := s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": good}).Str("auth.client_token")
		s.Using(tok, "GET", "auth/token/lookup-self", nil)
		s.Note("refused: expired, not yet, other audience, issuer, subject, another's signature, no jwt")
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"exp": 1700000000, "iat": 1690000000, "nbf": 1690000000})})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"nbf": now + 100000, "exp": now + 200000})})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"aud": "other"})})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"aud": nil})})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"iss": "other"})})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"sub": "other"})})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": claims(m{"project": nil})})
		s.Note("times: a little late, later, much later; early; only exp, only iat, only nbf, none")
		only := func(claims m) string {
			claims["iss"], claims["aud"], claims["sub"] = "me", "vault", "job"
			jwt := signer.Sign(s.tb, claims)
			s.Name(jwt, "<jwt>")
			return jwt
		}
		for _, c := range []m{
			{"exp": now - 30, "nbf": now - 900}, {"exp": now - 100, "nbf": now - 900}, {"exp": now - 170, "nbf": now - 900}, {"exp": now - 300, "nbf": now - 900},
			{"exp": now + 900, "nbf": now + 30}, {"exp": now + 900, "nbf": now + 100}, {"exp": now + 900, "nbf": now + 300},
			{"exp": now + 900}, {"exp": now + 100}, {"iat": now - 10}, {"nbf": now - 10}, {"iat": now - 900}, {},
		} {
			ans := s.As("").Do("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": only(c)})
			for k, v := range c {
				if at, ok := v.(int64); ok {
					c[k] = at - now
				}
			}
			s.Note("%v: %d %v", c, ans.Status, ans.Errors())
		}
		other := vaulttest.NewSigner(s.tb, alg).Sign(s.tb, m{"iss": "me", "aud": "vault", "sub": "job", "exp": now + 600})
		s.Name(other, "<jwt of another>")
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": other})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": "x"})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r"})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "none", "jwt": good})
		s.Anon("PUT", "auth/"+mount+"/login", m{"jwt": good})
		s.Anon("PUT", "auth/"+mount+"/login", m{"role": "r", "jwt": good + "\n"})
	}
}

func kubernetes(s *Script) {
	cluster := vaulttest.NewCluster(s.tb)
	s.EnableAuth("kubernetes-a", "kubernetes")
	jwt := cluster.Account(s.tb, "default", "app")
	s.Name(jwt, "<jwt>")
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r", "jwt": jwt})
	s.OK("POST", "auth/kubernetes-a/config", m{"kubernetes_host": cluster.Addr, "kubernetes_ca_cert": cluster.CAPEM, "disable_local_ca_jwt": true})
	s.Root("POST", "auth/kubernetes-a/role/r", m{
		"bound_service_account_names": "app", "bound_service_account_namespaces": "default",
		"token_policies": "default", "token_ttl": "10m",
	})
	tok := s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r", "jwt": jwt}).Str("auth.client_token")
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Note("refused: other account, other namespace, no role, no jwt, unknown to the cluster, no jwt at all")
	other := cluster.Account(s.tb, "default", "other")
	s.Name(other, "<jwt of another account>")
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r", "jwt": other})
	elsewhere := cluster.Account(s.tb, "elsewhere", "app")
	s.Name(elsewhere, "<jwt of another namespace>")
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r", "jwt": elsewhere})
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "none", "jwt": jwt})
	s.Anon("PUT", "auth/kubernetes-a/login", m{"jwt": jwt})
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r"})
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r", "jwt": "x"})
	cluster.Forget(jwt)
	s.Anon("PUT", "auth/kubernetes-a/login", m{"role": "r", "jwt": jwt})
}
