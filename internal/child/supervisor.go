package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"latchkey/internal/environ"
	"latchkey/internal/meter"
)

// SupervisorOptions say which program is kept running, and how.
type SupervisorOptions struct {
	// Command has one element for a line that a shell splits when it holds
	// spaces, more for a program and its arguments as they stand.
	Command []string
	// Stdin is passed on as it is, a terminal with everything that belongs to
	// it; nil is an empty one.
	Stdin *os.File
	// Stdout and Stderr receive the output, nil for that of this process.
	// Anything but an *os.File is fed through a pipe.
	Stdout, Stderr io.Writer
	// StdoutFile and StderrFile name files to append the output to, in place of
	// the two above; a missing one is created with mode 0644. Each start opens
	// them anew, so that a log that was moved away is left behind.
	StdoutFile, StderrFile string
	// StopSignal asks the program to end, "" for SIGTERM; after StopTimeout, 0
	// for at once, SIGKILL follows. Both go to its whole process group.
	StopSignal  string
	StopTimeout time.Duration
	// Restart says what a changed environment leads to: "always" (or "") a
	// restart, "never" nothing, "signal:NAME" that signal.
	Restart string
	// Delay is how long the environment must have been left alone before a
	// change of it takes effect. Changes that never pause take effect after
	// ten times that.
	Delay time.Duration
	// Log may be nil.
	Log *slog.Logger
	// Meter receives child.start and child.restart; nil is meter.Discard.
	Meter meter.Meter
}

// Supervisor keeps one program running. Its methods are safe for concurrent
// use; Run is called once.
type Supervisor struct {
	opts SupervisorOptions
	stop os.Signal
	// reload is sent in place of a restart, nil for none; never means neither.
	reload os.Signal
	never  bool

	// launch starts the program; the tests put another in its place.
	launch func(env []string) (job, error)
	tty    *terminal
	// told is the environment that the program was started with, or was last
	// told about. Only Run touches it.
	told []string

	// wake has something when next changed.
	wake chan struct{}
	mu   sync.Mutex
	next []string // nil before the first Update
	job  job      // nil when none runs
	stat Status
}

// Status is how the program is.
type Status struct {
	// PID is 0 when none runs.
	PID       int
	StartedAt time.Time
	// Restarts counts those because of a changed environment.
	Restarts int
	// LastExit is how the one before ended, in words: "exit code 0", "ended by
	// SIGTERM"; empty while the first runs.
	LastExit   string
	LastExitAt time.Time
	// Err is why it could not be started again, and NextAt when that is tried
	// next; nil and zero otherwise.
	Err    error
	NextAt time.Time
}

// NewSupervisor checks the options and starts nothing.
func NewSupervisor(o SupervisorOptions) (*Supervisor, error) {
	if _, _, err := commandLine(o.Command); err != nil {
		return nil, err
	}
	if o.StopSignal == "" {
		o.StopSignal = "SIGTERM"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	s := &Supervisor{opts: o, wake: make(chan struct{}, 1)}
	s.launch = s.startProcess
	var err error
	if s.stop, err = ParseSignal(o.StopSignal); err != nil {
		return nil, fmt.Errorf("the signal to stop with: %w", err)
	}
	if s.stop != os.Kill && !passable(s.stop) {
		return nil, fmt.Errorf("the signal to stop with: %s would only pause the program", o.StopSignal)
	}
	name, isSignal := strings.CutPrefix(o.Restart, "signal:")
	switch {
	case isSignal && name == "":
		return nil, errors.New("restart: \"signal:\" needs the name of a signal")
	case isSignal && !canReload:
		return nil, fmt.Errorf("restart: %q: this system has no signals", o.Restart)
	case isSignal:
		if s.reload, err = ParseSignal(name); err != nil {
			return nil, fmt.Errorf("restart: %w", err)
		}
		if !passable(s.reload) {
			return nil, fmt.Errorf("restart: %q: a program cannot act on that signal", o.Restart)
		}
	case o.Restart == "never":
		s.never = true
	case o.Restart != "" && o.Restart != "always":
		return nil, fmt.Errorf("restart: %q is not \"always\", \"never\" or \"signal:NAME\"", o.Restart)
	}
	return s, nil
}

// Update hands over the whole environment of the program, as NAME=value; of
// two entries with one name the later counts. The first one starts the program
// at once; a later one that says something else does what Restart says, once
// Delay has gone by without another. It never blocks, and may be called before
// Run.
func (s *Supervisor) Update(env []string) {
	next := environ.Normal(env)
	s.mu.Lock()
	same := s.next != nil && slices.Equal(next, s.next)
	s.next = next
	s.mu.Unlock()
	if same {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// newest is the environment of the last Update, nil before the first.
func (s *Supervisor) newest() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// Signal passes a signal on to the program's process group. It reports whether
// there was a program to get it; KILL and STOP are not passed on: the one
// would leave no time for anything, and the other nobody here could take back.
func (s *Supervisor) Signal(sig os.Signal) bool {
	s.mu.Lock()
	j := s.job
	s.mu.Unlock()
	return j != nil && passable(sig) && j.signal(sig) == nil
}

// Status is how the program is now.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stat
}

// Run keeps the program running and blocks. It waits for the first Update,
// starts the program, and deals with every later Update. It returns
//
//   - nil or an *ExitError when the program ended by itself, at any time but
//     during a restart;
//   - the cause of ctx when that ended, the program being stopped first;
//   - a *StartError when it could not be started the first time, or ErrOutput.
//     Later on both are tried again without end.
//
// Whatever the reason, nothing is left of the program's process group then.
func (s *Supervisor) Run(ctx context.Context) error { return s.run(ctx) }
