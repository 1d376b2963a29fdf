package child

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// process is a program that has been started. Somebody must wait for done: the
// one goroutine of this room ends with it.
type process struct {
	program string
	cmd     *exec.Cmd
	// done is closed when the program has ended and err is set.
	done chan struct{}
	err  error
}

// straggling is how long a pipe for the output stays open after the program
// has ended, for what it left running in the background.
const straggling = 2 * time.Second

// start starts a program in a group of its own. A nil env is an empty one.
func start(argv, env []string, stdin io.Reader, stdout, stderr io.Writer) (*process, error) {
	cmd, program, err := commandLine(argv)
	if err != nil {
		return nil, err
	}
	// exec takes a nil Env for "all of mine".
	cmd.Env = append([]string{}, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.WaitDelay = straggling
	ownGroup(cmd)
	p := &process{program: program, cmd: cmd, done: make(chan struct{})}
	if err := running.start(p); err != nil {
		return nil, fmt.Errorf("%s: cannot be started: %w", program, bare(err))
	}
	go func() {
		defer close(p.done)
		p.err = cmd.Wait()
		running.remove(p)
	}()
	return p, nil
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
		_ = signalGroup(p.cmd.Process, os.Kill)
	}
}

// result is the error of a process that is done.
func (p *process) result() error {
	var exit *exec.ExitError
	switch {
	case p.err == nil, errors.Is(p.err, exec.ErrWaitDelay):
		return nil
	case errors.As(p.err, &exit):
		return &ExitError{Program: p.program, Code: exit.ExitCode(), Signal: endedBy(exit.ProcessState)}
	}
	return fmt.Errorf("%s: %w", p.program, p.err)
}

// end asks the group to end, waits up to grace, and then makes it. When the
// program itself has ended, what is left of its group is not waited for.
func (p *process) end(sig os.Signal, grace time.Duration) {
	_ = signalGroup(p.cmd.Process, sig)
	if grace > 0 {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-p.done:
		case <-t.C:
		}
	}
	_ = signalGroup(p.cmd.Process, os.Kill)
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
