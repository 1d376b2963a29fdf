package extension

import (
	"context"
	"time"
)

// Work is something that is in place before the function runs, and is kept right
// while it lives. A frozen process has no timers worth trusting, so that nothing
// of it runs by itself: it is asked when it is due, and told to do it.
type Work interface {
	// Name is for messages: "login", "files".
	Name() string
	// Due is when there is next something to do, by the wall clock, zero for never;
	// it is past when that was never done. It is cheap and asks nobody.
	Due() time.Time
	// Tend does all that is due up to by, and waits for it. A moment of by that is yet
	// to come has done now what falls due before it. It tries as often as its own
	// schedule allows while ctx lasts, and leaves nothing running. The error says what
	// is not in place.
	Tend(ctx context.Context, by time.Time) error
}
