package cases

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/vaulttest"
)

// Target is the kind of server that the program is run against.
type Target interface {
	// Shared is a server on plain HTTP that other cases may use too.
	Shared(tb vaulttest.TB) *Site
	// Secure is the same on TLS.
	Secure(tb vaulttest.TB) *Site
	// Own is a server for this case alone.
	Own(tb vaulttest.TB) *Own
	// Pace is how fast time goes by in cases that watch a token live.
	Pace() Pace
}

// Pace is the life of a token and how long it is watched.
type Pace struct {
	TTL, Max, Watch time.Duration
}

// Site is one server as a case sees it.
type Site struct {
	// Admin has the root token and goes past the front.
	*vaulttest.Admin
	// Addr and CAFile are what the program is given.
	Addr   string
	CAFile string
	// Front stands between the program and the server; nil on TLS.
	Front *vaulttest.Front
	// Events has the server tell of changes; nil where it cannot.
	Events func(bool)
	// Snapshots has it hand out, and Taken tell of, a snapshot; as a vaulttest
	// Server does, and nil elsewhere.
	Snapshots func(bytes int64) (sum string)
	Taken     func() (bytes int64, sum string)
}

// Own is a server that its case may seal and stop.
type Own struct {
	*Site
	Seal, Unseal, Down, Up func() error
}

// Kit is what a case works with.
type Kit struct {
	*testing.T
	Target  Target
	Program string // the path of latchkey
	Dir     string // where it runs
	Site    *Site
	// Speaks is set by a case whose stdout is meant to hold a secret.
	Speaks bool

	name string
}

// Programs are the cases of the whole program, by what they show.
var Programs = map[string]func(*Kit){}

// add puts cases into Programs; each file of cases calls it once.
func add(cases map[string]func(*Kit)) bool {
	for name, run := range cases {
		Programs[name] = run
	}
	return true
}

// RunPrograms runs every case against a target.
func RunPrograms(t *testing.T, target Target, program string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(Programs)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Programs[name](NewKit(t, target, program))
		})
	}
}

// NewKit returns what a case works with, in a directory of its own.
func NewKit(t *testing.T, target Target, program string) *Kit {
	t.Helper()
	return &Kit{T: t, Target: target, Program: program, Dir: t.TempDir(), name: fmt.Sprintf("k%d", counter.Add(1))}
}

var counter atomic.Int64

// Widen lets more cases run side by side than there are processors, for they
// mostly wait. A TestMain calls it before it runs the tests; -parallel wins.
func Widen() {
	if !flag.Parsed() {
		flag.Parse()
	}
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set("10")
	}
}

// Use chooses the server that the program is pointed at.
func (k *Kit) Use(s *Site) *Site {
	k.Helper()
	k.Site = s
	return s
}

// Shared uses the shared server.
func (k *Kit) Shared() *Site {
	k.Helper()
	return k.Use(k.Target.Shared(k.T))
}

// Result is how a run ended.
type Result struct {
	Code   int
	Stdout string
	Stderr string
	Took   time.Duration
}

// long is when a run counts as hung.
const long = 90 * time.Second

// Once runs `latchkey once` in the case's directory with this configuration.
// Every run logs at the lowest level, and none may print a secret.
func (k *Kit) Once(config string, args ...string) Result {
	k.Helper()
	k.Write("latchkey.hcl", config)
	return k.Run(append([]string{"once", "-config=latchkey.hcl", "-log-level=trace"}, args...)...)
}

// Run runs latchkey with these arguments.
func (k *Kit) Run(args ...string) Result {
	k.Helper()
	return k.RunWith(nil, args...)
}

// RunWith is Run with more environment.
func (k *Kit) RunWith(env []string, args ...string) Result {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), long)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.Program, args...)
	cmd.Dir = k.Dir
	cmd.Env = append(k.environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	before := k.secrets()
	start := time.Now()
	err := cmd.Run()
	r := Result{Stdout: out.String(), Stderr: errOut.String(), Took: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		k.Fatalf("still running after %s:\n%s", long, r.Stderr)
	case errors.As(err, &exit):
		r.Code = exit.ExitCode()
	case err != nil:
		k.Fatalf("not run: %v", err)
	}
	k.quiet(before, r)
	return r
}

// environ is the environment of every run: nothing of the caller's but PATH.
func (k *Kit) environ() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + k.Dir, "TMPDIR=" + k.Dir}
	if k.Site != nil {
		env = append(env, "VAULT_ADDR="+k.Site.Addr, "VAULT_CACERT="+k.Site.CAFile)
	}
	return env
}

// Exits fails the case unless the run ended with this code.
func (k *Kit) Exits(code int, r Result) Result {
	k.Helper()
	if r.Code != code {
		k.Fatalf("exit code %d, want %d, after %s\nstdout: %s\nstderr: %s", r.Code, code, r.Took, r.Stdout, r.Stderr)
	}
	return r
}

// Says fails the case unless the run's stderr matches.
func (k *Kit) Says(r Result, pattern string) {
	k.Helper()
	if !regexp.MustCompile(pattern).MatchString(r.Stderr) {
		k.Errorf("stderr does not match %s:\n%s", pattern, r.Stderr)
	}
}

// Write puts a file into the case's directory.
func (k *Kit) Write(name, text string) string {
	k.Helper()
	path := filepath.Join(k.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		k.Fatal(err)
	}
	return path
}

// Read returns a file of the case's directory.
func (k *Kit) Read(name string) string {
	k.Helper()
	data, err := os.ReadFile(filepath.Join(k.Dir, name))
	if err != nil {
		k.Fatal(err)
	}
	return string(data)
}

// Missing fails the case if a file is there.
func (k *Kit) Missing(name string) {
	k.Helper()
	if _, err := os.Lstat(filepath.Join(k.Dir, name)); err == nil {
		k.Errorf("%s is there", name)
	}
}

// Is compares a file with what it should hold.
func (k *Kit) Is(name, want string) {
	k.Helper()
	if got := k.Read(name); got != want {
		k.Errorf("%s holds %q, want %q", name, got, want)
	}
}

// Asked fails the case unless the front saw so many of these requests.
func (k *Kit) Asked(want int, method, path string) {
	k.Helper()
	if got := k.Site.Front.Count(method, path); got != want {
		var seen []string
		for _, r := range k.Site.Front.Requests() {
			seen = append(seen, fmt.Sprintf("%s %s -> %d", r.Method, r.Path, r.Status))
		}
		k.Errorf("%d requests %s %s, want %d:\n%s", got, method, path, want, strings.Join(seen, "\n"))
	}
}

// named are the fields whose values nobody may print.
var named = map[string]bool{
	"client_token": true, "token": true, "secret_id": true, "password": true, "jwt": true, "private_key": true,
}

// credentials are the files of a case that hold a secret and nothing else.
var credentials = []string{"secret_id", "jwt", "sa-token", "password", "t", "token", "other-token", "client.key", "key", "caller"}

// secrets are all that went over the wire, and what lies in files, by where
// they were seen.
func (k *Kit) secrets() map[string]string {
	secrets := map[string]string{}
	for _, name := range credentials {
		if data, err := os.ReadFile(filepath.Join(k.Dir, name)); err == nil {
			secrets[strings.TrimSpace(string(data))] = "file " + name
		}
	}
	if k.Site == nil || k.Site.Front == nil {
		return secrets
	}
	for _, req := range k.Site.Front.Requests() {
		for _, token := range tokensOf(req) {
			secrets[token] = "token"
		}
		for _, body := range [][]byte{req.Body, req.Answer} {
			var v any
			if json.Unmarshal(body, &v) == nil {
				collect(v, secrets)
			}
		}
	}
	return secrets
}

// tokensOf are the tokens that a request shows, in whatever header.
func tokensOf(r vaulttest.Request) []string {
	tokens := slices.Clone(r.Header.Values("X-Vault-Token"))
	for _, v := range r.Header.Values("Authorization") {
		if scheme, token, _ := strings.Cut(v, " "); strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// quiet fails the case when the run printed a secret; what was there before
// the run counts as well as what it made.
func (k *Kit) quiet(before map[string]string, r Result) {
	k.Helper()
	printed := r.Stderr
	if !k.Speaks {
		printed += r.Stdout
	}
	maps.Copy(before, k.secrets())
	for secret, what := range before {
		if len(secret) >= 6 && strings.Contains(printed, secret) {
			k.Errorf("the output holds the %s:\n%s", what, printed)
		}
	}
}

func collect(v any, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, e := range v {
			if text, isText := e.(string); isText && (named[key] || strings.HasPrefix(text, canary)) {
				into[text] = key
			}
			collect(e, into)
		}
	case []any:
		for _, e := range v {
			collect(e, into)
		}
	}
}

// canary begins the value of every secret that a case writes.
const canary = "CANARY-"

// BuildProgram builds latchkey into dir and returns its path; module is the
// directory of its go.mod.
func BuildProgram(module, dir string) (string, error) {
	path := filepath.Join(dir, "latchkey")
	if os.PathSeparator == '\\' {
		path += ".exe"
	}
	cmd := exec.Command("go", "build", "-o", path, "./cmd/latchkey")
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building latchkey: %w\n%s", err, out)
	}
	return path, nil
}
