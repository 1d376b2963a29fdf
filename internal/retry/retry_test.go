package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errBoom = errors.New("boom")

type polite struct{ after time.Duration }

func (p polite) Error() string             { return "slow down" }
func (p polite) RetryAfter() time.Duration { return p.after }

func TestDo(t *testing.T) {
	fails := func(n int, err error) func(context.Context) error {
		return func(context.Context) error {
			if n--; n >= 0 {
				return err
			}
			return nil
		}
	}
	s := Schedule{Attempts: 4, Base: time.Second, Max: 3 * time.Second}
	for _, c := range []struct {
		name     string
		s        Schedule
		fn       func(context.Context) error
		deadline time.Duration
		took     time.Duration
		want     error
		ended    error
	}{
		{"good at once", s, fails(0, errBoom), 0, 0, nil, nil},
		{"good at the third try", s, fails(2, errBoom), 0, 3 * time.Second, nil, nil},
		{"attempts run out", s, fails(9, errBoom), 0, 6 * time.Second, errBoom, nil},
		{"permanent stops at once", s, fails(9, Permanent(errBoom)), 0, 0, errBoom, nil},
		{"the zero schedule tries once", Schedule{}, fails(1, errBoom), 0, 0, errBoom, nil},
		{"Retry-After is honoured", s, fails(1, polite{7 * time.Second}), 0, 7 * time.Second, nil, nil},
		{"a short Retry-After does not hurry", s, fails(1, polite{time.Millisecond}), 0, time.Second, nil, nil},
		{"a wait beyond the deadline is not begun", Schedule{Attempts: -1, Base: time.Minute, Max: time.Minute}, fails(9, errBoom), 30 * time.Second, 0, errBoom, context.DeadlineExceeded},
		{"unbounded until the deadline", Schedule{Attempts: -1, Base: time.Second, Max: time.Second}, fails(99, errBoom), 10*time.Second + 1, 10 * time.Second, errBoom, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.deadline)
					defer cancel()
				}
				start := time.Now()
				err := Do(ctx, c.s, "x", nil, c.fn)
				if took := time.Since(start); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if c.ended != nil && !errors.Is(err, c.ended) {
					t.Errorf("error %v does not say %v", err, c.ended)
				}
			})
		})
	}
}

func TestThoseWhoWereToldTheSameRetryAfterDoNotComeBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := map[time.Duration]bool{}
		for range 20 {
			start, tries := time.Now(), 0
			_ = Do(t.Context(), Schedule{Attempts: 2, Base: time.Second, Max: time.Second, Jitter: 0.5}, "x", nil, func(context.Context) error {
				if tries++; tries == 1 {
					return polite{7 * time.Second}
				}
				return nil
			})
			took := time.Since(start)
			if took < 7*time.Second || took > 7500*time.Millisecond {
				t.Errorf("waited %v", took)
			}
			waits[took] = true
		}
		if len(waits) < 2 {
			t.Error("all came back at the same time")
		}
	})
}

func TestGivingUpEarlySaysThatTheDeadlineComesFirst(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := Do(ctx, Schedule{Attempts: -1, Base: time.Hour, Max: time.Hour}, "x", nil, func(context.Context) error { return errBoom })
	if err == nil || err.Error() != "gave up after one attempt (the deadline comes before the next try): boom" {
		t.Errorf("error is %v", err)
	}
}

func TestCancelEndsTheWaitAndKeepsTheLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped by the user")
		time.AfterFunc(1500*time.Millisecond, func() { cancel(stopped) })
		start := time.Now()
		err := Do(ctx, Schedule{Attempts: -1, Base: time.Second, Max: time.Hour}, "x", nil, func(context.Context) error { return errBoom })
		if !errors.Is(err, errBoom) || !errors.Is(err, stopped) {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took != 1500*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestObserverSeesEachWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []Notice
		_ = Do(t.Context(), Schedule{Attempts: 3, Base: time.Second, Max: time.Minute}, "read x", func(n Notice) { seen = append(seen, n) },
			func(context.Context) error { return errBoom })
		if len(seen) != 2 || seen[0].What != "read x" || seen[0].Attempt != 1 || seen[1].Next != 2*time.Second || seen[1].Err != errBoom {
			t.Errorf("notices: %+v", seen)
		}
	})
}

func TestWaitIsCappedAndJittered(t *testing.T) {
	s := Schedule{Base: time.Second, Max: 5 * time.Minute, Jitter: 0.25}
	for n := 1; n < 100; n++ {
		plain := Schedule{Base: s.Base, Max: s.Max}.Wait(n)
		if plain > s.Max || plain < s.Base {
			t.Fatalf("wait %d is %v", n, plain)
		}
		if d := s.Wait(n); d > plain || d < plain*3/4 {
			t.Fatalf("jittered wait %d is %v of %v", n, d, plain)
		}
	}
}

func TestPermanentOfNilIsNil(t *testing.T) {
	if Permanent(nil) != nil || IsPermanent(errBoom) || !IsPermanent(Permanent(errBoom)) {
		t.Error("Permanent is wrong")
	}
}
