package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// gate keeps a server that is in trouble, or has just come back, from all that is
// due at once. After a failure that concerns everybody it is closed for a while,
// then lets one request through to see; each success lets one more through at a
// time. Its methods are called with its owner's lock held.
type gate struct {
	schedule retry.Schedule
	most     int
	log      *slog.Logger
	// width is how many may be under way, busy how many are.
	width, busy int
	// failures counts those since the last success, of one key in a row once.
	// until is when the next may ask; err is why, and last the key that told.
	failures int
	until    time.Time
	err      error
	last     string
	// suspects are the keys of the failures since the last success that may have
	// been the server's or their own.
	suspects []string
	// epoch tells failures of one wave from those of the next.
	epoch int
}

// How long the gate stays closed at most while it looks every now and then
// whether the server is back. One request in this time is no burden to anybody,
// and more would be time lost after an outage.
const (
	knock       = 15 * time.Second
	knockNobody = time.Minute // with a token that is known to be no good
)

// enough different failures in a row are the server's.
const enough = 3

// newGate returns an open one.
func newGate(s retry.Schedule, most int, log *slog.Logger) gate {
	s.Max = min(s.Max, knock)
	return gate{schedule: s, most: most, width: most, log: log}
}

// room is how many may start now.
func (g *gate) room(now time.Time) int {
	switch {
	case g.failures == 0:
		return max(g.width-g.busy, 0)
	case now.Before(g.until):
		return 0
	}
	return max(1-g.busy, 0)
}

// shut reports why nobody may ask now, or nil.
func (g *gate) shut(now time.Time) error {
	if g.failures == 0 || g.room(now) > 0 {
		return nil
	}
	return &heldBack{err: g.err, left: max(g.until.Sub(now), 0)}
}

// good takes note of a success of a request that began in epoch, and reports
// whether that opened the gate. One that was on its way when the gate closed does
// not.
func (g *gate) good(epoch int) (back bool) {
	if epoch != g.epoch {
		return false
	}
	back = g.failures > 0
	g.clear()
	g.width = min(g.width+1, g.most)
	return back
}

// bad takes note of a failure of the request with this key, which began in epoch,
// and reports whether the gate is closed.
func (g *gate) bad(now time.Time, err error, epoch int, key string) (closed bool) {
	if epoch != g.epoch {
		// It was on its way when the gate closed.
		return true
	}
	if !everybodys(err) {
		// One path may fail for ever on its own account; several without a
		// success between them do not. What takes its time to fail storms nobody,
		// and where a database hangs, the rest goes on.
		if !slices.Contains(g.suspects, key) && len(g.suspects) < enough && !errors.Is(err, context.DeadlineExceeded) {
			g.suspects = append(g.suspects, key)
		}
		if g.failures == 0 && len(g.suspects) < enough {
			return false
		}
	}
	// Who fails again and again has growing pauses of its own. Others would wait
	// along for nothing, where only that one is over a limit.
	if g.failures == 0 || key != g.last {
		g.failures++
	}
	g.epoch++
	g.width, g.err, g.last = 1, err, key
	wait := g.schedule.Pause(g.failures, err)
	if errors.Is(err, vault.ErrInvalidToken) {
		wait = knockNobody
	}
	g.until = now.Add(wait)
	return true
}

// open forgets what was: there is another token, or the clock is another.
func (g *gate) open() {
	g.clear()
	g.epoch++
}

// rewind counts by a clock that was set back.
func (g *gate) rewind(by time.Duration) {
	if !g.until.IsZero() {
		g.until = g.until.Add(-by)
	}
}

func (g *gate) clear() {
	g.failures, g.suspects, g.until, g.err, g.last = 0, g.suspects[:0], time.Time{}, nil, ""
}

// blame takes note of a failure, and tells of the first. One that the server
// answered on its merits says that the server is well.
func (g *gate) blame(now time.Time, err error, epoch int, key string) {
	if !vault.Temporary(err) && !errors.Is(err, vault.ErrInvalidToken) {
		g.relieve(epoch)
		return
	}
	before := g.failures
	if !g.bad(now, err, epoch, key) || before > 0 {
		return
	}
	text := "the server is in trouble: the last good answers are kept, and one request at a time looks whether it is back"
	if errors.Is(err, vault.ErrInvalidToken) {
		text = "the server does not know the token: the last good answers are kept until there is another"
	}
	g.log.Warn(text, "error", err, "next_at", g.until)
}

// relieve takes note of a success, and tells when it is the first.
func (g *gate) relieve(epoch int) {
	if g.good(epoch) {
		g.log.Info("the server answers again")
	}
}

// everybodys reports whether a failure concerns all requests alike: there is no
// server, it is sealed or wants fewer requests, or it does not know the token. A
// request that took too long may have waited for something behind the server.
func everybodys(err error) bool {
	switch {
	case errors.Is(err, vault.ErrInvalidToken), errors.Is(err, vault.ErrSealed),
		errors.Is(err, vault.ErrRateLimited), errors.Is(err, vault.ErrNotReady):
		return true
	case errors.Is(err, vault.ErrUnreachable):
		return !errors.Is(err, context.DeadlineExceeded)
	}
	return false
}

// heldBack is the answer to who asks while the gate is closed: the failure that
// closed it, and when to come again.
type heldBack struct {
	err  error
	left time.Duration
}

func (h *heldBack) Error() string {
	return fmt.Sprintf("not asked, because a moment ago the server failed: %v", h.err)
}

func (h *heldBack) Unwrap() error { return h.err }

// RetryAfter is how long nobody should ask.
func (h *heldBack) RetryAfter() time.Duration { return h.left }
