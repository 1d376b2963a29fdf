package secretfile

import (
	"crypto/sha256"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// file is one file and what is known of it. Only who holds the turn changes it, and
// holds the lock of Files for that.
type file struct {
	Spec
	// written says that it was written by this process, and holds what sum is of.
	written bool
	sum     [sha256.Size]byte
	term    term
	// token is the one that asked for what is in the file.
	token cred.Redacted
	// pending is what was read and could not be written.
	pending *answer
	// failures in a row, the last of them, and until when nothing is tried.
	failures  int
	err       error
	notBefore time.Time
	told      bool
}

// answer is a secret as a file has it.
type answer struct {
	text  []byte
	sum   [sha256.Size]byte
	term  term
	token cred.Redacted
}

// term is how long an answer is good for.
type term struct {
	// from is when it was given, end when it is good no more; zero for no end known.
	from, end time.Time
	// due is when it is read again, zero for never.
	due time.Time
	// leased says that it ends with the token that asked for it.
	leased bool
}

// share of a lease after which another answer is asked for. It is the daemon's.
const share = 0.9

// termOf reads off an answer how long it is good for. refresh is how often one
// without an end is read again, luck is between 0 and 1 and keeps those apart that
// began together.
func termOf(s *cred.Secret, refresh time.Duration, luck float64) term {
	t := term{from: s.Lease.Issued}
	if s.Lease.ID != "" && s.Lease.Duration > 0 {
		t.end, t.leased = s.Lease.Expires(), true
		t.due = s.Lease.RenewAt(share - 0.1*luck)
		return t
	}
	every := refresh
	if hint := s.Lease.Duration; hint > 0 && every > 0 {
		every = min(every, hint) // a version 1 engine proposes how often
	}
	if every > 0 {
		t.due = t.from.Add(time.Duration(float64(every) * (1 - 0.1*luck)))
	}
	if at, ok := rotation(s); ok && (t.due.IsZero() || at.Before(t.due)) {
		t.due = at
	}
	return t
}

// rotation is when the server changes a credential by itself, and a moment more, for
// it to have done so.
func rotation(s *cred.Secret) (time.Time, bool) {
	sec, ok := s.Rotation()
	if !ok || sec < 0 || sec > 1<<32 {
		return time.Time{}, false
	}
	return s.Lease.Issued.Add(time.Duration(sec+1) * time.Second), true
}

// past is due, whatever the clock says.
var past = time.Unix(1, 0)

// next is when there is something to do, zero for never.
func (x *file) next(now time.Time) time.Time {
	at := x.term.due
	if !x.written || x.pending != nil || !at.IsZero() && x.term.from.Sub(now) > slack {
		at = past // also when the clock was set back: nobody knows how long ago it was
	}
	if !at.IsZero() && at.Before(x.notBefore) && x.notBefore.Sub(now) <= maxPause {
		return x.notBefore
	}
	return at
}

// slack is how far a clock may be set back without anybody having done so.
const slack = 2 * time.Second

// dueBy says whether it has to be looked after now, for all to be right until by.
func (x *file) dueBy(now, by time.Time) bool {
	switch at := x.next(now); {
	case at.IsZero():
		return false
	case !at.After(now):
		return true
	case at.Equal(x.notBefore) || at.After(by) || x.term.end.IsZero():
		return false
	}
	// A lease shorter than the function may run would be due at each invocation.
	return !now.Before(x.term.from.Add(x.term.end.Sub(x.term.from) / 2))
}

// good says whether the file is there, and what it holds still works.
func (x *file) good(now time.Time) bool {
	return x.written && (x.term.end.IsZero() || now.Before(x.term.end))
}

// bound has an answer with a lease end with its token.
func (x *file) bound(token cred.Redacted) {
	if x.term.leased && !token.Empty() && !x.token.Equal(token) {
		x.term.due = past
	}
}

// maxPause is the longest that a failure keeps anybody from trying again.
const maxPause = time.Minute

// pauses are those between calls that fail: the retries inside a call are over by
// then.
var pauses = retry.Schedule{Base: time.Second, Max: maxPause, Jitter: 0.25}

// failed notes a failure.
func (x *file) failed(err error, now time.Time) {
	x.failures++
	x.err = err
	pause := min(pauses.Pause(x.failures, err), maxPause)
	if left := x.term.end.Sub(now); x.good(now) && !x.term.end.IsZero() {
		pause = min(pause, max(left/4, time.Second))
	}
	x.notBefore = now.Add(pause)
}

// holds notes what was written, or was there already.
func (x *file) holds(a *answer) {
	x.written, x.sum, x.term, x.token = true, a.sum, a.term, a.token
	x.pending, x.failures, x.err, x.notBefore, x.told = nil, 0, nil, time.Time{}, false
}
