package lease

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Subscriber is a server that may tell of changes, with whatever token is good
// at the time of the call; see vault.Client.Subscribe.
type Subscriber interface {
	Subscribe(ctx context.Context, kind string, each func(vault.Event)) error
}

// Events listens for changes of key-value secrets, so that they are looked at when
// they change and not at the next poll. Polling goes on all the same.
type Events struct {
	server Subscriber
	log    *slog.Logger
	// heard is whether there has been a connection: what changed since it was
	// lost, nobody told.
	heard bool
}

// NewEvents returns Events that do nothing before Run.
func NewEvents(s Subscriber, log *slog.Logger) *Events { return &Events{server: s, log: log} }

// kinds are the events of the key-value engines.
const kinds = "kv*"

// reconnect is when to subscribe again. Many daemons lose their connection in the
// same moment.
var reconnect = retry.Schedule{Base: time.Second, Max: time.Minute, Jitter: 0.5}

// reconnectDenied is how often to ask again what the policy does not allow.
const reconnectDenied = time.Hour

// beforeLogin is how often to look whether there is a token to ask with. That
// sends nothing.
const beforeLogin = 250 * time.Millisecond

// steady is how long a connection has to stand for its loss to be a first one.
const steady = time.Minute

// Run calls touch with the path of each secret that changed, and with "" when any
// may have, until ctx ends, and returns the cause. touch must not block. A server
// that has no events is told in the log once, and not asked again.
func (e *Events) Run(ctx context.Context, touch func(path string)) error {
	var last error
	for failures := 1; ; failures++ {
		stood, err := e.listen(ctx, touch)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, vault.ErrNotLoggedIn) {
			failures = 0
			if !retry.Sleep(ctx, beforeLogin) {
				return context.Cause(ctx)
			}
			continue
		}
		if errors.Is(err, vault.ErrNotFound) || errors.Is(err, vault.ErrBadRequest) {
			e.log.Warn("the server tells of no events: changes are found by polling alone", "error", err)
			<-ctx.Done()
			return context.Cause(ctx)
		}
		if stood >= steady {
			failures = 1
		}
		wait := e.wait(err, failures)
		if last == nil || last.Error() != err.Error() || stood > 0 {
			e.log.Warn("no events for now: changes are found by polling", "error", err, "next", wait.Round(time.Millisecond))
		}
		last = err
		if !retry.Sleep(ctx, wait) {
			return context.Cause(ctx)
		}
	}
}

// wait is how long to stay away after a failure.
func (e *Events) wait(err error, failures int) time.Duration {
	if errors.Is(err, vault.ErrDenied) && !errors.Is(err, vault.ErrInvalidToken) {
		return reconnectDenied
	}
	return reconnect.Pause(failures, err)
}

// listen is one connection. It returns how long that stood and why it ended.
func (e *Events) listen(ctx context.Context, touch func(path string)) (stood time.Duration, err error) {
	var since time.Time
	err = e.server.Subscribe(ctx, kinds, func(ev vault.Event) {
		switch {
		case since.IsZero():
			since = time.Now()
			e.log.Info("the server tells of changed secrets")
			if e.heard {
				touch("")
			}
			e.heard = true
		case ev.Modified:
			touch(ev.Path)
		}
	})
	if !since.IsZero() {
		stood = max(time.Since(since), 1)
	}
	return stood, err
}
