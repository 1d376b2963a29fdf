package retry

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    time.Duration // from now; negative is past
		never bool
		wake  time.Duration
		end   time.Duration
		want  Wake
		took  time.Duration
	}{
		{name: "a moment that comes", in: 90 * time.Minute, want: Reached, took: 90 * time.Minute},
		{name: "less than a tick", in: 300 * time.Millisecond, want: Reached, took: 300 * time.Millisecond},
		{name: "a moment that is past", in: -time.Hour, want: Reached},
		{name: "woken before", in: time.Hour, wake: time.Minute, want: Woken, took: time.Minute},
		{name: "ended before", in: time.Hour, end: time.Minute + 7*time.Millisecond, want: Ended, took: time.Minute + 7*time.Millisecond},
		{name: "no moment at all", never: true, wake: 48 * time.Hour, want: Woken, took: 48 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				wake := make(chan struct{}, 1)
				start := time.Now()
				at := start.Add(c.in)
				if c.never {
					at = time.Time{}
				}
				if c.wake > 0 {
					time.AfterFunc(c.wake, func() { wake <- struct{}{} })
				}
				if c.end > 0 {
					time.AfterFunc(c.end, cancel)
				}
				if got := Until(ctx, at, wake); got != c.want {
					t.Errorf("woke because %d, want %d", got, c.want)
				}
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestAClockThatIsSetBackIsNoticed(t *testing.T) {
	for _, c := range []struct {
		wall, monotonic time.Duration
		want            bool
	}{
		{time.Second, time.Second, false},
		{time.Hour, time.Second, false}, // suspended, or set forward
		{900 * time.Millisecond, time.Second, false},
		{-time.Hour, time.Second, true},
		{time.Second, 4 * time.Second, true},
	} {
		if got := setBack(c.wall, c.monotonic); got != c.want {
			t.Errorf("wall %v, monotonic %v: %v", c.wall, c.monotonic, got)
		}
	}
}
