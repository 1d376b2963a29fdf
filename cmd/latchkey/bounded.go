package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"latchkey/internal/child"
)

// parting is how long a command may still take when its signal has come or its
// time is over: enough to end a program of a template and to revoke a token.
const parting = 2500 * time.Millisecond

// errStuck is the kind of the error of a command that had to be left behind.
var errStuck = errors.New("what was under way does not end: a pipe that nobody writes to, a file system that does not answer, or a template without end")

// bounded runs a command within -timeout, and leaves it behind when it does not
// end with its context: a read of a pipe or of a dead file system, and a
// template that never ends, can be stopped in no other way.
func bounded(ctx context.Context, w world, g given, def time.Duration, work func(context.Context) int) int {
	s := &setup{w: w, console: newConsole(w.stderr, nil), json: wantsJSON(w, g)}
	limit, err := g.duration("timeout", def)
	if err != nil {
		return s.finish(ctx, err)
	}
	ctx, cancel := deadline(ctx, limit)
	defer cancel()
	done := make(chan int, 1)
	go func() {
		code := exitInternal
		defer func() {
			if r := recover(); r != nil {
				fmt.Fprintf(w.stderr, "%s\nlatchkey: internal error: %s - this is a fault of latchkey's own; please report it with the lines above\n", debug.Stack(), panicked(r))
			}
			done <- code
		}()
		code = work(ctx)
	}()
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
	}
	late := time.NewTimer(parting)
	defer late.Stop()
	select {
	case code := <-done:
		return code
	case <-late.C:
	}
	child.KillAll()
	err = errStuck
	if _, signal := ended(ctx); !signal {
		err = fmt.Errorf("%w, and %w", context.Cause(ctx), err)
	}
	return s.finish(ctx, err)
}

// panicked says what may be shown of a panic: a value of our own making may
// hold a secret, the runtime's words do not.
func panicked(r any) string {
	if err, ok := r.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("panic with a %T", r)
}

// deadline bounds a run; 0 leaves it unbounded.
func deadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: the run's %s are over (-timeout)", context.DeadlineExceeded, limit))
}
