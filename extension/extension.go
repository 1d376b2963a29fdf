// Package extension serves a Lambda function from beside it: secrets are in place
// before the function's own code runs, a proxy answers on localhost for as long as
// it lives, and the platform is told when that cannot be.
//
// It arranges the rooms around Lambda's calendar and decides nothing about them.
// Nothing runs by itself between two invocations, because the process is frozen
// then, at any instruction, for any time: what is to be kept right is a Work, which
// is asked by the wall clock when it is due and told to do it, inside an
// invocation.
package extension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/envwire"
	"latchkey/internal/guard"
	"latchkey/internal/session"
)

// Job is a function's settings made ready. Nothing of it has started yet.
type Job struct {
	// API is where the platform listens, host:port; Name is that of our file, by
	// which the platform knows us.
	API, Name string
	// Fault is what is wrong with the settings. It is reported, and nothing else is
	// looked at.
	Fault error

	// Early is in place before the function's own code runs: its files, say. Late is
	// done while that starts. In this order.
	Early, Late []Work
	// Deferred leaves all of it to the first invocation: what is done before a
	// snapshot is in every copy of it.
	Deferred bool
	// Awake says that the platform never freezes us, and tells of no invocations.
	Awake bool
	// FailOpen lets the function start without what could not be put in place.
	FailOpen bool
	// Budget is how long the start may take.
	Budget time.Duration

	// Listeners are where the proxy listens, none for no proxy. Proxy serves /v1/ and
	// lends the token of an identity, "" for the default one; Clear empties its cache,
	// nil without one.
	Listeners []config.Listener
	Guards    func(config.Listener) guard.Options
	// Open opens one and makes the server for it; plainly, for a host and port or a
	// unix socket of localhost, when nil.
	Open  func(l config.Listener, name string, log *slog.Logger) (Opened, error)
	Proxy func(identity string) http.Handler
	Clear http.Handler

	// Environment is what becomes of the function's environment, for latchkey-exec;
	// nil to leave it alone.
	Environment func(context.Context) envwire.Answer

	// Revoke ends the token at shutdown; nil to let it live.
	Revoke func(context.Context) error
	// Close lets go of what the parts hold.
	Close func()
	// Started is called when the start is over, whatever came of it; nil for nothing.
	Started func()
	// Ready tells in the log what is in place, once.
	Ready func(log *slog.Logger)
	Log   *slog.Logger

	gate *gate
}

// extension is a Job under way.
type extension struct {
	Job
	ctx context.Context
	api *runtimeAPI
	// end ends what runs beside, crew is waited for.
	end  context.CancelCauseFunc
	crew sync.WaitGroup
	// servers are closed at the end.
	servers []*http.Server
	began   time.Time
	// all is early and late; opened says that requests may pass, invoked that there
	// was an invocation.
	early, late, all paced
	opened, invoked  bool
	// told is the stage of what the log was told last, and when.
	told   string
	toldAt time.Time
}

// errEnd ends what runs beside the loop.
var errEnd = errors.New("the extension ends")

// Run serves until the platform says that it is over, or ctx ends; both are no
// errors, but that ctx ends the start. Any other error is one that the platform was
// told of, if it could be.
//
// A failure at the porch is kept until we are registered, because only who is
// registered may report one.
func Run(ctx context.Context, j Job) error {
	e := begin(ctx, j)
	defer e.goodbye()
	budget, cancel := e.budget()
	defer cancel()
	wrong := e.porch(budget)
	if err := e.register(budget); err != nil {
		err = errors.Join(wrong, err)
		e.Log.Error("the function cannot start", "error", err)
		return err
	}
	if wrong == nil {
		wrong = e.warmUp(budget)
	}
	if wrong != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if wrong != nil && e.report(wrong) {
		return wrong
	}
	if e.Started != nil {
		e.Started()
	}
	return e.loop()
}

// begin is a Job of which nothing has happened yet.
func begin(ctx context.Context, j Job) *extension {
	e := &extension{Job: j, api: newRuntimeAPI(j.API, j.Name), began: time.Now()}
	if e.gate == nil {
		e.gate = newGate()
	}
	e.ctx, e.end = context.WithCancelCause(ctx)
	e.early, e.late = paceAll(j.Early), paceAll(j.Late)
	e.all = slices.Concat(e.early, e.late)
	return e
}

// budget is the time that the start may take.
func (e *extension) budget() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(e.ctx, e.Budget, fmt.Errorf("the start may take %s (LATCHKEY_INIT_BUDGET)", e.Budget))
}

// porch does what has to be done before the function's own code runs: the platform
// starts it when we are registered.
func (e *extension) porch(ctx context.Context) error {
	if e.Fault != nil {
		return fault{e.Fault}
	}
	if err := errors.Join(e.listen(), e.listenForEnvironment()); err != nil {
		return fault{err}
	}
	if e.Deferred {
		return nil
	}
	return e.tend(ctx, e.early, time.Now())
}

// register has the platform start the function. Where it never freezes us it
// refuses to tell of invocations.
func (e *extension) register(ctx context.Context) error {
	events := []string{eventInvoke, eventShutdown}
	if e.Awake {
		events = events[1:]
	}
	// The budget may be used up, and we have to be registered to say so.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), platformWait)
	defer cancel()
	return e.api.register(ctx, events...)
}

// platformWait is how long the platform, which is on this machine, may take for an
// answer.
const platformWait = 2 * time.Second

// warmUp does the rest, while the function's own code starts.
func (e *extension) warmUp(ctx context.Context) error {
	if e.Deferred {
		return nil
	}
	e.open()
	err := e.tend(ctx, e.late, time.Now())
	if err == nil {
		e.ready()
	}
	return err
}

// report tells the platform what went wrong at the start, and whether that is the
// end.
func (e *extension) report(wrong error) (end bool) {
	kind, message := describe(wrong)
	var f fault
	if e.FailOpen && e.Fault == nil && !errors.As(wrong, &f) {
		e.Log.Error("the function starts without what it asked for, because LATCHKEY_FAIL is open", "stage", kind, "error", message)
		e.open()
		return false
	}
	e.Log.Error("the function cannot start", "stage", kind, "error", message)
	e.complain(atInit, kind, message)
	return true
}

// complain tells the platform, which may be why we do.
func (e *extension) complain(when, kind, message string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), platformWait)
	defer cancel()
	if err := e.api.fail(ctx, when, kind, message); err != nil {
		e.Log.Error("the platform was not told", "error", err)
	}
}

// fault is an error that no later attempt mends: of the settings, or of what was to
// be listened on.
type fault struct{ error }

func (f fault) Unwrap() error { return f.error }

// tend does the works that are due by a moment, one after the other. Without the token
// of the first login nothing else can be done, and would only say so once more; that of
// another identity is only missed where it goes.
func (e *extension) tend(ctx context.Context, works paced, by time.Time) error {
	var errs []error
	for i, w := range works {
		_, login := w.Work.(*session.Pulled)
		needed := login && i == 0
		if needed && w.resting() && w.failed || errs != nil && ctx.Err() != nil {
			break
		}
		due := w.Due()
		if now := time.Now(); now.After(by) {
			by = now // what stands before took a while
		}
		if due.IsZero() || due.After(by) {
			continue
		}
		err := w.Tend(ctx, by)
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", w.Name(), err))
		if needed {
			break
		}
	}
	return errors.Join(errs...)
}

// open lets requests pass, once.
func (e *extension) open() {
	if !e.opened {
		e.gate.open()
	}
	e.opened = true
}

// ready tells what is in place.
func (e *extension) ready() {
	if e.Ready != nil {
		e.Ready(e.Log.With("took", time.Since(e.began).Round(100*time.Microsecond)))
		e.Ready = nil
	}
}

// serve answers at a listener until the end.
func (e *extension) serve(s *http.Server, ln net.Listener) {
	e.servers = append(e.servers, s)
	e.crew.Go(func() {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			e.Log.Error("the proxy does not listen any more", "error", err)
		}
	})
}
