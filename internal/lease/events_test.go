package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/vault"
)

// stage is a server whose subscriptions go as a script says, the last for ever.
type stage struct {
	acts  []act
	calls int
	times []time.Time
}

type act struct {
	// stands is how long the connection does, 0 for a refusal.
	stands time.Duration
	events []vault.Event
	err    error
}

func (s *stage) Subscribe(ctx context.Context, kind string, each func(vault.Event)) error {
	if kind != "kv*" {
		return fmt.Errorf("subscribed to %s", kind)
	}
	a := s.acts[min(s.calls, len(s.acts)-1)]
	s.calls++
	s.times = append(s.times, time.Now())
	if a.stands == 0 {
		return a.err
	}
	each(vault.Event{})
	for _, e := range a.events {
		each(e)
	}
	timer := time.NewTimer(a.stands)
	defer timer.Stop()
	select {
	case <-timer.C:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attend runs Events for some time.
func attend(t *testing.T, s *stage, d time.Duration) (touched []string, log *journal) {
	t.Helper()
	log = &journal{}
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, errStop)
	defer cancel()
	start := time.Now()
	err := NewEvents(s, slog.New(log)).Run(ctx, func(path string) { touched = append(touched, path) })
	if !errors.Is(err, errStop) || time.Since(start) != d {
		t.Errorf("ended with %v after %v", err, time.Since(start))
	}
	return touched, log
}

func TestChangesAreTouchedAndReadsAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{acts: []act{{stands: 1000 * time.Hour, events: []vault.Event{
			{Type: "kv-v2/data-write", Path: "kv/data/a", Modified: true},
			{Type: "kv-v2/data-read", Path: "kv/data/b"},
			{Type: "kv-v1/write", Path: "old/c", Modified: true},
		}}}}
		touched, log := attend(t, s, 24*time.Hour)
		if fmt.Sprint(touched) != "[kv/data/a old/c]" || s.calls != 1 || log.count("WARN") != 0 {
			t.Errorf("touched %v after %d subscriptions\n%s", touched, s.calls, log)
		}
	})
}

func TestAServerWithoutEventsIsToldOfOnceAndNotAskedAgain(t *testing.T) {
	for _, err := range []error{refusal(vault.ErrNotFound, 404, "unsupported path"), refusal(vault.ErrBadRequest, 405)} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{acts: []act{{err: err}}}
			_, log := attend(t, s, 100*time.Hour)
			if s.calls != 1 || log.count("the server tells of no events: changes are found by polling alone") != 1 || log.count("") != 1 {
				t.Errorf("%d subscriptions\n%s", s.calls, log)
			}
		})
	}
}

func TestBeforeTheLoginNobodyIsToldThatThereAreNoEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		early := act{err: &vault.Error{Kind: vault.ErrNotLoggedIn}}
		s := &stage{acts: []act{early, early, early, early, {stands: time.Hour, events: []vault.Event{{Path: "kv/data/a", Modified: true}}, err: errGone}}}
		touched, log := attend(t, s, 10*time.Second)
		if fmt.Sprint(touched) != "[kv/data/a]" || s.times[4].Sub(s.times[0]) > 2*time.Second || log.count("WARN") != 0 {
			t.Errorf("touched %v, subscribed after %v\n%s", touched, s.times[4].Sub(s.times[0]), log)
		}
	})
}

func TestAPolicyThatDoesNotAllowEventsIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{acts: []act{{err: errDenied}}}
		_, log := attend(t, s, 24*time.Hour-time.Minute)
		if s.calls != 24 || log.count("") != 1 {
			t.Errorf("%d subscriptions in a day\n%s", s.calls, log)
		}
	})
}

func TestALostConnectionIsMadeAgainSoonAndAnOutageIsNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{acts: []act{{stands: time.Hour, err: errGone}, {err: errGone}, {err: errInvalid}, {stands: time.Hour, err: errGone}, {err: errGone}}}
		_, log := attend(t, s, 4*time.Hour)
		if first := s.times[1].Sub(s.times[0]) - time.Hour; first > time.Second {
			t.Errorf("connected again after %v", first)
		}
		if s.calls > 4+2*120+10 {
			t.Errorf("%d subscriptions", s.calls)
		}
		if n := log.count("WARN"); n > 6 {
			t.Errorf("%d warnings\n%s", n, log)
		}
	})
}

func TestWhatChangedWhileTheConnectionWasAwayIsLookedForAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("lost")
		s := &stage{acts: []act{
			{stands: time.Hour, err: lost, events: []vault.Event{{Type: "kv-v2/data-write", Path: "kv/data/a", Modified: true}}},
			{stands: 1000 * time.Hour},
		}}
		touched, _ := attend(t, s, 24*time.Hour)
		if fmt.Sprintf("%q", touched) != `["kv/data/a" ""]` {
			t.Errorf("touched %q", touched)
		}
	})
}

func TestAConnectionThatNeverStandsIsMadeMoreAndMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{acts: []act{{stands: time.Second, err: errGone}}}
		attend(t, s, time.Hour)
		if s.calls > 130 {
			t.Errorf("%d connections in an hour", s.calls)
		}
	})
}

func TestTheServersWishToBeLeftAloneIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := refusal(vault.ErrRateLimited, 429).(*vault.Error)
		busy.After = 4 * time.Minute
		s := &stage{acts: []act{{err: busy}}}
		attend(t, s, time.Hour-time.Minute)
		if s.calls < 14 || s.calls > 15 {
			t.Errorf("%d subscriptions in an hour", s.calls)
		}
	})
}
