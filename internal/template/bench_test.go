package template

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// benchmark renders n templates over n secrets; each text is a common one, and
// with a helper it goes through the library.
func benchmark(b *testing.B, n int, helper string) {
	r, dir := newReader(), b.TempDir()
	var specs []Spec
	for i := range n {
		path := fmt.Sprintf("kv/app/%d", i)
		r.secrets[path] = kv2(map[string]any{"user": "u", "pass": "p", "host": "h"})
		specs = append(specs, spec(dir, fmt.Sprint(i), fmt.Sprintf(
			"# generated\n{{ with secret %q -}}\nuser = {{ .Data.data.user }}\npass = {{ .Data.data.pass%s }}\nhost = {{ .Data.data.host }}\n{{- end }}\n", path, helper)))
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, sp := range specs {
			_ = os.Remove(sp.Destination)
		}
		b.StartTimer()
		if _, err := mustNew(b, Options{}, specs...).Render(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys-m.HeapReleased)/(1<<20), "heap-MiB")
}

func BenchmarkRender1(b *testing.B)           { benchmark(b, 1, "") }
func BenchmarkRender50(b *testing.B)          { benchmark(b, 50, "") }
func BenchmarkRender2000(b *testing.B)        { benchmark(b, 2000, "") }
func BenchmarkRenderLibrary1(b *testing.B)    { benchmark(b, 1, " | toUpper") }
func BenchmarkRenderLibrary50(b *testing.B)   { benchmark(b, 50, " | toUpper") }
func BenchmarkRenderLibrary2000(b *testing.B) { benchmark(b, 2000, " | toUpper") }
