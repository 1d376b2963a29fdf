package session

import (
	"cmp"
	"context"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// PullOptions says how a token is kept by asking.
type PullOptions struct {
	// Grace is how long before its end a token is over. Of a token's life it
	// takes at most half, so that no grace, however long, has a login for each
	// request.
	Grace time.Duration
	// Changed is called for each new token, never for a renewal, by the goroutine
	// that logged in, and before there is another login; nil for nobody. It may
	// call Token, and no other method that waits.
	Changed func(cred.Token)
}

// Pulled keeps the token of a Session right by being asked, for a process that may
// be frozen between any two steps: there is no loop and no timer, the wall clock
// decides at the moment of use. What is due is decided as for Keep (next.go).
//
// Whoever asks first does what is due, and the others wait for that: one request is
// under way at a time, on the goroutine of a caller and for as long as that one
// wants. The schedule of the Session says when to try again after a failure; its
// Attempts are not looked at. A refusal is not waited for: the first call after the
// pause tries again.
//
// It is safe for concurrent use.
type Pulled struct {
	s       *Session
	changed func(cred.Token)
	// turn is held by who sends a request, tending by who is in Tend.
	turn, tending chan struct{}
	// stopped runs f and reports whether the process stood still meanwhile.
	stopped func(f func()) bool

	clock retry.Clock

	mu    sync.Mutex
	watch watcher
}

// Pull returns s for a caller that keeps it by asking, not by a loop; nobody calls
// Keep then. Call it once, before anything else.
func (s *Session) Pull(o PullOptions) *Pulled {
	s.change(func(st *state, _ time.Time) { st.grace = max(o.Grace, 0) })
	return &Pulled{
		s: s, changed: o.Changed, turn: make(chan struct{}, 1), tending: make(chan struct{}, 1),
		stopped: stopped, watch: *s.watcher(),
	}
}

// Name is what is tended, for messages.
func (p *Pulled) Name() string { return "login" }

// Token returns a token that is good, at once where there is one. Else it logs in,
// or waits for who does. Its error is of kind vault.ErrNotLoggedIn, with the last
// failure as its cause: when the server refuses, when the next attempt would come
// after the deadline of ctx, and when ctx ends. With a ctx that has ended it only
// looks.
func (p *Pulled) Token(ctx context.Context) (cred.Redacted, error) {
	var why error
	for {
		p.lookAtClock(ctx)
		switch l := p.look(); {
		case !l.value.Empty():
			return l.value, nil
		case ctx.Err() != nil:
			return cred.Redacted{}, p.none(ctx, why, l.err)
		case !l.at.After(l.now) && !l.at.IsZero():
			if err := p.act(ctx, l.news, (*state).entry); err != nil {
				why = err
			}
		case l.refused || !p.hold(ctx, l.at, l.news):
			return cred.Redacted{}, p.none(ctx, why, l.err)
		}
	}
}

// Has reports whether Token would return one at once.
func (p *Pulled) Has() bool {
	p.lookAtClock(context.Background())
	return !p.look().value.Empty()
}

// Replace says that bad is invalid, as Session.Invalidate does, and returns
// another token as Token does; when bad is not the one in use, that at once.
func (p *Pulled) Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error) {
	p.s.Invalidate(bad)
	return p.Token(ctx)
}

// Renewed puts the token away, though the server may know it, and returns another
// as Token does. Whoever calls it while a login is under way shares that; between
// two logins there is half a second at least.
func (p *Pulled) Renewed(ctx context.Context) (cred.Redacted, error) {
	p.s.change(func(st *state, _ time.Time) { st.dismiss() })
	return p.Token(ctx)
}

// outlook is how things are for who wants a token.
type outlook struct {
	now time.Time
	// value is the token to be used, empty for none; at is when there may be a
	// login, zero for never.
	value cred.Redacted
	at    time.Time
	// refused says that the last one was; err is the last failure.
	refused bool
	err     error
	// news is closed when there is a token; nil where there is one already that
	// is merely near its end.
	news <-chan struct{}
}

func (p *Pulled) look() (l outlook) {
	p.s.change(func(st *state, now time.Time) {
		l = outlook{now: now, at: st.loginAt(now), refused: st.refused, err: st.err}
		switch {
		case st.fresh(now), st.live(now) && st.logins.failures > 0 && l.at.After(now):
			// One that is near its end is better than nothing, where no other
			// was to be had.
			l.value = st.lendable(now)
		case !st.live(now):
			if p.s.news == nil {
				p.s.news = make(chan struct{})
			}
			l.news = p.s.news
		}
	})
	return l
}

// entry is what there is to do for who has no token.
func (s *state) entry(now time.Time) step {
	if at := s.loginAt(now); s.fresh(now) || at.IsZero() || at.After(now) {
		return rest
	}
	return login
}

// act waits for its turn, and then does what decide says. It returns why that
// failed. When there is news meanwhile, or ctx ends, it does nothing.
func (p *Pulled) act(ctx context.Context, news <-chan struct{}, decide func(st *state, now time.Time) step) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-news:
		return nil
	case <-ctx.Done():
		return nil
	}
	if ctx.Err() != nil {
		return nil
	}
	var do step
	p.s.change(func(st *state, now time.Time) { do = decide(st, now) })
	switch do {
	case renew:
		return p.s.renew(ctx)
	case login:
		return p.login(ctx)
	}
	return nil
}

// login makes one attempt, in its turn.
func (p *Pulled) login(ctx context.Context) error {
	tok, other, n := p.s.enter(ctx, p.attempt)
	if n.Attempt > 0 {
		p.s.notice(n)
	}
	if other && p.changed != nil {
		p.changed(tok)
	}
	return n.Err
}

// attempt logs in once, and once more when it failed after the process had stood
// still meanwhile: what failed then is a connection that is gone, a deadline that
// went by, or a signature that is too old.
func (p *Pulled) attempt(ctx context.Context) (tok cred.Token, err error) {
	still := p.stopped(func() { tok, err = p.s.attempt(ctx) })
	if err == nil || !still || ctx.Err() != nil {
		return tok, err
	}
	p.s.o.Log.InfoContext(ctx, "the process stood still during a login, which is made once more", "error", err)
	return p.s.attempt(ctx)
}

// hold waits until at, or for news. It reports false when that does not come
// before ctx ends, and does not wait where that is known.
func (p *Pulled) hold(ctx context.Context, at time.Time, news <-chan struct{}) bool {
	if end, ok := ctx.Deadline(); at.IsZero() || ok && !at.Before(cred.Wall(end)) {
		return false
	}
	return retry.Until(ctx, at, news) != retry.Ended
}

// none is the error of who gets no token: because of why, else of the last failure, else
// of what ended ctx.
func (p *Pulled) none(ctx context.Context, why, last error) error {
	return &vault.Error{Kind: vault.ErrNotLoggedIn, Op: "lend a token of", Path: p.s.o.Mount, Cause: cmp.Or(why, last, context.Cause(ctx))}
}

// lookAtClock has what the session knows go by a clock that was set back.
func (p *Pulled) lookAtClock(ctx context.Context) {
	p.clock.Look(func(time.Time, time.Duration) { p.s.setBack(ctx) })
}

// Due is when there is next something to do about the token, zero for never. What
// happens to it may bring that nearer at any time.
func (p *Pulled) Due() time.Time {
	p.lookAtClock(context.Background())
	next := p.s.change(func(*state, time.Time) {})
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.watch.Watcher == nil:
		return next.at
	case p.watch.next.IsZero():
		return wall()
	}
	return soonest(next.at, p.watch.next)
}

// Tend does what is due about the token, or will be by by, and waits for it; what
// lies ahead as cred.DueBy says. Where there is no token, or none that lasts until
// by, it tries as often as the schedule allows inside ctx, unless the server
// refuses; what lasts it tries to renew once. Its error says that there is no token
// that lasts, and is of kind ErrLogin unless a renewal failed. A second caller waits
// for the first.
func (p *Pulled) Tend(ctx context.Context, by time.Time) error {
	by = cred.Wall(by)
	select {
	case p.tending <- struct{}{}:
		defer func() { <-p.tending }()
		p.credentials(ctx)
	case <-ctx.Done():
		// Nothing is sent from here on.
	}
	var why error
	for failures := 0; ; {
		p.lookAtClock(ctx)
		p.s.look()
		var a agenda
		p.s.change(func(st *state, now time.Time) { a = st.agenda(now, by) })
		switch {
		case a.do == rest, !a.needed && (a.held || ctx.Err() != nil):
			return nil
		case ctx.Err() != nil, a.refused, a.held && !p.hold(ctx, a.at, nil):
			return a.failed(failures, cmp.Or(why, a.err, context.Cause(ctx)))
		case a.held:
			continue
		}
		if err := p.act(ctx, nil, func(st *state, now time.Time) step { return st.agenda(now, by).step() }); err != nil {
			failures, why = failures+1, err
		}
	}
}

// credentials looks whether the method has new ones.
func (p *Pulled) credentials(ctx context.Context) {
	p.mu.Lock()
	w := p.watch
	p.mu.Unlock()
	if w.Watcher == nil {
		return
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return
	}
	fresh := w.fresh(wall())
	p.mu.Lock()
	p.watch = w
	p.mu.Unlock()
	if fresh {
		p.s.refresh(ctx)
	}
}
