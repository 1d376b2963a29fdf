//go:build linux

package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"latchkey/internal/awstest"
	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// lambdaLogins are the ways to log in.
var lambdaLogins = map[string]func(*lambdaScene){
	"a signed login asks nobody at AWS": func(s *lambdaScene) {
		// Whoever would, had to go through a proxy that is not there.
		e := s.start(s.options(s.usual("HTTPS_PROXY=http://"+lambdaAddress(s.T), "AWS_STS_REGIONAL_ENDPOINTS=legacy")...))
		s.inits(e)
		if s.logins() != 1 || s.aws.Calls("AssumeRole") != 0 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"a region, and a server that is set up for it": func(s *lambdaScene) {
		s.OK("POST", "auth/"+s.mount+"/config/client", vaulttest.Map{"sts_endpoint": s.aws.STS("eu-west-1"), "sts_region": "eu-west-1"})
		o := s.options(s.usual("VAULT_STS_ENDPOINT_REGION=eu-west-1")...)
		o.Region = "eu-west-1"
		s.inits(s.start(o))
	},
	"a region of the function alone changes nothing": func(s *lambdaScene) {
		o := s.options(s.usual()...)
		o.Region = "ap-southeast-2"
		s.inits(s.start(o))
	},
	"a region that the server does not know of is explained": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VAULT_STS_ENDPOINT_REGION=eu-west-1")...)),
			"Extension.AuthFailed", "SignatureDoesNotMatch", "sts.eu-west-1.amazonaws.com", "sts_region")
	},
	"a server that wants its name in the signature": func(s *lambdaScene) {
		s.OK("POST", "auth/"+s.mount+"/config/client", vaulttest.Map{"sts_endpoint": s.aws.URL, "iam_server_id_header_value": "vault.example.com"})
		s.inits(s.start(s.options(s.usual("VAULT_IAM_SERVER_ID=vault.example.com")...)))
	},
	"a server that wants its name in the signature and is not given it": func(s *lambdaScene) {
		s.OK("POST", "auth/"+s.mount+"/config/client", vaulttest.Map{"sts_endpoint": s.aws.URL, "iam_server_id_header_value": "vault.example.com"})
		s.fails(s.start(s.options(s.usual()...)), "Extension.AuthFailed", "VAULT_IAM_SERVER_ID")
	},
	"another role of AWS, assumed once": func(s *lambdaScene) {
		s.role(vaulttest.Map{"bound_iam_principal_arn": awstest.RoleARN})
		e := s.start(s.options(s.usual("VAULT_ASSUMED_ROLE_ARN="+awstest.RoleARN, "LATCHKEY_ASSUME_ROLE_EXTERNAL_ID="+awstest.ExternalID,
			"LATCHKEY_ASSUME_ROLE_TAGS=team=payments,stage=prod & more", "LATCHKEY_ASSUME_ROLE_STS_ENDPOINT="+s.aws.URL)...))
		s.inits(e)
		s.revoked()
		s.reads(e)
		if s.logins() != 2 || s.aws.Calls("AssumeRole") != 1 {
			s.Errorf("%d logins, %d roles assumed", s.logins(), s.aws.Calls("AssumeRole"))
		}
	},
	"a role of AWS that may not be assumed": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("VAULT_ASSUMED_ROLE_ARN="+awstest.RoleARN, "LATCHKEY_ASSUME_ROLE_STS_ENDPOINT="+s.aws.URL)...)),
			"Extension.AuthFailed", awstest.RoleARN, "AccessDenied")
	},
	"AppRole": func(s *lambdaScene) {
		mount := "approle-" + s.mount
		s.EnableAuth(mount, "approle")
		id := s.AppRole(mount, "app", vaulttest.Map{"token_policies": s.policy})
		secret := s.OK("POST", "auth/"+mount+"/role/app/secret-id", nil).Str("data.secret_id")
		file := filepath.Join(s.tmp, "secret-id")
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			s.Fatal(err)
		}
		s.mount = mount
		for _, how := range []string{"LATCHKEY_AUTH_SECRET_ID=" + secret, "LATCHKEY_AUTH_SECRET_ID_FILE_PATH=" + file} {
			s.listen = lambdaAddress(s.T)
			e := s.start(s.options(s.usual("VAULT_AUTH_ROLE", "LATCHKEY_AUTH_METHOD=approle", "LATCHKEY_AUTH_ROLE_ID="+id, how,
				"LATCHKEY_AUTH_REMOVE_SECRET_ID_FILE_AFTER_READING=false")...))
			s.inits(e)
			s.reads(e)
			s.keepsQuiet(strings.ReplaceAll(e.Logs(""), secret, lambdaPassword))
		}
	},
	"a JWT that AWS signs": func(s *lambdaScene) {
		s.mount = "jwt-" + s.mount
		s.EnableAuth(s.mount, "jwt")
		s.OK("POST", "auth/"+s.mount+"/config", vaulttest.Map{"oidc_discovery_url": s.aws.URL})
		s.OK("POST", "auth/"+s.mount+"/role/app", vaulttest.Map{
			"role_type": "jwt", "bound_audiences": []string{"vault"}, "user_claim": "sub", "bound_subject": functionRole, "token_policies": s.policy,
		})
		e := s.start(s.options(s.usual("LATCHKEY_AUTH_METHOD=aws_web_identity", "LATCHKEY_AUTH_AUDIENCE=vault",
			"LATCHKEY_AUTH_STS_ENDPOINT="+s.aws.STS("us-east-1"))...))
		s.inits(e)
		s.reads(e)
		if s.aws.Calls("GetWebIdentityToken") != 1 {
			s.Errorf("%d tokens of AWS", s.aws.Calls("GetWebIdentityToken"))
		}
	},
	"a JWT in a file": func(s *lambdaScene) {
		s.mount = "jwt-" + s.mount
		signer := vaulttest.NewSigner(s.T, "ES256")
		s.EnableAuth(s.mount, "jwt")
		s.OK("POST", "auth/"+s.mount+"/config", vaulttest.Map{"jwt_validation_pubkeys": []string{signer.PEM}})
		s.OK("POST", "auth/"+s.mount+"/role/app", vaulttest.Map{
			"role_type": "jwt", "bound_audiences": []string{"vault"}, "user_claim": "sub", "token_policies": s.policy,
		})
		file := filepath.Join(s.tmp, "jwt")
		jwt := signer.Sign(s.T, vaulttest.Map{"aud": "vault", "sub": "job", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
		if err := os.WriteFile(file, []byte(jwt), 0o600); err != nil {
			s.Fatal(err)
		}
		e := s.start(s.options(s.usual("LATCHKEY_AUTH_METHOD=jwt", "LATCHKEY_AUTH_PATH="+file, "LATCHKEY_AUTH_REMOVE_JWT_AFTER_READING=false")...))
		s.inits(e)
		s.reads(e)
	},
	"a certificate of the function's own": func(s *lambdaScene) {
		server := get(s.T, secure)
		admin := vaulttest.NewAdmin(s.T, server.Addr, server.RootToken, server.CA.PEM, nil)
		ca, err := vaulttest.NewCA("functions")
		if err != nil {
			s.Fatal(err)
		}
		pair, err := ca.Client("function")
		if err != nil {
			s.Fatal(err)
		}
		cert, key := filepath.Join(s.tmp, "client.pem"), filepath.Join(s.tmp, "client.key")
		if err := errors.Join(os.WriteFile(cert, pair.Cert, 0o600), os.WriteFile(key, pair.Key, 0o600)); err != nil {
			s.Fatal(err)
		}
		s.mount = "cert-" + s.mount
		admin.EnableAuth(s.mount, "cert")
		admin.OK("POST", "auth/"+s.mount+"/certs/app", vaulttest.Map{"certificate": string(ca.PEM), "token_policies": "default"})
		e := s.start(s.options(s.usual("VLE_VAULT_ADDR="+server.Addr, "VAULT_CACERT="+server.CAFile, "VAULT_SECRET_PATH", "VAULT_SECRET_FILE",
			"LATCHKEY_AUTH_METHOD=cert", "LATCHKEY_AUTH_CLIENT_CERT="+cert, "LATCHKEY_AUTH_CLIENT_KEY="+key)...))
		s.inits(e)
		if a := s.do(e, s.get("auth/token/lookup-self")); a.Status != 200 {
			s.Errorf("%d %s", a.Status, a.Text)
		}
	},
	"a batch token": func(s *lambdaScene) {
		s.role(vaulttest.Map{"token_type": "batch", "token_ttl": "2s"})
		e := s.start(s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms")...))
		s.inits(e)
		s.eventually("another login", func() bool { s.reads(e); return s.logins() > 1 })
		if s.Front.Count("PUT", "auth/token/renew-self") != 0 {
			s.Error("a batch token was renewed")
		}
		s.gently(e.Shutdown("spindown"))
	},
	"a token with an odd end is not asked for at each request": func(s *lambdaScene) {
		// A grace period that is longer than the token's life.
		s.role(vaulttest.Map{"token_ttl": "5s", "token_max_ttl": "5s"})
		e := s.start(s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=1h")...))
		s.inits(e)
		many := s.get(s.path)
		many.Times = 50
		if a := s.do(e, many); a.Statuses[200] != 50 {
			s.Errorf("%v", a.Statuses)
		}
		if s.logins() > 3 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"a login that is put off is tried when the server says": func(s *lambdaScene) {
		s.Front.Rude(vaulttest.Match{Method: "PUT", Path: "auth/" + s.mount + "/login"}, vaulttest.Rudeness{Times: 2, Status: 429, RetryAfter: 1e9})
		s.inits(s.start(s.options(s.usual()...)))
		if s.logins() != 3 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"a renewal that fails does no harm": func(s *lambdaScene) {
		s.role(vaulttest.Map{"token_ttl": "3s"})
		s.Front.Rude(vaulttest.Match{Path: "auth/token/renew-self"}, vaulttest.Rudeness{Status: 500, Errors: []string{"no"}})
		e := s.start(s.options(s.usual("VAULT_TOKEN_EXPIRY_GRACE_PERIOD=100ms")...))
		s.inits(e)
		s.eventually("a login in its place", func() bool { s.reads(e); return s.logins() > 1 })
	},
	"a certificate authority in a variable": func(s *lambdaScene) {
		server := get(s.T, secure)
		admin := vaulttest.NewAdmin(s.T, server.Addr, server.RootToken, server.CA.PEM, nil)
		admin.EnableAuth(s.mount, "aws")
		admin.OK("POST", "auth/"+s.mount+"/config/client", vaulttest.Map{"sts_endpoint": s.aws.URL})
		admin.OK("POST", "auth/"+s.mount+"/role/app", vaulttest.Map{
			"auth_type": "iam", "bound_iam_principal_arn": functionRole, "resolve_aws_unique_ids": false, "token_policies": "default",
		})
		e := s.start(s.options(s.usual("VLE_VAULT_ADDR="+server.Addr, "VAULT_CACERT_BYTES="+string(server.CA.PEM), "VAULT_SECRET_PATH", "VAULT_SECRET_FILE")...))
		s.inits(e)
		if a := s.do(e, s.get("auth/token/lookup-self")); a.Status != 200 {
			s.Errorf("%d %s", a.Status, a.Text)
		}
	},
	"the full layer: a configuration file with a template and a sink": func(s *lambdaScene) {
		rendered, sink := filepath.Join(s.tmp, "rendered"), filepath.Join(s.tmp, "token")
		conf := filepath.Join(s.tmp, "latchkey.hcl")
		if err := os.WriteFile(conf, []byte(`
			auto_auth {
				method { type = "aws"  mount_path = "auth/`+s.mount+`"  config = { type = "iam"  role = "app" } }
				sink { type = "file"  config = { path = "`+sink+`" } }
			}
			template {
				contents    = "{{ with secret \"`+s.path+`\" }}{{ .Data.data.value }}{{ end }}"
				destination = "`+rendered+`"
			}
		`), 0o600); err != nil {
			s.Fatal(err)
		}
		o := s.options(s.usual("VAULT_AUTH_PROVIDER", "VAULT_AUTH_ROLE", "LATCHKEY_CONFIG="+conf, "LAMBDATEST_INIT_READ="+rendered+":"+sink)...)
		o.Extension, o.Name = s.binary("latchkey"), "latchkey-extension"
		e := s.start(o)
		s.inits(e)
		files := s.do(e, task.Task{Do: "init"}).Files
		if files[rendered].Text != "one" || files[sink].Text == "" {
			s.Errorf("%+v", files)
		}
		if s.reads(e) != "one" || s.inFile(e) != "one" || s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
		s.gently(e.Shutdown("spindown"))
	},
	"the full layer: a key that there is not is told with its line": func(s *lambdaScene) {
		conf := filepath.Join(s.tmp, "latchkey.hcl")
		if err := os.WriteFile(conf, []byte("vault {\n  adress = \"x\"\n}\n"), 0o600); err != nil {
			s.Fatal(err)
		}
		o := s.options(s.usual("LATCHKEY_CONFIG=" + conf)...)
		o.Extension, o.Name = s.binary("latchkey"), "latchkey-extension"
		s.fails(s.start(o), "Extension.ConfigInvalid", "latchkey.hcl:2", "adress")
	},
	"the small layer says that it reads no configuration": func(s *lambdaScene) {
		s.fails(s.start(s.options(s.usual("LATCHKEY_CONFIG=/var/task/latchkey.hcl")...)), "Extension.ConfigInvalid", "LATCHKEY_CONFIG", "full")
	},
}

// lambdaVariables are secrets in the environment of a function.
var lambdaVariables = map[string]func(*lambdaScene){
	"references become values, to the byte, and one login serves both": func(s *lambdaScene) {
		o := s.wrapped("PASSWORD=vault:"+s.path+"#password", "VALUE=vault:"+s.path+"#value", "PLAIN=a b",
			"INSIDE=>${vault:"+s.path+"#value}<", "LATCHKEY_ENV_KEEP=VAULT_AUTH_ROLE")
		e := s.start(o)
		s.inits(e)
		env := s.do(e, task.Task{Do: "env"}).Env
		if env["PASSWORD"] != lambdaPassword || env["VALUE"] != "one" || env["PLAIN"] != "a b" {
			s.Errorf("%q", env)
		}
		for name := range env {
			own := strings.HasPrefix(name, "LATCHKEY_") || strings.HasPrefix(name, "VLE_") || name == "VAULT_AUTH_PROVIDER"
			if own && name != "LATCHKEY_ENV_KEEP" {
				s.Errorf("%s is left", name)
			}
		}
		if env["VAULT_ADDR"] != "http://"+s.listen || env["AWS_LAMBDA_RUNTIME_API"] == "" || env["VAULT_AUTH_ROLE"] != "app" {
			s.Errorf("what the function needs is gone: %q", env)
		}
		if s.reads(e) != "one" || s.logins() != 1 {
			s.Errorf("%d logins", s.logins())
		}
	},
	"a reference to nothing ends the start, by the variable's name": func(s *lambdaScene) {
		e := s.start(s.wrapped("PASSWORD=vault:secret/data/lambda/none#password"))
		if s.rie != "" {
			_, _ = e.Invoke(task.Task{})
		}
		r := e.Init()
		if r.Fault == nil {
			s.Fatal("it started")
		}
		if text := r.ReportedBody + e.Logs(""); !strings.Contains(text, "PASSWORD") || !strings.Contains(text, "secret/data/lambda/none") {
			s.Error(text)
		}
	},
	"open: a reference to nothing is left out": func(s *lambdaScene) {
		e := s.start(s.wrapped("PASSWORD=vault:secret/data/lambda/none#password", "VALUE=vault:"+s.path+"#value", "LATCHKEY_FAIL=open", "LATCHKEY_INIT_BUDGET=2s"))
		s.inits(e)
		if env := s.do(e, task.Task{Do: "env"}).Env; strings.Contains(env["PASSWORD"], "vault:") {
			s.Errorf("the function has the reference: %q", env["PASSWORD"])
		}
	},
	"without references the wrapper only starts the function": func(s *lambdaScene) {
		e := s.start(s.wrapped())
		s.inits(e)
		if env := s.do(e, task.Task{Do: "env"}).Env; env["VAULT_ADDR"] == "" {
			s.Errorf("%q", env)
		}
	},
	"after a reset the function has its variables again": func(s *lambdaScene) {
		e := s.start(s.wrapped("VALUE=vault:" + s.path + "#value"))
		s.inits(e)
		s.write("two")
		_, err := e.Invoke(task.Task{Do: "exit", Code: 1})
		s.fault(err, lambdatest.RuntimeExit)
		if env := s.do(e, task.Task{Do: "env"}).Env; env["VALUE"] != "two" {
			s.Errorf("%q", env["VALUE"])
		}
	},
	"SnapStart: values that would be in the snapshot are refused": func(s *lambdaScene) {
		o := s.wrapped("VALUE=vault:" + s.path + "#value")
		o.InitType = lambdatest.SnapStart
		s.fails(s.ours(o), "Extension.ConfigInvalid", "LATCHKEY_SNAPSTART")
	},
}

// wrapped is the usual with latchkey-exec, and nothing in a file.
func (s *lambdaScene) wrapped(env ...string) lambdatest.Options {
	s.Helper()
	o := s.options(s.usual(append([]string{"VAULT_SECRET_PATH", "VAULT_SECRET_FILE"}, env...)...)...)
	o.Wrapper = s.binary("latchkey-exec")
	return o
}

func dialUnix(path string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
}
