package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/awstest"
	"latchkey/internal/vaulttest"
)

// The methods aws and aws_web_identity, as a whole program against a real Vault
// whose AWS, and whose issuer of JWTs, is the fake one.

// amazon is an AWS, and a Vault that trusts it.
type amazon struct {
	t     *testing.T
	aws   *awstest.AWS
	admin *vaulttest.Admin
	// mount is that of the AWS auth method, jwt that of the other.
	mount, jwt string
}

func newAmazon(t *testing.T) *amazon {
	t.Helper()
	s := get(t, dev)
	name := fmt.Sprintf("%d", time.Now().UnixNano())
	a := &amazon{t: t, aws: awstest.Start(t), admin: vaulttest.NewAdmin(t, s.Addr, s.RootToken, nil, nil), mount: "auth/aws-" + name, jwt: "auth/jwt-" + name}
	a.admin.EnableAuth(strings.TrimPrefix(a.mount, "auth/"), "aws")
	a.admin.EnableAuth(strings.TrimPrefix(a.jwt, "auth/"), "jwt")
	t.Cleanup(func() {
		a.admin.OK("DELETE", "sys/"+a.mount, nil)
		a.admin.OK("DELETE", "sys/"+a.jwt, nil)
	})
	return a
}

// trusts configures the AWS method: the STS that it asks, and more.
func (a *amazon) trusts(sts string, more vaulttest.Map) {
	a.t.Helper()
	config := vaulttest.Map{"sts_endpoint": sts, "access_key": a.aws.User.ID, "secret_key": a.aws.User.Secret}
	for k, v := range more {
		config[k] = v
	}
	a.admin.OK("POST", a.mount+"/config/client", config)
}

// role may be taken by one principal.
func (a *amazon) role(name, principal string, more vaulttest.Map) {
	a.t.Helper()
	role := vaulttest.Map{
		"auth_type": "iam", "bound_iam_principal_arn": principal, "resolve_aws_unique_ids": false, "token_ttl": "5m", "token_policies": "default",
	}
	for k, v := range more {
		role[k] = v
	}
	a.admin.OK("POST", a.mount+"/role/"+name, role)
}

// The principals of the keys that there are.
const (
	userARN     = "arn:aws:iam::" + awstest.Account + ":user/app"
	functionARN = "arn:aws:iam::" + awstest.Account + ":role/function-role"
	instanceARN = "arn:aws:iam::" + awstest.Account + ":role/instance-role"
)

// shot is a one-shot.
type shot struct {
	output string
	token  string
	err    error
}

// oneShot logs in with a method block in an environment and leaves a token.
func (a *amazon) oneShot(method string, env ...string) shot {
	a.t.Helper()
	file, sink := a.config(method)
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	cmd := a.command(ctx, env, "-config="+file, "-exit-after-auth", "-log-level=trace")
	out, err := cmd.CombinedOutput()
	token, _ := os.ReadFile(sink)
	r := shot{output: string(out), token: strings.TrimSpace(string(token)), err: err}
	a.quiet(r.output)
	return r
}

func (a *amazon) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program(a.t), args...)
	cmd.Env = append([]string{"HOME=" + a.t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}, env...)
	return cmd
}

// config writes a configuration whose login gives up soon.
func (a *amazon) config(method string) (file, sink string) {
	a.t.Helper()
	dir := a.t.TempDir()
	file, sink = filepath.Join(dir, "config.hcl"), filepath.Join(dir, "token")
	text := fmt.Sprintf("vault {\n  address = %q\n}\nauto_auth {\n  method %s\n  sink \"file\" {\n    config = { path = %q }\n  }\n}\n", a.admin.Addr, method, sink)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file, sink
}

// quiet looks for secrets in what a program said.
func (a *amazon) quiet(said string) {
	a.t.Helper()
	for _, s := range append(a.aws.Secrets(), "canary") {
		if strings.Contains(said, s) {
			a.t.Errorf("a secret is told:\n%s", said)
		}
	}
}

// who is whom a token was given to: a user, or a role and its session; the subject of a
// JWT.
func (a *amazon) who(r shot) string {
	a.t.Helper()
	if r.err != nil || r.token == "" {
		a.t.Fatalf("%v\n%s", r.err, r.output)
	}
	name := a.admin.As(r.token).OK("GET", "auth/token/lookup-self", nil).Str("data.display_name")
	for _, mount := range []string{a.mount, a.jwt} {
		name = strings.TrimPrefix(name, strings.TrimPrefix(mount, "auth/")+"-")
	}
	return name
}

// iam is a block of method aws.
func (a *amazon) iam(role string, more ...string) string {
	return fmt.Sprintf("\"aws\" {\n    mount_path = %q\n    config = {\n      type = \"iam\"\n      role = %q\n      %s\n    }\n  }", a.mount, role, strings.Join(more, "\n      "))
}

func (a *amazon) assume(more ...string) string {
	return a.iam("reader", append([]string{
		fmt.Sprintf("assume_role_arn = %q", awstest.RoleARN), fmt.Sprintf("assume_role_external_id = %q", awstest.ExternalID),
		`assume_role_tags = { team = "payments", stage = "prod & more" }`,
	}, more...)...)
}

func TestAWSLogsInAtARealVault(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	a.trusts(a.aws.URL, nil)
	a.role("app", userARN, nil)
	a.role("function", functionARN, nil)
	a.role("instance", instanceARN, nil)
	a.role("reader", awstest.RoleARN, nil)

	home := t.TempDir()
	profile := "[work]\naws_access_key_id = " + a.aws.User.ID + "\naws_secret_access_key = " + a.aws.User.Secret + "\n"
	if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".aws", "credentials"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		method string
		env    []string
		want   string
	}{
		"keys in the environment":    {a.iam("app"), a.aws.User.Environ(), "app"},
		"keys of a function":         {a.iam("function"), append(a.aws.Function.Environ(), "AWS_REGION=eu-central-1"), "function-role/my-function"},
		"keys in the configuration":  {a.iam("app", fmt.Sprintf("access_key = %q", a.aws.User.ID), fmt.Sprintf("secret_key = %q", a.aws.User.Secret)), nil, "app"},
		"a profile":                  {a.iam("app"), []string{"HOME=" + home, "AWS_PROFILE=work"}, "app"},
		"an instance":                {a.iam("instance"), append(a.aws.InstanceEnviron(), "AWS_EC2_METADATA_DISABLED=false"), "instance-role/i-0123456789abcdef0"},
		"a container":                {a.iam("function"), a.aws.ContainerEnviron(), "function-role/restored"},
		"us-east-1 by name":          {a.iam("app", `region = "us-east-1"`), a.aws.User.Environ(), "app"},
		"an endpoint by name":        {a.iam("app", `sts_endpoint = "https://sts.amazonaws.com"`), a.aws.User.Environ(), "app"},
		"a role that is taken on":    {a.assume(fmt.Sprintf("assume_role_sts_endpoint = %q", a.aws.URL)), append(a.aws.User.Environ(), "AWS_REGION=us-east-1"), "vault-reader/vault_auth"},
		"variables before a profile": {a.iam("app"), append(a.aws.User.Environ(), "AWS_PROFILE=nobody"), "app"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := a.who(a.oneShot(tc.method, tc.env...)); got != tc.want {
				t.Errorf("the token is %s's", got)
			}
		})
	}
}

func TestAWSLogsInWhereTheServerAsksARegion(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	a.trusts(a.aws.STS("eu-central-1"), vaulttest.Map{"sts_region": "eu-central-1", "iam_server_id_header_value": "vault.example.com"})
	a.role("app", userARN, nil)
	const region, name = `region = "eu-central-1"`, `header_value = "vault.example.com"`
	if got := a.who(a.oneShot(a.iam("app", region, name), a.aws.User.Environ()...)); got != "app" {
		t.Errorf("the token is %s's", got)
	}
	if got := a.who(a.oneShot(a.iam("app", `region = ""`, name), append(a.aws.User.Environ(), "AWS_REGION=eu-central-1")...)); got != "app" {
		t.Errorf("the token is %s's", got)
	}
	for what, tc := range map[string]struct {
		method string
		env    []string
		words  []string
	}{
		"no region":        {a.iam("app", name), a.aws.User.Environ(), []string{"SignatureDoesNotMatch", "what was signed is for https://sts.amazonaws.com/ in region us-east-1", "set region (VAULT_STS_ENDPOINT_REGION in Lambda) to that sts_region"}},
		"another region":   {a.iam("app", `region = "ap-south-1"`, name), a.aws.User.Environ(), []string{"https://sts.ap-south-1.amazonaws.com/ in region ap-south-1"}},
		"no server's name": {a.iam("app", region), a.aws.User.Environ(), []string{"set header_value"}},
		"another name":     {a.iam("app", region, `header_value = "bao.example.com"`), a.aws.User.Environ(), []string{"is not the server's iam_server_id_header_value"}},
		"another role":     {a.iam("nobody", region, name), a.aws.User.Environ(), []string{"aws at " + a.mount}},
		"no keys":          {a.iam("app", region, name), nil, []string{"no AWS keys in the environment"}},
		"keys of nobody":   {a.iam("app", region, name), []string{"AWS_ACCESS_KEY_ID=AKIANOBODY", "AWS_SECRET_ACCESS_KEY=canary"}, []string{"AWS does not know these keys"}},
		"a wrong secret":   {a.iam("app", region, name), []string{"AWS_ACCESS_KEY_ID=" + a.aws.User.ID, "AWS_SECRET_ACCESS_KEY=canary"}, []string{"the secret key is wrong"}},
	} {
		t.Run(what, func(t *testing.T) {
			a.refused(a.soon(tc.method), tc.env, tc.words...)
		})
	}
	t.Run("a clock that is wrong", func(t *testing.T) {
		a.aws.Skew(20 * time.Minute)
		defer a.aws.Skew(0)
		a.refused(a.iam("app", region, name), a.aws.User.Environ(), "Signature expired", "the clock here")
	})
}

// soon is a method that is not tried for long where it might yet succeed.
func (a *amazon) soon(method string) string {
	return strings.Replace(method, "config = {", "exit_on_err = true\n    config = {", 1)
}

// refused runs a one-shot that ends without a token, and with these words.
func (a *amazon) refused(method string, env []string, words ...string) {
	a.t.Helper()
	r := a.oneShot(method, env...)
	var code *exec.ExitError
	if !errors.As(r.err, &code) || r.token != "" {
		a.t.Fatalf("it ended with %v\n%s", r.err, r.output)
	}
	for _, w := range words {
		if !strings.Contains(r.output, w) {
			a.t.Errorf("%q is not in:\n%s", w, r.output)
		}
	}
}

// Whoever is slowed down by AWS, on the server's side, comes back later.
func TestAWSIsWaitedForWhenTheServerIsSlowedDown(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	a.trusts(a.aws.URL, nil)
	a.role("app", userARN, nil)
	a.aws.Fail("GetCallerIdentity", awstest.Fault{Status: 400, Code: "Throttling", Message: "Rate exceeded"})
	r := a.oneShot(a.iam("app"), a.aws.User.Environ()...)
	if got := a.who(r); got != "app" || !strings.Contains(r.output, "Rate exceeded") {
		t.Errorf("the token is %s's\n%s", got, r.output)
	}
}

// A daemon logs in again and again, with keys of a role that it took on once.
func TestAWSADaemonKeepsTheRoleItTookOn(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	a.trusts(a.aws.URL, nil)
	a.role("reader", awstest.RoleARN, vaulttest.Map{"token_ttl": "2s", "token_max_ttl": "2s"})
	file, sink := a.config(a.assume(fmt.Sprintf("assume_role_sts_endpoint = %q", a.aws.URL)))
	var output bytes.Buffer
	cmd := a.command(t.Context(), append(a.aws.User.Environ(), "AWS_REGION=us-east-1"), "-config="+file, "-log-level=trace")
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	waitFor(t, func() bool {
		token, _ := os.ReadFile(sink)
		if s := strings.TrimSpace(string(token)); s != "" {
			seen[s] = true
		}
		return len(seen) >= 3
	})
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Logf("it ended with %v", err)
	}
	a.quiet(output.String())
	if n := a.aws.Calls("AssumeRole"); n != 1 {
		t.Errorf("the role was taken on %d times for %d logins", n, len(seen))
	}
}

// waitFor asks until something is so.
func waitFor(t *testing.T, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not come to that within a minute")
		}
	}
}

// The other method needs no AWS on the server's side: a plain JWT mount that looks
// for keys where the account's issuer has them.
func TestAWSSignsAJWTForARealVault(t *testing.T) {
	t.Parallel()
	a := newAmazon(t)
	for name, config := range map[string]vaulttest.Map{
		"by its discovery document": {"oidc_discovery_url": a.aws.URL, "jwt_supported_algs": []string{"RS256", "ES384"}},
		"by its keys":               {"jwks_url": a.aws.URL + "/.well-known/jwks.json", "bound_issuer": a.aws.URL, "jwt_supported_algs": []string{"RS256", "ES384"}, "oidc_discovery_url": ""},
	} {
		t.Run(name, func(t *testing.T) {
			a.admin.OK("POST", a.jwt+"/config", config)
			a.admin.OK("POST", a.jwt+"/role/function", vaulttest.Map{
				"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "bound_subject": functionARN, "token_ttl": "5m",
				"bound_claims": vaulttest.Map{"/https:~1~1sts.amazonaws.com~1/aws_account": awstest.Account},
			})
			env := append(a.aws.Function.Environ(), "AWS_REGION=eu-central-1")
			for _, alg := range []string{"RS256", "ES384"} {
				r := a.oneShot(a.web("function", "vault", fmt.Sprintf("signing_algorithm = %q", alg), `duration = "1m"`, `tags = { team = "payments" }`), env...)
				if got := a.who(r); got != functionARN {
					t.Errorf("%s: the token is %s's", alg, got)
				}
			}
			a.refused(a.soon(a.web("function", "bao")), env, "aws_web_identity at "+a.jwt, "audience")
			a.refused(a.soon(a.web("function", "vault")), a.aws.User.Environ(), "no region")
			a.refused(a.soon(a.web("function", "vault")), append(a.aws.User.Environ(), "AWS_REGION=eu-central-1"), "aws_web_identity at "+a.jwt)
		})
	}
}

// web is a block of method aws_web_identity.
func (a *amazon) web(role, audience string, more ...string) string {
	more = append(more, fmt.Sprintf("sts_endpoint = %q", a.aws.STS("eu-central-1")))
	return fmt.Sprintf("\"aws_web_identity\" {\n    mount_path = %q\n    config = {\n      role = %q\n      audience = %q\n      %s\n    }\n  }", a.jwt, role, audience, strings.Join(more, "\n      "))
}
