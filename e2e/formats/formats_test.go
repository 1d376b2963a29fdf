package formats

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

func sample(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "internal", "telemetry", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPrometheusReadsWhatWeServe(t *testing.T) {
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(sample(t, "prometheus.txt")))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[dto.MetricType]int{}
	for name, f := range families {
		kinds[f.GetType()]++
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range f.GetMetric() {
			cluster := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == "cluster" {
					cluster = l.GetValue()
				}
			}
			if cluster != "a\"b\\c\nd" {
				t.Errorf("%s: the label came back as %q", name, cluster)
			}
			if h := m.GetHistogram(); h != nil {
				checkHistogram(t, name, h)
			}
		}
	}
	for _, k := range []dto.MetricType{dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_HISTOGRAM, dto.MetricType_SUMMARY} {
		if kinds[k] == 0 {
			t.Errorf("no %s", k)
		}
	}
	if f := families["_9__odd___agent_sink_success"]; len(f.GetMetric()) != 2 || f.GetMetric()[1].GetLabel()[1].GetValue() != "x\\\"\n_{}" {
		t.Errorf("labels with everything in them: %v", f)
	}
}

func checkHistogram(t *testing.T, name string, h *dto.Histogram) {
	t.Helper()
	below, bound := 0.0, math.Inf(-1)
	for _, b := range h.GetBucket() {
		if float64(b.GetCumulativeCount()) < below || b.GetUpperBound() <= bound {
			t.Errorf("%s: buckets do not grow: %v", name, h)
		}
		below, bound = float64(b.GetCumulativeCount()), b.GetUpperBound()
	}
	if !math.IsInf(bound, 1) || below != float64(h.GetSampleCount()) {
		t.Errorf("%s: the last bucket is not everything: %v", name, h)
	}
}

func TestOpenTelemetryReadsWhatWePush(t *testing.T) {
	var request collector.ExportMetricsServiceRequest
	if err := protojson.Unmarshal(sample(t, "otlp.json"), &request); err != nil { // refuses a field it does not know
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, m := range request.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics() {
		if m.GetUnit() == "" || m.GetDescription() == "" {
			t.Errorf("%s has no unit or description", m.GetName())
		}
		switch d := m.GetData().(type) {
		case *metrics.Metric_Gauge:
			kinds["gauge"]++
			checkPoints(t, m.GetName(), d.Gauge.GetDataPoints())
		case *metrics.Metric_Sum:
			kinds["sum"]++
			checkPoints(t, m.GetName(), d.Sum.GetDataPoints())
			if !d.Sum.GetIsMonotonic() || d.Sum.GetAggregationTemporality() != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
				t.Errorf("%s: %v", m.GetName(), d)
			}
		case *metrics.Metric_Histogram:
			kinds["histogram"]++
			if d.Histogram.GetAggregationTemporality() != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE {
				t.Errorf("%s: %v", m.GetName(), d)
			}
			for _, p := range d.Histogram.GetDataPoints() {
				var sum uint64
				for _, n := range p.GetBucketCounts() {
					sum += n
				}
				if sum != p.GetCount() || len(p.GetBucketCounts()) != len(p.GetExplicitBounds())+1 || p.GetTimeUnixNano() == 0 {
					t.Errorf("%s: %v", m.GetName(), p)
				}
			}
		case *metrics.Metric_Summary:
			kinds["summary"]++
		default:
			t.Errorf("%s has no data", m.GetName())
		}
	}
	for _, k := range []string{"gauge", "sum", "histogram", "summary"} {
		if kinds[k] == 0 {
			t.Errorf("no %s", k)
		}
	}
}

func checkPoints(t *testing.T, name string, points []*metrics.NumberDataPoint) {
	t.Helper()
	if len(points) == 0 {
		t.Errorf("%s has no points", name)
	}
	for _, p := range points {
		if _, ok := p.GetValue().(*metrics.NumberDataPoint_AsDouble); !ok || p.GetTimeUnixNano() == 0 {
			t.Errorf("%s: %v", name, p)
		}
	}
}
