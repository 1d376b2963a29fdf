//go:build linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/e2e/debian"
	"latchkey/e2e/server"
	"latchkey/internal/awstest"
	"latchkey/internal/lambdatest"
	"latchkey/internal/vaulttest"
)

// The functions of samples/lambda, each with the client it uses, as processes of a
// Lambda beside the extension; the server is set up by the scripts of
// samples/lambda/setup.

// functionRole is what the functions of awstest run as.
const functionRole = "arn:aws:iam::" + awstest.Account + ":role/function-role"

func lambdaSamples(elem ...string) string {
	return filepath.Join(append([]string{"..", "samples", "lambda"}, elem...)...)
}

// lambdaLayer is the small layer, unpacked, and made once. It stands for /opt.
var lambdaLayer = sync.OnceValues(func() (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "run", "./layer/mklayer", "-flavour", "small", "-arch", runtime.GOARCH, "-unpacked", "-out", dir)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	layer := filepath.Join(dir, "latchkey-extension-"+runtime.GOARCH)
	wrapper := filepath.Join(layer, "latchkey-exec")
	text, err := os.ReadFile(wrapper)
	if err == nil && bytes.HasPrefix(text, []byte("#!/opt/")) {
		err = os.WriteFile(wrapper, bytes.Replace(text, []byte("/opt"), []byte(layer), 1), 0o755)
	}
	return layer, err
})

// runtimes say how a function of each language is started: they make an executable
// file in dir, with what it needs, and return its path.
var runtimes = map[string]func(t *testing.T, dir string) string{
	"Go": func(t *testing.T, _ string) string { return goSample(t) },
	"Python": func(t *testing.T, dir string) string {
		into(t, dir, lambdaSamples("python", "app.py"), "testdata/lambda/runtime.py")
		need(t, "python3")
		if exec.Command("python3", "-c", "import hvac").Run() == nil {
			return script(t, dir, "python3", "-B", filepath.Join(dir, "runtime.py"))
		}
		tree, err := debian.Unpack(os.Stderr, "python3-hvac")
		if errors.Is(err, debian.ErrUnavailable) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		// Where the system has a part of it installed, it has it for its own Python.
		return script(t, dir, "/usr/bin/env", "PYTHONPATH="+filepath.Join(string(tree), "usr/lib/python3/dist-packages"), "/usr/bin/python3", "-B", filepath.Join(dir, "runtime.py"))
	},
	"Node": func(t *testing.T, dir string) string {
		modules := installed(t, "npm", lambdaSamples("node", "package-lock.json"), func(cache, lock string) [][]string {
			into(t, cache, lock, lambdaSamples("node", "package.json"))
			return [][]string{{"npm", "ci", "--prefix", cache, "--no-audit", "--no-fund", "--ignore-scripts"}}
		})
		into(t, dir, lambdaSamples("node", "index.mjs"), lambdaSamples("node", "package.json"), "testdata/lambda/runtime.mjs")
		if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		return script(t, dir, need(t, "node"), filepath.Join(dir, "runtime.mjs"))
	},
	"Java": func(t *testing.T, dir string) string {
		need(t, "javac")
		sources, err := filepath.Glob(lambdaSamples("java", "src", "example", "*.java"))
		if err != nil || len(sources) == 0 {
			t.Fatal(sources, err)
		}
		runIn(t, ".", "javac", append([]string{"--release", "17", "-d", dir, "testdata/lambda/Runtime.java"}, sources...)...)
		return script(t, dir, need(t, "java"), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", dir, "Runtime")
	},
}

// goSample is the function in Go, built once, in a directory where it may be
// /var/task/function.
func goSample(t *testing.T) string {
	t.Helper()
	path, err := goFunction()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var goFunction = sync.OnceValues(func() (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "function")
	cmd := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", path, ".")
	cmd.Dir = lambdaSamples("go")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// scratch is a directory that all tests have in common.
func scratch() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-lambda-")
	if err != nil {
		return "", err
	}
	mu.Lock()
	defer mu.Unlock()
	trash = append(trash, dir)
	return dir, nil
}

// need finds a program, or skips the test.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not here", name)
	}
	return path
}

func runIn(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// into copies files into a directory.
func into(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// script makes the file that Lambda starts.
func script(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	name := filepath.Join(dir, "bootstrap")
	if err := os.WriteFile(name, []byte("#!/bin/sh\nexec '"+strings.Join(argv, "' '")+"' \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// installed returns a directory of the user's cache into which the client of a
// language's registry put what a list names, once for each list. Where that cannot
// be had the test is skipped: it takes a network.
func installed(t *testing.T, client, list string, commands func(cache, list string) [][]string) string {
	t.Helper()
	client = need(t, client)
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(text, client...))
	dir := filepath.Join(cache, "latchkey-e2e", "packages-"+hex.EncodeToString(sum[:8]))
	unlock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	done := filepath.Join(dir, ".installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	list, err = filepath.Abs(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range commands(dir, list) {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.WaitDelay = time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func lockDir(dir string) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	return server.Lock(dir + ".lock")
}

// setUp runs one of the scripts that the samples bring, as a server's owner would.
func setUp(t *testing.T, site *vaulttest.Admin, name string, environ ...string) {
	t.Helper()
	vault, err := server.Binary(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", lambdaSamples("setup", name))
	cmd.Env = append(environ, "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(), "VAULT="+vault, "VAULT_ADDR="+site.Addr, "VAULT_TOKEN="+site.Token)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// setting is the environment of a function whose secrets are in secret/app.
func setting(t *testing.T, site *vaulttest.Admin, tmp string) []string {
	t.Helper()
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	return []string{
		"VLE_VAULT_ADDR=" + site.Addr,
		"VAULT_ADDR=http://" + listen,
		"LATCHKEY_LISTEN=" + listen, // 8200 may be somebody's
		"VAULT_AUTH_ROLE=app",
		"VAULT_SECRET_PATH_DB=secret/data/app",
		"VAULT_SECRET_FILE_DB=" + filepath.Join(tmp, "db.json"),
		"DB_USERNAME=vault:secret/data/app#username",
		"DB_PASSWORD=vault:secret/data/app#password",
	}
}

func TestEachLambdaSampleGetsItsSecretInEveryWay(t *testing.T) {
	t.Parallel()
	s := get(t, dev)
	site := vaulttest.NewAdmin(t, s.Addr, s.RootToken, nil, nil)
	aws := awstest.Start(t)
	// Twice: it says that a second run changes nothing.
	for range 2 {
		setUp(t, site, "aws-auth.sh", "ROLE_ARN="+functionRole, "MOUNT=aws-samples", "SERVER_ID=vault.example.com")
		setUp(t, site, "jwt-auth.sh", "ROLE_ARN="+functionRole, "MOUNT=jwt-samples", "ISSUER="+aws.URL, "AUDIENCE=https://vault.example.com")
	}
	// Vault asks our STS in place of Amazon's.
	site.OK("POST", "auth/aws-samples/config/client", vaulttest.Map{"sts_endpoint": aws.URL, "iam_server_id_header_value": "vault.example.com"})
	site.WriteKV2("secret", "app", vaulttest.Map{"username": "sample-user", "password": "s3cret \"$`' <&>\n"})
	layer, err := lambdaLayer()
	if err != nil {
		t.Fatal(err)
	}
	logins := map[string][]string{
		"with a signed request": {"VAULT_AUTH_PROVIDER=aws-samples", "VAULT_IAM_SERVER_ID=vault.example.com"},
		"with a JWT of AWS": {
			"LATCHKEY_AUTH_METHOD=aws_web_identity", "VAULT_AUTH_PROVIDER=jwt-samples",
			"LATCHKEY_AUTH_AUDIENCE=https://vault.example.com", "LATCHKEY_AUTH_STS_ENDPOINT=" + aws.STS("us-east-1"),
		},
	}
	for language, make := range runtimes {
		t.Run(language, func(t *testing.T) {
			function := make(t, t.TempDir())
			for name, login := range logins {
				t.Run(name, func(t *testing.T) {
					tmp := t.TempDir()
					p := lambdatest.Start(t, lambdatest.Options{
						Extension: filepath.Join(layer, "extensions", "latchkey-extension"), Wrapper: filepath.Join(layer, "latchkey-exec"),
						Function: function, Env: append(setting(t, site, tmp), login...), Tmp: tmp, Timeout: 30 * time.Second, InitLimit: time.Minute,
						Credentials: lambdatest.Credentials{AccessKeyID: aws.Function.ID, SecretAccessKey: aws.Function.Secret, SessionToken: aws.Function.Token},
					})
					for range 2 {
						result, err := p.Invoke(map[string]any{})
						if err != nil {
							t.Fatal(err)
						}
						var users map[string]string
						if err := result.Into(&users); err != nil {
							t.Fatal(err)
						}
						if want := map[string]string{"file": "sample-user", "environment": "sample-user", "proxy": "sample-user"}; !maps.Equal(users, want) {
							t.Errorf("it answers %v", users)
						}
					}
					if bytes.Contains([]byte(p.Logs("")), []byte("s3cret")) {
						t.Error("the password is in the log")
					}
				})
			}
		})
	}
}

// Lambda's runtimes for programs start no wrapper: bootstrap names it as its
// interpreter.
func TestTheGoSampleNeedsNoShellToGetItsEnvironment(t *testing.T) {
	s := get(t, dev)
	site := vaulttest.NewAdmin(t, s.Addr, s.RootToken, nil, nil)
	aws := awstest.Start(t)
	setUp(t, site, "jwt-auth.sh", "ROLE_ARN="+functionRole, "MOUNT=jwt-bootstrap", "ISSUER="+aws.URL, "AUDIENCE=https://vault.example.com")
	site.WriteKV2("secret", "app", vaulttest.Map{"username": "sample-user", "password": "s3cret"})
	layer, err := lambdaLayer()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(goSample(t))
	text, err := os.ReadFile(lambdaSamples("go", "bootstrap"))
	if err != nil {
		t.Fatal(err)
	}
	line := strings.NewReplacer("/opt/", layer+"/", "/var/task/", dir+"/").Replace(string(text))
	if strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "#!"+layer) {
		t.Fatalf("bootstrap is %q", text)
	}
	bootstrap := filepath.Join(dir, "bootstrap")
	if err := os.WriteFile(bootstrap, []byte(line), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	p := lambdatest.Start(t, lambdatest.Options{
		Extension: filepath.Join(layer, "extensions", "latchkey-extension"), Function: bootstrap, Tmp: tmp, Timeout: 30 * time.Second,
		Env: append(setting(t, site, tmp), "AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec",
			"LATCHKEY_AUTH_METHOD=aws_web_identity", "VAULT_AUTH_PROVIDER=jwt-bootstrap",
			"LATCHKEY_AUTH_AUDIENCE=https://vault.example.com", "LATCHKEY_AUTH_STS_ENDPOINT="+aws.STS("us-east-1")),
		Credentials: lambdatest.Credentials{AccessKeyID: aws.Function.ID, SecretAccessKey: aws.Function.Secret, SessionToken: aws.Function.Token},
	})
	result, err := p.Invoke(map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	var users map[string]string
	if err := result.Into(&users); err != nil || users["environment"] != "sample-user" {
		t.Errorf("%v: it answers %v", err, users)
	}
}
