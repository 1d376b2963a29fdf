// Package telemetry turns what rooms report to their meter.Meter into metrics:
// JSON and Prometheus at /agent/v1/metrics, lines for statsd, statsite and
// DogStatsD, and OTLP over HTTP.
//
// hashicorp/go-metrics decides names, host names, filters and what is held in
// memory, so that they are those of Vault Agent; what leaves the process is
// written here (docs/decisions/0010 says why). Names is the table of all there is
// to report, and docs/metrics.md what users read of it; add a name to both.
//
// New starts nothing. Run owns every goroutine and every connection, and until it
// runs reports are only counted; so a one-shot that links this room pays nothing
// for it.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-metrics"

	"latchkey/internal/config"
	"latchkey/internal/meter"
)

// Options say where metrics go and what they are called.
type Options struct {
	// Config is the telemetry stanza; nil: in memory only, without Prometheus.
	Config *config.Telemetry
	// Host is the machine's name, for gauges as the stanza says; Cluster is
	// cluster_name, a label where there are labels; Version is ours.
	Host, Cluster, Version string
	// Log is told what cannot be delivered, once for each outage; nil: nobody.
	Log *slog.Logger
}

// Telemetry is the meter.Meter of a process and the http.Handler of its metrics.
// All methods may be called from any goroutine; Run by one at a time.
type Telemetry struct {
	names map[string]*known
	log   *slog.Logger
	pipe  atomic.Pointer[pipe]
	// swapped has something when Reload made another pipe.
	swapped chan struct{}

	mu       sync.Mutex
	told     map[string]bool            // mistakes that were logged
	variants map[string]map[string]bool // by name, the labels seen
}

// maxVariants is how many different labels one name may have; more would grow
// memory without a bound, here and wherever it is sent.
const maxVariants = 100

// pipe is what one configuration makes of reports.
type pipe struct {
	o       Options
	c       config.Telemetry
	metrics *metrics.Metrics
	mem     *metrics.InmemSink
	store   *store
	pushers []*pusher
	otlp    *exporter
}

// What is held in memory is a minute, in steps of ten seconds, as in Vault Agent;
// runtime metrics come once in a step.
const (
	step   = 10 * time.Second
	retain = time.Minute
)

// lastWords is how long the last reports have to get out when Run ends.
const lastWords = 500 * time.Millisecond

// errSwapped ends what runs for a configuration that no longer holds.
var errSwapped = errors.New("the configuration changed")

// New builds the metrics of a process. It dials nothing and starts nothing. Its
// error holds a *config.Problem: an address or URL that is none.
func New(o Options) (*Telemetry, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Telemetry{
		names: index(), log: o.Log, swapped: make(chan struct{}, 1),
		told: map[string]bool{}, variants: map[string]map[string]bool{},
	}
	p, err := newPipe(o, t.names, nil)
	if err != nil {
		return nil, err
	}
	t.pipe.Store(p)
	return t, nil
}

// Reload takes over another stanza: pushing stops where it went, after a last
// time, and begins where it now goes. What was counted stays, unless the new
// stanza gives it other names. An error is as from New, and changes nothing.
// Options.Log is not taken over.
func (t *Telemetry) Reload(o Options) error {
	now := t.pipe.Load()
	o.Log = t.log
	if reflect.DeepEqual(o, now.o) {
		return nil
	}
	p, err := newPipe(o, t.names, now)
	if err != nil {
		return err
	}
	t.pipe.Store(p)
	select {
	case t.swapped <- struct{}{}:
	default: // the one before has not been seen yet, and will find this
	}
	return nil
}

// newPipe makes a pipe; from before it takes what was counted, if names stay.
func newPipe(o Options, names map[string]*known, before *pipe) (*pipe, error) {
	for _, s := range []*string{&o.Host, &o.Cluster, &o.Version} {
		*s = strings.ToValidUTF8(*s, "_")
	}
	p := &pipe{o: o, c: config.Telemetry{DisableHostname: true}}
	if o.Config != nil {
		p.c = *o.Config
	}
	if err := p.outlets(); err != nil {
		return nil, err
	}
	conf := p.naming()
	if before != nil && reflect.DeepEqual(conf, before.naming()) {
		p.mem, p.store = before.mem, before.store
	} else {
		p.mem = metrics.NewInmemSink(step, retain)
		p.store = newStore(hostIn(conf), names)
		p.declare(conf)
	}
	sinks := metrics.FanoutSink{p.mem, adapter{p.store}}
	for _, s := range p.pushers {
		sinks = append(sinks, adapter{s})
	}
	var err error
	p.metrics, err = metrics.New(conf, sinks)
	return p, err
}

// naming is the stanza's part that decides names, in go-metrics' words.
func (p *pipe) naming() *metrics.Config {
	conf := &metrics.Config{
		ServiceName: "vault", HostName: p.o.Host,
		EnableHostname: hostInNames(&p.c), EnableHostnameLabel: p.c.EnableHostnameLabel,
		TimerGranularity: time.Millisecond, FilterDefault: true,
	}
	if p.c.MetricsPrefix != "" {
		conf.ServiceName = strings.ToValidUTF8(p.c.MetricsPrefix, "_")
	}
	if p.c.FilterDefault != nil {
		conf.FilterDefault = *p.c.FilterDefault
	}
	conf.AllowedPrefixes, conf.BlockedPrefixes, _ = filters(p.c.PrefixFilter)
	return conf
}

// hostInNames reports whether gauges are named with the host. As in Vault Agent,
// that is so only where measurements go to more than one place, of those that the
// agent knows too.
func hostInNames(c *config.Telemetry) bool {
	places := 0
	for _, there := range []bool{c.PrometheusRetentionTime > 0, c.StatsdAddress != "", c.StatsiteAddress != "", c.DogstatsdAddr != ""} {
		if there {
			places++
		}
	}
	return places > 1 && !c.DisableHostname
}

// hostIn is the host that go-metrics puts into the names of gauges.
func hostIn(conf *metrics.Config) string {
	if conf.EnableHostname && !conf.EnableHostnameLabel {
		return conf.HostName
	}
	return ""
}

// declare puts every counter and histogram that has no labels into the store at
// zero, so that the first failure is seen as a step from 0 to 1 and not as a
// series that begins.
func (p *pipe) declare(conf *metrics.Config) {
	m, err := metrics.New(conf, adapter{declarer{p.store}})
	if err != nil {
		return // never, without runtime metrics
	}
	for _, n := range p.store.names {
		switch {
		case len(n.Labels) > 0:
		case n.Kind == Counter:
			m.IncrCounter(n.key, 0)
		case n.Kind == Histogram:
			m.AddSample(n.key, 0)
		}
	}
}

// Count implements meter.Meter. A negative n is a mistake and dropped.
func (t *Telemetry) Count(name string, n int, labels ...meter.Label) {
	if k, l, ok := t.take(name, Counter, n >= 0, labels); ok {
		t.pipe.Load().metrics.IncrCounterWithLabels(k.key, float32(n), l)
	}
}

// Gauge implements meter.Meter. What is no number (NaN) or has no bound is a
// mistake and dropped.
func (t *Telemetry) Gauge(name string, value float64, labels ...meter.Label) {
	if k, l, ok := t.take(name, Gauge, !math.IsNaN(value) && !math.IsInf(value, 0), labels); ok {
		t.pipe.Load().metrics.SetPrecisionGaugeWithLabels(k.key, value, l)
	}
}

// Time implements meter.Meter. A negative duration, from a clock that was set
// back, counts as none.
func (t *Telemetry) Time(name string, d time.Duration, labels ...meter.Label) {
	if k, l, ok := t.take(name, Histogram, true, labels); ok {
		ms := float64(max(d, 0)) / float64(time.Millisecond)
		t.pipe.Load().metrics.AddSampleWithLabels(k.key, float32(ms), l)
	}
}

// take holds a report to the table of names.
func (t *Telemetry) take(name string, kind Kind, sane bool, labels []meter.Label) (*known, []metrics.Label, bool) {
	k := t.names[name]
	switch {
	case k == nil:
		t.mistake(name, "a metric that is not in the table was reported")
	case k.Kind != kind:
		t.mistake(name, "a metric was reported as another kind than it has in the table")
	case !sane:
		t.mistake(name, "a metric was reported with a value that it cannot have")
	default:
		l, ok := t.takeLabels(k, labels)
		return k, l, ok
	}
	return nil, nil, false
}

func (t *Telemetry) takeLabels(k *known, labels []meter.Label) ([]metrics.Label, bool) {
	if len(labels) == 0 {
		return nil, true
	}
	var out []metrics.Label
	var id strings.Builder
	for _, l := range labels {
		if !slices.Contains(k.Labels, l.Name) {
			t.mistake(k.Name.Name, "a metric was reported with a label that it does not have in the table")
			return nil, false
		}
		out = append(out, metrics.Label{Name: l.Name, Value: strings.ToValidUTF8(l.Value, "_")})
		fmt.Fprintf(&id, "%s=%s;", l.Name, l.Value)
	}
	t.mu.Lock()
	seen := t.variants[k.Name.Name]
	if seen == nil {
		seen = map[string]bool{}
		t.variants[k.Name.Name] = seen
	}
	full := !seen[id.String()] && len(seen) >= maxVariants
	if !full {
		seen[id.String()] = true
	}
	t.mu.Unlock()
	if full {
		t.mistake(k.Name.Name, "a metric has more different labels than it may have")
		return nil, false
	}
	return out, true
}

// mistake logs what only a developer can mend, once for each name.
func (t *Telemetry) mistake(name, text string) {
	t.mu.Lock()
	told := t.told[name+text] || len(t.told) >= maxVariants
	if !told {
		t.told[name+text] = true
	}
	t.mu.Unlock()
	if !told {
		t.log.Error(text, "name", name)
	}
}

// Run delivers until ctx ends, and then what is still to be delivered, in at most
// half a second. It returns the cause of ctx; what cannot be delivered is logged
// and no error. Once it has returned, reports are still counted.
func (t *Telemetry) Run(ctx context.Context) error {
	for {
		t.runPipe(ctx, t.pipe.Load()) // once at least: what was reported before is delivered
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// runPipe delivers for one configuration and returns when it no longer holds.
func (t *Telemetry) runPipe(ctx context.Context, p *pipe) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { p.tick(ctx) })
	for _, s := range p.pushers {
		wg.Go(func() { s.run(ctx) })
	}
	if p.otlp != nil {
		wg.Go(func() { p.otlp.run(ctx, p.store) })
	}
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-t.swapped:
			cancel(errSwapped)
		}
	})
	wg.Wait()
}

// tick reports on the Go runtime, and tells those who forget a gauge that is not
// told again what each one is.
func (p *pipe) tick(ctx context.Context) {
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		p.metrics.EmitRuntimeStats()
		for _, s := range p.pushers {
			p.store.gauges(s.gauge)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
