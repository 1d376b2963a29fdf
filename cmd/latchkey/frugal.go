package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// garbage is how much of it there may be before it is collected, in percent of
// what is in use. A daemon makes little and holds it for long: by default half of
// its memory would be garbage, and collecting it sooner costs nearly nothing.
const garbage = 25

// A proxy under load makes much, and with a small heap it would do little but
// collect. So as long as one collection follows the other, there may be more, up to
// as many bytes.
const (
	mostGarbage = 4 << 20
	often       = 100 * time.Millisecond
	seldom      = 2 * time.Second
)

// pacer decides how much garbage there may be, each time it has been collected.
type pacer struct {
	percent int
	last    time.Time
}

// collected is told when a collection ended and what the percentage is of: the bytes
// in use, those on stacks and in variables included.
func (p *pacer) collected(now time.Time, live uint64) (percent int) {
	switch gap := now.Sub(p.last); {
	case gap < often:
		p.percent *= 2
	case gap > seldom:
		p.percent = garbage
	}
	p.last = now
	p.percent = max(garbage, min(p.percent, int(mostGarbage*100/max(live, 1<<20))))
	return p.percent
}

// modest leaves half of the processors to the programs that a daemon serves, where
// GOMAXPROCS does not say how many it may use. It has little to do at a time, and
// what it has is mostly to wait: work that is spread over more processors costs more
// to wake than to do. On two processors a request that is passed on costs a
// quarter less so.
func modest(lookup func(string) (string, bool)) {
	if _, said := lookup("GOMAXPROCS"); !said {
		runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2))
	}
}

// frugal has garbage collected early, where GOGC does not say when.
func frugal(lookup func(string) (string, bool)) {
	if _, said := lookup("GOGC"); said {
		return
	}
	debug.SetGCPercent(garbage)
	p := &pacer{percent: garbage}
	base := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	// Each collection finds an object that nobody holds, and says so.
	var again func(*pacer)
	again = func(p *pacer) {
		metrics.Read(base)
		var live uint64
		for _, s := range base {
			live += s.Value.Uint64()
		}
		before := p.percent
		if now := p.collected(time.Now(), live); now != before {
			debug.SetGCPercent(now)
		}
		runtime.AddCleanup(new([64]byte), again, p)
	}
	runtime.AddCleanup(new([64]byte), again, p)
}
