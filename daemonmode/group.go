package daemonmode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// actor is one thing that goes on until its context ends. Returning by itself
// is the end of the whole group, with or without an error.
type actor func(ctx context.Context) error

// group runs actors side by side: the first that ends by itself ends them all,
// and everyone is waited for. An actor may be stopped and started again while
// the others go on, which is what a reload does.
type group struct {
	ctx    context.Context
	cancel context.CancelFunc
	log    *slog.Logger

	mu      sync.Mutex
	running map[string]*running
	first   chan ending
}

// running is an actor that was started.
type running struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// ending is how an actor ended by itself.
type ending struct {
	name string
	err  error
}

// errPanic is the kind of the error of an actor that panicked.
var errPanic = errors.New("internal error")

// errStop is the cause of a context that the group ended.
var errStop = errors.New("stopped")

// newGroup returns a group without actors. Its actors see ctx's values, not its
// end: in which order they are stopped is for the caller to say.
func newGroup(ctx context.Context, log *slog.Logger) *group {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	return &group{
		ctx: ctx, cancel: func() { cancel(errStop) }, log: log,
		running: map[string]*running{}, first: make(chan ending, 1),
	}
}

// start lets an actor run under a name that is free.
func (g *group) start(name string, a actor) {
	ctx, cancel := context.WithCancelCause(g.ctx)
	r := &running{cancel: func() { cancel(errStop) }, done: make(chan struct{})}
	g.mu.Lock()
	g.running[name] = r
	g.mu.Unlock()
	g.log.Debug("starting", "part", name)
	go func() {
		defer close(r.done)
		start := time.Now()
		err := guarded(ctx, a)
		g.log.Debug("ended", "part", name, "after", time.Since(start).Round(time.Millisecond))
		if ctx.Err() != nil {
			return // it was told to
		}
		select {
		case g.first <- ending{name, err}:
		default: // another was first
		}
	}()
}

// guarded runs an actor and makes an error of its panic. What the panic says
// may hold a secret; where it happened does not.
func guarded(ctx context.Context, a actor) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic with a %T\n%s", errPanic, p, debug.Stack())
		}
	}()
	return a(ctx)
}

// stop ends an actor and waits for it; one that does not run is stopped already.
func (g *group) stop(name string) {
	if r := g.take(name); r != nil {
		<-r.done
	}
}

// stopWithin is stop that waits no longer than patience.
func (g *group) stopWithin(name string, patience time.Duration) {
	r := g.take(name)
	if r == nil {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-r.done:
	case <-late.C:
	}
}

// take tells an actor to end and forgets it.
func (g *group) take(name string) *running {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.running[name]
	delete(g.running, name)
	if r != nil {
		r.cancel()
	}
	return r
}

// ended yields how the first actor ended that did so by itself.
func (g *group) ended() <-chan ending { return g.first }

// stopAll ends every actor and waits for them, but no longer than patience:
// what hangs in a dead file system hangs for ever. The error names who did.
func (g *group) stopAll(patience time.Duration) error {
	g.cancel()
	late := time.NewTimer(patience)
	defer late.Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	var stuck []string
	over := false
	for name, r := range g.running {
		if !over {
			select {
			case <-r.done:
				continue
			case <-late.C:
				over = true
			}
		}
		select {
		case <-r.done:
		default:
			stuck = append(stuck, name)
		}
	}
	if len(stuck) == 0 {
		return nil
	}
	slices.Sort(stuck)
	return fmt.Errorf("%w within %s: %s", errStuck, patience, strings.Join(stuck, ", "))
}

// errStuck is the kind of the error about actors that had to be left behind.
var errStuck = errors.New("did not end")
