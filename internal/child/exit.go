package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
)

// ExitError is the error of a command that ended by itself, but not well.
type ExitError struct {
	// Program is what was started, "sh" for a line that a shell runs.
	Program string
	// Code is the exit code, -1 when a signal ended it.
	Code int
	// Signal is the name of that signal, such as "SIGSEGV", else empty.
	Signal string
}

func (e *ExitError) Error() string { return e.Program + ": " + e.how() }

// how is how it ended, in words.
func (e *ExitError) how() string {
	if e.Signal != "" {
		return "ended by " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// ExitCode is what a shell would leave with in its place: the program's own
// code, or 128 and the number of the signal.
func (e *ExitError) ExitCode() int {
	if e.Signal != "" {
		return 128 + signalNumber(e.Signal)
	}
	return e.Code
}

// StartError is the error of a program that could not be started.
type StartError struct {
	// Program is what should have been started, without its arguments.
	Program string
	// Err is the operating system's reason.
	Err error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("%s: cannot be started: %v", e.Program, e.Err)
}

func (e *StartError) Unwrap() error { return e.Err }

// ExitCode is what a shell would leave with: 127 for what does not exist, 126
// for what cannot be executed.
func (e *StartError) ExitCode() int {
	if errors.Is(e.Err, exec.ErrNotFound) || errors.Is(e.Err, fs.ErrNotExist) || errors.Is(e.Err, syscall.ENOTDIR) {
		return 127
	}
	return 126
}
