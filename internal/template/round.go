package template

import (
	"context"
	"time"
)

// round is a run over some templates of a Watch. The run tells it what happens;
// mu is never held while something is read, rendered or written.
type round struct {
	w *Watch
	u *run
	// seq is the number of the last Changed before anything was asked.
	seq uint64
	// open counts by command the templates of the round that name it and are not
	// done: the command waits for them, so that it runs once.
	open map[*command]int
	// seeded are the queries whose answers were there before.
	seeded map[string]bool
	start  time.Time
	over   func() bool
}

// newRound makes the round of some templates and marks them busy; mu is held.
func (w *Watch) newRound(ctx context.Context, company []*watched) *round {
	r := &round{
		w: w, u: w.set.newRun(w.source, w.remote), seq: w.seq,
		open: map[*command]int{}, seeded: map[string]bool{},
		start: time.Now(), over: func() bool { return ctx.Err() != nil },
	}
	r.u.round = r
	w.rounds++
	for key, m := range w.mints {
		if m.cert.spent.After(now()) {
			r.u.certs[key] = m.cert
		} else {
			delete(w.mints, key)
		}
	}
	for _, st := range company {
		st.settle()
		r.join(st)
	}
	return r
}

// join takes a template into the round; mu is held.
func (r *round) join(st *watched) {
	st.round = r
	st.turn++
	if st.command != nil {
		r.open[st.command]++
	}
	for _, name := range st.deps {
		if q := r.w.queries[name]; q != nil && !r.seeded[name] {
			r.seeded[name] = true
			r.u.brain.Remember(q.d, q.data)
			r.u.seen = append(r.u.seen, q.data)
		}
	}
	j := newJob(st.t)
	j.watched, j.rendered, j.value = st, !st.renderedAt.IsZero(), st.value
	r.u.jobs = append(r.u.jobs, j)
}

// run goes through the round to its end.
func (r *round) run(ctx context.Context) {
	r.u.loop(ctx)
	w := r.w
	w.mu.Lock()
	if w.rounds--; w.rounds == 0 {
		clear(w.moved)
	}
	w.mu.Unlock()
	w.retain()
}

// finished takes over what became of a job. Jobs finish side by side.
func (r *round) finished(j *job) {
	w, st := r.w, j.watched
	w.mu.Lock()
	at := now()
	st.round = nil
	r.inputs(st, j, at)
	if j.err != nil && r.over() {
		// It was broken off: no failure of the template, which is still due.
		st.changeAt, st.broken = at, j.err
		r.command(st, j, at)
		w.mu.Unlock()
		return
	}
	if j.err != nil {
		w.fails(st, j, at)
	} else {
		w.succeeds(st, j, at)
	}
	r.command(st, j, at)
	o := st.outcome()
	o.Files, o.Changed, o.Bytes, o.Err = j.result.Files, j.result.Changed, j.result.Bytes, j.err
	w.news = append(w.news, o)
	after := w.remark(st, j)
	w.poke()
	w.mu.Unlock()
	after()
	w.opts.Meter.Time("template.render.time", time.Since(r.start))
}

// command has the command of a template run when it is owed, as soon as nobody
// else of the round may still ask for it.
func (r *round) command(st *watched, j *job, at time.Time) {
	c := st.command
	if c == nil {
		return
	}
	r.open[c]--
	if j.err == nil && st.owed {
		st.owed = false
		c.ask(st, at, r.open[c] > 0)
	}
	if r.open[c] == 0 {
		c.release(at)
	}
}
