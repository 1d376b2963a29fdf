//go:build linux

package lambdatest

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one that runs in the environment, with a group of its own.
type process struct {
	source string // in the log
	pid    int
	began  time.Time

	exited chan struct{} // closed when it has ended
	ended  time.Time     // these three after that
	state  *os.ProcessState
	said   chan struct{} // closed when all it said is in the log
}

// spawn starts a process. What starts it is a thread that lives as long as the
// process, because the kernel kills the process with the thread that started
// it, which is how nothing outlives a test binary that dies.
func (p *Platform) spawn(source string, argv, env []string, dir string, onExit func(*process)) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if p.o.Private {
		argv = p.inPrivate(argv)
	}
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Env: env, Dir: dir, Stdout: w, Stderr: w,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	one := &process{source: source, exited: make(chan struct{}), said: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		one.began = time.Now()
		err := p.box.start(cmd)
		_ = w.Close()
		if err == nil {
			one.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		one.ended, one.state = time.Now(), cmd.ProcessState
		close(one.exited)
		onExit(one)
	}()
	if err := <-started; err != nil {
		_ = r.Close()
		return nil, err
	}
	if p.o.Started != nil {
		p.o.Started(source, one.pid)
	}
	go func() {
		p.log.follow(source, r)
		close(one.said)
	}()
	return one, nil
}

// signal sends s to the whole group. A group that is gone is none of our
// business.
func (one *process) signal(s syscall.Signal) { _ = syscall.Kill(-one.pid, s) }

// end kills the group and waits for the process.
func (one *process) end() {
	one.signal(syscall.SIGKILL)
	<-one.exited
	// What it started and left behind has the same group, and holds the log open.
	one.signal(syscall.SIGKILL)
}

// heard waits for the rest of what a process that has ended said. What it started
// and moved to another group could go on, where nothing finds it.
func (p *Platform) heard(one *process) {
	select {
	case <-one.said:
	case <-time.After(10 * time.Second):
		p.t.Errorf("lambdatest: something that %s started has left its process group and still runs", one.source)
	}
}

// endsBefore waits for the process.
func (one *process) endsBefore(ctx context.Context) bool {
	select {
	case <-one.exited:
		return true
	case <-ctx.Done():
		return false
	}
}

// how says how a process ended, in the words of the platform's messages.
func (one *process) how() string {
	if one.state.Success() {
		return "exit code 0"
	}
	return one.state.String()
}

// stopped waits until the kernel has stopped the process. A signal to stop is
// on its way when kill returns.
func (one *process) stopped(ctx context.Context) error {
	return poll(ctx, func() (bool, error) {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(one.pid) + "/stat")
		if err != nil {
			return true, nil // gone
		}
		// The name in brackets may hold anything.
		rest := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
		state := strings.Fields(rest)[0]
		return state == "T" || state == "t" || state == "Z", nil
	})
}

// poll asks until it is so. For what the kernel does and tells nobody.
func poll(ctx context.Context, is func() (bool, error)) error {
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// place puts a binary where the platform finds it, under a name.
func place(binary, dir, name string) error {
	to := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if os.Link(binary, to) == nil {
		return nil
	}
	from, err := os.Open(binary)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// startPatiently starts cmd. A file that this process has just written cannot
// be executed while a child that another goroutine forked still holds it open.
func startPatiently(cmd *exec.Cmd) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var failed error
	err := poll(ctx, func() (bool, error) {
		again := *cmd
		failed = again.Start()
		if errors.Is(failed, syscall.ETXTBSY) {
			return false, nil
		}
		*cmd = again
		return true, failed
	})
	if err != nil && failed != nil {
		return failed
	}
	return err
}

// inPrivate is argv in a mount namespace where /opt and /tmp are the
// environment's own. The process stays the same one: each step executes the
// next.
func (p *Platform) inPrivate(argv []string) []string {
	flags := "-m"
	if os.Geteuid() != 0 {
		flags = "-rm"
	}
	const script = `set -e; mount --bind "$1" /opt; mount --bind "$2" /tmp; shift 2; exec "$@"`
	return append([]string{"/usr/bin/unshare", flags, "/bin/sh", "-c", script, "sh", p.opt(), p.o.Tmp}, argv...)
}
