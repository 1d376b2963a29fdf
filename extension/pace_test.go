package extension

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hung is a work whose server takes connections and never answers, until it is well.
type hung struct {
	name     string
	well, ok bool
	tried    int
}

func (h *hung) Name() string { return h.name }

func (h *hung) Due() time.Time {
	if h.ok {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

func (h *hung) Tend(ctx context.Context, _ time.Time) error {
	h.tried++
	if h.ok = h.well; h.ok {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestADeadServerIsNotPaidForAtEachInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h, fine := &hung{name: "files"}, &hung{name: "other", well: true}
		works := paceAll([]Work{h, fine})
		e := &extension{
			Job: Job{Log: slog.New(slog.NewTextHandler(&log, nil)), Budget: 8 * time.Second, Ready: func(l *slog.Logger) { l.Info("ready") }, gate: newGate()},
			ctx: t.Context(), all: works,
		}
		e.open()
		waited := func(invocations int) (sum time.Duration) {
			for range invocations {
				began := time.Now()
				e.invoke(event{Type: eventInvoke, Deadline: began.Add(15 * time.Minute).UnixMilli()})
				sum += time.Since(began)
				time.Sleep(50 * time.Millisecond)
			}
			return sum
		}
		began := time.Now()
		sum := waited(2000)
		if share := sum.Seconds() / time.Since(began).Seconds(); share > 0.1 || h.tried < 3 {
			t.Errorf("%d attempts took %.2f of the time", h.tried, share)
		}
		if fine.tried != 1 {
			t.Errorf("what is well was tended %d times", fine.tried)
		}
		if n := strings.Count(log.String(), "\n"); n > 5 || !strings.Contains(log.String(), "files") || strings.Contains(log.String(), "ready") {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		h.well = true
		waited(1000)
		if !strings.Contains(log.String(), "again") || !strings.Contains(log.String(), "ready") {
			t.Errorf("it was not told that it is over:\n%s", log.String())
		}
	})
}

// What is good for a while yet is no error when it cannot be renewed, and it took as long.
func TestARenewalThatHangsIsNotPaidForAtEachInvocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &asked{do: func(ctx context.Context) { <-ctx.Done() }}
		e := &extension{Job: Job{Log: slog.New(slog.DiscardHandler), gate: newGate()}, ctx: t.Context(), all: paceAll([]Work{w})}
		e.open()
		for range 200 {
			e.invoke(event{Type: eventInvoke, Deadline: time.Now().Add(3 * time.Second).UnixMilli()})
			time.Sleep(50 * time.Millisecond)
		}
		if w.n > 2 {
			t.Errorf("it was tried %d times", w.n)
		}
	})
}

// The platform's clock, or ours, was wrong.
func TestAnInvocationWhoseDeadlineIsPastStillTendsWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, deadline := range []int64{0, -1, 1, time.Now().Add(-time.Hour).UnixMilli()} {
			var failed error
			w := &asked{do: func(ctx context.Context) { failed = ctx.Err() }}
			e := &extension{Job: Job{Log: slog.New(slog.DiscardHandler), Budget: time.Second, gate: newGate()}, ctx: t.Context(), all: paceAll([]Work{w})}
			e.open()
			e.invoke(event{Type: eventInvoke, Deadline: deadline})
			if w.n != 1 || failed != nil {
				t.Errorf("deadline %d: tended %d times, %v", deadline, w.n, failed)
			}
		}
	})
}

// asked is a work that is always due.
type asked struct {
	n  int
	do func(context.Context)
}

func (a *asked) Name() string   { return "asked" }
func (a *asked) Due() time.Time { return time.Unix(0, 0) }
func (a *asked) Tend(ctx context.Context, _ time.Time) error {
	a.n++
	a.do(ctx)
	return nil
}

func TestWhatIsNotAnsweredInTimeIsNotCalledARefusal(t *testing.T) {
	if kind, _ := describe(errors.Join(context.DeadlineExceeded)); kind != "Extension.NoAnswer" {
		t.Error(kind)
	}
}
