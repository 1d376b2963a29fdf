package retry

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAClockThatGoesOnWasNotSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clock // the first look has none before it
		for range 3 {
			now := c.Look(func(_ time.Time, by time.Duration) { t.Errorf("set back by %v", by) })
			if now != time.Now().Round(0) {
				t.Errorf("it is %v, not %v", time.Now(), now)
			}
			time.Sleep(100 * time.Hour)
		}
	})
}
