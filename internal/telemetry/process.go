package telemetry

import (
	"runtime"

	"github.com/hashicorp/go-metrics"
)

// processNames are what Prometheus' own client says of a Go process, and
// Vault Agent with it; they have no prefix. The last ones are known on Linux only.
var processNames = []Name{
	{"go_goroutines", Gauge, "", nil, "Goroutines"},
	{"go_info", Gauge, "", []string{"version"}, "The version of Go"},
	{"go_memstats_alloc_bytes", Gauge, "bytes", nil, "Memory in use on the heap"},
	{"go_memstats_heap_inuse_bytes", Gauge, "bytes", nil, "Memory in spans of the heap that are in use"},
	{"go_memstats_sys_bytes", Gauge, "bytes", nil, "Memory taken from the system"},
	{"process_cpu_seconds_total", Counter, "s", nil, "Processor time, user and system"},
	{"process_max_fds", Gauge, "", nil, "File descriptors there may be"},
	{"process_open_fds", Gauge, "", nil, "File descriptors there are"},
	{"process_resident_memory_bytes", Gauge, "bytes", nil, "Memory in RAM"},
	{"process_start_time_seconds", Gauge, "s", nil, "When the process started, since 1970"},
	{"process_virtual_memory_bytes", Gauge, "bytes", nil, "Address space"},
}

// processMetrics writes them as they are now; what this system does not tell is
// left out.
func processMetrics(x *exposition) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	values := map[string]float64{
		"go_goroutines":                float64(runtime.NumGoroutine()),
		"go_info":                      1,
		"go_memstats_alloc_bytes":      float64(m.Alloc),
		"go_memstats_heap_inuse_bytes": float64(m.HeapInuse),
		"go_memstats_sys_bytes":        float64(m.Sys),
	}
	systemMetrics(values)
	for _, n := range processNames {
		v, ok := values[n.Name]
		if !ok {
			continue
		}
		var labels []metrics.Label
		if n.Name == "go_info" {
			labels = []metrics.Label{{Name: "version", Value: runtime.Version()}}
		}
		x.head(n.Name, n.Kind.String(), n.Help)
		x.line(n.Name, v, labels)
	}
}
