// Package meter is how a room says what happened, in numbers, without knowing
// who listens.
//
// A room takes a Meter in its options and reports at the place where the thing
// happens; internal/telemetry turns the reports into metrics. Names are dotted
// and lower case, without the product's prefix: "auth.success",
// "cache.hit". They are promised to users, who build dashboards on them, so a new
// one is added to docs/metrics.md in the same commit. Labels tell few values
// apart (a sink's type, a result); a path, an accessor or anything else without
// a bound on its number is no label.
package meter

import "time"

// Label tells the reports of one name apart.
type Label struct{ Name, Value string }

// Meter takes reports. It is safe for concurrent use, never blocks and keeps
// nothing that it is given.
type Meter interface {
	// Count adds n to a counter.
	Count(name string, n int, labels ...Label)
	// Gauge sets what a thing is now.
	Gauge(name string, value float64, labels ...Label)
	// Time adds one duration to a histogram.
	Time(name string, d time.Duration, labels ...Label)
}

// Discard is a Meter that nobody listens to.
var Discard Meter = discard{}

type discard struct{}

func (discard) Count(string, int, ...Label)          {}
func (discard) Gauge(string, float64, ...Label)      {}
func (discard) Time(string, time.Duration, ...Label) {}
