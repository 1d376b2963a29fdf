//go:build unix

package child

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// envPath is all that the tests' shells need to find their tools.
var envPath = "PATH=" + os.Getenv("PATH")

func run(t *testing.T, c Command) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Runner{Output: &out}.Run(t.Context(), c)
	return out.String(), err
}

func TestCommandLines(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		argv       []string
	}{
		{"one element with blanks is a shell's", "a b\n", []string{`printf '%s %s\n' a b`}},
		{"a shell line may use pipes", "A\n", []string{"echo a | tr a A"}},
		{"several elements are taken as they stand", "$HOME;x", []string{"printf", "%s", "$HOME;x"}},
		{"one element without blanks is a program", "", []string{"true"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := run(t, Command{Argv: tc.argv, Env: []string{envPath}})
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestEmptyCommandIsAnError(t *testing.T) {
	for _, argv := range [][]string{nil, {""}} {
		if _, err := run(t, Command{Argv: argv}); err == nil {
			t.Errorf("%q ran", argv)
		}
	}
}

func TestEnvironmentIsExactlyWhatIsGiven(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "hvs.canary")
	for _, env := range [][]string{nil, {"ONLY=this"}} {
		got, err := run(t, Command{Argv: []string{"env"}, Env: env})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Join(env, "\n")
		if strings.TrimSpace(got) != want {
			t.Errorf("env %q: the command saw %q", env, got)
		}
	}
}

func TestStandardInputIsEmpty(t *testing.T) {
	if got, err := run(t, Command{Argv: []string{"cat"}, Env: []string{envPath}}); err != nil || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestOutputGoesToStandardErrorAndNotToStandardOutput(t *testing.T) {
	read := func(std **os.File) func() string {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		was := *std
		*std = f
		return func() string {
			*std = was
			data, err := os.ReadFile(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
	}
	stdout, stderr := read(&os.Stdout), read(&os.Stderr)
	err := Runner{}.Run(t.Context(), Command{Argv: []string{"echo out; echo err >&2"}, Env: []string{envPath}})
	if err != nil {
		t.Fatal(err)
	}
	if got := stdout(); got != "" {
		t.Errorf("stdout: %q", got)
	}
	if got := stderr(); got != "out\nerr\n" {
		t.Errorf("stderr: %q", got)
	}
}

func TestFailuresAreToldWithoutArguments(t *testing.T) {
	const canary = "s3cr3t-canary"
	for _, tc := range []struct {
		name, want string
		argv       []string
		exit       *ExitError
	}{
		{"exit code of a shell line", "sh: exit code 7", []string{"exit 7 # " + canary}, &ExitError{"sh", 7, ""}},
		{"exit code of a program", "sh: exit code 3", []string{"sh", "-c", "exit 3", canary}, &ExitError{"sh", 3, ""}},
		{"ended by a signal", "sh: ended by SIGTERM", []string{"kill -TERM $$ # " + canary}, &ExitError{"sh", -1, "SIGTERM"}},
		{"no such program", "no-such-program: cannot be started: executable file not found in $PATH", []string{"no-such-program", canary}, nil},
		{"no such file", "/no/such: cannot be started: ", []string{"/no/such", canary}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := run(t, Command{Argv: tc.argv, Env: []string{envPath, "S=" + canary}})
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), canary) {
				t.Fatalf("got %v", err)
			}
			var exit *ExitError
			if errors.As(err, &exit) != (tc.exit != nil) || tc.exit != nil && *exit != *tc.exit {
				t.Errorf("got %+v, want %+v", exit, tc.exit)
			}
		})
	}
}

// pipe is an output that shows, by its end, that everything that could write
// to it is dead.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestTimeoutEndsTheWholeGroup(t *testing.T) {
	for _, tc := range []struct{ name, line string }{
		{"a command that obeys", "echo up; sleep 1000 & wait"},
		{"a command that ignores the signal", "trap '' INT; echo up; sleep 1000 & sleep 1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w := pipe(t)
			err := Runner{Output: w}.Run(t.Context(), Command{
				Argv: []string{tc.line}, Env: []string{envPath}, Timeout: 200 * time.Millisecond, KillTimeout: 50 * time.Millisecond,
			})
			if !errors.Is(err, ErrTimeout) || err.Error() != "sh: timed out after 200ms" {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, context.DeadlineExceeded) {
				t.Error("a command's own timeout looks like the deadline of the run")
			}
			w.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != "up\n" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestKillSignalIsTheOneAskedFor(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := pipe(t)
	go func() {
		_, _ = r.Read(make([]byte, 1)) // the trap is set
		cancel(errors.New("enough"))
	}()
	err := Runner{Output: w}.Run(ctx, Command{
		Argv:       []string{`trap 'echo usr1 > "$MARK"; exit' USR1; echo up; while :; do sleep 0.01; done`},
		Env:        []string{envPath, "MARK=" + mark},
		KillSignal: "usr1", KillTimeout: time.Minute,
	})
	if err == nil || err.Error() != "sh: stopped: enough" {
		t.Errorf("got %v", err)
	}
	if got, _ := os.ReadFile(mark); string(got) != "usr1\n" {
		t.Errorf("mark holds %q", got)
	}
}

// The run's own end was promised for a time; kill_timeout is for a command that
// takes too long while there is time.
func TestTheEndOfTheRunDoesNotWaitForKillTimeout(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := pipe(t)
	go func() {
		_, _ = r.Read(make([]byte, 1)) // the trap is set
		cancel(errors.New("enough"))
	}()
	start := time.Now()
	err := Runner{Output: w}.Run(ctx, Command{
		Argv: []string{`trap '' INT; echo up; sleep 1000 & sleep 1000`}, Env: []string{envPath}, KillTimeout: time.Hour,
	})
	if err == nil || err.Error() != "sh: stopped: enough" || time.Since(start) > time.Minute {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
}

func TestKillAllEndsWhatRunsAndItsGroup(t *testing.T) {
	r, w := pipe(t)
	ended := make(chan error)
	go func() {
		ended <- Runner{Output: w}.Run(t.Context(), Command{Argv: []string{`trap '' INT TERM; sleep 1000 & echo up; wait`}, Env: []string{envPath}})
	}()
	_, _ = r.Read(make([]byte, 1))
	KillAll()
	var exit *ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.Signal != "SIGKILL" {
		t.Errorf("got %v", err)
	}
	w.Close()
	_, _ = io.ReadAll(r) // ends when the last of the group has
	KillAll()
}

func TestNothingIsStartedWhenTheRunIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := filepath.Join(t.TempDir(), "mark")
	err := Runner{Output: io.Discard}.Run(ctx, Command{Argv: []string{"touch", mark}, Env: []string{envPath}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("it ran")
	}
}

func TestWhatIsLeftInTheBackgroundIsLeftAlone(t *testing.T) {
	r, w := pipe(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// The background shell goes on only after Run has returned.
	err := Runner{Output: w}.Run(t.Context(), Command{Argv: []string{`(read line < "$F"; echo "$line") & exit 0`}, Env: []string{envPath, "F=" + fifo}})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := os.WriteFile(fifo, []byte("still here\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); string(got) != "still here\n" {
		t.Errorf("got %q", got)
	}
}

func TestParseSignal(t *testing.T) {
	for name, want := range map[string]os.Signal{
		"": syscall.SIGINT, "SIGHUP": syscall.SIGHUP, "HUP": syscall.SIGHUP, "sigterm": syscall.SIGTERM, "Usr2": syscall.SIGUSR2,
	} {
		if got, err := ParseSignal(name); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"SIG", "SIGNOPE", "1", "SIGSIGHUP", " HUP"} {
		if got, err := ParseSignal(name); err == nil {
			t.Errorf("%q is %v", name, got)
		}
	}
	if _, err := run(t, Command{Argv: []string{"true"}, KillSignal: "nope"}); err == nil {
		t.Error("a command with an unknown kill signal ran")
	}
}
