package cases

import (
	"fmt"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

var _ = add(map[string]func(*Kit){
	"approle as in the tutorial":                     approleTutorial,
	"approle takes its secret id away after reading": approleRemoves,
	"approle with a role id alone":                   approleRoleIDOnly,
	"approle with a wrapped secret id":               approleWrapped,
	"approle refuses a secret id wrapped elsewhere":  approleWrappedElsewhere,
	"approle with a spent wrapping token":            approleSpent,
	"a failed login spends no credential twice":      spentOnce,
	"approle with a wrong secret id ends at once":    approleDenied,
	"approle with batch tokens":                      approleBatch,
	"a method that is not enabled":                   methodNotEnabled,
	"jwt with RS256 and ES256":                       jwtLogin,
	"jwt that has expired":                           jwtExpired,
	"kubernetes with a token review":                 kubernetesLogin,
	"kubernetes refuses another account":             kubernetesDenied,
	"userpass":                                       userpassLogin,
	"cert over TLS":                                  certLogin,
	"cert of another CA is refused":                  certDenied,
	"a server whose certificate nobody vouches for":  unknownCA,
	"token_file": tokenFile,
	"token_file with a token that is no more":          tokenFileDead,
	"a namespace goes along with every request":        namespaceHeader,
	"a login answered without a token is a failure":    emptyLogin,
	"a method's response wrapping reaches the sink":    methodWrapping,
	"revoke on exit leaves nothing behind":             revokeOnExit,
	"revoke on exit is refused for a lease just given": revokeRefused,
})

// approle sets a role up and leaves its credentials in role_id and secret_id;
// it returns the auto_auth stanza's method, with more of its config.
func (k *Kit) approle(role m, config ...string) string {
	k.Helper()
	k.Site.EnableAuth(k.name, "approle")
	k.Write("role_id", k.Site.AppRole(k.name, "app", role)+"\n")
	if role["bind_secret_id"] != false {
		k.Write("secret_id", k.Site.SecretID(k.name, "app")+"\n")
	}
	return k.method("approle", `role_id_file_path = "role_id"`, `secret_id_file_path = "secret_id"`, strings.Join(config, "\n"))
}

// method writes a method stanza at the case's own mount.
func (k *Kit) method(kind string, config ...string) string {
	return fmt.Sprintf("method %q {\n mount_path = %q\n config = {\n%s\n }\n}\n", kind, "auth/"+k.name, strings.Join(config, "\n"))
}

// auto puts a method and sinks into auto_auth.
func auto(parts ...string) string {
	return "auto_auth {\n" + strings.Join(parts, "\n") + "\n}\nvault {\n address = \"\"\n}\n"
}

const fileSink = "sink \"file\" {\n config = { path = \"token\" }\n}\n"

// goodToken checks the token in a file and returns what the server says of it.
func (k *Kit) goodToken(name string) *vaulttest.Answer {
	k.Helper()
	ans := k.Site.As(k.Read(name)).Do("GET", "auth/token/lookup-self", nil)
	if ans.Status != 200 {
		k.Fatalf("the token in %s: %d %s", name, ans.Status, ans.Body)
	}
	return ans
}

func approleTutorial(k *Kit) {
	k.Shared()
	cfg := auto(k.approle(m{"token_policies": "default", "token_ttl": "1h"}, "remove_secret_id_file_after_reading = false"), fileSink)
	k.Write("agent.hcl", "pid_file = \"./pidfile\"\nexit_after_auth = true\n"+cfg)
	r := k.Exits(0, k.Run("agent", "-config=agent.hcl", "-log-level=debug"))
	k.Says(r, `authentication successful`)
	ans := k.goodToken("token")
	if p := ans.Str("data.path"); p != "auth/"+k.name+"/login" {
		k.Errorf("the token was made by %s", p)
	}
	k.Missing("pidfile")
	k.Read("secret_id")
	k.Asked(1, "", "*")
}

func approleRemoves(k *Kit) {
	k.Shared()
	k.Exits(0, k.Once(auto(k.approle(m{"token_policies": "default"}), fileSink)))
	k.goodToken("token")
	k.Missing("secret_id")
	k.Read("role_id")
}

func approleRoleIDOnly(k *Kit) {
	k.Shared()
	k.approle(m{"token_policies": "default", "bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8"})
	k.Exits(0, k.Once(auto(k.method("approle", `role_id_file_path = "role_id"`), fileSink)))
	k.goodToken("token")
}

func approleWrapped(k *Kit) {
	k.Shared()
	where := fmt.Sprintf("secret_id_response_wrapping_path = %q", "auth/"+k.name+"/role/app/secret-id")
	cfg := auto(k.approle(m{"token_policies": "default"}, where), fileSink)
	wrapping := k.Site.WrappedSecretID(k.name, "app", "5m")
	k.Write("secret_id", wrapping)
	k.Exits(0, k.Once(cfg))
	k.goodToken("token")
	k.Missing("secret_id")
	if ans := k.Site.Do("PUT", "sys/wrapping/unwrap", m{"token": wrapping}); ans.Status != 400 {
		k.Errorf("the wrapping token is not spent: %d", ans.Status)
	}
}

func approleWrappedElsewhere(k *Kit) {
	k.Shared()
	where := fmt.Sprintf("secret_id_response_wrapping_path = %q", "auth/"+k.name+"/role/app/secret-id")
	cfg := auto(k.approle(m{"token_policies": "default"}, where), fileSink)
	wrapping := k.Site.Wrap("5m", m{"secret_id": "planted"})
	k.Write("secret_id", wrapping)
	r := k.Exits(3, k.Once(cfg, "-timeout=3s"))
	k.Says(r, `sys/wrapping/wrap`)
	k.Missing("token")
	k.Asked(0, "PUT", "sys/wrapping/unwrap")
}

func approleSpent(k *Kit) {
	k.Shared()
	where := fmt.Sprintf("secret_id_response_wrapping_path = %q", "auth/"+k.name+"/role/app/secret-id")
	cfg := auto(k.approle(m{"token_policies": "default"}, where), fileSink)
	wrapping := k.Site.WrappedSecretID(k.name, "app", "5m")
	k.Site.As(wrapping).OK("PUT", "sys/wrapping/unwrap", nil)
	k.Write("secret_id", wrapping)
	k.Exits(3, k.Once(cfg, "-timeout=3s"))
	k.Missing("token")
}

// spentOnce has the server fail after the credential was taken: the wrapping
// token is spent and the file is gone, and yet the next try succeeds.
func spentOnce(k *Kit) {
	k.Shared()
	where := fmt.Sprintf("secret_id_response_wrapping_path = %q", "auth/"+k.name+"/role/app/secret-id")
	cfg := auto(k.approle(m{"token_policies": "default"}, where), fileSink)
	k.Write("secret_id", k.Site.WrappedSecretID(k.name, "app", "5m"))
	login := vaulttest.Match{Path: "auth/" + k.name + "/login"}
	k.Site.Front.Rude(login, vaulttest.Rudeness{Status: 503, Times: 2})
	k.Exits(0, k.Once(cfg))
	k.goodToken("token")
	k.Asked(3, "PUT", login.Path)
	k.Asked(1, "PUT", "sys/wrapping/unwrap")

	k.Shared()
	k.name += "jwt"
	signer := vaulttest.NewSigner(k.T, "ES256")
	cfg = auto(k.jwtMethod(signer), fileSink)
	k.Write("jwt", signer.Sign(k.T, m{"aud": "vault", "sub": "job", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}))
	login.Path = "auth/" + k.name + "/login"
	k.Site.Front.Rude(login, vaulttest.Rudeness{Drop: true, Times: 1})
	k.Exits(0, k.Once(cfg))
	k.goodToken("token")
	k.Asked(2, "PUT", login.Path)
	k.Missing("jwt")
}

func approleDenied(k *Kit) {
	k.Shared()
	cfg := auto(k.approle(m{"token_policies": "default"}), fileSink)
	k.Write("secret_id", "not-a-secret-id")
	r := k.Exits(3, k.Once(cfg))
	k.Says(r, `auth/`+k.name+`/login.*invalid role or secret ID`)
	k.soon(r)
	k.Missing("token")
}

// soon is for what must not wait for anything.
func (k *Kit) soon(r Result) {
	k.Helper()
	if r.Took > 10*time.Second {
		k.Errorf("took %s", r.Took)
	}
}

func approleBatch(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	cfg := auto(k.approle(m{"token_policies": k.name, "token_type": "batch", "token_ttl": "10m"}), fileSink)
	k.Exits(0, k.Once(cfg+k.template("app", "{{.Data.data.password}}")))
	if !strings.HasPrefix(k.Read("token"), "hvb.") {
		k.Error("no batch token in the sink")
	}
	k.Is("app", canary+"1")
}

func methodNotEnabled(k *Kit) {
	k.Shared()
	k.Write("role_id", "r")
	k.Write("secret_id", "s")
	r := k.Exits(3, k.Once(auto(k.method("approle", `role_id_file_path = "role_id"`, `secret_id_file_path = "secret_id"`), fileSink)))
	k.Says(r, `auth/`+k.name+`/login`)
	k.soon(r)
}

func (k *Kit) jwtMethod(signer *vaulttest.Signer) string {
	k.Helper()
	k.Site.EnableAuth(k.name, "jwt")
	k.Site.OK("POST", "auth/"+k.name+"/config", m{"jwt_validation_pubkeys": []string{signer.PEM}})
	k.Site.OK("POST", "auth/"+k.name+"/role/app", m{
		"role_type": "jwt", "bound_audiences": []string{"vault"}, "user_claim": "sub", "token_policies": []string{"default"},
	})
	return k.method("jwt", `path = "jwt"`, `role = "app"`)
}

func jwtLogin(k *Kit) {
	for _, alg := range []string{"RS256", "ES256"} {
		k.Shared()
		k.name += strings.ToLower(alg)
		signer := vaulttest.NewSigner(k.T, alg)
		cfg := auto(k.jwtMethod(signer), fileSink)
		k.Write("jwt", signer.Sign(k.T, m{"aud": "vault", "sub": "job", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}))
		k.Exits(0, k.Once(cfg))
		k.goodToken("token")
		k.Missing("jwt")
	}
}

func jwtExpired(k *Kit) {
	k.Shared()
	signer := vaulttest.NewSigner(k.T, "ES256")
	cfg := auto(k.jwtMethod(signer), fileSink)
	k.Write("jwt", signer.Sign(k.T, m{"aud": "vault", "sub": "job", "exp": 1700000000}))
	r := k.Exits(3, k.Once(cfg, "-timeout=20s"))
	k.Says(r, `token is expired`)
	k.Missing("token")
}

func (k *Kit) kubernetesMethod(cluster *vaulttest.Cluster) string {
	k.Helper()
	k.Site.EnableAuth(k.name, "kubernetes")
	k.Site.OK("POST", "auth/"+k.name+"/config", m{
		"kubernetes_host": cluster.Addr, "kubernetes_ca_cert": cluster.CAPEM, "disable_local_ca_jwt": true,
	})
	k.Site.OK("POST", "auth/"+k.name+"/role/app", m{
		"bound_service_account_names": "app", "bound_service_account_namespaces": "default", "token_policies": "default",
	})
	return k.method("kubernetes", `role = "app"`, `token_path = "sa-token"`)
}

func kubernetesLogin(k *Kit) {
	k.Shared()
	cluster := vaulttest.NewCluster(k.T)
	cfg := auto(k.kubernetesMethod(cluster), fileSink)
	k.Write("sa-token", cluster.Account(k.T, "default", "app")+"\n")
	k.Exits(0, k.Once(cfg))
	k.goodToken("token")
	k.Read("sa-token")
}

func kubernetesDenied(k *Kit) {
	k.Shared()
	cluster := vaulttest.NewCluster(k.T)
	cfg := auto(k.kubernetesMethod(cluster), fileSink)
	k.Write("sa-token", cluster.Account(k.T, "default", "other"))
	r := k.Exits(3, k.Once(cfg))
	k.Says(r, `service account name not authorized`)
	k.soon(r)
}

func userpassLogin(k *Kit) {
	k.Shared()
	k.Site.EnableAuth(k.name, "userpass")
	k.Site.OK("POST", "auth/"+k.name+"/users/ann", m{"password": canary + "pw", "token_policies": "default"})
	k.Write("password", canary+"pw\n")
	k.Exits(0, k.Once(auto(k.method("userpass", `username = "ann"`, `password_file_path = "password"`), fileSink)))
	k.goodToken("token")
}

func (k *Kit) certMethod(ca *vaulttest.CA) string {
	k.Helper()
	pair, err := ca.Client("app")
	if err != nil {
		k.Fatal(err)
	}
	k.Write("client.pem", string(pair.Cert))
	k.Write("client.key", string(pair.Key))
	return k.method("cert", `name = "app"`, `client_cert = "client.pem"`, `client_key = "client.key"`, fmt.Sprintf("ca_cert = %q", k.Site.CAFile))
}

func certLogin(k *Kit) {
	k.Use(k.Target.Secure(k.T))
	ca := newCA(k.T, "clients")
	k.Site.EnableAuth(k.name, "cert")
	k.Site.OK("POST", "auth/"+k.name+"/certs/app", m{"certificate": string(ca.PEM), "token_policies": "default"})
	k.Exits(0, k.Once(auto(k.certMethod(ca), fileSink)))
	k.goodToken("token")
	// The stanza's own certificate serves as well.
	cfg := auto("method \"cert\" {\n mount_path = \"auth/"+k.name+"\"\n config = { name = \"app\" }\n}\n", fileSink)
	cfg = strings.Replace(cfg, `address = ""`, "address = \"\"\n client_cert = \"client.pem\"\n client_key = \"client.key\"", 1)
	k.Exits(0, k.Once(cfg))
	k.goodToken("token")
}

func certDenied(k *Kit) {
	k.Use(k.Target.Secure(k.T))
	k.Site.EnableAuth(k.name, "cert")
	k.Site.OK("POST", "auth/"+k.name+"/certs/app", m{"certificate": string(newCA(k.T, "clients").PEM), "token_policies": "default"})
	r := k.Exits(3, k.Once(auto(k.certMethod(newCA(k.T, "strangers")), fileSink)))
	k.soon(r)
	k.Missing("token")
}

func unknownCA(k *Kit) {
	site := *k.Target.Secure(k.T)
	site.CAFile = k.Write("other.pem", string(newCA(k.T, "another").PEM))
	k.Use(&site)
	k.Write("t", "x")
	r := k.Exits(5, k.Once(auto("method \"token_file\" {\n config = { token_file_path = \"t\" }\n}\n", fileSink), "-timeout=60s"))
	k.Says(r, `certificate`)
	k.soon(r)
}

func tokenFile(k *Kit) {
	k.Shared()
	k.Write("t", k.Site.NewToken(m{"policies": []string{"default"}, "ttl": "1h"})+"\n")
	k.Exits(0, k.Once(auto(k.method("token_file", `token_file_path = "t"`), fileSink)))
	k.Is("token", strings.TrimSpace(k.Read("t")))
	k.Asked(1, "GET", "auth/token/lookup-self")
	k.Asked(1, "", "*")
}

func tokenFileDead(k *Kit) {
	k.Shared()
	tok := k.Site.NewToken(m{"policies": []string{"default"}})
	k.Site.OK("POST", "auth/token/revoke", m{"token": tok})
	k.Write("t", tok)
	r := k.Exits(3, k.Once(auto(k.method("token_file", `token_file_path = "t"`), fileSink), "-timeout=20s"))
	k.soon(r)
	k.Missing("token")
}

func namespaceHeader(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	method := strings.Replace(k.approle(m{"token_policies": k.name}), " mount_path", " namespace = \"team/one\"\n mount_path", 1)
	k.Exits(0, k.Once(auto(method, fileSink)+k.template("app", "{{.Data.data.password}}")))
	k.Is("app", canary+"1")
	for _, r := range k.Site.Front.Requests() {
		if ns := strings.Trim(r.Header.Get("X-Vault-Namespace"), "/"); ns != "team/one" {
			k.Errorf("%s %s went to namespace %q", r.Method, r.Path, ns)
		}
	}
	// The environment wins over the file.
	k.Write("secret_id", k.Site.SecretID(k.name, "app"))
	k.Site.Front.Forget()
	k.Exits(0, k.RunWith([]string{"VAULT_NAMESPACE=env"}, "once", "-config=latchkey.hcl"))
	for _, r := range k.Site.Front.Requests() {
		if ns := strings.Trim(r.Header.Get("X-Vault-Namespace"), "/"); ns != "env" {
			k.Errorf("%s %s went to namespace %q, not env", r.Method, r.Path, ns)
		}
	}
}

func emptyLogin(k *Kit) {
	k.Shared()
	cfg := auto(k.approle(m{"token_policies": "default"}), fileSink)
	k.Site.Front.Rude(vaulttest.Match{Path: "auth/" + k.name + "/login"}, vaulttest.Rudeness{Raw: `{"request_id":"x","auth":null,"data":null}`})
	k.Exits(3, k.Once(strings.Replace(cfg, " mount_path", " exit_on_err = true\n mount_path", 1), "-timeout=10s"))
	k.Missing("token")
}

func methodWrapping(k *Kit) {
	k.Shared()
	method := strings.Replace(k.approle(m{"token_policies": "default"}), " mount_path", " wrap_ttl = \"5m\"\n mount_path", 1)
	k.Exits(0, k.Once(auto(method, fileSink)))
	info := k.wrapInfo("token")
	if p := info["creation_path"]; p != "auth/"+k.name+"/login" {
		k.Errorf("creation_path is %v", p)
	}
	ans := k.Site.As(info["token"].(string)).OK("PUT", "sys/wrapping/unwrap", nil)
	if got := k.Site.As(ans.Str("auth.client_token")).Do("GET", "auth/token/lookup-self", nil); got.Status != 200 {
		k.Errorf("the unwrapped token: %d", got.Status)
	}
	k.Asked(1, "", "*")
}

func revokeOnExit(k *Kit) {
	k.Shared()
	k.kv2("app", m{"password": canary + "1"})
	k.Exits(0, k.Once(auto(k.approle(m{"token_policies": []string{"default", k.name}}))+k.template("app", "{{.Data.data.password}}"), "-revoke-on-exit"))
	k.Is("app", canary+"1")
	k.Asked(1, "PUT", "auth/token/revoke-self")
	for _, r := range k.Site.Front.Requests() {
		if tok := r.Header.Get("X-Vault-Token"); tok != "" && k.Site.As(tok).Do("GET", "auth/token/lookup-self", nil).Status != 403 {
			k.Error("the token is still good")
		}
	}
}

func revokeRefused(k *Kit) {
	k.Shared()
	path := k.leased()
	k.Exits(2, k.Once(auto(k.approle(m{"token_policies": []string{"default", k.name}}))+
		templateOf("creds", `{{ with secret "`+path+`" }}{{ .Data.username }}{{ end }}`), "-revoke-on-exit"))
	k.Asked(0, "PUT", "auth/token/revoke-self")
	k.Read("creds")
}
