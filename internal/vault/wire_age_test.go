package vault

import (
	"testing"
	"time"
)

func TestWhenAConnectionIsTooOld(t *testing.T) {
	for _, c := range []struct {
		name            string
		wall, monotonic time.Duration
		old             bool
	}{
		{"just used", 0, 0, false},
		{"a while", 59 * time.Second, 59 * time.Second, false},
		{"long", time.Minute, time.Minute, true},
		{"frozen, and one clock with the process", time.Hour, time.Second, true},
		{"frozen for a moment", 30 * time.Second, time.Second, false},
		{"the clock was set back", -time.Hour, time.Second, true},
		{"the clock was set back while it was idle for long", time.Second, time.Hour, true},
		{"the clock was set right a little", -time.Second, time.Millisecond, false},
	} {
		if got := aged(c.wall, c.monotonic); got != c.old {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if now := time.Now(); tooOld(now) || !tooOld(now.Add(-maxAge)) || !tooOld(now.Round(0).Add(time.Hour)) {
		t.Error("the two clocks are not looked at")
	}
}

func TestWhenAProcessStoodStill(t *testing.T) {
	const wait = 10 * time.Second
	for _, c := range []struct {
		name            string
		wall, monotonic time.Duration
		wait            time.Duration
		still           bool
	}{
		{"an error at once", 0, 0, wait, false},
		{"no answer in time", wait, wait, wait, false},
		{"a slow machine", wait + time.Second, wait + time.Second, wait, false},
		{"both clocks went on", time.Hour, time.Hour, wait, true},
		{"one clock went on", 20 * time.Second, time.Second, wait, true},
		{"one clock went on, for less than the wait", 5 * time.Second, time.Second, wait, true},
		{"no bound", time.Hour, time.Hour, -1, false},
		{"no bound, and one clock went on", time.Hour, time.Second, -1, true},
		{"the clock was set back", -time.Hour, time.Second, wait, false},
	} {
		if got := still(c.wall, c.monotonic, c.wait); got != c.still {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
