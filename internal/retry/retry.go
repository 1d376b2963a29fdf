// Package retry waits and tries again, as data: a Schedule says how often and
// how long, Do does it.
//
// Use it for every loop that repeats a request; a loop of its own is a defect.
// Do is bounded by Attempts and by the context, jitters every wait, honours a
// server's Retry-After, and when it gives up the error it returns is never nil
// and holds the cause of the last failure, not merely the deadline.
package retry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Schedule says when to try again. The zero value tries once.
type Schedule struct {
	// Attempts is the number of tries in all; 0 counts as 1, negative means
	// as many as the context allows.
	Attempts int
	// Base is the first wait; each further one is doubled, up to Max.
	Base, Max time.Duration
	// Jitter is the share of each wait that is taken off at random, 0 to 1.
	Jitter float64
}

// Wait returns the pause after the given failed attempt (1 for the first).
func (s Schedule) Wait(attempt int) time.Duration {
	d := s.Base
	for i := 1; i < attempt && d < s.Max; i++ {
		d *= 2
	}
	if s.Max > 0 && d > s.Max {
		d = s.Max
	}
	if s.Jitter > 0 {
		d -= time.Duration(Luck() * s.Jitter * float64(d))
	}
	return d
}

// Pause returns the pause after the given failed attempt (1 for the first),
// which is Wait's, or what the server asked for in its error where that is longer.
func (s Schedule) Pause(attempt int, err error) time.Duration {
	d := s.Wait(attempt)
	var ra after
	if errors.As(err, &ra) {
		d = max(d, s.spread(ra.RetryAfter()))
	}
	return d
}

// spread makes a server's Retry-After longer by up to the jitter of a first wait,
// so that not all who were told the same come back in the same moment.
func (s Schedule) spread(after time.Duration) time.Duration {
	if after <= 0 {
		return 0
	}
	return after + time.Duration(Luck()*s.Jitter*float64(s.Base))
}

// Notice tells an onlooker of a failed attempt that will be repeated.
type Notice struct {
	// What is being tried, as given to Do: a verb and its object.
	What string
	// Attempt is the number of the failed try, from 1.
	Attempt int
	// Err is why it failed.
	Err error
	// Next is how long the wait is until the next try.
	Next time.Duration
}

// Observer receives a Notice before each wait. It must not block, and loops that
// run side by side call it side by side.
type Observer func(Notice)

// permanent marks an error that no repetition mends.
type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }

// Permanent marks err so that Do stops at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanent
	return errors.As(err, &p)
}

// Exhausted is the error of a Do that gave up: it unwraps to the last failure
// and, where a context ended it, to the context's error too.
type Exhausted struct {
	Attempts int
	// Last is why the last try failed.
	Last error
	// Ended is the context's cause, nil when the attempts ran out.
	Ended error
}

func (e *Exhausted) Error() string {
	if e.Ended != nil {
		return fmt.Sprintf("gave up after %s (%v): %v", e.tries(), e.Ended, e.Last)
	}
	return fmt.Sprintf("gave up after %s: %v", e.tries(), e.Last)
}

func (e *Exhausted) tries() string {
	if e.Attempts == 1 {
		return "one attempt"
	}
	return strconv.Itoa(e.Attempts) + " attempts"
}

// Unwrap puts the last failure first, for errors.As to find its kind first.
func (e *Exhausted) Unwrap() []error {
	if e.Ended == nil {
		return []error{e.Last}
	}
	return []error{e.Last, e.Ended}
}

// errTooLate is a deadline that has not passed, but will have.
var errTooLate error = tooLate{}

type tooLate struct{}

func (tooLate) Error() string        { return "the deadline comes before the next try" }
func (tooLate) Is(target error) bool { return target == context.DeadlineExceeded }

// after is implemented by errors that carry a server's Retry-After.
type after interface{ RetryAfter() time.Duration }

// Do calls fn until it succeeds, fails permanently, the attempts are used up,
// or ctx ends. A Retry-After longer than the schedule's own wait replaces it.
// When the context's deadline falls inside the next wait, Do gives up at once:
// nothing would be tried again, so nobody has to wait for it.
func Do(ctx context.Context, s Schedule, what string, seen Observer, fn func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if IsPermanent(err) {
			return err
		}
		if ctx.Err() != nil {
			return &Exhausted{attempt, err, context.Cause(ctx)}
		}
		if s.Attempts >= 0 && attempt >= s.Attempts {
			if attempt == 1 {
				return err
			}
			return &Exhausted{attempt, err, nil}
		}
		wait := s.Pause(attempt, err)
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
			return &Exhausted{attempt, err, errTooLate}
		}
		if seen != nil {
			seen(Notice{what, attempt, err, wait})
		}
		if !Sleep(ctx, wait) {
			return &Exhausted{attempt, err, context.Cause(ctx)}
		}
	}
}

// Sleep waits for d or for the end of ctx and reports whether d went by. A
// machine that was suspended meanwhile has waited all the same.
func Sleep(ctx context.Context, d time.Duration) bool {
	return Until(ctx, time.Now().Add(d), nil) != Ended
}
