package sink

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
)

// kept is one sink of a Keeper. Its keep and tell run side by side: a command
// that takes its time holds up no token.
type kept struct {
	sink Sink
	k    *Keeper
	kind meter.Label
	// wake has something when there is a newer token, news when there may be
	// content to tell of.
	wake, news chan struct{}

	// What only keep looks at: the number of the token that the sink was given
	// last, when that was, and how often writing has failed since.
	held    int
	wroteAt time.Time
	fails   int

	mu     sync.Mutex
	status Status
	// stop ends the write under way, which is that of token number writing.
	stop    context.CancelCauseFunc
	writing int
}

func newKept(s Sink, k *Keeper) *kept {
	// The path is no label: there is no bound on how many there are.
	kind, _, _ := strings.Cut(s.Name(), " ")
	return &kept{
		sink: s, k: k, kind: meter.Label{Name: "sink", Value: kind},
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1),
		status: Status{Name: s.Name()},
	}
}

// hurry has the newest token looked for at once, even while an older one than
// that of this number is being written.
func (s *kept) hurry(serial int) {
	s.mu.Lock()
	if s.stop != nil && s.writing < serial {
		s.stop(errNewer)
	}
	s.mu.Unlock()
	nudge(s.wake)
}

// nudge wakes whoever waits on c, now or the next time.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *kept) now() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// keep writes each new token, and the same one again when the sink does not hold
// it any more, until ctx ends.
func (s *kept) keep(ctx context.Context) {
	var back time.Time
	for {
		why := retry.Until(ctx, back, s.wake)
		if why == retry.Ended {
			return
		}
		if why == retry.Woken {
			s.fails = 0
		}
		tok, serial := s.k.token()
		if serial == 0 {
			continue
		}
		if serial == s.held && !s.wants(tok, why) {
			back = s.next(tok)
			continue
		}
		err := s.write(ctx, tok, serial)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errNewer):
			back = time.Time{} // whoever delivered it wakes us
		case err != nil:
			back = s.failed(err)
		default:
			back = s.succeeded(tok, serial)
		}
	}
}

// wants reports whether the token that the sink was given last has to be written
// again.
func (s *kept) wants(tok cred.Token, why retry.Wake) bool {
	if tok.Wrap != nil {
		return false
	}
	if s.fails > 0 {
		return true
	}
	if due := s.due(); !due.IsZero() {
		now := cred.Wall(time.Now())
		// By a clock that was set back nobody knows how old a wrapping is.
		if why == retry.SetBack || now.Before(s.wroteAt) || !now.Before(due) {
			return true
		}
	}
	if w, ok := s.sink.(Watched); ok && !w.Intact() {
		s.k.o.Log.Warn("a sink was changed or taken away by others, writing it again", "sink", s.sink.Name())
		return true
	}
	return false
}

// due is when the sink's content wants to be replaced, but never so soon that a
// server would be stormed; the zero time for never.
func (s *kept) due() time.Time {
	p, ok := s.sink.(Perishable)
	if !ok || p.Due().IsZero() {
		return time.Time{}
	}
	if soonest := s.wroteAt.Add(s.k.o.Every); p.Due().Before(soonest) {
		return soonest
	}
	return p.Due()
}

// next is when the sink has to be looked at again, the zero time for never.
func (s *kept) next(tok cred.Token) time.Time {
	if tok.Wrap != nil {
		return time.Time{}
	}
	at := s.due()
	if _, ok := s.sink.(Watched); ok {
		if look := cred.Wall(time.Now()).Add(s.k.o.Every); at.IsZero() || look.Before(at) {
			at = look
		}
	}
	return at
}

// write tries once. The error is errNewer when a newer token came meanwhile and
// this one is not written.
func (s *kept) write(ctx context.Context, tok cred.Token, serial int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	s.stop, s.writing = cancel, serial
	s.mu.Unlock()
	start := time.Now()
	err := s.sink.Write(ctx, tok)
	took := time.Since(start)
	s.mu.Lock()
	s.stop = nil
	s.mu.Unlock()
	switch {
	case err == nil:
		s.k.o.Meter.Count("sink.success", 1, s.kind)
		s.k.o.Meter.Time("sink.write.time", took, s.kind)
	case errors.Is(context.Cause(ctx), errNewer):
		return errNewer
	case ctx.Err() == nil:
		s.k.o.Meter.Count("sink.failure", 1, s.kind)
	}
	return err
}

// succeeded returns when to be back.
func (s *kept) succeeded(tok cred.Token, serial int) time.Time {
	s.held, s.fails, s.wroteAt = serial, 0, cred.Wall(time.Now())
	s.k.o.Log.Info("token written", "sink", s.sink.Name())
	s.mu.Lock()
	s.status.WrittenAt, s.status.Err, s.status.NextAt = s.wroteAt, nil, time.Time{}
	if tok.Wrap == nil {
		s.status.NextAt = s.due()
	}
	s.mu.Unlock()
	nudge(s.news)
	return s.next(tok)
}

// failed returns when to try again. What no repetition mends by itself somebody
// may mend, so it is tried again too, at a slower pace.
func (s *kept) failed(err error) time.Time {
	s.fails++
	pace := s.k.o.Retry
	if retry.IsPermanent(err) {
		pace = slow
	}
	wait := pace.Pause(s.fails, err)
	now := cred.Wall(time.Now())
	at := now.Add(wait)
	s.mu.Lock()
	s.status.Err, s.status.ErrAt, s.status.NextAt = err, now, at
	s.mu.Unlock()
	s.k.observe(retry.Notice{What: "write sink " + s.sink.Name(), Attempt: s.fails, Err: err, Next: wait})
	return at
}

// again is the second chance of telling somebody: a program that is starting has
// its pid file by then.
var again = retry.Schedule{Attempts: 2, Base: 2 * time.Second, Jitter: 0.25}

// tell tells of each new content, until ctx ends. That it fails is reported, and
// has no effect on the sink.
func (s *kept) tell(ctx context.Context) {
	n, ok := s.sink.(Notifier)
	if !ok {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
		}
		err := retry.Do(ctx, again, "tell of sink "+s.sink.Name(), s.k.observe, n.Notify)
		if err != nil && ctx.Err() != nil {
			return
		}
		if err != nil {
			s.k.o.Meter.Count("sink.notify.failure", 1, s.kind)
			s.k.o.Log.Error("the token is written, but its readers could not be told", "sink", s.sink.Name(), "error", err)
		}
		s.mu.Lock()
		s.status.NoticeErr = err
		if err != nil {
			s.status.ErrAt = cred.Wall(time.Now())
		}
		s.mu.Unlock()
	}
}
