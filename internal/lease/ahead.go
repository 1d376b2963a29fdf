package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// ahead says how far to look. Zero is no further than now.
type ahead struct {
	// by is the moment up to which things are to be done.
	by time.Time
	// since is when that was asked for: what was done later is not done again.
	since time.Time
}

// done reports whether what was last done at from was done since.
func (a ahead) done(from time.Time) bool { return !a.since.IsZero() && from.After(a.since) }

// due reports whether what was done at from, and has its next moment at due, is to
// be done now. What failed waits for its moment.
func (a ahead) due(from, due, now time.Time, failures int) bool {
	if a.done(from) {
		return false
	}
	return !due.After(now) || failures == 0 && cred.DueBy(from, due, a.by, now)
}

// owed is what is not done although it is to be, and is over before one looks no
// further ahead.
type owed struct {
	n int
	// at is when the first of it may be tried again, zero when no waiting helps.
	at time.Time
	// what and err are one of it, and why.
	what string
	err  error
}

// add takes in one that may be tried again at at.
func (o *owed) add(what string, at time.Time, err error) {
	if o.n++; o.err == nil {
		o.what, o.err = what, err
	}
	if err != nil && !everybodys(err) && !vault.Temporary(err) {
		return
	}
	if o.at.IsZero() || at.Before(o.at) {
		o.at = at
	}
}

// hopeful reports whether something of it may come right before ctx ends.
func (o owed) hopeful(ctx context.Context) bool {
	if o.at.IsZero() || ctx.Err() != nil {
		return false
	}
	end, ok := ctx.Deadline()
	return !ok || o.at.Before(cred.Wall(end))
}

// next is when to look again without being told to, zero for never. Somebody else's
// request may be what is waited for, so that it is never at once.
func (o owed) next(now time.Time) time.Time {
	if o.at.IsZero() {
		return o.at
	}
	return later(o.at, now.Add(100*time.Millisecond))
}

// wrap is the error of what is owed, nil for nothing; ended is why nobody went on,
// nil where that was of no use.
func (o owed) wrap(ended error) error {
	if o.n == 0 {
		return nil
	}
	err := o.err
	switch {
	case err == nil:
		err = ended
	case ended != nil && !errors.Is(err, ended):
		err = fmt.Errorf("%w (%w)", err, ended)
	}
	if err == nil {
		err = errHeld
	}
	if o.n > 1 {
		return fmt.Errorf("%s, and %d more, not kept current: %w", o.what, o.n-1, err)
	}
	return fmt.Errorf("%s not kept current: %w", o.what, err)
}

var errHeld = errors.New("not tried again yet")

// enter waits until nobody else tends, and returns what ends that.
func enter(ctx context.Context, tending chan struct{}) (leave func(), err error) {
	if ctx.Err() == nil {
		select {
		case tending <- struct{}{}:
			return func() { <-tending }, nil
		case <-ctx.Done():
		}
	}
	return nil, fmt.Errorf("keep leases: %w", context.Cause(ctx))
}
