package child

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// grace is how long a child that another part of this process may have started
// is left to it.
const grace = time.Second

// Reap does what the init of a container has to: it takes the exit status of
// processes whose parents have ended, so that they do not stay as zombies. It
// blocks until ctx ends and returns its cause.
//
// Those that this room started keep their exit status for whoever waits for
// them, and so do those that something else in this process started, provided
// that it waits for them within a second: they are told by being in our own
// process group. Where we are neither process 1 nor a child subreaper there is
// nothing to do, and Reap only waits.
func Reap(ctx context.Context) error {
	if reaps() {
		reap(ctx)
	} else {
		<-ctx.Done()
	}
	return context.Cause(ctx)
}

// reaps reports whether orphans become our children.
func reaps() bool {
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	return os.Getpid() == 1 || err == nil && subreaper != 0
}

func reap(ctx context.Context) {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	again := time.NewTimer(0) // those from before
	defer again.Stop()
	var r reaper
	for {
		select {
		case <-ctx.Done():
			return
		case <-died:
		case <-again.C:
		}
		again.Stop()
		if wait := r.round(time.Now()); wait > 0 {
			again.Reset(wait)
		}
	}
}

// reaper remembers the child that may be somebody else's, and since when it is
// dead.
type reaper struct {
	suspect int
	since   time.Time
}

// round takes what it may. It returns after what time to look again, 0 for not
// before another child has died.
func (r *reaper) round(now time.Time) time.Duration {
	for {
		// This looks and takes nothing; the same one is found again until
		// somebody takes it.
		info, err := waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT)
		if err != nil || info.pid == 0 {
			return 0
		}
		if wait := r.judge(info.pid, now); wait > 0 {
			return wait
		}
	}
}

// soon is how long the one who waits for a child of this room may need to take
// its status.
const soon = 10 * time.Millisecond

// judge takes one dead child, or returns how long to leave it alone.
func (r *reaper) judge(pid int, now time.Time) time.Duration {
	// Held, so that nothing is started meanwhile that could get its number.
	running.mu.Lock()
	defer running.mu.Unlock()
	for p := range running.of {
		if p.pid() == pid {
			return soon
		}
	}
	if pgid, err := unix.Getpgid(pid); err == nil && pgid == unix.Getpgrp() {
		if r.suspect != pid {
			r.suspect, r.since = pid, now
		}
		if left := grace - now.Sub(r.since); left > 0 {
			return left
		}
	}
	r.suspect = 0
	_, _ = waitid(unix.P_PID, pid, unix.WEXITED|unix.WNOHANG)
	return 0
}
