package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Keep keeps a token for as long as ctx lasts: it logs in, renews, and logs in
// again when that is called for (see next.go). changed is called for each new
// token, never for a renewal, from the goroutine of Keep.
//
// It returns the context's cause when ctx ended, at once whatever is under way;
// or an error of kind ErrLogin when Retry allows no more attempts. While an
// attempt to replace a token fails, the old one stays in use.
func (s *Session) Keep(ctx context.Context, changed func(cred.Token)) error {
	watch := s.watcher()
	for {
		switch s.wait(ctx, watch) {
		case rest:
			return context.Cause(ctx)
		case renew:
			_ = s.renew(ctx) // it is in the state, and told
		case login:
			tok, other, n := s.enter(ctx, s.attempt)
			if err := s.onwards(n); err != nil {
				return err
			}
			if other {
				changed(tok)
			}
		}
	}
}

// beat is how often the gauges are set, whether or not anything happens.
const beat = 10 * time.Second

// wait returns the next step when its moment has come, rest when ctx is over.
func (s *Session) wait(ctx context.Context, watch *watcher) step {
	for ctx.Err() == nil {
		now := wall()
		if watch.fresh(now) {
			s.refresh(ctx)
		}
		p := s.look()
		if p.do != rest && !p.at.After(wall()) {
			return p.do
		}
		if retry.Until(ctx, soonest(p.at, watch.next, now.Add(beat)), s.wake) == retry.SetBack {
			s.setBack(ctx)
		}
	}
	return rest
}

// setBack notes that the clock was.
func (s *Session) setBack(ctx context.Context) {
	s.o.Log.WarnContext(ctx, "the clock was set back")
	s.change(func(st *state, _ time.Time) { st.back() })
}

// look returns what is next, and tells the meter, and where it is bad the log, how
// things are.
func (s *Session) look() plan {
	var live, left float64
	var alarm string
	var bad state
	p := s.change(func(st *state, now time.Time) {
		left = st.token.Lease.Left(now).Seconds()
		if st.live(now) {
			live = 1
		}
		alarm, bad = st.ending(now), *st
	})
	if alarm != "" {
		s.o.Log.Error(alarm, "accessor", bad.token.Accessor, "ends", bad.token.Lease.Expires(), "error", bad.err, upcoming(p))
	}
	s.o.Meter.Gauge("authenticated", live)
	s.o.Meter.Gauge("token.ttl", left)
	return p
}

// refresh has the next login come soon, for there are new credentials.
func (s *Session) refresh(ctx context.Context) {
	var news bool
	p := s.change(func(st *state, _ time.Time) { news = st.replace(s.o.Retry.Base) && st.held() })
	if news {
		s.o.Log.InfoContext(ctx, "new credentials", "method", s.o.Name, "mount", s.o.Mount, upcoming(p))
	}
}

// enter makes one attempt to log in, by how, and reports whether the token is
// another than before. The notice says why there is none; it has no number when
// the attempt was broken off, which is no failure.
func (s *Session) enter(ctx context.Context, how func(context.Context) (cred.Token, error)) (tok cred.Token, other bool, n retry.Notice) {
	start := time.Now()
	s.change(func(st *state, now time.Time) { st.logins.last = now })
	tok, err := how(ctx)
	if err == nil {
		p := s.change(func(st *state, now time.Time) { other = st.got(tok, now, retry.Luck()) })
		s.welcome(ctx, tok, start, upcoming(p))
		return tok, other, n
	}
	n = retry.Notice{What: s.o.what(), Err: err}
	if ctx.Err() != nil {
		return tok, false, n
	}
	s.change(func(st *state, now time.Time) {
		n.Attempt, n.Next = st.logins.failed(now, s.o.Retry, err)
		st.refused = retry.IsPermanent(classify(err))
		st.wrong(err, now)
	})
	return tok, false, n
}

// onwards tells of a failed login that will be tried again, and returns the error
// that ends Keep when it will not.
func (s *Session) onwards(n retry.Notice) error {
	if n.Attempt == 0 {
		return nil
	}
	if s.o.Retry.Attempts < 0 || n.Attempt < s.o.Retry.Attempts {
		s.notice(n)
		return nil
	}
	err := n.Err
	if n.Attempt > 1 {
		err = &retry.Exhausted{Attempts: n.Attempt, Last: err}
	}
	return fmt.Errorf("%w: %w", ErrLogin, err)
}

// renew makes one attempt to extend the token's lease, and returns why it failed;
// all that follows is noted.
func (s *Session) renew(ctx context.Context) error {
	start := time.Now()
	var value cred.Redacted
	s.change(func(st *state, now time.Time) { st.renewals.last, value = now, st.token.Value })
	lease, err := s.extend(ctx, value)
	if err != nil && ctx.Err() != nil {
		return err
	}
	s.o.Meter.Time("token.renewal.time", time.Since(start))
	s.o.Meter.Count("token.renewal."+outcome(err), 1)
	switch {
	case err == nil:
		p := s.change(func(st *state, now time.Time) { st.extended(lease, now, retry.Luck()) })
		s.o.Log.InfoContext(ctx, "token renewed", "ttl", lease.Duration, upcoming(p))
		return nil
	case errors.Is(err, vault.ErrInvalidToken):
		s.Invalidate(value)
	case refused(err):
		p := s.change(func(st *state, now time.Time) { st.fix(now, retry.Luck()) })
		s.o.Log.WarnContext(ctx, "the token cannot be renewed; it will be replaced before its end", "error", err, upcoming(p))
	default:
		n := retry.Notice{What: "renew the token", Err: err}
		s.change(func(st *state, now time.Time) {
			n.Attempt, n.Next = st.renewals.failed(now, s.o.Retry, err)
			if errors.Is(err, vault.ErrServer) {
				st.doubt(now, retry.Luck())
			}
		})
		s.notice(n)
	}
	s.change(func(st *state, now time.Time) { st.wrong(err, now) })
	return err
}

// refused reports whether the server said no, so that asking again is of no use.
func refused(err error) bool {
	return errors.Is(err, vault.ErrDenied) || errors.Is(err, vault.ErrBadRequest) ||
		errors.Is(err, vault.ErrNotFound) || errors.Is(err, vault.ErrNoToken)
}

func (s *Session) notice(n retry.Notice) {
	if s.o.Observer != nil {
		s.o.Observer(n)
	}
}

// watcher asks a method for new credentials, as often as it is worth while.
type watcher struct {
	auth.Watcher           // nil for none
	next         time.Time // zero for never
}

func (s *Session) watcher() *watcher {
	w := &watcher{}
	if m, ok := s.method.(auth.Watcher); ok && s.o.Reauth && m.Every() > 0 {
		w.Watcher = m
	}
	return w
}

// fresh asks, if it is time to. A next time that is too far away is one from
// before the clock was set back.
func (w *watcher) fresh(now time.Time) bool {
	if w.Watcher == nil || now.Before(w.next) && w.next.Sub(now) <= w.Every() {
		return false
	}
	w.next = now.Add(w.Every())
	return w.Fresh()
}

// soonest leaves out the zero time.
func soonest(times ...time.Time) (t time.Time) {
	for _, u := range times {
		if t.IsZero() || !u.IsZero() && u.Before(t) {
			t = u
		}
	}
	return t
}
