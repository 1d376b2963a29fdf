//go:build unix

package main

import (
	"os"
	"runtime"
	"slices"
	"syscall"
)

// acted are the signals on which a daemon acts.
var acted = []os.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}

// own are the signals that are not handed on: SIGINT and SIGTERM end the
// daemon, and with it the child; KILL and STOP cannot be caught; the others are
// about this process: its children, its pipes, its terminal, its profiler, its
// faults.
var own = append([]os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSTOP,
	syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPROF,
	syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS,
}, acted...)

// forwarded lists the signals that only a child has a use for.
func forwarded() []os.Signal {
	var list []os.Signal
	for n := syscall.Signal(1); n <= 31; n++ {
		if !slices.Contains(own, os.Signal(n)) {
			list = append(list, n)
		}
	}
	if runtime.GOOS == "linux" {
		// The real-time signals, but for those that C libraries keep.
		for n := syscall.Signal(35); n <= 64; n++ {
			list = append(list, n)
		}
	}
	return list
}
