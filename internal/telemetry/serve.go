package telemetry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-metrics"
)

// summary is the JSON of /agent/v1/metrics, which is Vault Agent's.
type summary struct {
	Timestamp string
	Gauges    []jsonGauge
	Points    []metrics.PointValue
	Counters  []jsonSample
	Samples   []jsonSample
}

type jsonGauge struct {
	Name   string
	Value  float64
	Labels map[string]string
}

type jsonSample struct {
	Name          string
	Count         int
	Rate          float64
	Sum, Min, Max float64
	Mean, Stddev  float64
	Labels        map[string]string
}

// ServeHTTP answers /agent/v1/metrics: Prometheus' text for ?format=prometheus or
// to who accepts it, JSON for ?format=json and else. 400 for another format, and
// for Prometheus where no telemetry stanza turned it on.
func (t *Telemetry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusMethodNotAllowed)
		_, _ = io.WriteString(w, `{"errors":[]}`+"\n")
		return
	}
	p := t.pipe.Load()
	format := r.URL.Query().Get("format")
	if format == "" && acceptsPrometheus(r.Header.Values("Accept")) {
		format = "prometheus"
	}
	var body bytes.Buffer
	var err error
	switch {
	case format == "prometheus" && p.c.PrometheusRetentionTime <= 0:
		refuse(w, "prometheus is not enabled")
		return
	case format == "prometheus":
		w.Header().Set("Content-Type", contentType)
		err = p.prometheus(&body)
	case format == "" || format == "json":
		w.Header().Set("Content-Type", "application/json")
		err = json.NewEncoder(&body).Encode(p.summary())
	default:
		refuse(w, fmt.Sprintf("metric response format %q unknown", format))
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(body.Bytes())
}

func refuse(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, text)
}

// acceptsPrometheus says whether a client asks for a format of Prometheus or
// OpenMetrics. Plain text alone is what a browser or curl may ask for.
func acceptsPrometheus(accept []string) bool {
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		typ, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch {
		case typ == "application/openmetrics-text", typ == "prometheus/telemetry":
			return true
		case typ == "text/plain" && (params["version"] == "0.0.4" || params["version"] == "1.0.0"):
			return true
		}
	}
	return false
}

// summary is the newest interval that is over, as Vault Agent gives it, and each
// gauge as it is now: there, a gauge that is not set again within ten seconds is
// gone.
func (p *pipe) summary() summary {
	data := p.mem.Data()
	interval := data[max(0, len(data)-2)]
	interval.RLock()
	defer interval.RUnlock()
	s := summary{
		Timestamp: interval.Interval.Round(time.Second).UTC().String(),
		Gauges:    []jsonGauge{}, Points: []metrics.PointValue{},
		Counters: samples(interval.Counters), Samples: samples(interval.Samples),
	}
	for _, e := range p.store.snapshot() {
		if e.def.Kind == Gauge {
			s.Gauges = append(s.Gauges, jsonGauge{strings.Join(p.store.reported(e), "."), e.sum, display(e.labels)})
		}
	}
	slices.SortStableFunc(s.Gauges, func(a, b jsonGauge) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// samples are sorted by name and labels, which is what a key is made of.
func samples(from map[string]metrics.SampledValue) []jsonSample {
	out := []jsonSample{}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		v := from[key]
		out = append(out, jsonSample{
			Name: v.Name, Count: v.Count, Rate: v.Rate, Sum: v.Sum, Min: v.Min, Max: v.Max,
			Mean: v.AggregateSample.Mean(), Stddev: finite(v.AggregateSample.Stddev()), Labels: display(v.Labels),
		})
	}
	return out
}

// finite is 0 for what rounding made of the root of nothing; JSON has no NaN.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

func display(labels []metrics.Label) map[string]string {
	m := map[string]string{}
	for _, l := range labels {
		m[l.Name] = l.Value
	}
	return m
}

// Dump writes what is in memory as text, for SIGUSR1: each interval of the last
// minute, oldest first, then the gauges as they are now. Its errors are those of w.
func (t *Telemetry) Dump(w io.Writer) error {
	p := t.pipe.Load()
	var b bytes.Buffer
	for _, interval := range p.mem.Data() {
		interval.RLock()
		dump(&b, interval.Interval, "C", interval.Counters)
		dump(&b, interval.Interval, "S", interval.Samples)
		interval.RUnlock()
	}
	for _, e := range p.store.snapshot() {
		if e.def.Kind != Gauge {
			continue
		}
		name := strings.Join(p.store.reported(e), ".")
		for _, l := range e.labels {
			name += ";" + l.Name + "=" + l.Value
		}
		fmt.Fprintf(&b, "[%v][G] '%s': %0.3f\n", e.updated.Truncate(step), name, e.sum)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func dump(b *bytes.Buffer, at time.Time, kind string, of map[string]metrics.SampledValue) {
	for _, key := range slices.Sorted(maps.Keys(of)) {
		fmt.Fprintf(b, "[%v][%s] '%s': %s\n", at, kind, key, of[key].AggregateSample)
	}
}
