package telemetry

import (
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-metrics"
)

// The shapes of an ExportMetricsServiceRequest in OTLP's JSON encoding, as far as
// they are used: 64-bit integers are strings, enumerations numbers. A test holds
// them against the schema's own parser.
type (
	exportRequest struct {
		ResourceMetrics []resourceMetrics `json:"resourceMetrics"`
	}
	resourceMetrics struct {
		Resource     resource       `json:"resource"`
		ScopeMetrics []scopeMetrics `json:"scopeMetrics"`
	}
	resource struct {
		Attributes []attribute `json:"attributes,omitempty"`
	}
	scopeMetrics struct {
		Scope   scope    `json:"scope"`
		Metrics []metric `json:"metrics"`
	}
	scope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	metric struct {
		Name        string     `json:"name"`
		Description string     `json:"description,omitempty"`
		Unit        string     `json:"unit,omitempty"`
		Gauge       *otlpGauge `json:"gauge,omitempty"`
		Sum         *otlpSum   `json:"sum,omitempty"`
		Histogram   *otlpHist  `json:"histogram,omitempty"`
		Summary     *otlpHist  `json:"summary,omitempty"`
	}
	otlpGauge struct {
		DataPoints []point `json:"dataPoints"`
	}
	otlpSum struct {
		DataPoints  []point `json:"dataPoints"`
		Temporality int     `json:"aggregationTemporality"`
		Monotonic   bool    `json:"isMonotonic"`
	}
	otlpHist struct {
		DataPoints  []histPoint `json:"dataPoints"`
		Temporality int         `json:"aggregationTemporality,omitempty"`
	}
	point struct {
		Attributes []attribute `json:"attributes,omitempty"`
		Start      string      `json:"startTimeUnixNano,omitempty"`
		Time       string      `json:"timeUnixNano"`
		Value      float64     `json:"asDouble"`
	}
	histPoint struct {
		Attributes []attribute `json:"attributes,omitempty"`
		Start      string      `json:"startTimeUnixNano"`
		Time       string      `json:"timeUnixNano"`
		Count      string      `json:"count"`
		Sum        float64     `json:"sum"`
		Buckets    []string    `json:"bucketCounts,omitempty"`
		Bounds     []float64   `json:"explicitBounds,omitempty"`
	}
	attribute struct {
		Key   string    `json:"key"`
		Value attrValue `json:"value"`
	}
	attrValue struct {
		String string `json:"stringValue"`
	}
)

// cumulative is AGGREGATION_TEMPORALITY_CUMULATIVE.
const cumulative = 2

// ucum is a unit as OpenTelemetry writes it; s, ms and ns are the same there.
func ucum(unit string) string {
	switch unit {
	case "":
		return "1"
	case "bytes":
		return "By"
	}
	return unit
}

// attributes makes a list of pairs, without those that are empty.
func attributes(pairs ...string) []attribute {
	var as []attribute
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			as = append(as, attribute{pairs[i], attrValue{strings.ToValidUTF8(pairs[i+1], "_")}})
		}
	}
	return as
}

func labelAttributes(labels []metrics.Label) []attribute {
	var as []attribute
	for _, l := range labels {
		as = append(as, attribute{l.Name, attrValue{l.Value}})
	}
	return as
}

// encode makes a request of a snapshot, which is sorted, so that the series of
// one metric follow each other. The host stands in the resource, not in names.
func (e *exporter) encode(all []series, now time.Time) exportRequest {
	var ms []metric
	for _, s := range all {
		name := strings.Join(s.key, ".")
		if len(ms) == 0 || ms[len(ms)-1].Name != name {
			ms = append(ms, metric{Name: name, Description: s.def.Help, Unit: ucum(s.def.Unit)})
		}
		ms[len(ms)-1].add(s, now)
	}
	return exportRequest{[]resourceMetrics{{
		Resource:     resource{e.resource},
		ScopeMetrics: []scopeMetrics{{Scope: scope{"latchkey", e.version}, Metrics: ms}},
	}}}
}

func (m *metric) add(s series, now time.Time) {
	p := point{Attributes: labelAttributes(s.labels), Start: nano(s.since), Time: nano(now), Value: s.sum}
	switch s.def.Kind {
	case Gauge:
		if m.Gauge == nil {
			m.Gauge = &otlpGauge{}
		}
		p.Start = ""
		m.Gauge.DataPoints = append(m.Gauge.DataPoints, p)
	case Counter:
		if m.Sum == nil {
			m.Sum = &otlpSum{Temporality: cumulative, Monotonic: true}
		}
		m.Sum.DataPoints = append(m.Sum.DataPoints, p)
	case Histogram:
		h := histPoint{Attributes: p.Attributes, Start: p.Start, Time: p.Time, Count: strconv.FormatUint(s.count, 10), Sum: s.sum}
		if s.buckets == nil {
			if m.Summary == nil {
				m.Summary = &otlpHist{}
			}
			m.Summary.DataPoints = append(m.Summary.DataPoints, h)
			return
		}
		h.Bounds = bounds
		for _, n := range s.buckets {
			h.Buckets = append(h.Buckets, strconv.FormatUint(n, 10))
		}
		if m.Histogram == nil {
			m.Histogram = &otlpHist{Temporality: cumulative}
		}
		m.Histogram.DataPoints = append(m.Histogram.DataPoints, h)
	}
}

func nano(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }
