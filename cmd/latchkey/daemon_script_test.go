//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"latchkey/internal/vaulttest"
)

// running is a latchkey in the background of a script. What it prints is in the
// files NAME.out and NAME.err.
type running struct {
	cmd      *exec.Cmd
	ended    chan struct{}
	signaled time.Time
	// read is how much of NAME.err tells has seen.
	read int
}

type runningKey struct{}

// daemonCmds are the commands of scripts about what stays.
var daemonCmds = map[string]func(*testscript.TestScript, bool, []string){
	"asks": asks, "changes": changes, "daemon": startDaemon, "ends": ends, "expand": expand, "forget": forget, "freeport": freeport, "manager": manager,
	"revoke": revokeToken, "role": role, "secret": secret, "sends": sends, "tells": tells, "until": until,
}

func all(ts *testscript.TestScript) map[string]*running {
	return ts.Value(runningKey{}).(map[string]*running)
}

func one(ts *testscript.TestScript, name string) *running {
	r := all(ts)[name]
	if r == nil {
		ts.Fatalf("no %q runs", name)
	}
	return r
}

// daemon NAME ARG... starts latchkey in the background.
func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: daemon NAME ARG...")
	}
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer out.Close()
	bad, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer bad.Close()
	r := &running{cmd: exec.Command("latchkey", args[1:]...), ended: make(chan struct{})}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = ts.MkAbs("."), out, bad
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "VAULT_ADDR", "VAULT_TOKEN", "NOTIFY_SOCKET", "WATCHDOG_USEC"} {
		if v := ts.Getenv(name); v != "" {
			r.cmd.Env = append(r.cmd.Env, name+"="+v)
		}
	}
	// The race detector would hold every end up for a second.
	r.cmd.Env = append(r.cmd.Env, "GORACE=atexit_sleep_ms=0")
	ts.Check(r.cmd.Start())
	all(ts)[args[0]] = r
	go func() {
		defer close(r.ended)
		_ = r.cmd.Wait()
	}()
	ts.Defer(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		text, _ := os.ReadFile(ts.MkAbs(args[0] + ".err"))
		ts.Logf("[%s.err]\n%s", args[0], text)
	})
}

// soon is when a script gives up on what it waits for.
const soon = 30 * time.Second

// wait looks until it sees, or fails with what say gives.
func wait(ts *testscript.TestScript, r *running, look func() bool, say func() string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var ended chan struct{}
	if r != nil {
		ended = r.ended
	}
	late := time.After(soon)
	for !look() {
		select {
		case <-tick.C:
		case <-ended:
			if !look() {
				ts.Fatalf("it has ended: %s", say())
			}
			return
		case <-late:
			ts.Fatalf("%s", say())
		}
	}
}

// tells NAME REGEXP waits until its standard error says so, after what the last
// tells found.
func tells(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tells NAME REGEXP")
	}
	r, want := one(ts, args[0]), regexp.MustCompile("(?m)"+args[1])
	wait(ts, r, func() bool {
		text := ts.ReadFile(args[0] + ".err")[r.read:]
		at := want.FindStringIndex(text)
		if at != nil {
			r.read += at[1]
		}
		return at != nil
	}, func() string { return "it does not say " + args[1] })
}

// until FILE REGEXP waits until the file has that content; ! until FILE REGEXP,
// until it has another or is gone.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] until FILE REGEXP")
	}
	want := regexp.MustCompile("(?m)" + args[1])
	wait(ts, nil, func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return (err == nil && want.Match(text)) != neg
	}, func() string { return args[0] + " is not as it should be" })
}

// changes FILE OLD waits until the file holds something, and other than OLD does.
func changes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: changes FILE OLD")
	}
	old := ts.ReadFile(args[1])
	wait(ts, nil, func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && len(text) > 0 && string(text) != old
	}, func() string { return args[0] + " does not change" })
}

// sends SIGNAL NAME sends a signal.
func sends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sends SIGNAL NAME")
	}
	sig := unix.SignalNum("SIG" + args[0])
	if sig == 0 {
		ts.Fatalf("no signal %s", args[0])
	}
	r := one(ts, args[1])
	r.signaled = time.Now()
	ts.Check(r.cmd.Process.Signal(sig))
}

// ends NAME CODE [DURATION] waits for its end, and wants that exit code; with a
// duration, that soon after the last signal.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: ends NAME CODE [DURATION]")
	}
	r := one(ts, args[0])
	select {
	case <-r.ended:
	case <-time.After(soon):
		ts.Fatalf("it goes on")
	}
	took := time.Since(r.signaled)
	if got := strconv.Itoa(r.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("exit code %s, want %s: %s", got, args[1], r.cmd.ProcessState)
	}
	if len(args) == 3 {
		most, err := time.ParseDuration(args[2])
		ts.Check(err)
		if took > most {
			ts.Fatalf("it took %s, more than %s", took, most)
		}
	}
}

// forget drops what the server has seen so far.
func forget(ts *testscript.TestScript, _ bool, _ []string) { server(ts).Forget() }

// manager FILE is the service manager: what it is told by those that are started
// afterwards comes into FILE, one line for each.
func manager(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: manager FILE")
	}
	// A socket's path is short; that of a script's directory may not be.
	dir, err := os.MkdirTemp("", "sd")
	ts.Check(err)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	ts.Check(err)
	file, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "s"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			_, _ = file.WriteString(strings.ReplaceAll(strings.TrimSpace(string(b[:n])), "\n", " ") + "\n")
		}
	}()
	ts.Defer(func() {
		_ = conn.Close()
		<-done
		_ = file.Close()
		_ = os.RemoveAll(dir)
	})
}

// freeport NAME sets a variable to a port that nobody listens on.
func freeport(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// expand FILE puts variables' values into a file of the script.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand FILE")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// asks CODE METHOD SOCKET PATH wants that status, once somebody answers; the
// answer's body is the script's stdout. SOCKET is a file or host:port.
func asks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: asks CODE METHOD SOCKET PATH")
	}
	network, at := "unix", ts.MkAbs(args[2])
	if strings.Contains(args[2], ":") {
		network, at = "tcp", args[2]
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, at)
	}}
	client := &http.Client{Transport: transport, Timeout: soon}
	var got *http.Response
	var body []byte
	wait(ts, nil, func() bool {
		req, err := http.NewRequest(args[1], "http://latchkey"+args[3], nil)
		ts.Check(err)
		if got, err = client.Do(req); err != nil {
			return false
		}
		defer got.Body.Close()
		body, err = io.ReadAll(got.Body)
		return err == nil
	}, func() string { return "nobody answers at " + args[2] })
	_, err := ts.Stdout().Write(body)
	ts.Check(err)
	if strconv.Itoa(got.StatusCode) != args[0] {
		ts.Fatalf("status %d, want %s: %s", got.StatusCode, args[0], body)
	}
	if len(body) > 0 && strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") && !json.Valid(body) {
		ts.Fatalf("no JSON: %s", body)
	}
}

func admin(ts *testscript.TestScript, method, path string, body any) {
	a := ts.Value(adminKey{}).(*vaulttest.Admin)
	if got := a.Do(method, path, body); got.Status >= 400 {
		ts.Check(errors.New(strings.Join(got.Errors(), "; ")))
	}
}

// revoke FILE revokes the token in a file.
func revokeToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: revoke FILE")
	}
	admin(ts, "PUT", "auth/token/revoke", vaulttest.Map{"token": strings.TrimSpace(ts.ReadFile(args[0]))})
}

// role TTL MAX sets how long the tokens of later logins live.
func role(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: role TTL MAX")
	}
	admin(ts, "POST", "auth/approle/role/app", vaulttest.Map{"token_policies": "app", "token_ttl": args[0], "token_max_ttl": args[1]})
}

// secret PASSWORD writes a new version of secret/app2.
func secret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: secret PASSWORD")
	}
	admin(ts, "PUT", "secret/data/app2", vaulttest.Map{"data": vaulttest.Map{"password": args[0]}})
}
