package main

import (
	"runtime/debug"
	"testing"
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
