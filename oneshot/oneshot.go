// Package oneshot is the straight line: log in, write every sink, render every
// template, revoke if asked, and say what was done.
//
// It arranges the rooms and decides nothing about them. Every door is passed
// once; Run ends when everything it was given has either been done or has
// failed for good, and the last line of the function is the end of the run.
package oneshot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/lease"
	"latchkey/internal/reader"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
)

// Job is what one run has to do.
type Job struct {
	Session *session.Session
	// Client reaches the server for the templates, without a token.
	Client    *vault.Client
	Sinks     []sink.Sink
	SinkRetry retry.Schedule
	// Templates is nil when there are none.
	Templates *template.Set
	Reads     reader.Options
	// Store keeps the leases of the templates for who comes after; nil for nobody.
	Store    lease.Store
	Revoke   Revoke
	Observer retry.Observer
	Log      *slog.Logger
}

// Revoke says what becomes of the token at the end.
type Revoke int

// What becomes of the token.
const (
	// Keep leaves it to its time to live.
	Keep Revoke = iota
	// RevokeSafe revokes it unless it was there before the run, or that would
	// take away what was handed over: the token in a sink, or a lease that
	// was made with it.
	RevokeSafe
	// RevokeForce revokes it whatever was handed over.
	RevokeForce
)

// ErrRevokeRefused is the kind of the error when the token could not be
// revoked, or RevokeSafe did not.
var ErrRevokeRefused = errors.New("token not revoked")

const unlessForced = "; -revoke-on-exit=force revokes it all the same"

// The goodbye happens even when the run's time is over, and is then short.
const (
	revokeBudget = 5 * time.Second
	revokeLate   = time.Second
)

// goodbyeTime is a context for revoking: it does not end with the run, but soon
// after it.
func goodbyeTime(ctx context.Context) (context.Context, context.CancelFunc) {
	budget := revokeBudget
	if end, ok := ctx.Deadline(); ok {
		budget = min(budget, max(time.Until(end), 0)+revokeLate)
	}
	if ctx.Err() != nil {
		budget = revokeLate
	}
	return context.WithTimeout(context.WithoutCancel(ctx), budget)
}

// Run does the job. The error joins all that failed; what could be done is
// done all the same, and the report says so.
func Run(ctx context.Context, j Job) (Report, error) {
	rep := Report{Start: time.Now()}
	tok, err := j.Session.Login(ctx)
	if err != nil {
		return rep, err
	}
	rep.loggedIn(tok)

	// Sinks and templates need the token and not each other: a sink that
	// waits for its reader's key must not keep a template from its file.
	var sinks, templates error
	reads := reader.New(j.Session.Client(j.Client), j.Reads)
	var both sync.WaitGroup
	both.Go(func() { sinks = j.deliver(ctx, tok) })
	if j.Templates != nil {
		rep.Templates, templates = j.Templates.Render(ctx, reads)
	}
	both.Wait()
	j.bequeath(tok, reads)
	rep.wrote(len(j.Sinks), time.Now())

	return rep, errors.Join(sinks, templates, j.goodbye(ctx, tok, reads.Leases()))
}

// bequeath leaves the leases to the process that goes on with them.
func (j Job) bequeath(tok cred.Token, reads *reader.Reader) {
	if j.Store == nil {
		return
	}
	for _, l := range reads.Leased() {
		lease.Save(j.Store, tok.Accessor, l.Request, l.Secret)
	}
}

// deliver offers the token to every sink.
func (j Job) deliver(ctx context.Context, tok cred.Token) error {
	if err := sink.WriteAll(ctx, j.Sinks, tok, j.SinkRetry, j.Observer); err != nil {
		return err
	}
	for _, s := range j.Sinks {
		j.Log.InfoContext(ctx, "token written", "sink", s.Name())
	}
	return nil
}

// goodbye revokes the token if the job says so and nothing speaks against it.
func (j Job) goodbye(ctx context.Context, tok cred.Token, leases []cred.Lease) error {
	switch {
	case j.Revoke == Keep:
		return nil
	case tok.Value.Empty():
		return fmt.Errorf("%w: the login wrapped it, and only who unwraps it can", ErrRevokeRefused)
	case tok.Type == "batch":
		return fmt.Errorf("%w: the server cannot revoke a batch token; it ends by itself in %s", ErrRevokeRefused, tok.Lease.Duration)
	case j.Revoke == RevokeSafe && tok.Borrowed:
		return fmt.Errorf("%w: it was there before this run, and others may use it%s", ErrRevokeRefused, unlessForced)
	case j.Revoke == RevokeSafe && len(j.Sinks) > 0:
		return fmt.Errorf("%w: it was just handed to %d sink(s)%s", ErrRevokeRefused, len(j.Sinks), unlessForced)
	case j.Revoke == RevokeSafe && len(leases) > 0:
		return fmt.Errorf("%w: %d lease(s) just handed over would end with it, the first is %s%s", ErrRevokeRefused, len(leases), leases[0].ID, unlessForced)
	}
	ctx, cancel := goodbyeTime(ctx)
	defer cancel()
	return j.Session.Revoke(ctx)
}
