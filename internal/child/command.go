// Package child starts other programs, and is the only place that does.
//
// A Command runs to its end. It gets exactly the environment it is given, no
// standard input, and writes to our standard error, because our standard
// output belongs to data. A Supervisor keeps one program running for as long
// as we do, with our standard input and outputs, and restarts it when its
// environment changes. Reap is for a process that is init.
//
// Both lead a process group of their own, so that ending them ends what they
// started too. Errors name the program and never its arguments, which may hold
// secrets.
//
// # When latchkey itself is killed
//
// SIGKILL leaves no time to end the supervised program, so that something else
// has to. On Linux the kernel sends it the stop signal: the stop signal and not
// SIGKILL, because a server that is asked ends its workers too, which the
// kernel does not know of. In a PID namespace whose init we are, the kernel ends
// everything. On Windows a job object ends it with all that it started. Other
// systems have no such means, and there it runs on.
//
// # A terminal
//
// When standard input is a terminal and we are its foreground job, the program
// becomes that: it gets Ctrl-C, and we do not. Ctrl-Z stops the program and
// then our own job, so that the shell gets its terminal back; fg and bg let
// both go on. Where no shell could do that, because we lead the session (a
// container with a terminal), Ctrl-Z has no effect. Started in the background,
// we leave the terminal alone until fg. Tokens that fell due while the job was
// stopped are dealt with when it goes on.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Command is one program to run to its end.
type Command struct {
	// Argv has one element for a line that a shell splits when it holds
	// spaces, more for a program and its arguments as they stand.
	Argv []string
	// Env is the whole environment of the command, as NAME=value.
	Env []string
	// Timeout ends it, 0 for never; KillSignal is sent first ("" for
	// SIGINT), then SIGKILL after KillTimeout, both to the whole group. When
	// it is the run that ends, SIGKILL comes after a second at most.
	Timeout     time.Duration
	KillSignal  string
	KillTimeout time.Duration
}

// parting is what a command has for its end when the run is over, which was
// promised to be so at that time.
const parting = time.Second

// ErrTimeout is the kind of the error of a command that its Timeout ended.
var ErrTimeout = errors.New("timed out")

// Runner runs commands. The zero Runner sends what they print to os.Stderr.
type Runner struct {
	// Output receives standard output and standard error. Anything but an
	// *os.File is fed through a pipe, which is cut off two seconds after the
	// command itself has ended.
	Output io.Writer
}

// Run runs c to its end. The error is an *ExitError when the command failed;
// ErrTimeout when it took too long; ctx's cause when ctx ended it; else the
// reason why it could not be started. What a command leaves running in the
// background after it ended by itself is left alone.
func (r Runner) Run(ctx context.Context, c Command) error {
	sig, err := ParseSignal(c.KillSignal)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the command was not started: %w", context.Cause(ctx))
	}
	out := r.Output
	if out == nil {
		out = os.Stderr
	}
	p, err := start(setup{argv: c.Argv, env: c.Env, stdout: out, stderr: out, drain: straggling})
	if err != nil {
		return err
	}
	if c.Timeout > 0 {
		late := fmt.Errorf("%s: %w after %s", p.program, ErrTimeout, c.Timeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, late)
		defer cancel()
	}
	select {
	case <-p.done:
		return p.result()
	case <-ctx.Done():
	}
	select {
	case <-p.done: // both at once: it has done what it should
		return p.result()
	default:
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrTimeout) {
		p.end(sig, c.KillTimeout)
		return cause
	}
	p.end(sig, min(c.KillTimeout, parting))
	return fmt.Errorf("%s: stopped: %w", p.program, cause)
}

// commandLine turns Argv into what is executed, and the name that messages use.
func commandLine(argv []string) (cmd *exec.Cmd, program string, err error) {
	switch {
	case len(argv) == 0 || argv[0] == "":
		return nil, "", errors.New("the command is empty")
	case len(argv) == 1 && strings.ContainsAny(argv[0], " \t\n"):
		cmd = shell(argv[0])
		return cmd, cmd.Args[0], nil
	}
	return exec.Command(argv[0], argv[1:]...), argv[0], nil
}
