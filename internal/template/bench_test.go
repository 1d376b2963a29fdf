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

// idle is a watch over n templates of two secrets each, all rendered.
func idle(b *testing.B, n int) *Watch {
	src, dir := newSource(), b.TempDir()
	var specs []Spec
	for i := range n {
		text := ""
		for k := range 2 {
			path := fmt.Sprintf("kv/app/%d/%d", i, k)
			src.set(path, "v")
			text += of(path)
		}
		specs = append(specs, spec(dir, fmt.Sprint(i), text))
	}
	w := mustNew(b, Options{}, specs...).Watch(src, WatchOptions{})
	for _, st := range w.templates {
		st.changeAt = now()
	}
	for _, company := range w.due(now()) {
		w.newRound(b.Context(), company).run(b.Context())
	}
	if rep := w.report(); !rep.Complete || len(rep.Templates) != n {
		b.Fatal("not rendered")
	}
	return w
}

// What a watch does every two seconds while nothing happens: "core-%" is the share
// of a core that it takes.
func BenchmarkIdleLook(b *testing.B) {
	w := idle(b, 1000)
	var a attention
	b.ReportAllocs()
	for b.Loop() {
		a.collect(w)
		a.look()
		a.tell(w)
	}
	if len(w.due(now())) > 0 {
		b.Error("something moved")
	}
	b.ReportMetric(100*b.Elapsed().Seconds()/float64(b.N)/glance.Seconds(), "core-%")
}

// What a watch does whenever anything wakes it.
func BenchmarkWake(b *testing.B) {
	w := idle(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		w.begin(b.Context(), func(func()) {})
	}
}

// One secret of many changes.
func BenchmarkOneChange(b *testing.B) {
	w := idle(b, 1000)
	key := Request{Path: "kv/app/7/0"}.Key()
	b.ReportAllocs()
	for b.Loop() {
		w.Changed(key)
		var started []func()
		w.begin(b.Context(), func(f func()) { started = append(started, f) })
		for _, f := range started {
			f()
		}
		w.report()
	}
}

// What a watch holds of a thousand templates, beside what the set holds.
func BenchmarkWatchMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		w := idle(b, 1000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		set := w.set
		w = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "watch-MiB")
		b.ReportMetric(float64(before.HeapAlloc)/(1<<20), "rest-MiB")
		runtime.KeepAlive(set)
	}
}
