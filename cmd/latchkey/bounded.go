package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/internal/child"
)

// parting is how long a command may still take when its signal has come or its
// time is over: enough to end a program of a template and to revoke a token.
const parting = 2500 * time.Millisecond

// errStuck is the kind of the error of a command that had to be left behind.
var errStuck = errors.New("what was under way does not end: a pipe that nobody writes to, a file system that does not answer, or a template without end")

// bounded runs a command within -timeout, and leaves it behind when it does not
// end with its context.
func bounded(ctx context.Context, w world, g given, def time.Duration, work func(context.Context) int) int {
	still := w
	still.width = nil // the live line is that of work
	s := newSetup(still, g)
	limit, err := g.duration("timeout", def)
	if err != nil {
		return s.finish(ctx, err)
	}
	ctx, cancel := deadline(ctx, limit)
	defer cancel()
	code, left := attended(ctx, w, func() time.Duration { return parting }, work)
	if !left {
		return code
	}
	child.KillAll()
	err = errStuck
	if _, signal := ended(ctx); !signal {
		err = fmt.Errorf("%w, and %w", context.Cause(ctx), err)
	}
	return s.finish(ctx, err)
}

// deadline bounds a run; 0 leaves it unbounded.
func deadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: the run's %s are over (-timeout)", context.DeadlineExceeded, limit))
}
