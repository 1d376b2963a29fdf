package extension

import (
	"context"
	"time"

	"latchkey/internal/retry"
)

// hold is how long an invocation's end may wait for what is due: until we ask for
// the next event, the platform does not freeze us. When the function crashes meanwhile,
// enough is left of the two seconds of a shutdown for an end in order.
const hold = 1500 * time.Millisecond

// loop asks for events until the last one.
func (e *extension) loop() error {
	if e.Awake {
		e.crew.Go(e.keepAwake)
	}
	for {
		ev, err := e.api.next(e.ctx)
		switch {
		case e.ctx.Err() != nil:
			return nil // somebody asked for the end, and not the platform
		case err != nil:
			e.Log.Error("the platform does not say what is next", "error", err)
			e.complain(atExit, kindPlatform, err.Error())
			return err
		case ev.Type == eventShutdown:
			e.Log.Debug("shutting down", "reason", ev.Reason)
			return nil
		case ev.Type == eventInvoke:
			if err := e.invoke(ev); err != nil {
				return err
			}
		default:
			e.Log.Debug("an event that is not known", "type", ev.Type)
		}
	}
}

// invoke does what is due, or will be before the invocation's end, while the
// function runs; the process may be frozen as soon as the next event is asked for.
// Mostly there is nothing to do.
//
// Its error, which the platform was told, is that what a start would have failed for
// failed in the first one after a snapshot.
func (e *extension) invoke(ev event) error {
	e.gate.until.Store(ev.Deadline)
	if !e.invoked {
		// Between the start and now there may have been a snapshot, and many copies.
		retry.Shake()
		e.invoked = true
	}
	began := time.Now()
	by := ev.deadline()
	if !by.After(began) {
		by = began.Add(hold) // it is not over when we are told of it: one of the clocks is wrong
	}
	if e.opened && !e.due(by) {
		return nil
	}
	wait := hold
	if !e.opened {
		wait = e.Budget
	}
	ctx, cancel := context.WithTimeout(e.ctx, min(wait, by.Sub(began)-margin))
	defer cancel()
	e.all.anew()
	err := e.tend(ctx, e.all, by)
	if err != nil && !e.opened && !e.FailOpen && e.ctx.Err() == nil {
		kind, message := describe(err)
		e.Log.Error("the function cannot go on", "stage", kind, "error", message)
		e.complain(atExit, kind, message)
		return err
	}
	e.open()
	e.all.rest(began, time.Now())
	e.tell(err)
	if !e.all.failing() {
		e.ready()
	}
	return nil
}

// again is how often it is told what is still not as it should be.
const again = time.Minute

// tell has the log say what is not as it should be: not at each invocation, and that
// it is over.
func (e *extension) tell(err error) {
	now := time.Now().Round(0)
	switch kind, message := describe(err); {
	case err == nil && e.all.failing():
	case err == nil && e.told == "":
	case err == nil:
		e.told = ""
		e.Log.Info("all is as it should be again")
	case kind != e.told, now.Before(e.toldAt), now.Sub(e.toldAt) >= again:
		e.told, e.toldAt = kind, now
		e.Log.Warn("not everything is as it should be; later invocations try again", "stage", kind, "error", message)
	default:
		e.Log.Debug("not everything is as it should be", "stage", kind, "error", message)
	}
}

// due reports whether there is something to do by a moment.
func (e *extension) due(by time.Time) bool {
	for _, w := range e.all {
		if due := w.Due(); !due.IsZero() && !due.After(by) {
			return true
		}
	}
	return false
}

// round is how often it is looked at what is due where the process is never frozen,
// and lap how long doing it may take.
const (
	round = time.Second
	lap   = time.Minute
)

// keepAwake does what is due where the process is never frozen, and nobody tells of
// invocations. What is due may be so sooner than it was said, so that it is asked
// again and again, which costs next to nothing.
func (e *extension) keepAwake() {
	for retry.Until(e.ctx, time.Now().Add(round), nil) != retry.Ended {
		if now := time.Now(); e.due(now) {
			e.lap(now)
		}
	}
}

// lap does what is due.
func (e *extension) lap(by time.Time) {
	ctx, cancel := context.WithTimeout(e.ctx, lap)
	defer cancel()
	err := e.tend(ctx, e.all, by)
	if e.ctx.Err() != nil {
		return
	}
	e.tell(err)
	if !e.all.failing() {
		e.ready()
	}
}

// parting is how long the token's revocation may take; the platform waits for us,
// and the time is paid for.
const parting = 250 * time.Millisecond

// goodbye lets go of everything.
func (e *extension) goodbye() {
	e.end(errEnd)
	for _, s := range e.servers {
		_ = s.Close()
	}
	if e.Revoke != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), parting)
		defer cancel()
		if err := e.Revoke(ctx); err != nil {
			e.Log.Warn("the token was not revoked", "error", err)
		}
	}
	e.crew.Wait()
	if e.Close != nil {
		e.Close()
	}
}
