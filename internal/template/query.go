package template

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	dep "github.com/hashicorp/consul-template/dependency"
)

// query is a question for Consul or Nomad that templates use, with its last good
// answer. It is under the Watch's mu.
type query struct {
	d    dep.Dependency
	data any
	// at is when it is asked again, busy that it is being asked.
	at       time.Time
	busy     bool
	failures int
}

// askEvery is how often an answer of Consul or Nomad is looked at again, and
// slowest how often while they do not answer.
const (
	askEvery = 10 * time.Second
	slowest  = time.Minute
)

// learn takes over an answer that a job saw; mu is held. One that the round
// asked for itself is the newest.
func (r *round) learn(st *watched, d dep.Dependency, data any, at time.Time) {
	name := d.String()
	q := r.w.queries[name]
	if q == nil {
		r.w.queries[name] = &query{d: d, data: data, at: at.Add(around(askEvery))}
		return
	}
	if r.seeded[name] || reflect.DeepEqual(q.data, data) {
		return
	}
	q.data = data
	r.w.answered(name, st, at)
}

// query replaces the queries that a template uses, and forgets those that nobody
// uses any more.
func (w *Watch) query(st *watched, names map[string]bool) {
	old := st.deps
	st.deps = nil
	for name := range names {
		st.deps = append(st.deps, name)
	}
	for _, name := range old {
		if !names[name] && !slices.ContainsFunc(w.templates, func(o *watched) bool { return slices.Contains(o.deps, name) }) {
			delete(w.queries, name)
		}
	}
}

// answered tells all who use a query, but one, that its answer changed.
func (w *Watch) answered(name string, but *watched, at time.Time) {
	for _, st := range w.templates {
		if st != but && slices.Contains(st.deps, name) {
			st.change(at)
		}
	}
}

// ask puts a query again. Without an answer the last good one stays.
func (w *Watch) ask(ctx context.Context, q *query) {
	data, err := w.remote.fetch(ctx, q.d)
	w.mu.Lock()
	name, at := q.d.String(), now()
	q.busy = false
	switch {
	case err != nil:
		q.failures++
		q.at = at.Add(max(around(askEvery), min(w.wait(q.failures, err), slowest)))
	default:
		q.failures = 0
		q.at = at.Add(around(askEvery))
		if !reflect.DeepEqual(q.data, data) {
			q.data = data
			w.answered(name, nil, at)
		}
	}
	failures := q.failures
	w.poke()
	w.mu.Unlock()
	if failures == 1 && ctx.Err() == nil {
		w.set.opts.Log.Warn("no new answer for a template; the last one stays", "error", fmt.Errorf("%s: %w", name, err))
	}
}
