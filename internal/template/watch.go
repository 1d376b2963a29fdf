package template

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
)

// Source is a Reader that keeps what it answered, and keeps it current. A
// request with Fresh set it passes on and does not keep.
type Source interface {
	Reader
	// Retain names, by Request.Key, all answers that are still in use; the
	// others may be dropped. It is told after each round that used others than
	// before, never while a request is being registered, so that nothing that was
	// just answered is dropped. It may call nothing of the Watch.
	Retain(keys map[string]bool)
}

// WatchOptions says how a Watch deals with failures.
type WatchOptions struct {
	// Retry says when a template that could not be rendered, and a command that
	// failed, is tried again: each by itself, its waits growing to Max, without
	// end. Without a Base they grow from a second to five minutes.
	Retry retry.Schedule
	// ExitOnRetryFailure ends Run once a template has failed Retry.Attempts times
	// in a row (0 counts as 1, negative never). A template with ErrorFatal false
	// and a command that fails never end it.
	ExitOnRetryFailure bool
	// Meter counts; nil for nobody.
	Meter meter.Meter
}

func (o WatchOptions) withDefaults() WatchOptions {
	if o.Retry.Base <= 0 {
		o.Retry.Base, o.Retry.Max, o.Retry.Jitter = time.Second, 5*time.Minute, 0.25
	}
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	return o
}

// Watch keeps the outputs of a Set right for as long as it runs.
//
// Each template is a watched: what it used, how it stands, and when it is due.
// Run starts a round over those that are due; rounds overlap, so that one whose
// answer does not come holds up no template of another. Whatever happens, in a
// round or outside, is noted under mu and wakes Run, which is the only one to
// start anything.
type Watch struct {
	set    *Set
	source Source
	opts   WatchOptions
	remote *remote
	wake   chan struct{}

	// keeping is held while Retain is told, and while a round registers what it
	// is about to ask; it is taken before mu.
	keeping sync.Mutex
	mu      sync.Mutex

	templates []*watched
	commands  []*command
	// users tells by Request.Key which templates use an answer; unkept is whether
	// the keys are others than Retain was told last.
	users  map[string][]*watched
	unkept bool
	// queries are the questions for Consul and Nomad that are in use, mints the
	// certificates that were issued and are not in all their files yet.
	queries map[string]*query
	mints   map[string]*mint
	// seq numbers the calls of Changed. While rounds are under way, moved holds
	// the last number of each key, since nobody knows yet what they will have used.
	seq    uint64
	rounds int
	moved  map[string]uint64

	running    int // commands
	incomplete int
	news       []Outcome
	failure    error

	tended
}

// Watch returns what keeps the templates rendered out of src. It starts nothing.
func (s *Set) Watch(src Source, o WatchOptions) *Watch {
	w := &Watch{
		set: s, source: src, opts: o.withDefaults(), remote: newRemote(s.env), wake: make(chan struct{}, 1),
		users: map[string][]*watched{}, queries: map[string]*query{}, mints: map[string]*mint{}, moved: map[string]uint64{},
		incomplete: len(s.templates), tended: tended{turn: make(chan struct{}, 1)},
	}
	commands := map[commandKey]*command{}
	for _, t := range s.templates {
		st := &watched{t: t}
		w.templates = append(w.templates, st)
		if t.spec.Exec == nil || len(t.spec.Exec.Command) == 0 {
			continue
		}
		key := t.spec.Exec.command(s.opts.Env).key()
		if commands[key] == nil {
			commands[key] = &command{exec: t.spec.Exec}
			w.commands = append(w.commands, commands[key])
		}
		st.command = commands[key]
	}
	arrange(w.templates)
	return w
}

// Run renders all templates at once, and from then on those whose inputs
// changed, until ctx ends; it returns its cause then. With ExitOnRetryFailure it
// ends with the failure of a template, a *retry.Exhausted. When it returns,
// nothing of it runs any more, except a query that Consul or Nomad has not
// answered, which ends with its connection. Run once.
//
// seen, which may be nil, is told of everything that was rendered, or failed, or
// whose command ended, in Reports of one or more templates, one Report at a time.
// It must not block.
func (w *Watch) Run(ctx context.Context, seen func(Report)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	err := w.attend(ctx, seen, func(f func()) { wg.Go(f) })
	cancel(err)
	wg.Wait()
	w.remote.clients.Stop()
	return err
}

// attend starts what is due, tells what happened and waits for the next thing.
func (w *Watch) attend(ctx context.Context, seen func(Report), start func(func())) error {
	w.mu.Lock()
	w.all(now())
	w.mu.Unlock()
	start(func() { w.lookAfter(ctx) })
	empty := len(w.templates) == 0
	for {
		next := w.begin(ctx, start)
		if rep := w.report(); seen != nil && (len(rep.Templates) > 0 || empty) {
			empty = false
			seen(rep)
		}
		if err := w.failed(); err != nil {
			return err
		}
		switch retry.Until(ctx, next, w.wake) {
		case retry.Ended:
			return context.Cause(ctx)
		case retry.SetBack:
			w.setBack()
		}
	}
}

// all has every template rendered; mu is held.
func (w *Watch) all(at time.Time) {
	for _, st := range w.templates {
		st.changeAt = at
	}
}

// begin starts everything that is due, or that is to be done ahead, and returns when
// the next thing will be due, or the zero time.
func (w *Watch) begin(ctx context.Context, start func(func())) (next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := now()
	for _, company := range w.due(at) {
		r := w.newRound(ctx, company)
		start(func() { r.run(ctx) })
	}
	for _, c := range w.commands {
		if w.mayStart(c) && c.due(at, w.by) {
			users := w.launch(c)
			start(func() { w.command(ctx, c, users) })
		}
	}
	for _, q := range w.queries {
		if !q.busy && !q.at.After(at) {
			q.busy = true
			start(func() { w.ask(ctx, q) })
		}
	}
	return w.next()
}

// next is the earliest moment at which begin has something to start.
func (w *Watch) next() (next time.Time) {
	for _, st := range w.templates {
		if at, _ := st.due(); !st.busy() {
			next = earlier(next, at)
		}
	}
	for _, c := range w.commands {
		if w.mayStart(c) {
			next = earlier(next, c.at)
		}
	}
	for _, q := range w.queries {
		if !q.busy {
			next = earlier(next, q.at)
		}
	}
	return next
}

// due parts the templates that are due, or to be done ahead, into the rounds that
// are to begin, by who may share one.
func (w *Watch) due(at time.Time) map[string][]*watched {
	rounds := map[string][]*watched{}
	picked := map[*watched]bool{}
	for _, st := range w.templates {
		t, _ := st.due()
		if now := !t.IsZero() && !t.After(at); !now && !st.ahead(w.by) || st.busy() || picked[st] {
			continue
		}
		for _, tied := range st.together() {
			picked[tied] = true
			rounds[tied.company] = append(rounds[tied.company], tied)
		}
	}
	return rounds
}

// setBack has everything done now that was to be done after a while: the clock
// does not tell any more when that is. A certificate ends by the calendar.
func (w *Watch) setBack() {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := now()
	for _, st := range w.templates {
		for _, t := range []*time.Time{&st.changeAt, &st.retryAt} {
			if !t.IsZero() {
				*t = at
			}
		}
	}
	for _, c := range w.commands {
		if !c.at.IsZero() {
			c.at = at
		}
	}
	for _, q := range w.queries {
		q.at = at
	}
}

// report takes what happened since it was last called.
func (w *Watch) report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	rep := Report{Templates: w.news, Complete: w.incomplete == 0}
	w.news = nil
	return rep
}

func (w *Watch) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// Changed says that the answers to some requests, named by Request.Key, are no
// longer what they were: the templates that used them are rendered again. It may
// be called at any time from any goroutine, never blocks, and nothing is lost.
func (w *Watch) Changed(keys ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seq++
	at := now()
	touched := map[*watched]bool{}
	for _, key := range keys {
		if w.rounds > 0 {
			w.moved[key] = w.seq
		}
		for _, st := range w.users[key] {
			touched[st] = true
		}
	}
	for st := range touched {
		st.change(at)
	}
	w.poke()
}

// poke wakes Run.
func (w *Watch) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Variables returns the values of the templates that have one, as they are now,
// by name. They are complete once a Report was.
func (w *Watch) Variables() map[string]cred.Redacted {
	w.mu.Lock()
	defer w.mu.Unlock()
	values := map[string]cred.Redacted{}
	for _, st := range w.templates {
		if name := st.t.spec.Variable; name != "" && !st.renderedAt.IsZero() {
			values[name] = st.value
		}
	}
	return values
}

// wait is the pause after a failure, err, or after what is none but came too soon.
func (w *Watch) wait(failures int, err error) time.Duration {
	// No schedule may make a loop that storms.
	return max(w.opts.Retry.Pause(failures, err), shortest)
}

const shortest = 100 * time.Millisecond

// now is the wall clock: whatever is due is compared with it, since the other
// clock stands still while the machine is suspended.
func now() time.Time { return cred.Wall(time.Now()) }

// earlier returns the earlier of two moments, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// around spreads a pause by a tenth to both sides.
func around(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
