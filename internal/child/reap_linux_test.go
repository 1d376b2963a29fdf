package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() { roles["init"] = initProcess }

// A supervisor that is killed has no time to end anything.
func TestAKilledLatchkeyLeavesNoOrphan(t *testing.T) {
	c, lines := program(t, nil, self("latchkey", "LINE="+appLine))
	expect(t, lines, "up")
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	expect(t, lines, "got SIGTERM")
	if rest := rest(lines); rest != "" {
		t.Errorf("it printed %q", rest)
	}
}

// The kernel tells a program when the thread that started it has ended, which
// must not be before latchkey does.
func TestThreadsThatEndDoNotEndTheProgram(t *testing.T) {
	k := keep(t, SupervisorOptions{Command: ownProgram})
	k.Update(self("app"))
	k.expect("up")
	for range 10 {
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { runtime.LockOSThread() }) // the thread ends with it
		}
		all.Wait()
	}
	k.Signal(syscall.SIGUSR1)
	k.expect("got SIGUSR1")
}

func TestOrphansAreReaped(t *testing.T) {
	for _, tc := range []struct {
		name string
		attr *syscall.SysProcAttr
		env  string
	}{
		{"by a child subreaper", &syscall.SysProcAttr{}, "SUBREAPER=1"},
		{"by process 1", pidNamespace(), "PID1=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, lines := program(t, tc.attr, self("init", tc.env))
			if got := rest(lines); got != "all is well" {
				t.Errorf("it printed %s", got)
			}
		})
	}
}

func pidNamespace() *syscall.SysProcAttr {
	if os.Getuid() == 0 {
		return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	}
	own := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
		UidMappings: own(os.Getuid()), GidMappings: own(os.Getgid()),
	}
}

// initProcess runs Reap beside everything else that has to do with children,
// and prints what went wrong.
func initProcess() {
	if os.Getenv("SUBREAPER") != "" {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			panic(err)
		}
	} else if os.Getpid() != 1 {
		fmt.Println("we are not process 1")
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error)
	go func() { ended <- Reap(ctx) }()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() { makeOrphans(i) })
	}
	all.Go(superviseOne)
	all.Go(startBeside)
	all.Wait()
	for { // until nobody is our child any more
		if _, err := waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOWAIT); errors.Is(err, unix.ECHILD) {
			break
		}
		runtime.Gosched()
	}
	cancel(errEnough)
	if err := <-ended; !errors.Is(err, errEnough) {
		fmt.Println("Reap returned", err)
	}
	fmt.Println("all is well")
}

// makeOrphans runs commands that leave something behind, and looks whether
// each has the exit code that it should.
func makeOrphans(seed int) {
	for i := range 25 {
		code := seed*25 + i
		line := fmt.Sprintf("(setsid true &); (sleep 0.0%d &); (:&); exit %d", i, code)
		err := Runner{}.Run(context.Background(), Command{Argv: []string{line}, Env: []string{envPath}})
		if got := exitCode(err); got != code {
			fmt.Printf("a command that leaves with %d: %v\n", code, err)
		}
	}
}

func superviseOne() {
	for range 10 {
		s, err := NewSupervisor(SupervisorOptions{Command: []string{"(sleep 1000 &); exit 5"}, StopTimeout: time.Minute})
		if err != nil {
			panic(err)
		}
		s.Update([]string{envPath})
		begun := time.Now()
		if err := s.Run(context.Background()); exitCode(err) != 5 {
			fmt.Println("a supervised program that leaves with 5:", err)
		}
		if took := time.Since(begun); took > 30*time.Second {
			fmt.Println("what is dead was waited for:", took)
		}
	}
}

// startBeside starts children as a library might, in our own group: one whose
// end it asks for when it finds the time, and one that it forgets.
func startBeside() {
	c := exec.Command("sh", "-c", "exit 9")
	forgotten := exec.Command("true")
	if err := errors.Join(c.Start(), forgotten.Start()); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := waitid(unix.P_PID, c.Process.Pid, unix.WEXITED|unix.WNOWAIT); err != nil {
		fmt.Println("it was taken:", err)
	}
	for range 5 { // each of which makes Reap look
		if err := (Runner{}).Run(context.Background(), Command{Argv: []string{"true"}, Env: []string{envPath}}); err != nil {
			fmt.Println(err)
		}
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 9 {
		fmt.Println("a library's child:", err)
	}
}

func TestReapOnlyWaitsWhereOrphansAreNotOurs(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	cancel(errEnough)
	if err := Reap(ctx); !errors.Is(err, errEnough) {
		t.Errorf("got %v", err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestDeadMembersOfAGroupDoNotCount(t *testing.T) {
	c := exec.Command("true")
	ownGroup(c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := waitid(unix.P_PID, c.Process.Pid, unix.WEXITED|unix.WNOWAIT); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: c}
	p.adopt()
	if syscall.Kill(-p.pid(), 0) != nil || p.left() {
		t.Error("a zombie counts as alive")
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if p.left() {
		t.Error("an empty group counts as alive")
	}
	live := exec.Command("sleep", "1000")
	ownGroup(live)
	if err := live.Start(); err != nil {
		t.Fatal(err)
	}
	p = &process{cmd: live}
	p.adopt()
	if !p.left() {
		t.Error("a group that runs counts as dead")
	}
	p.kill()
	_ = live.Wait()
}

func TestParseStat(t *testing.T) {
	for stat, want := range map[string]struct {
		state byte
		pgid  int
	}{
		"42 (sh) S 1 42 42 0 -1":          {'S', 42},
		"42 (a) Z 7) b) Z 1 43 42 0":      {'Z', 43},
		"42 (with\nnewline) R 1 44 0":     {'R', 44},
		"":                                {},
		"42 (sh":                          {},
		"42 (sh) S":                       {},
		"42 (sh) Sleeping 1 42":           {},
		"42 (sh) S 1 notanumber 42 0 -1 ": {'S', 0},
	} {
		if state, pgid := parseStat([]byte(stat)); state != want.state || pgid != want.pgid {
			t.Errorf("%q: got %q, %d", stat, state, pgid)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("sh", "S 1 42 42")
	f.Add(") Z 1 2 (", "R 1 7")
	f.Fuzz(func(t *testing.T, name, rest string) {
		wantState, wantGroup := parseStat([]byte(rest))
		if strings.Contains(rest, ")") {
			return
		}
		state, pgid := parseStat([]byte("42 (" + name + ") " + rest))
		if state != wantState || pgid != wantGroup {
			t.Errorf("the name %q changes %q: %q, %d", name, rest, state, pgid)
		}
	})
}
