//go:build unix

package child

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var ownProgram = []string{os.Args[0]}

func TestEverySignalReachesTheProgram(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram})
	k.Update(self("app"))
	k.expect("up")
	for _, sig := range Forwarded() {
		if !k.Signal(sig) {
			t.Fatalf("%s was not passed on", sig)
		}
		k.expect("got " + signalName(sig.(syscall.Signal)))
		if sig == syscall.SIGTERM {
			k.Update(self("app")) // equal: it stays ended
			break
		}
	}
	if _, err := k.over(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestSignalsThatComeAfterSIGTERMReachAStubbornProgram(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram, StopTimeout: time.Millisecond})
	k.Update(self("app", "STUBBORN=1"))
	k.expect("up")
	for _, sig := range Forwarded() {
		if !k.Signal(sig) {
			t.Fatalf("%s was not passed on", sig)
		}
		k.expect("got " + signalName(sig.(syscall.Signal)))
	}
	for _, sig := range []os.Signal{os.Kill, syscall.SIGSTOP} {
		if k.Signal(sig) {
			t.Errorf("%s was passed on", sig)
		}
	}
	k.cancel(errEnough)
	if _, err := k.over(); !errors.Is(err, errEnough) {
		t.Errorf("got %v", err)
	}
}

func TestSignalsReachWhatTheProgramStarted(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram})
	k.Update(self("family"))
	k.expect("up", "up")
	k.Signal(syscall.SIGUSR1)
	k.expect("got SIGUSR1", "got SIGUSR1")
	k.cancel(errEnough)
	if rest, err := k.over(); !errors.Is(err, errEnough) || rest != "got SIGTERM\ngot SIGTERM" {
		t.Errorf("got %v, %q", err, rest)
	}
}

func TestARestartWithANewEnvironment(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram, Delay: time.Millisecond})
	for _, v := range []string{"1", "2", "3"} {
		k.Update(self("family", "V="+v))
		k.expect("up "+v, "up "+v)
		if v != "3" {
			k.Update(self("family", "V="+v)) // the same
		}
		if v == "3" {
			break
		}
		k.Update(self("family", "V="+v+"x"))
		k.expect("got SIGTERM", "got SIGTERM", "up "+v+"x", "up "+v+"x")
		k.Update(self("family", "V="+v+"y"))
		k.expect("got SIGTERM", "got SIGTERM", "up "+v+"y", "up "+v+"y")
		k.Update(self("family", "V="+string(v[0]+1)))
		k.expect("got SIGTERM", "got SIGTERM")
	}
	if st := k.Status(); st.Restarts != 6 || st.PID == 0 || st.LastExit != "exit code 0" {
		t.Errorf("status %+v", st)
	}
}

func TestAStubbornProgramIsKilledWithItsGroup(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram, StopTimeout: 50 * time.Millisecond, StopSignal: "hup"})
	k.Update(self("family", "STUBBORN=1", "V=1"))
	k.expect("up 1", "up 1")
	k.Update(self("family", "STUBBORN=1", "V=2"))
	seek(t, k.lines, "up 2") // what comes before depends on how far it gets
	k.expect("up 2")
	k.cancel(errEnough)
	if rest, err := k.over(); !errors.Is(err, errEnough) || strings.Contains(rest, "up") {
		t.Errorf("got %v, %q", err, rest)
	}
}

func TestASignalInPlaceOfARestart(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram, Restart: "signal:SIGUSR2", Delay: time.Millisecond})
	k.Update(self("app", "V=1"))
	k.expect("up 1")
	k.Update(self("app", "V=2"))
	k.expect("got SIGUSR2")
	k.Update(self("app", "V=3"))
	k.expect("got SIGUSR2")
	if st := k.Status(); st.Restarts != 0 {
		t.Errorf("status %+v", st)
	}
}

// What a program leaves holds secrets that nobody keeps current any more.
func TestWhatAProgramLeavesIsAskedToEnd(t *testing.T) {
	for _, tc := range []struct {
		name, line, rest string
		code             int
	}{
		{"by itself", `(trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.01; done) & read x < "$F"; exit 3`, "bye", 3},
		{"by itself, and it does not listen", `(trap '' TERM; echo up; while :; do sleep 0.01; done) & read x < "$F"; exit 4`, "", 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			k := keep(t, SupervisorOptions{Command: []string{tc.line}, StopTimeout: 2 * time.Second})
			k.Update([]string{envPath, "F=" + fifo})
			k.expect("up")
			if err := os.WriteFile(fifo, []byte("go on\n"), 0); err != nil {
				t.Fatal(err)
			}
			rest, err := k.over()
			if exitCode(err) != tc.code || !strings.HasSuffix(rest, tc.rest) {
				t.Errorf("got %v, %q", err, rest)
			}
		})
	}
}

// A shell dies of the signal at once; what it runs is still busy with its end.
func TestWhatAShellRunsHasTimeToEnd(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: []string{
		`(trap 'sleep 0.3; echo done; exit' TERM; echo up; while :; do sleep 0.01; done); :`,
	}})
	k.Update([]string{envPath})
	k.expect("up")
	k.cancel(errEnough)
	if rest, err := k.over(); !errors.Is(err, errEnough) || !strings.HasSuffix(rest, "done") {
		t.Errorf("got %v, %q", err, rest)
	}
}

func TestAPausedProgramCanBeEnded(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram})
	k.Update(self("app"))
	k.expect("up")
	if err := syscall.Kill(-k.Status().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	k.cancel(errEnough)
	if rest, err := k.over(); !errors.Is(err, errEnough) || !strings.Contains(rest, "got SIGTERM") {
		t.Errorf("got %v, %q", err, rest)
	}
}

func TestExitCodesArePassedOn(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notExecutable, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(t.TempDir(), "lost")
	if err := os.WriteFile(lost, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		argv       []string
		code       int
	}{
		{"success", "", []string{"true"}, 0},
		{"a code", "sh: exit code 7", []string{"exit 7"}, 7},
		{"the highest code", "sh: exit code 255", []string{"exit 255"}, 255},
		{"SIGKILL", "sh: ended by SIGKILL", []string{"kill -KILL $$"}, 137},
		{"SIGSEGV", "sh: ended by SIGSEGV", []string{"kill -SEGV $$"}, 139},
		{"SIGTERM", "sh: ended by SIGTERM", []string{"kill -TERM $$"}, 143},
		{"no such program", "no-such-program: cannot be started: executable file not found in $PATH", []string{"no-such-program"}, 127},
		{"no such file", "/no/such: cannot be started: fork/exec /no/such: no such file or directory", []string{"/no/such"}, 127},
		{"no such interpreter", "", []string{lost}, 127},
		{"not executable", "", []string{notExecutable}, 126},
		{"a directory", "", []string{"/"}, 126},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keep(t, SupervisorOptions{Command: tc.argv})
			k.Update([]string{envPath})
			rest, err := k.over()
			if exitCode(err) != tc.code || tc.want != "" && err.Error() != tc.want || rest != "" {
				t.Errorf("got %v with code %d, %q", err, exitCode(err), rest)
			}
			var failed *StartError
			if errors.As(err, &failed) != (tc.code == 126 || tc.code == 127) {
				t.Errorf("got a %T", err)
			}
		})
	}
}

func TestSignalNumbersOfUnnamedSignals(t *testing.T) {
	for sig := syscall.Signal(1); sig <= last; sig++ {
		e := ExitError{Code: -1, Signal: signalName(sig)}
		if got := e.ExitCode(); got != 128+int(sig) {
			t.Errorf("%q: code %d", e.Signal, got)
		}
	}
}

func TestAnEnvironmentThatCannotBeSaysWhichVariable(t *testing.T) {
	for _, tc := range []struct{ name, entry, want string }{
		{"a NUL byte", "SECRET=can\x00ary", `"SECRET" holds a NUL byte`},
		{"too long", "SECRET=" + strings.Repeat("canary", 1<<20), `6291463 of them in "SECRET"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keep(t, SupervisorOptions{Command: []string{"true"}})
			k.Update([]string{envPath, tc.entry})
			_, err := k.over()
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") || exitCode(err) != 126 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestStandardInputIsPassedOn(t *testing.T) {
	r, w := pipe(t)
	k := keep(t, SupervisorOptions{Command: []string{"cat"}, Stdin: r})
	k.Update([]string{envPath})
	if _, err := io.WriteString(w, "a line\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if rest, err := k.over(); err != nil || rest != "a line" {
		t.Errorf("got %v, %q", err, rest)
	}
}

func TestOutputIsAppendedToFiles(t *testing.T) {
	dir := t.TempDir()
	out, errs := filepath.Join(dir, "out"), filepath.Join(dir, "err")
	if err := os.WriteFile(out, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := keep(t, SupervisorOptions{Command: []string{"echo one; echo two >&2"}, StdoutFile: out, StderrFile: errs})
	k.Update([]string{envPath})
	if rest, err := k.over(); err != nil || rest != "" {
		t.Errorf("got %v, %q", err, rest)
	}
	both := filepath.Join(dir, "both")
	k = keep(t, SupervisorOptions{Command: []string{"echo one; echo two >&2"}, StdoutFile: both, StderrFile: both})
	k.Update([]string{envPath})
	if rest, err := k.over(); err != nil || rest != "" {
		t.Errorf("got %v, %q", err, rest)
	}
	for path, want := range map[string]string{out: "before\none\n", errs: "two\n", both: "one\ntwo\n"} {
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", filepath.Base(path), got, err)
		}
	}
	if fi, err := os.Stat(errs); err != nil || fi.Mode().Perm() != 0o644 {
		t.Errorf("a new file: %v, %v", fi.Mode(), err)
	}
}

func TestTheReaderOfAPipeSeesNoEndBeforeTheProgramStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(r)
	s, err := NewSupervisor(SupervisorOptions{Command: []string{"echo", "hello"}, StdoutFile: path})
	if err != nil {
		t.Fatal(err)
	}
	var seen error
	s.launch = func(env []string) (job, error) {
		_, seen = syscall.Read(r, make([]byte, 1))
		return s.startProcess(env)
	}
	s.Update([]string{envPath})
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen != syscall.EAGAIN { // nil is the end
		t.Errorf("its reader saw %v", seen)
	}
	buf := make([]byte, 16)
	if n, err := syscall.Read(r, buf); err != nil || string(buf[:n]) != "hello\n" {
		t.Errorf("its reader got %q, %v", buf[:max(n, 0)], err)
	}
}

func TestAnOutputThatCannotBeOpenedIsToldAtOnce(t *testing.T) {
	for name, o := range map[string]SupervisorOptions{
		"standard output": {StdoutFile: "/no/such/file"},
		"standard error":  {StdoutFile: filepath.Join(t.TempDir(), "out"), StderrFile: t.TempDir()},
	} {
		o.Command = []string{"echo", "it ran"}
		k := keep(t, o) // no Update: nothing was fetched yet
		rest, err := k.over()
		if !errors.Is(err, ErrOutput) || !strings.Contains(err.Error(), ": "+name+": open ") || rest != "" {
			t.Errorf("%s: got %v, %q", name, err, rest)
		}
	}
}

func TestOutputThatIsNoFileArrivesInFull(t *testing.T) {
	var out strings.Builder
	s, err := NewSupervisor(SupervisorOptions{Command: []string{"echo one; echo two >&2; (sleep 0.2; echo three) & exit 5"}, Stdout: &out, Stderr: &out, StopSignal: "WINCH", StopTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s.Update([]string{envPath})
	if err := s.Run(t.Context()); exitCode(err) != 5 || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("got %v, %q", err, &out)
	}
}

func TestKillAllEndsASupervisedProgram(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram})
	k.Update(self("family", "STUBBORN=1"))
	k.expect("up", "up")
	KillAll()
	if rest, err := k.over(); exitCode(err) != 137 || rest != "" {
		t.Errorf("got %v, %q", err, rest)
	}
}

// Whatever comes first, Run ends with one of the two reasons, and nothing is
// left behind.
func TestUpdatesEndsAndTheEndOfTheRunAtOnce(t *testing.T) {
	for i := range 200 {
		r, w := pipe(t)
		k := keep(t, SupervisorOptions{Command: []string{"sh", "-c", "read x; exit 7"}, Stdin: r, StopTimeout: 5 * time.Second})
		k.Update([]string{envPath, "V=0"})
		var all sync.WaitGroup
		at := func(f func()) {
			all.Go(func() {
				for range rand.IntN(3000) {
					runtime.Gosched()
				}
				f()
			})
		}
		at(func() { k.Update([]string{envPath, "V=1"}) })
		at(func() { k.Update([]string{envPath, "V=2"}) })
		at(func() { w.Close() })
		at(func() { k.Signal(syscall.SIGWINCH); k.Status() })
		if i%2 == 0 {
			at(func() { k.cancel(errEnough) })
		}
		all.Wait()
		rest, err := k.over()
		if code := exitCode(err); code != 7 && !errors.Is(err, errEnough) || rest != "" {
			t.Fatalf("round %d: got %v, %q", i, err, rest)
		}
	}
}

// Signals come from all sides while it restarts over and over.
func TestAStormOfSignals(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: []string{`trap '' TERM; echo "up $V"; exec sleep 1000`}, StopTimeout: 5 * time.Millisecond})
	k.Update([]string{envPath, "V=0"})
	k.expect("up 0")
	done := make(chan struct{})
	var all sync.WaitGroup
	for _, sig := range []os.Signal{syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGURG, syscall.SIGCHLD} { // all of them ignored
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					k.Signal(sig)
					k.Status()
				}
			}
		})
	}
	for n := range 25 {
		v := fmt.Sprint(n + 1)
		k.Update([]string{envPath, "V=" + v})
		k.expect("up " + v)
	}
	close(done)
	all.Wait()
	k.cancel(errEnough)
	if rest, err := k.over(); !errors.Is(err, errEnough) || rest != "" {
		t.Errorf("got %v, %q", err, rest)
	}
}

// Where the kernel cannot be asked without taking the answer.
func TestWaitingWithoutALook(t *testing.T) {
	for _, tc := range []struct {
		line string
		want error
	}{
		{"echo out", nil},
		{"echo out; exit 7", &ExitError{Program: "sh", Code: 7}},
		{"echo out; kill -STOP $$; kill -KILL $$", &ExitError{Program: "sh", Code: -1, Signal: "SIGKILL"}},
	} {
		var out strings.Builder
		cmd, _, err := commandLine([]string{"sh", "-c", tc.line})
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout = &out
		ownGroup(cmd)
		p := &process{program: "sh", cmd: cmd, kept: &keeping{stop: syscall.SIGTERM}, over: make(chan struct{}), stops: make(chan os.Signal, 1)}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p.adopt()
		waited := make(chan struct{})
		go func() {
			defer close(waited)
			p.err = p.waitWithoutLook()
		}()
		if strings.Contains(tc.line, "STOP") {
			<-p.stops
			if err := p.signal(syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
		<-p.over
		if p.signal(syscall.SIGTERM) == nil {
			t.Error("a signal went to a program that has ended")
		}
		<-waited
		got := p.result()
		if fmt.Sprint(got) != fmt.Sprint(tc.want) || out.String() != "out\n" {
			t.Errorf("%s: got %v, %q", tc.line, got, &out)
		}
	}
}
