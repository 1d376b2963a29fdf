package cred

import "time"

// DueBy reports whether what was last done at from, and is due at due, is to be
// done at now by somebody who looks ahead to by: because it is due, or because it
// will be by then and half of its time has gone by. So a thing is done at most
// twice as often as it is due, however far and however often anybody looks ahead.
// What has no due moment is never to be done.
func DueBy(from, due, by, now time.Time) bool {
	now = Wall(now)
	switch {
	case due.IsZero():
		return false
	case !due.After(now):
		return true
	}
	return !due.After(by) && now.Sub(from) >= due.Sub(from)/2
}
