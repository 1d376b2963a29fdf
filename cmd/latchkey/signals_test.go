//go:build unix

package main

import (
	"os"
	"slices"
	"syscall"
	"testing"
)

func TestWhichSignalsAreTheChilds(t *testing.T) {
	list := forwarded()
	for _, c := range []struct {
		sig  syscall.Signal
		want bool
	}{
		{syscall.SIGWINCH, true}, {syscall.SIGQUIT, true}, {syscall.SIGCONT, true}, {syscall.SIGALRM, true}, {syscall.SIGTSTP, false},
		{syscall.SIGHUP, false}, {syscall.SIGUSR1, false}, {syscall.SIGINT, false}, {syscall.SIGTERM, false},
		{syscall.SIGKILL, false}, {syscall.SIGSTOP, false}, {syscall.SIGCHLD, false}, {syscall.SIGPIPE, false},
		{syscall.SIGURG, false}, {syscall.SIGTTOU, false}, {syscall.SIGSEGV, false},
	} {
		if got := slices.Contains(list, os.Signal(c.sig)); got != c.want {
			t.Errorf("%s: %v, want %v", c.sig, got, c.want)
		}
	}
}

// A signal that nobody has a use for is left to the system, and is caught again
// when there is a child.
func TestSignalsAreForwardedWhileThereIsAChild(t *testing.T) {
	s := catchSignals()
	defer s.stop()
	s.forward(true)
	s.forward(false)
	s.forward(true)
	if err := syscall.Kill(os.Getpid(), syscall.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	if got := <-s.c; got != syscall.SIGWINCH {
		t.Errorf("got %v", got)
	}
	s.forward(false)
	// Left to the system, SIGWINCH is ignored; SIGUSR1 is still acted on.
	for _, sig := range []syscall.Signal{syscall.SIGWINCH, syscall.SIGUSR1} {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-s.c; got != syscall.SIGUSR1 {
		t.Errorf("got %v", got)
	}
}
