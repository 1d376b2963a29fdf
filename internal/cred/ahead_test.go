package cred

import (
	"testing"
	"time"
)

func TestWhatIsDoneAheadIsDoneAtMostTwiceAsOften(t *testing.T) {
	base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(m int) time.Time { return base.Add(time.Duration(m) * time.Minute) }
	for _, c := range []struct {
		name               string
		from, due, by, now time.Time
		want               bool
	}{
		{"due", at(0), at(60), at(60), at(60), true},
		{"overdue, and nobody looks ahead", at(0), at(60), at(0), at(90), true},
		{"not due, and nobody looks ahead", at(0), at(60), at(59), at(59), false},
		{"due by then, and more than half has gone by", at(0), at(60), at(60), at(30), true},
		{"due by then, and less than half has gone by", at(0), at(60), at(600), at(29), false},
		{"not due by then", at(0), at(60), at(59), at(50), false},
		{"never due", at(0), time.Time{}, at(600), at(50), false},
		{"done in the future, by a clock that was set back", at(30), at(60), at(90), at(0), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := DueBy(c.from, c.due, c.by, c.now); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
