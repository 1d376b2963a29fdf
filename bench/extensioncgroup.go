package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// slice is how much of a processor a function has: for quota in each period.
type slice struct{ quota, period time.Duration }

// part is what a function of 128 MB has of a processor.
const part = 0.072

// limit is a cgroup with a limit; a nil one is none.
type limit struct {
	slice
	dir string
}

// newLimit makes a cgroup, of version 2 or 1, whichever has the controller of
// the processor here.
func newLimit(s slice) (*limit, error) {
	name := fmt.Sprintf("latchkey-bench-%d", os.Getpid())
	var errs []error
	for _, v := range []struct {
		root string
		set  func(dir string) error
	}{
		{"/sys/fs/cgroup", func(dir string) error {
			return errors.Join(
				set(filepath.Dir(dir), "cgroup.subtree_control", "+cpu"),
				set(dir, "cpu.max", fmt.Sprintf("%d %d", s.quota.Microseconds(), s.period.Microseconds())))
		}},
		{"/sys/fs/cgroup/cpu", func(dir string) error {
			// The quota of a cgroup must fit its period at every moment.
			return errors.Join(
				set(dir, "cpu.cfs_period_us", strconv.FormatInt(s.period.Microseconds(), 10)),
				set(dir, "cpu.cfs_quota_us", strconv.FormatInt(s.quota.Microseconds(), 10)))
		}},
	} {
		if strings.HasSuffix(v.root, "cgroup") {
			if _, err := os.Stat(filepath.Join(v.root, "cgroup.controllers")); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		dir := filepath.Join(v.root, name)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, os.ErrExist) {
			err = nil
		}
		if err == nil {
			if err = v.set(dir); err == nil {
				return &limit{slice: s, dir: dir}, nil
			}
			_ = os.Remove(dir)
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no cgroup that limits the processor (that needs root): %w", errors.Join(errs...))
}

func set(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
}

func (l *limit) add(pid int) error {
	if l == nil {
		return nil
	}
	return set(l.dir, "cgroup.procs", strconv.Itoa(pid))
}

// rest waits until nothing is left of what the last program in it took: its end
// costs something, too, and would be taken from the first slice of the next.
func (l *limit) rest(ctx context.Context) error {
	if l == nil {
		return nil
	}
	return wait(ctx, 2*l.period)
}

// remove takes the cgroup away, once those in it have ended.
func (l *limit) remove() error {
	if l == nil {
		return nil
	}
	return os.Remove(l.dir)
}

// launch starts a program inside l. It is held before its first instruction until
// it is in, so that what it takes is counted and limited from there on: started is
// that moment. Like those of stay, it dies with this process.
func launch(cmd *exec.Cmd, l *limit) (ended <-chan struct{}, started time.Time, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	begun, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		// Who traces is a thread, and so is who it dies with.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			pid := cmd.Process.Pid
			var status syscall.WaitStatus
			if _, err = syscall.Wait4(pid, &status, 0, nil); err == nil && !status.Stopped() {
				err = fmt.Errorf("%s did not start", cmd.Path)
			}
			err = errors.Join(err, l.add(pid))
			started = time.Now()
			err = errors.Join(err, syscall.PtraceDetach(pid))
			if err != nil {
				_ = cmd.Process.Kill()
			}
		}
		begun <- err
		if cmd.Process != nil {
			_ = cmd.Wait()
		}
	}()
	err = <-begun
	return done, started, err
}
