// Package telemetry turns what rooms report to their Meter into metrics.
package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/meter"
)

// Options say where metrics go.
type Options struct {
	// Config is the telemetry stanza; nil: in memory only.
	Config *config.Telemetry
	// Host is the machine's name, Cluster the cluster_name, Version ours.
	Host, Cluster, Version string
	Log                    *slog.Logger
}

// Telemetry is a meter.Meter and an http.Handler.
type Telemetry struct{}

// New builds it; it starts and dials nothing.
func New(o Options) (*Telemetry, error) { return nil, errors.ErrUnsupported }

// Warnings says what of a stanza is not done as it says.
func Warnings(c *config.Telemetry) []config.Warning { return nil }

// Run pushes until ctx ends.
func (t *Telemetry) Run(ctx context.Context) error { return nil }

// ServeHTTP answers /agent/v1/metrics.
func (t *Telemetry) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Dump writes what is in memory.
func (t *Telemetry) Dump(w io.Writer) error { return nil }

// Count implements meter.Meter.
func (t *Telemetry) Count(name string, n int, labels ...meter.Label) {}

// Gauge implements meter.Meter.
func (t *Telemetry) Gauge(name string, value float64, labels ...meter.Label) {}

// Time implements meter.Meter.
func (t *Telemetry) Time(name string, d time.Duration, labels ...meter.Label) {}
