//go:build unix

package main

import (
	"os"
	"slices"
	"syscall"

	"latchkey/internal/child"
)

// acted are the signals on which a daemon acts.
var acted = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}

// unheard are those that do nothing to a daemon: who reads its log may go away,
// and what it does goes on.
var unheard = []os.Signal{syscall.SIGPIPE}

// own are the signals that are not handed on: SIGINT and SIGTERM end the
// daemon, and with it the child.
var own = append([]os.Signal{syscall.SIGINT, syscall.SIGTERM}, acted...)

// forwarded lists the signals that only a child has a use for. SIGTSTP is not one
// of them: once a Go program has caught it, it can never be stopped by it again,
// and the shell would not get its terminal back after Ctrl-Z.
func forwarded() []os.Signal {
	return slices.DeleteFunc(child.Forwarded(), func(s os.Signal) bool { return slices.Contains(own, s) })
}
