//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/awstest"
	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
	"latchkey/internal/vaulttest/cases"
)

// The extension as a process of a Lambda, beside a function that is one, before a
// real Vault whose AWS auth method asks our STS. Each case is named for what a
// user sees, and runs on our platform and, where that can stage it, on AWS's own
// emulator.
var lambdaCases = []map[string]func(*lambdaScene){lambdaStarts, lambdaFailures, lambdaFrozen, lambdaProxied, lambdaLogins, lambdaVariables}

func TestLambda(t *testing.T) {
	runLambda(t, "")
}

func TestLambdaOnAWSsEmulator(t *testing.T) {
	rie := os.Getenv(lambdatest.RIE)
	if rie == "" {
		t.Skip(lambdatest.RIE + " names no emulator")
	}
	runLambda(t, rie)
}

func runLambda(t *testing.T, rie string) {
	t.Parallel()
	for _, table := range lambdaCases {
		for _, name := range slices.Sorted(maps.Keys(table)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				table[name](newLambdaScene(t, rie))
			})
		}
	}
}

// lambdaBinaries are what runs in a Lambda, each built once.
var lambdaBinaries = func() map[string]func() (string, error) {
	built := map[string]func() (string, error){}
	for _, pkg := range []string{"./cmd/latchkey-extension", "./cmd/latchkey-exec", "./cmd/latchkey", "./internal/lambdatest/function"} {
		built[filepath.Base(pkg)] = sync.OnceValues(func() (string, error) { return lambdaBuild(lambdatest.Build, pkg) })
	}
	built["skewed"] = sync.OnceValues(func() (string, error) { return lambdaBuild(lambdatest.BuildSkewed, "./cmd/latchkey-extension") })
	return built
}()

func lambdaBuild(build func(module, pkg, dir string) (string, error), pkg string) (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	return build("..", pkg, dir)
}

// lambdaScene is what a case works with.
type lambdaScene struct {
	*testing.T
	*cases.Site // the real Vault behind a front of this case's own
	aws         *awstest.AWS
	rie         string // AWS's emulator; our platform when empty

	mount  string // of the AWS auth method
	path   string // of a secret, as the API names it
	policy string
	tmp    string
	file   string // where the secret becomes a file
	listen string // of the proxy
}

var lambdaSceneCount atomic.Int64

const lambdaPassword = `s3cret "$` + "`" + `' <&> \ü`

func newLambdaScene(t *testing.T, rie string) *lambdaScene {
	t.Helper()
	n := strconv.FormatInt(lambdaSceneCount.Add(1), 10)
	s := &lambdaScene{
		T: t, Site: fronted(t, get(t, dev)), aws: awstest.Start(t), rie: rie,
		mount: "aws-" + n, path: "secret/data/lambda/" + n, policy: "lambda-" + n, tmp: t.TempDir(), listen: lambdaAddress(t),
	}
	s.file = filepath.Join(s.tmp, "secret.json")
	s.write("one")
	s.Policy(s.policy, map[string][]string{s.path: {"read", "update", "create"}, "secret/data/lambda/none": {"read"}})
	s.EnableAuth(s.mount, "aws")
	s.OK("POST", "auth/"+s.mount+"/config/client", vaulttest.Map{"sts_endpoint": s.aws.URL})
	s.role(vaulttest.Map{"token_ttl": "1h"})
	return s
}

func lambdaAddress(t testing.TB) string {
	t.Helper()
	address, err := lambdatest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// write puts a new version of the secret.
func (s *lambdaScene) write(value string) {
	s.OK("POST", s.path, vaulttest.Map{"data": vaulttest.Map{"value": value, "password": lambdaPassword}})
}

// role makes the role app of the function, with options such as token_ttl.
func (s *lambdaScene) role(o vaulttest.Map) {
	role := vaulttest.Map{
		"auth_type": "iam", "bound_iam_principal_arn": functionRole, "resolve_aws_unique_ids": false, "token_policies": s.policy,
	}
	maps.Copy(role, o)
	s.OK("POST", "auth/"+s.mount+"/role/app", role)
}

// usual is what the function is configured with: one file, and the proxy.
func (s *lambdaScene) usual(more ...string) []string {
	env := map[string]string{}
	order := []string{}
	for _, e := range append([]string{
		"VLE_VAULT_ADDR=" + s.Addr, "VAULT_ADDR=http://" + s.listen, "LATCHKEY_LISTEN=" + s.listen,
		"VAULT_AUTH_PROVIDER=" + s.mount, "VAULT_AUTH_ROLE=app", "VAULT_SECRET_PATH=" + s.path, "VAULT_SECRET_FILE=" + s.file,
	}, more...) {
		name, value, set := strings.Cut(e, "=")
		if _, known := env[name]; !known {
			order = append(order, name)
		}
		env[name] = value
		if !set {
			delete(env, name) // "NAME" takes it away
		}
	}
	var list []string
	for _, name := range order {
		if value, ok := env[name]; ok {
			list = append(list, name+"="+value)
		}
	}
	return list
}

// options are those of a platform with the small extension.
func (s *lambdaScene) options(env ...string) lambdatest.Options {
	s.Helper()
	// The limits are those of a test on a busy machine; a case that is about limits
	// has its own.
	return lambdatest.Options{
		Extension: s.binary("latchkey-extension"), Function: s.binary("function"), Env: env, Tmp: s.tmp,
		Timeout: 20 * time.Second, InitLimit: 30 * time.Second,
		Credentials: lambdatest.Credentials{AccessKeyID: s.aws.Function.ID, SecretAccessKey: s.aws.Function.Secret, SessionToken: s.aws.Function.Token},
	}
}

func (s *lambdaScene) binary(name string) string {
	s.Helper()
	path, err := lambdaBinaries[name]()
	if err != nil {
		s.Fatal(err)
	}
	return path
}

// start starts an environment, or skips the case where it cannot be staged.
func (s *lambdaScene) start(o lambdatest.Options) lambdatest.Environment {
	s.Helper()
	var e lambdatest.Environment
	if s.rie == "" {
		e = lambdatest.Start(s.T, o)
	} else {
		if err := o.OnEmulator(); err != nil {
			s.Skip(err)
		}
		e = lambdatest.StartEmulator(s.T, s.rie, o)
	}
	s.Cleanup(func() { s.keepsQuiet(e.Logs("")) })
	return e
}

// ours is start for a case that needs our platform.
func (s *lambdaScene) ours(o lambdatest.Options) *lambdatest.Platform {
	s.Helper()
	if s.rie != "" {
		s.Skip("needs our platform")
	}
	return s.start(o).(*lambdatest.Platform)
}

// keepsQuiet fails the case when a log tells a secret: of AWS, of Vault, or the
// one that is read.
func (s *lambdaScene) keepsQuiet(log string) {
	s.Helper()
	secrets := append(s.aws.Secrets(), lambdaPassword)
	for _, r := range s.Front.Requests() {
		if strings.HasSuffix(r.Path, "/login") {
			var a struct {
				Auth struct {
					ClientToken string `json:"client_token"`
				} `json:"auth"`
			}
			if json.Unmarshal(r.Answer, &a) == nil && a.Auth.ClientToken != "" {
				secrets = append(secrets, a.Auth.ClientToken)
			}
		}
	}
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			s.Errorf("the log tells a secret: %.8s…", secret)
		}
	}
}

// inits wants the start to go well. AWS's emulator inits at the first invocation.
func (s *lambdaScene) inits(e lambdatest.Environment) lambdatest.InitReport {
	s.Helper()
	s.do(e, task.Task{})
	r := e.Init()
	if r.Fault != nil {
		s.Fatalf("init: %v (%s %s)", r.Fault, r.ReportedType, r.ReportedBody)
	}
	return r
}

// do invokes with a task that must go well.
func (s *lambdaScene) do(e lambdatest.Environment, what task.Task) task.Answer {
	s.Helper()
	r, err := e.Invoke(what)
	if err != nil {
		s.Fatalf("%s: %v", what.Do, err)
	}
	var a task.Answer
	if err := r.Into(&a); err != nil {
		s.Fatal(err)
	}
	return a
}

// get is a request through the proxy, as a function without a client makes it.
func (s *lambdaScene) get(path string, header ...string) task.Task {
	t := task.Task{Do: "get", URL: "http://" + s.listen + "/v1/" + path, Header: map[string]string{}}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		t.Header[name] = value
	}
	return t
}

// reads wants a read of the secret through the proxy to go well, and gives it.
func (s *lambdaScene) reads(e lambdatest.Environment, header ...string) string {
	s.Helper()
	a := s.do(e, s.get(s.path, header...))
	if a.Status != 200 || a.Error != "" {
		s.Fatalf("through the proxy: %d %s %s", a.Status, a.Text, a.Error)
	}
	return secretIn(s.T, a.Text)
}

// inFile is the secret in a file as a function reads it.
func (s *lambdaScene) inFile(e lambdatest.Environment) string {
	s.Helper()
	a := s.do(e, task.Task{Do: "read", Path: s.file})
	if a.Error != "" {
		s.Fatal(a.Error)
	}
	return secretIn(s.T, a.Text)
}

// secretIn is the value in an answer of Vault about the secret.
func secretIn(t testing.TB, text string) string {
	t.Helper()
	var secret struct {
		Data struct {
			Data struct{ Value, Password string } `json:"data"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &secret); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if secret.Data.Data.Password != lambdaPassword {
		t.Fatalf("the password came out as %q", secret.Data.Data.Password)
	}
	return secret.Data.Data.Value
}

// logins counts the tries to log in.
func (s *lambdaScene) logins() int { return s.Front.Count("PUT", "auth/"+s.mount+"/login") }

// revoked ends all tokens that the function's role has.
func (s *lambdaScene) revoked() {
	s.Helper()
	s.OK("PUT", "sys/leases/revoke-prefix/auth/"+s.mount+"/login", nil)
}

// accessors are those of the tokens that logins gave.
func (s *lambdaScene) accessors() []string {
	var all []string
	for _, r := range s.Front.Requests() {
		if !strings.HasSuffix(r.Path, "/login") {
			continue
		}
		var a struct{ Auth struct{ Accessor string } }
		if json.Unmarshal(r.Answer, &a) == nil && a.Auth.Accessor != "" {
			all = append(all, a.Auth.Accessor)
		}
	}
	return all
}

// over waits until the server knows no token of the accessors any more.
func (s *lambdaScene) over(accessors []string) {
	s.Helper()
	if len(accessors) == 0 {
		s.Fatal("there was no token")
	}
	for _, a := range accessors {
		s.eventually("a token's end", func() bool {
			answer, err := s.Try("PUT", "auth/token/lookup-accessor", vaulttest.Map{"accessor": a})
			return err == nil && answer.Status/100 == 4
		})
	}
}

// eventually asks until it is so. It is for what a server does in its own time.
func (s *lambdaScene) eventually(what string, is func() bool) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatalf("waited in vain for %s", what)
		}
	}
}

// fails wants the start to fail as the platform says and as the extension says,
// and gives what it said.
func (s *lambdaScene) fails(e lambdatest.Environment, reported string, words ...string) {
	s.Helper()
	if s.rie != "" {
		_, err := e.Invoke(task.Task{})
		if err == nil {
			s.Fatal("it started")
		}
	}
	r := e.Init()
	if r.Fault == nil || r.Fault.Type != lambdatest.InitError {
		s.Fatalf("the fault is %v, not that the extension said why", r.Fault)
	}
	text := e.Logs("")
	if s.rie == "" {
		if r.ReportedType != reported {
			s.Errorf("reported as %s, not %s: %s", r.ReportedType, reported, r.ReportedBody)
		}
		var body struct{ ErrorMessage, ErrorType string }
		if err := json.Unmarshal([]byte(r.ReportedBody), &body); err != nil || body.ErrorMessage == "" {
			s.Errorf("the report is %q", r.ReportedBody)
		}
		text = body.ErrorMessage
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.Errorf("nothing of %q in %s", w, text)
		}
	}
	if s.keepsQuiet(r.ReportedBody); s.Failed() {
		s.Log(e.Logs(""))
	}
}

// fault wants an invocation to have failed as the platform calls it.
func (s *lambdaScene) fault(err error, kind string) {
	s.Helper()
	var f *lambdatest.Fault
	if !errors.As(err, &f) || f.Type != kind {
		s.Fatalf("the invocation ended with %v, not %s", err, kind)
	}
}

// gently wants the end to be one that the extension took by itself, with 0, which
// AWS's emulator does not tell.
func (s *lambdaScene) gently(ended []lambdatest.Ended) {
	s.Helper()
	if len(ended) != 1 || !ended[0].Told || ended[0].Killed || ended[0].Code != 0 && s.rie == "" {
		s.Errorf("it ended as %+v", ended)
	}
}

func (s *lambdaScene) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	s.Cleanup(cancel)
	return ctx
}
