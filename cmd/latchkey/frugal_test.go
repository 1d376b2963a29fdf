package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestADaemonCollectsGarbageEarlyUnlessToldOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		said bool
		want int
	}{
		"nothing is said": {false, garbage},
		"GOGC says when":  {true, 70},
	} {
		t.Run(name, func(t *testing.T) {
			before := debug.SetGCPercent(70)
			frugal(func(name string) (string, bool) { return "", name == "GOGC" && c.said })
			if got := debug.SetGCPercent(before); got != c.want {
				t.Errorf("collected at %d %%, want %d", got, c.want)
			}
		})
	}
}

func TestMoreGarbageMayBeWhileThereIsMuch(t *testing.T) {
	p := &pacer{percent: garbage}
	at := time.Now()
	const live = 6 << 20
	for _, c := range []struct {
		name string
		gap  time.Duration
		live uint64
		want int
	}{
		{"the first one", time.Minute, live, 25},
		{"one upon the other", time.Millisecond, live, 50},
		{"but not more than so many bytes", time.Millisecond, live, 66},
		{"neither often nor seldom", time.Second, live, 66},
		{"much in use leaves room for no more", time.Second, 100 << 20, 25},
		{"quiet again", time.Minute, live, 25},
		{"next to nothing in use", time.Millisecond, 0, 50},
	} {
		at = at.Add(c.gap)
		if got := p.collected(at, c.live); got != c.want {
			t.Errorf("%s: %d %%, want %d", c.name, got, c.want)
		}
	}
}

func TestADaemonLeavesHalfOfTheProcessorsToOthersUnlessToldOtherwise(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, c := range []struct {
		have int
		said bool
		want int
	}{{1, false, 1}, {2, false, 1}, {3, false, 1}, {8, false, 4}, {8, true, 8}} {
		runtime.GOMAXPROCS(c.have)
		modest(func(name string) (string, bool) { return "", name == "GOMAXPROCS" && c.said })
		if got := runtime.GOMAXPROCS(0); got != c.want {
			t.Errorf("of %d, told %v: %d, want %d", c.have, c.said, got, c.want)
		}
	}
}
