package vault

import (
	"context"
	"time"
)

// maxAge is how long a connection may be idle. What stands between two hosts forgets
// one after some minutes, and some of them after one.
const maxAge = 60 * time.Second

// step is how far the two clocks may part without the process having stood still.
const step = 2 * time.Second

// tooOld says whether a connection that is idle since then is to be used no more. The
// wall clock counts, for the other may stand still with the process; that one
// counts, too, for the wall clock may be set back.
func tooOld(since time.Time) bool {
	now := time.Now()
	return aged(now.Round(0).Sub(since.Round(0)), now.Sub(since))
}

// aged compares what the two clocks say.
func aged(wall, monotonic time.Duration) bool {
	return wall >= maxAge || wall < -step || monotonic >= maxAge
}

// stoodStill says whether the process was stopped since start, so that an error may be
// due to that alone: whatever has a deadline is late at once when it goes on, and
// nobody at the other end waits so long. wait is what the time should have been
// bounded by; negative for no bound.
func stoodStill(start time.Time, wait time.Duration) bool {
	now := time.Now()
	return still(now.Round(0).Sub(start.Round(0)), now.Sub(start), wait)
}

// still compares what the two clocks say, of which one or both go on meanwhile.
func still(wall, monotonic, wait time.Duration) bool {
	return wall > monotonic+step || wait >= 0 && wall > wait+step
}

// inVain is how long somebody waits in vain before it is the connection's fault.
const inVain = time.Second

// black says whether a connection that was used before may have become a hole: the
// request got no word in a time in which most get their answer.
func black(start time.Time, reused bool) bool {
	now := time.Now()
	return reused && (now.Sub(start) >= inVain || now.Round(0).Sub(start.Round(0)) >= inVain)
}

// again says whether a request may be sent once more after err, on another connection
// than the one it failed on: when that was not new, so that its end may have been
// on its way, and when the server cannot have done what it did not hear, or it
// changes nothing.
func again(ctx context.Context, method string, reused, wrote, heard bool) bool {
	return reused && !heard && ctx.Err() == nil && (!wrote || idempotent(method))
}
