package health

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// Options are what a Handler answers from.
type Options struct {
	// Status is asked for every request but those for metrics and quit; it must
	// be safe for concurrent use and fill everything but Now.
	Status func() Status
	// Metrics answers /agent/v1/metrics; nil: 404.
	Metrics http.Handler
	// Quit begins the end of the daemon; it must not wait for it. It is called
	// once, however often somebody asks. nil: /agent/v1/quit is 404.
	Quit func()
	// MetricsOnly is the listener's role metrics_only: all else is 404.
	MetricsOnly bool
}

// Handler serves the paths under /agent/v1/.
func Handler(o Options) http.Handler { return http.NotFoundHandler() }

// Table writes the status as people read it.
func Table(w io.Writer, s Status) {}

// Fetch asks a daemon for its status.
func Fetch(ctx context.Context, address string) (Status, error) {
	return Status{}, errors.ErrUnsupported
}
