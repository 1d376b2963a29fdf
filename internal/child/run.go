package child

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"latchkey/internal/retry"
)

// again is the schedule by which a program that could not be started another
// time is tried again.
var again = retry.Schedule{Attempts: -1, Base: time.Second, Max: 30 * time.Second, Jitter: 0.1}

// patience is how many delays changes without a pause can put a restart off.
const patience = 10

// What is given to a program is measured by timers and not by the wall clock:
// while the machine is suspended the program is too, and what it gets is time
// to run.

func (s *Supervisor) run(ctx context.Context) error {
	s.tty = openTerminal(s.opts.Stdin)
	defer s.tty.close()
	j, err := s.first(ctx)
	for err == nil {
		switch s.attend(ctx, j) {
		case itEnded:
			return s.parted(ctx, j)
		case weEnd:
			s.end(j)
			return context.Cause(ctx)
		}
		s.end(j)
		j, err = s.restart(ctx)
	}
	return err
}

// first starts the program when there is an environment for it.
func (s *Supervisor) first(ctx context.Context) (job, error) {
	// A bad path is told before there is a secret. What is open stays so until
	// the program has it: the reader of a pipe must not see an end between.
	out, err := s.opts.outputs()
	if err != nil {
		return nil, err
	}
	defer out.close()
	select {
	case <-s.wake:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return s.start()
}

// verdict is what attend came to.
type verdict int

const (
	itEnded verdict = iota + 1
	weEnd
	itIsOld
)

// attend stays with a program until it has ended, we are to end, or it is to be
// started again.
func (s *Supervisor) attend(ctx context.Context, j job) verdict {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	var first time.Time // of the changes that wait
	for {
		select {
		case <-ctx.Done():
			return weEnd
		case <-j.overCh():
			return itEnded
		case by := <-j.stopCh():
			if s.tty.suspend(by) {
				s.tty.resume(j)
			}
		case <-s.tty.continued():
			s.tty.resume(j)
		case <-s.wake:
			if slices.Equal(s.newest(), s.told) {
				quiet.Stop()
				first = time.Time{}
				continue
			}
			if first.IsZero() {
				first = time.Now()
			}
			quiet.Reset(min(s.opts.Delay, patience*s.opts.Delay-time.Since(first)))
		case <-quiet.C:
			first = time.Time{}
			if v := s.changed(j); v != 0 {
				return v
			}
		}
	}
}

// changed does what is to be done about a new environment. It returns 0 when
// the program stays.
func (s *Supervisor) changed(j job) verdict {
	switch {
	case s.never:
		s.opts.Log.Info("the environment changed, and the process keeps the old one", "pid", j.pid())
	case s.reload != nil:
		s.opts.Log.Info("the environment changed, signalling the process", "signal", s.reload, "pid", j.pid())
		if err := j.signal(s.reload); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.opts.Log.Error("the process could not be signalled", "error", err, "pid", j.pid())
		}
	default:
		select {
		case <-j.overCh():
			return itEnded
		default:
		}
		s.opts.Log.Info("the environment changed, restarting the process", "pid", j.pid())
		return itIsOld
	}
	s.told = s.newest()
	return 0
}

// start starts the program with the newest environment.
func (s *Supervisor) start() (job, error) {
	env := s.newest()
	j, err := s.launch(env)
	if err != nil {
		s.tty.take()
		return nil, err
	}
	s.told = env
	s.mu.Lock()
	s.job = j
	s.stat.PID, s.stat.StartedAt = j.pid(), time.Now()
	s.stat.Err, s.stat.NextAt = nil, time.Time{}
	s.mu.Unlock()
	s.opts.Meter.Count("child.start", 1)
	s.opts.Log.Info("the process has started", "pid", j.pid())
	return j, nil
}

func (s *Supervisor) startProcess(env []string) (job, error) {
	out, err := s.opts.outputs()
	if err != nil {
		return nil, err
	}
	defer out.close()
	set := setup{
		argv: s.opts.Command, env: env, stdout: out.stdout, stderr: out.stderr,
		drain: s.opts.StopTimeout + straggling,
		kept:  &keeping{stop: s.stop, tty: s.tty},
	}
	if s.opts.Stdin != nil {
		set.stdin = s.opts.Stdin
	}
	p, err := start(set)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// restart starts the program another time, and tries until it succeeds or ctx
// ends.
func (s *Supervisor) restart(ctx context.Context) (job, error) {
	for attempt := 1; ctx.Err() == nil; attempt++ {
		j, err := s.start()
		if err == nil {
			s.mu.Lock()
			s.stat.Restarts++
			s.mu.Unlock()
			s.opts.Meter.Count("child.restart", 1)
			return j, nil
		}
		wait := again.Wait(attempt)
		s.mu.Lock()
		s.stat.Err, s.stat.NextAt = err, time.Now().Add(wait)
		s.mu.Unlock()
		s.opts.Log.Error("the process is not running, because it could not be started again",
			"error", err, "attempt", attempt, "next", wait.Round(time.Millisecond))
		retry.Sleep(ctx, wait)
	}
	return nil, context.Cause(ctx)
}

// end stops the program: the signal, the time, and SIGKILL.
func (s *Supervisor) end(j job) {
	begun := time.Now()
	j.ask(s.stop)
	late := time.NewTimer(s.opts.StopTimeout)
	defer late.Stop()
	select {
	case <-j.overCh():
	case <-late.C:
		s.opts.Log.Warn("the process did not end when asked and is killed", "pid", j.pid(), "after", s.opts.StopTimeout)
		j.kill()
		<-j.overCh()
	}
	s.clear(j, s.opts.StopTimeout-time.Since(begun))
}

// hurry is how long an end that we did not ask for may wait to turn out to be
// part of our own.
const hurry = 200 * time.Millisecond

// parted deals with a program that ended by itself.
func (s *Supervisor) parted(ctx context.Context, j job) error {
	s.clear(j, s.opts.StopTimeout)
	err := j.result()
	if s.asIfAsked(err) {
		// A service manager that stops a service signals all of its processes
		// at once: then it is that, and ours has yet to arrive.
		retry.Sleep(ctx, hurry)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// asIfAsked reports whether a program ended as one that was asked to does, and
// not with success, which needs no explanation.
func (s *Supervisor) asIfAsked(err error) bool {
	var exit *ExitError
	if !errors.As(err, &exit) {
		return false
	}
	return slices.ContainsFunc([]os.Signal{syscall.SIGTERM, syscall.SIGINT, s.stop}, func(sig os.Signal) bool {
		n, ok := sig.(syscall.Signal)
		return ok && exit.ExitCode() == 128+int(n)
	})
}

// probes are the pauses between looks at what is left of a group: there is no
// event for that.
var probes = retry.Schedule{Base: 2 * time.Millisecond, Max: 100 * time.Millisecond}

// dying is how long what was killed may take to be gone.
const dying = time.Second

// clear waits until nothing is left of the group of a program that has ended,
// and kills what is after limit. Then it takes the terminal back.
func (s *Supervisor) clear(j job, limit time.Duration) {
	if !gone(j, limit) {
		j.kill()
		gone(j, dying)
	}
	<-j.doneCh()
	s.tty.take()
	text := "exit code 0"
	var exit *ExitError
	if err := j.result(); errors.As(err, &exit) {
		text = exit.how()
	} else if err != nil {
		text = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.job = nil
	s.stat.PID = 0
	s.stat.LastExit, s.stat.LastExitAt = text, time.Now()
}

// gone waits until nothing is left of a group and reports whether that came
// about within limit.
func gone(j job, limit time.Duration) bool {
	late := time.NewTimer(max(limit, 0))
	defer late.Stop()
	// The program's own status has to be taken first; until then it counts.
	next := time.NewTimer(10 * time.Millisecond)
	defer next.Stop()
	select {
	case <-j.doneCh():
	case <-next.C:
	}
	for attempt := 1; j.left(); attempt++ {
		next.Reset(probes.Wait(attempt))
		select {
		case <-late.C:
			return !j.left()
		case <-next.C:
		}
	}
	return true
}
