package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// setup is what a program is started with.
type setup struct {
	argv, env      []string // a nil env is an empty one
	stdin          io.Reader
	stdout, stderr io.Writer
	// drain is how long a pipe for the output stays open after the program has
	// ended, for what it left running in the background.
	drain time.Duration
	// kept is nil for a program that runs to its end.
	kept *keeping
}

// keeping is what a supervised program has beside others.
type keeping struct {
	// stop is what its group gets when the program itself ended, and the
	// program when we end without having been able to stop it.
	stop os.Signal
	tty  *terminal
}

// straggling is the drain of a command.
const straggling = 2 * time.Second

// process is a program that has been started. Somebody must wait for done: the
// one goroutine of this room ends with it.
type process struct {
	program string
	cmd     *exec.Cmd
	kept    *keeping
	tree
	// over is closed when the program itself has ended: of a supervised one
	// only. done is closed when, besides, its output has arrived and err is set.
	over, done chan struct{}
	// stops has the signal by which job control stopped the program.
	stops chan os.Signal
	err   error

	mu sync.Mutex
	// ended: its number may soon be another's. asked: it was told to stop.
	ended, asked bool
}

// start starts a program in a group of its own. The error is a *StartError.
func start(s setup) (*process, error) {
	cmd, program, err := commandLine(s.argv)
	if err != nil {
		return nil, err
	}
	// exec takes a nil Env for "all of mine".
	cmd.Env = append([]string{}, s.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.stdin, s.stdout, s.stderr
	cmd.WaitDelay = s.drain
	ownGroup(cmd)
	p := &process{
		program: program, cmd: cmd, kept: s.kept,
		over: make(chan struct{}), done: make(chan struct{}), stops: make(chan os.Signal, 1),
	}
	started := make(chan error)
	go p.live(started)
	if err := <-started; err != nil {
		return nil, &StartError{Program: program, Err: hint(bare(err), s.env)}
	}
	return p, nil
}

// live starts the program and stays with it until it has ended.
func (p *process) live(started chan<- error) {
	if p.kept != nil {
		// Linux takes the thread that started a program for its parent, and
		// tells the program when that thread is gone. This one stays with it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p.bind()
	}
	if err := running.start(p); err != nil {
		started <- err
		return
	}
	defer close(p.done)
	defer running.remove(p)
	started <- nil
	if p.kept == nil {
		p.err = p.cmd.Wait()
		return
	}
	p.err = p.wait()
}

// running holds the processes that have not ended.
var running set

type set struct {
	mu sync.Mutex
	of map[*process]bool
}

// start starts a process and keeps it, in one step: whoever kills them all in
// between would miss it.
func (s *set) start(p *process) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	if s.of == nil {
		s.of = make(map[*process]bool)
	}
	s.of[p] = true
	if p.kept != nil {
		p.adopt()
	}
	return nil
}

func (s *set) remove(p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, p)
}

// KillAll kills every program that is still running, with its group, and waits
// for nothing. It is for a process that is about to leave without having heard
// from them: in groups of their own they would outlive it.
func KillAll() {
	running.mu.Lock()
	defer running.mu.Unlock()
	for p := range running.of {
		_ = signalCommand(p.cmd.Process, os.Kill)
	}
}

// result is the error of a process that is done.
func (p *process) result() error {
	var exit *exec.ExitError
	var ours *ExitError
	switch {
	case p.err == nil, errors.Is(p.err, exec.ErrWaitDelay):
		return nil
	case errors.As(p.err, &exit):
		return &ExitError{Program: p.program, Code: exit.ExitCode(), Signal: endedBy(exit.ProcessState)}
	case errors.As(p.err, &ours):
		return ours
	}
	return fmt.Errorf("%s: %w", p.program, p.err)
}

// end asks the group to end, waits up to grace, and then makes it. When the
// program itself has ended, what is left of its group is not waited for.
func (p *process) end(sig os.Signal, grace time.Duration) {
	_ = signalCommand(p.cmd.Process, sig)
	if grace > 0 {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
	}
	_ = signalCommand(p.cmd.Process, os.Kill)
	<-p.done
}

// bare drops the layer that repeats the program's name.
func bare(err error) error {
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		return lookup.Err
	}
	return err
}
