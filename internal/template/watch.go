package template

import (
	"context"
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
	// others may be dropped. It is told after a round that changed them. It
	// may call nothing of the Watch.
	Retain(keys map[string]bool)
}

// WatchOptions says how a Watch deals with failures.
type WatchOptions struct {
	// Retry says when a template that could not be rendered, and a command that
	// failed, is tried again: each by itself, its waits growing to Max, without end.
	// Without a Base it is a second, up to five minutes.
	Retry retry.Schedule
	// ExitOnRetryFailure ends Run once a template has failed Retry.Attempts times
	// in a row (0 counts as 1, negative never). A template with ErrorFatal false
	// and a command that fails never end it.
	ExitOnRetryFailure bool
	// Meter counts; nil for nobody.
	Meter meter.Meter
}

// Watch keeps the outputs of a Set right for as long as it runs.
type Watch struct {
	set *Set
}

// Watch returns what keeps the templates rendered out of src. It starts nothing.
func (s *Set) Watch(src Source, o WatchOptions) *Watch {
	return &Watch{set: s}
}

// Run renders all templates at once, and from then on those whose inputs
// changed, until ctx ends; it returns its cause then. With ExitOnRetryFailure it
// ends with the failure of a template, which is a *retry.Exhausted too. When it
// returns nothing of it runs any more. Run once.
//
// seen, which may be nil, is told of everything that was rendered, or failed, or
// whose command ended, in Reports of one or more templates, one Report at a time.
// It must not block.
func (w *Watch) Run(ctx context.Context, seen func(Report)) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Changed says that the answers to some requests, named by Request.Key, are no
// longer what they were: the templates that used them are rendered again. It may
// be called at any time from any goroutine, never blocks, and nothing is lost.
func (w *Watch) Changed(keys ...string) {}

// Variables returns the values of the templates that have one, as they are now,
// by name. They are complete once a Report was.
func (w *Watch) Variables() map[string]cred.Redacted { return nil }

// Status is how one template stands. It holds no secret.
type Status struct {
	Name string
	// Destination or Variable is where the output goes.
	Destination, Variable string
	// RenderedAt is when it was last rendered without a fault, ChangedAt when
	// that last changed a file; zero for never.
	RenderedAt, ChangedAt time.Time
	// Next is what comes next by itself: "retry", "change" (held back by wait),
	// "certificate", "command" (tried again), or "" for nothing. NextAt is when.
	Next   string
	NextAt time.Time
	// Failures is how often in a row it failed.
	Failures int
	// Err is why, or why its command failed; nil when all is well.
	Err error
}

// Status returns how each template stands, in their order. It is safe at any time.
func (w *Watch) Status() []Status { return nil }
