//go:build unix

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"latchkey/internal/vaulttest"
)

// The scripts in testdata/script are the readable specification of the whole
// program. Each has a server of its own at $VAULT_ADDR with:
//
//   - approle "app", whose credentials stand in role_id and secret_id (and
//     once more in kept/), and whose policy allows secret/app*, kv1/ and
//     sys/wrapping/wrap; a token with that policy in the file borrowed;
//   - KV version 2 at secret/ with app (user, password), KV version 1 at kv1/
//     with app, and secret/other, which the policy denies.
//
// Every password begins with CANARY; the command "quiet" fails when one, or a
// token, or a secret_id, is in what the last command printed.

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"latchkey": main})
}

type (
	serverKey struct{}
	adminKey  struct{}
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			s := vaulttest.New(t)
			env.Values[serverKey{}] = s
			env.Values[runningKey{}] = map[string]*running{}
			a := s.Admin(t)
			env.Values[adminKey{}] = a
			env.Setenv("VAULT_ADDR", s.Addr())
			env.Setenv("HOME", env.WorkDir)
			defer s.Forget()
			return seed(a, env.WorkDir)
		},
		Cmds: commandsOf(daemonCmds, map[string]func(*testscript.TestScript, bool, []string){
			"asked": asked,
			"exits": exits,
			"mode":  mode,
			"quiet": quiet,
			"rude":  rude,
			"seal":  seal,
			// The event is at the server, in this process.
			"waitfor": waitfor,
		}),
	})
}

func commandsOf(some, more map[string]func(*testscript.TestScript, bool, []string)) map[string]func(*testscript.TestScript, bool, []string) {
	all := maps.Clone(some)
	maps.Copy(all, more)
	return all
}

func seed(a *vaulttest.Admin, dir string) error {
	a.EnableAuth("approle", "approle")
	a.Policy("app", map[string][]string{
		"secret/data/app*": {"read"}, "secret/metadata/app*": {"read", "list"}, "kv1/*": {"read", "list"},
		"sys/wrapping/wrap": {"update"},
	})
	a.WriteKV2("secret", "app", vaulttest.Map{"user": "bob", "password": `CANARY"$x 'y`})
	a.WriteKV2("secret", "app2", vaulttest.Map{"password": "CANARY2"})
	a.WriteKV2("secret", "other", vaulttest.Map{"password": "CANARY3"})
	a.Mount("kv1", "kv", vaulttest.Map{"version": "1"})
	a.WriteKV1("kv1", "app", vaulttest.Map{"password": "CANARY4"})
	role := a.AppRole("approle", "app", vaulttest.Map{"token_policies": "app", "token_ttl": "1h"})
	if err := os.Mkdir(filepath.Join(dir, "kept"), 0o700); err != nil {
		return err
	}
	secretID := a.SecretID("approle", "app")
	for name, text := range map[string]string{
		"borrowed": a.NewToken(vaulttest.Map{"policies": []string{"app"}, "ttl": "1h"}),
		"role_id":  role, "secret_id": secretID, "kept/role_id": role, "kept/secret_id": secretID,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func server(ts *testscript.TestScript) *vaulttest.Server {
	return ts.Value(serverKey{}).(*vaulttest.Server)
}

// exits CODE ARG... runs latchkey and wants that exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	start := time.Now()
	err = ts.Exec("latchkey", args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("not run: %v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d, after %v", got, want, time.Since(start))
	}
}

// quiet [WORD...] fails when the last output holds a secret or one of the words.
func quiet(ts *testscript.TestScript, _ bool, words []string) {
	words = append(words, "CANARY", "hvs.", strings.TrimSpace(ts.ReadFile(filepath.Join(ts.Getenv("WORK"), "kept", "secret_id"))))
	for _, name := range []string{"stdout", "stderr"} {
		out := ts.ReadFile(name)
		for _, w := range words {
			if w != "" && strings.Contains(out, w) {
				ts.Fatalf("%s holds %q", name, w)
			}
		}
	}
}

// rude STATUS|hang|drop|half|raw TIMES PATH has the server misbehave; TIMES 0
// is always. A STATUS may be followed by :SECONDS for Retry-After.
func rude(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: rude STATUS[:SECONDS]|hang|drop|half|raw TIMES PATH")
	}
	times, err := strconv.Atoi(args[1])
	ts.Check(err)
	r := vaulttest.Rudeness{Times: times}
	switch args[0] {
	case "hang":
		r.Hang = true
	case "drop":
		r.Drop = true
	case "half":
		r.Half = true
	case "raw":
		r.Raw = "{}"
	default:
		status, after, _ := strings.Cut(args[0], ":")
		r.Status, err = strconv.Atoi(status)
		ts.Check(err)
		if after != "" {
			sec, err := strconv.Atoi(after)
			ts.Check(err)
			r.RetryAfter = time.Duration(sec) * time.Second
		}
	}
	server(ts).Rude(vaulttest.Match{Path: args[2]}, r)
}

// seal seals the server, ! seal unseals it.
func seal(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		server(ts).Unseal()
		return
	}
	server(ts).Seal()
}

// asked N [METHOD PATH] wants so many requests since the last asked; without
// a method, so many in all.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: asked N [METHOD PATH]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var lines []string
	for _, r := range server(ts).Requests() {
		lines = append(lines, r.Method+" "+r.Path)
		if len(args) == 1 || args[1] == r.Method && args[2] == r.Path {
			got++
		}
	}
	if got != want {
		ts.Fatalf("%d requests, want %d:\n%s", got, want, strings.Join(lines, "\n"))
	}
	if len(args) == 1 {
		server(ts).Forget()
	}
}

// mode FILE MODE wants a file's permissions, in octal.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	fi, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", fi.Mode().Perm()); got != args[1] {
		ts.Fatalf("mode of %s is %s, want %s", args[0], got, args[1])
	}
}

// waitfor METHOD PATH returns when the server has seen that request.
func waitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor METHOD PATH")
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for server(ts).Count(args[0], args[1]) == 0 {
		select {
		case <-tick.C:
		case <-end:
			ts.Fatalf("the server has not seen %s %s", args[0], args[1])
		}
	}
}
