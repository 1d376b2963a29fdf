//go:build unix

package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const roleVar = "CHILD_TEST_ROLE"

// roles are what the test's own program does when a test starts it as another.
var roles = map[string]func(){"app": app, "family": family, "latchkey": latchkey}

// appLine has a shell become an app.
const appLine = roleVar + `=app exec "$SELF"`

func TestMain(m *testing.M) {
	if name := os.Getenv(roleVar); name != "" {
		roles[name]()
		return
	}
	goleak.VerifyTestMain(m)
}

// app says that it is up, and then which signals it gets. SIGTERM ends it,
// unless STUBBORN is set.
func app() {
	got := make(chan os.Signal, 1000)
	signal.Notify(got, Forwarded()...)
	fmt.Println("up", os.Getenv("V"))
	for sig := range got {
		if _, err := fmt.Println("got", signalName(sig.(syscall.Signal))); err != nil {
			os.Exit(1) // the terminal is gone
		}
		if sig == syscall.SIGTERM && os.Getenv("STUBBORN") == "" {
			os.Exit(0)
		}
	}
}

// family is an app with a child that is one too.
func family() {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVar+"=app")
	c.Stdout = os.Stdout
	if err := c.Start(); err != nil {
		panic(err)
	}
	app()
}

// latchkey supervises the shell line in LINE, as the daemon would: SIGTERM ends
// it, SIGUSR1 changes the environment, and the program's end is its own.
func latchkey() {
	s, err := NewSupervisor(SupervisorOptions{
		Command: []string{"sh", "-c", os.Getenv("LINE")}, Stdin: os.Stdin, StopTimeout: time.Minute,
	})
	if err != nil {
		panic(err)
	}
	env := append(os.Environ(), "SELF="+os.Args[0])
	s.Update(env)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGUSR1)
	go func() {
		for range changes {
			env = append(env, "V=new")
			s.Update(env)
		}
	}()
	tty := openTerminal(os.Stdin)
	err = s.Run(ctx)
	code := exitCode(err)
	if ctx.Err() != nil {
		code = 0
	}
	if tty != nil {
		fmt.Println("the terminal is back:", tty.ours())
	}
	fmt.Println("latchkey ends with", code)
	os.Exit(code)
}

// kept is a supervisor of a real program.
type kept struct {
	*Supervisor
	t      *testing.T
	cancel context.CancelCauseFunc
	ended  chan error
	r, w   *os.File
	lines  *bufio.Scanner
}

// keep runs a supervisor. What the program prints is read from lines.
func keep(t *testing.T, o SupervisorOptions) *kept {
	t.Helper()
	k := &kept{t: t, ended: make(chan error, 1)}
	k.r, k.w = pipe(t)
	k.lines = bufio.NewScanner(k.r)
	o.Stdout, o.Stderr = k.w, k.w
	if o.StopTimeout == 0 {
		o.StopTimeout = time.Minute
	}
	var err error
	if k.Supervisor, err = NewSupervisor(o); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, k.cancel = context.WithCancelCause(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		k.ended <- k.Run(ctx)
	}()
	t.Cleanup(func() {
		k.cancel(errEnough)
		<-gone
	})
	return k
}

// self is the environment for the test's own program in a role.
func self(role string, more ...string) []string {
	// The race detector would hold each of them up for a second at its end.
	return append(more, envPath, "GORACE=atexit_sleep_ms=0", roleVar+"="+role)
}

func (k *kept) expect(want ...string) {
	k.t.Helper()
	expect(k.t, k.lines, want...)
}

// over expects Run to end, with nothing left that could print. It returns its
// error and what was still to be read.
func (k *kept) over() (printed string, err error) {
	k.t.Helper()
	err = <-k.ended
	k.w.Close()
	return rest(k.lines), err
}

// program starts the test's own program in a role. Its output is read from
// lines, which end when nobody is left that could write.
func program(t *testing.T, attr *syscall.SysProcAttr, env []string) (c *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	r, w := pipe(t)
	c = exec.Command(os.Args[0])
	c.Env, c.Stdout, c.Stderr, c.SysProcAttr = env, w, w, attr
	switch err := c.Start(); {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC):
		t.Skipf("*** NOT TESTED: a namespace of its own needs rights that we do not have here: %v ***", err)
	case err != nil:
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c, bufio.NewScanner(r)
}

// expect reads lines. SIGCONT comes with every stop and may be merged with
// another, so that it counts only when it is wanted.
func expect(t *testing.T, lines *bufio.Scanner, want ...string) {
	t.Helper()
	for _, w := range want {
		for {
			if !lines.Scan() {
				t.Fatalf("got no more, want %q", w)
			}
			got := strings.TrimSpace(lines.Text())
			if got == w {
				break
			}
			if got != "got SIGCONT" {
				t.Fatalf("got %q, want %q", got, w)
			}
		}
	}
}

// seek reads lines up to one that is wanted.
func seek(t *testing.T, lines *bufio.Scanner, want string) {
	t.Helper()
	for lines.Scan() {
		if lines.Text() == want {
			return
		}
	}
	t.Fatalf("got no more, want %q", want)
}

func rest(lines *bufio.Scanner) string {
	var all []string
	for lines.Scan() {
		if lines.Text() != "got SIGCONT" {
			all = append(all, lines.Text())
		}
	}
	return strings.Join(all, "\n")
}
