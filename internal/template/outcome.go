package template

import (
	"time"

	"latchkey/internal/retry"
)

// succeeds notes that a template was rendered; mu is held.
func (w *Watch) succeeds(st *watched, j *job, at time.Time) {
	st.again = st.failures
	st.err, st.failures, st.renderedAt = nil, 0, at
	st.retryAt, st.lostAt = time.Time{}, time.Time{}
	st.value = j.result.Value
	st.outputs = j.result.Files
	if path := st.t.spec.Destination; path != "" {
		st.outputs = append(st.outputs, path)
	}
	if j.result.Changed {
		st.changedAt, st.owed = at, true
	}
	w.counts(st)
	w.certified(st, j, at)
}

// fails notes that a template was not rendered, and when it is tried again; mu
// is held. What it wrote before it failed its command will be told of.
func (w *Watch) fails(st *watched, j *job, at time.Time) {
	st.failures++
	st.err, st.errAt = j.err, at
	st.owed = st.owed || j.result.Changed
	st.retryAt = at.Add(w.wait(st.failures, j.err))
	if !st.t.spec.ErrorFatal {
		w.counts(st)
		return
	}
	if most := w.opts.Retry.Attempts; w.opts.ExitOnRetryFailure && most >= 0 && st.failures >= most && w.failure == nil {
		w.failure = &retry.Exhausted{Attempts: st.failures, Last: j.err}
	}
}

// counts has a template count as done for Report.Complete.
func (w *Watch) counts(st *watched) {
	if !st.tried {
		st.tried = true
		w.incomplete--
	}
}

// remark returns what logs and counts the end of a job, to be called without mu.
func (w *Watch) remark(st *watched, j *job) func() {
	log, label := w.set.opts.Log, st.t.label
	if j.err == nil {
		changed, bytes, again := j.result.Changed, j.result.Bytes, st.again
		return func() {
			w.opts.Meter.Count("template.render.success", 1)
			switch {
			case again > 0:
				log.Info("template rendered again", "template", label, "changed", changed, "bytes", bytes, "failures", again)
			case changed:
				log.Info("template rendered", "template", label, "bytes", bytes)
			default:
				log.Debug("template rendered, nothing changed", "template", label, "bytes", bytes)
			}
		}
	}
	say, failures, next := log.Error, st.failures, st.retryAt
	if !st.t.spec.ErrorFatal {
		say = log.Warn
	}
	return func() {
		w.opts.Meter.Count("template.render.failure", 1)
		say("template not rendered; what was there stays", "error", j.err, "failures", failures, "next_at", next)
	}
}

// Status is how one template stands. It holds no secret.
type Status struct {
	Name string
	// Destination or Variable is where the output goes.
	Destination, Variable string
	// RenderedAt is when it was last rendered without a fault, ChangedAt when
	// that last changed a file or the variable; zero for never.
	RenderedAt, ChangedAt time.Time
	// Next is what comes next by itself: "change" (held back by wait), "retry",
	// "certificate" (is replaced), "command" (starts, or is tried again), or ""
	// for nothing. NextAt is when.
	Next   string
	NextAt time.Time
	// Failures is how often in a row it failed.
	Failures int
	// Err is why, or why its command failed, and ErrAt when; nil when all is well.
	Err   error
	ErrAt time.Time
}

// Status returns how each template stands, in their order. It is safe at any time.
func (w *Watch) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Status, 0, len(w.templates))
	for _, st := range w.templates {
		s := Status{
			Name: st.t.spec.Name, Destination: st.t.spec.Destination, Variable: st.t.spec.Variable,
			RenderedAt: st.renderedAt, ChangedAt: st.changedAt, Failures: st.failures, Err: st.err,
		}
		s.NextAt, s.Next = st.due()
		if c := st.command; c != nil && c.asks(st) && !c.at.IsZero() && (s.NextAt.IsZero() || c.at.Before(s.NextAt)) {
			s.NextAt, s.Next = c.at, "command"
		}
		if s.Err == nil {
			s.Err = st.commandErr
		}
		if s.Err != nil {
			s.ErrAt = st.errAt
		}
		out = append(out, s)
	}
	return out
}
