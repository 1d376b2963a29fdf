package daemonmode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	// closing: who is started now is told at once to end.
	closing bool
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
	if g.closing {
		r.cancel()
	}
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

// close says that the end has begun: nobody is started any more to stay. A
// reload may be under way, and what it starts would be waited for by nobody.
func (g *group) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closing = true
}

// stop ends an actor and waits for it; one that does not run is stopped already.
// Until it has ended, whoever else stops it waits for it too.
func (g *group) stop(name string) {
	if r := g.tell(name); r != nil {
		<-r.done
		g.forget(name, r)
	}
}

// stopWithin is stop that waits no longer than patience, and leaves behind an
// actor that takes longer.
func (g *group) stopWithin(name string, patience time.Duration) {
	r := g.tell(name)
	if r == nil {
		return
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-r.done:
	case <-late.C:
	}
	g.forget(name, r)
}

// tell tells an actor to end.
func (g *group) tell(name string) *running {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.running[name]
	if r != nil {
		r.cancel()
	}
	return r
}

// forget takes an actor off the list, unless another has its name by now.
func (g *group) forget(name string, r *running) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running[name] == r {
		delete(g.running, name)
	}
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
	running := maps.Clone(g.running)
	g.mu.Unlock()
	var stuck []string
	over := false
	for name, r := range running {
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
