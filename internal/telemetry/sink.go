package telemetry

import "github.com/hashicorp/go-metrics"

// outlet is what takes measurements here: go-metrics' sink has ten methods for
// three things. A key has the prefix and, for a gauge, the host in it; neither
// key nor labels may be changed.
type outlet interface {
	gauge(key []string, value float64, labels []metrics.Label)
	counter(key []string, n float64, labels []metrics.Label)
	sample(key []string, value float64, labels []metrics.Label)
}

// adapter is an outlet as go-metrics wants it.
type adapter struct{ outlet }

// SetGauge implements metrics.MetricSink.
func (a adapter) SetGauge(key []string, v float32) { a.gauge(key, float64(v), nil) }

// SetGaugeWithLabels implements metrics.MetricSink.
func (a adapter) SetGaugeWithLabels(key []string, v float32, l []metrics.Label) {
	a.gauge(key, float64(v), l)
}

// SetPrecisionGauge implements metrics.PrecisionGaugeMetricSink.
func (a adapter) SetPrecisionGauge(key []string, v float64) { a.gauge(key, v, nil) }

// SetPrecisionGaugeWithLabels implements metrics.PrecisionGaugeMetricSink.
func (a adapter) SetPrecisionGaugeWithLabels(key []string, v float64, l []metrics.Label) {
	a.gauge(key, v, l)
}

// EmitKey implements metrics.MetricSink; nothing reports points.
func (adapter) EmitKey([]string, float32) {}

// IncrCounter implements metrics.MetricSink.
func (a adapter) IncrCounter(key []string, v float32) { a.counter(key, float64(v), nil) }

// IncrCounterWithLabels implements metrics.MetricSink.
func (a adapter) IncrCounterWithLabels(key []string, v float32, l []metrics.Label) {
	a.counter(key, float64(v), l)
}

// AddSample implements metrics.MetricSink.
func (a adapter) AddSample(key []string, v float32) { a.sample(key, float64(v), nil) }

// AddSampleWithLabels implements metrics.MetricSink.
func (a adapter) AddSampleWithLabels(key []string, v float32, l []metrics.Label) {
	a.sample(key, float64(v), l)
}
