package template

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// tending is a watch that nobody runs: it is tended.
type tending struct {
	*Watch
	src     *fakeSource
	reports []Report
}

func untended(t *testing.T, src *fakeSource, o Options, specs ...Spec) *tending {
	t.Helper()
	w := &tending{Watch: mustNew(t, o, specs...).Watch(src, WatchOptions{Retry: testSchedule}), src: src}
	src.changed = w.Changed
	return w
}

// tend tends within a time, looking ahead by so much.
func (w *tending) tend(t *testing.T, within, by time.Duration) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	err := w.Tend(ctx, start.Add(by), func(rep Report) { w.reports = append(w.reports, rep) })
	return time.Since(start), err
}

func (w *tending) at(t *testing.T, within, by time.Duration) {
	t.Helper()
	if took, err := w.tend(t, within, by); err != nil || took != 0 {
		t.Errorf("%v after %v", err, took)
	}
}

var errAway = &vault.Error{Kind: vault.ErrUnreachable, Op: "read", Path: "kv/a", Cause: errors.New("connection refused")}

func TestTheFirstTendRendersAllAndTheNextWhatIsDue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.set("kv/b", "1")
		runner := &fakeRunner{}
		b := spec(dir, "b", of("kv/b"))
		b.Exec = &Exec{Command: []string{"reload"}}
		w := untended(t, src, Options{Runner: runner}, spec(dir, "a", of("kv/a")), b)
		if w.Due().After(time.Now()) || w.Name() == "" {
			t.Errorf("due %v", w.Due())
		}
		w.at(t, time.Minute, 0)
		if rep := w.reports[len(w.reports)-1]; !rep.Complete || len(runner.ran) != 1 {
			t.Errorf("%+v, %d commands", rep, len(runner.ran))
		}
		asked := src.requests()
		after(time.Hour)
		w.at(t, time.Minute, 15*time.Minute)
		if src.requests() != asked || len(runner.ran) != 1 {
			t.Error("something was asked or run, though nothing changed")
		}
		src.set("kv/b", "2")
		if got := read(t, filepath.Join(dir, "b")); got != "1" || w.Due().After(time.Now()) {
			t.Errorf("holds %q, due %v", got, w.Due())
		}
		after(time.Hour)
		w.at(t, time.Minute, 0)
		if got := read(t, filepath.Join(dir, "b")); got != "2" || len(runner.ran) != 2 {
			t.Errorf("holds %q, %d commands", got, len(runner.ran))
		}
	})
}

func TestWithoutTemplatesTendingSaysThatAllIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := untended(t, newSource(), Options{})
		w.at(t, time.Minute, 0)
		w.at(t, time.Minute, 0)
		if len(w.reports) != 1 || !w.reports[0].Complete || !w.Due().IsZero() {
			t.Errorf("%+v, due %v", w.reports, w.Due())
		}
	})
}

func TestWhatWasNeverRenderedIsTriedAgainWithinItsTime(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		within time.Duration
		tries  int
	}{
		{"until the next try would come too late", errAway, 8 * time.Second, 4}, // 0, 1, 3, 7
		{"not where no waiting helps", &vault.Error{Kind: vault.ErrDenied, Op: "read", Path: "kv/a", Status: 403}, 8 * time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dir, src := t.TempDir(), newSource()
				src.set("kv/b", "1")
				src.errs["kv/a"] = c.err
				w := untended(t, src, Options{}, spec(dir, "a", of("kv/a")), spec(dir, "b", of("kv/b")))
				took, err := w.tend(t, c.within, 0)
				if !errors.Is(err, c.err) || !strings.Contains(err.Error(), filepath.Join(dir, "a")) || took >= c.within || src.count("kv/a") != c.tries {
					t.Errorf("%v after %v, %d tries", err, took, src.count("kv/a"))
				}
				if read(t, filepath.Join(dir, "b")) != "1" || src.count("kv/b") != 1 {
					t.Error("the other is not there, or was asked for again")
				}
				src.set("kv/a", "1")
				after(time.Minute)
				w.at(t, time.Second, 0)
				if got := read(t, filepath.Join(dir, "a")); got != "1" {
					t.Errorf("holds %q", got)
				}
			})
		})
	}
}

func TestAServerThatIsBackInTimeIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.errs["kv/a"] = errAway
		w := untended(t, src, Options{}, spec(dir, "a", of("kv/a")))
		var wg sync.WaitGroup
		wg.Go(func() { time.Sleep(2 * time.Second); src.set("kv/a", "1") })
		if took, err := w.tend(t, 8*time.Second, 0); err != nil || took != 3*time.Second || read(t, filepath.Join(dir, "a")) != "1" {
			t.Errorf("%v after %v", err, took)
		}
		wg.Wait()
	})
}

func TestWhatIsThereStaysAndIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		w := untended(t, src, Options{}, spec(dir, "a", of("kv/a")))
		w.at(t, time.Second, 0)
		src.loses("kv/a", errAway)
		w.Changed(Request{Path: "kv/a"}.Key())
		for range 5 {
			w.at(t, time.Minute, time.Minute)
		}
		if n := src.count("kv/a"); n != 2 {
			t.Errorf("asked %d times", n)
		}
		if st := w.Status()[0]; st.Next != "retry" || !errors.Is(st.Err, errAway) || read(t, filepath.Join(dir, "a")) != "1" {
			t.Errorf("%+v", st)
		}
		src.set("kv/a", "2")
		after(2 * time.Second)
		w.at(t, time.Minute, 0)
		if got := read(t, filepath.Join(dir, "a")); got != "2" {
			t.Errorf("holds %q", got)
		}
	})
}

func TestWhatItsTimeBreaksOffIsDueAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.set("kv/b", "1")
		stuck := true
		src.hook = func(ctx context.Context, r Request) error {
			if stuck && r.Path == "kv/a" {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		running := false
		runner := &hangingRunner{running: &running, hang: true}
		b := spec(dir, "b", of("kv/b"))
		b.Exec = &Exec{Command: []string{"reload"}}
		w := untended(t, src, Options{Runner: runner}, spec(dir, "a", of("kv/a")), b)
		took, err := w.tend(t, 3*time.Second, 0)
		if !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second || running {
			t.Errorf("%v after %v, running %v", err, took, running)
		}
		if w.Due().After(time.Now()) {
			t.Errorf("due %v", w.Due())
		}
		stuck, runner.hang = false, false
		after(time.Hour)
		w.at(t, 3*time.Second, 0)
		if read(t, filepath.Join(dir, "a")) != "1" || runner.ended != 1 {
			t.Errorf("the command ended %d times", runner.ended)
		}
		if st := w.Status(); st[0].Failures != 0 || st[0].Err != nil || st[1].Err != nil {
			t.Errorf("what was broken off is called a failure: %+v", st)
		}
	})
}

// hangingRunner is a command that ends when it is told to.
type hangingRunner struct {
	running *bool
	hang    bool
	ended   int
}

func (r *hangingRunner) Run(ctx context.Context, _ Command) error {
	*r.running = true
	defer func() { *r.running = false }()
	if r.hang {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	r.ended++
	return nil
}

func TestAChangeIsNotPutOffBeyondAFreeze(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		runner := &fakeRunner{}
		a := spec(dir, "a", of("kv/a"))
		a.Wait = &Wait{Min: 5 * time.Second, Max: 20 * time.Second}
		a.Exec = &Exec{Command: []string{"reload"}, Splay: 5 * time.Second}
		w := untended(t, src, Options{Runner: runner}, a)
		w.at(t, time.Minute, time.Minute)
		src.set("kv/a", "2")
		w.at(t, time.Minute, time.Second)
		if got := read(t, filepath.Join(dir, "a")); got != "1" {
			t.Errorf("done although it is to wait, and has the time: %q", got)
		}
		w.at(t, time.Minute, time.Minute)
		if got := read(t, filepath.Join(dir, "a")); got != "2" || len(runner.ran) != 2 {
			t.Errorf("holds %q, %d commands", got, len(runner.ran))
		}
	})
}

func TestACommandThatFailsIsToldAndNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		runner := &fakeRunner{err: errors.New("exit status 1")}
		a := spec(dir, "a", of("kv/a"))
		a.Exec = &Exec{Command: []string{"reload"}}
		w := untended(t, src, Options{Runner: runner}, a)
		if took, err := w.tend(t, time.Minute, 0); !errors.Is(err, ErrCommand) || took != 0 || len(runner.ran) != 1 {
			t.Errorf("%v after %v, %d runs", err, took, len(runner.ran))
		}
		w.at(t, time.Minute, time.Minute)
		if len(runner.ran) != 1 {
			t.Errorf("run %d times", len(runner.ran))
		}
		runner.err = nil
		after(2 * time.Second)
		w.at(t, time.Minute, 0)
		if asked := src.requests(); len(runner.ran) != 2 || asked != 1 {
			t.Errorf("run %d times, %d requests", len(runner.ran), asked)
		}
	})
}

func TestAFileThatSomebodyRemovedIsPutBackWhenTended(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		w := untended(t, src, Options{}, spec(dir, "a", of("kv/a")))
		w.at(t, time.Second, 0)
		path := filepath.Join(dir, "a")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		if w.Due().After(time.Now()) {
			t.Errorf("due in %v", time.Until(w.Due()))
		}
		w.at(t, time.Second, 0)
		if got := read(t, path); got != "1" || src.requests() != 1 {
			t.Errorf("holds %q, %d requests", got, src.requests())
		}
	})
}

func TestTheSecondWhoTendsTemplatesFindsThemRendered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.hook = func(context.Context, Request) error { time.Sleep(time.Second); return nil }
		w := untended(t, src, Options{}, spec(dir, "a", of("kv/a")))
		var all sync.WaitGroup
		var mu sync.Mutex
		var took []time.Duration
		start := time.Now()
		for range 5 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := w.Tend(ctx, time.Now(), nil); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took = append(took, time.Since(start))
			})
		}
		after(0)
		if took, err := w.tend(t, time.Second/2, 0); !errors.Is(err, context.DeadlineExceeded) || took != time.Second/2 {
			t.Errorf("who has less time: %v after %v", err, took)
		}
		all.Wait()
		if src.requests() != 1 || slices.Max(took) != time.Second {
			t.Errorf("%d requests, done after %v", src.requests(), took)
		}
	})
}

func TestATemplateThatFailsTooOftenIsToldAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		set := mustNew(t, Options{}, spec(dir, "a", of("kv/a")))
		w := &tending{src: src, Watch: set.Watch(src, WatchOptions{Retry: testSchedule, ExitOnRetryFailure: true})}
		src.changed = w.Changed
		w.at(t, time.Second, 0)
		src.loses("kv/a", errAway)
		w.Changed(Request{Path: "kv/a"}.Key())
		var told error
		for range 10 {
			_, err := w.tend(t, time.Second, 0)
			told = errors.Join(told, err)
			after(5 * time.Second)
		}
		var ex *retry.Exhausted
		if !errors.As(told, &ex) || ex.Attempts != testSchedule.Attempts || !errors.Is(told, errAway) {
			t.Errorf("told %v", told)
		}
	})
}

func TestTendingAManyTimesInvokedFunctionCostsNoRequests(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		var specs []Spec
		for i := range 20 {
			path := fmt.Sprintf("kv/%d", i)
			src.set(path, "1")
			specs = append(specs, spec(dir, fmt.Sprint(i), of(path)))
		}
		w := untended(t, src, Options{}, specs...)
		for range 2000 {
			w.at(t, 15*time.Minute, 15*time.Minute)
			after(100 * time.Millisecond)
		}
		if n := src.requests(); n != 20 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestACertificateIsReplacedAtItsMomentThoughNobodyWatches(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		src, issued := issuing(t)
		w := untended(t, src, Options{}, spec(t.TempDir(), "bundle.pem", bundleText))
		for _, c := range []struct {
			after, by time.Duration
			want      int
		}{{0, 0, 1}, {time.Hour, 12 * time.Hour, 1}, {7 * time.Hour, 12 * time.Hour, 1}, {90 * time.Minute, 0, 2}, {0, 15 * time.Hour, 2}, {20 * time.Hour, 0, 3}} {
			after(c.after)
			for range 3 {
				w.at(t, time.Second, c.by)
			}
			if n := len(issued()); n != c.want {
				t.Errorf("after %v, looking ahead by %v: issued %d times, want %d", c.after, c.by, n, c.want)
			}
		}
	})
}
