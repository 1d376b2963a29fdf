//go:build unix

package child

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is the one that standard input is, if it is the one that controls
// our session. A nil terminal is none. Only Run uses it, and live while Run
// waits for it.
type terminal struct {
	fd int
	// held: the program, not us, is what the terminal has in the foreground.
	held bool
	cont chan os.Signal
}

// openTerminal is nil when stdin is no terminal of ours.
func openTerminal(stdin *os.File) *terminal {
	if stdin == nil {
		return nil
	}
	t := &terminal{fd: int(stdin.Fd()), cont: make(chan os.Signal, 1)}
	if _, err := t.foreground(); err != nil {
		return nil
	}
	signal.Notify(t.cont, syscall.SIGCONT)
	return t
}

func (t *terminal) close() {
	if t != nil {
		signal.Stop(t.cont)
	}
}

// continued has something when we were told to go on.
func (t *terminal) continued() <-chan os.Signal {
	if t == nil {
		return nil
	}
	return t.cont
}

func (t *terminal) foreground() (pgid int, err error) { return unix.IoctlGetInt(t.fd, unix.TIOCGPGRP) }

// ours reports whether we are the foreground job.
func (t *terminal) ours() bool {
	pgid, err := t.foreground()
	return err == nil && pgid == unix.Getpgrp()
}

// set makes a group the foreground one. Doing so from the background stops the
// caller, unless he ignores the signal; catching it is not enough.
func (t *terminal) set(pgid int) {
	signal.Ignore(syscall.SIGTTOU)
	defer signal.Reset(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, pgid)
}

// hand has a program that is about to start begin in the foreground, if we are.
func (t *terminal) hand(attr *syscall.SysProcAttr) {
	if t != nil && t.ours() {
		attr.Foreground, attr.Ctty = true, t.fd
		t.held = true
	}
}

// take takes the terminal back from a program that has ended, or that did not
// start.
func (t *terminal) take() {
	if t != nil && t.held {
		t.held = false
		t.set(unix.Getpgrp())
	}
}

// settling is how long the kernel may take to stop us.
const settling = 200 * time.Millisecond

// suspend follows a foreground program that was stopped: the shell has to see
// its whole job stop, and that is us. It returns true when we go on, or at once
// where the kernel does not let us stop, because nobody could make us go on. It
// returns false for a program that was in the background when it was stopped,
// be it in the foreground by now: that one goes on by fg.
func (t *terminal) suspend(by os.Signal) bool {
	if t == nil || !t.held || by == syscall.SIGTTIN || by == syscall.SIGTTOU {
		return false
	}
	if sid, err := unix.Getsid(0); err == nil && sid == os.Getpid() {
		return true // nobody above us would take the terminal
	}
	t.take()
	select {
	case <-t.cont: // an old one
	default:
	}
	// This needs a SIGTSTP that nobody has ever caught: signal.Reset does not give
	// it back.
	_ = syscall.Kill(0, syscall.SIGTSTP)
	late := time.NewTimer(settling)
	defer late.Stop()
	select {
	case <-t.cont:
	case <-late.C:
	}
	return true
}

// resume gives the terminal to the program's group, if it is ours to give, and
// has it go on.
func (t *terminal) resume(j job) {
	if t.ours() {
		t.held = true
		t.set(j.pid())
	} else if fg, err := t.foreground(); err != nil || fg != j.pid() {
		t.held = false
	}
	_ = j.signal(syscall.SIGCONT)
}
