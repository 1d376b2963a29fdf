//go:build !linux

package telemetry

// systemMetrics knows nothing here.
func systemMetrics(map[string]float64) {}
