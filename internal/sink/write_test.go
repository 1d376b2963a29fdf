package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// fake is a sink that does what the test says.
type fake struct {
	name  string
	write func(ctx context.Context, attempt int) error
	n     int
	done  time.Time
}

func (f *fake) Name() string { return f.name }

func (f *fake) Write(ctx context.Context, _ cred.Token) error {
	f.n++
	err := f.write(ctx, f.n)
	if err == nil {
		f.done = time.Now()
	}
	return err
}

func fine(context.Context, int) error { return nil }

var schedule = retry.Schedule{Attempts: 5, Base: time.Second, Max: time.Minute}

func TestEverySinkIsTriedAndNoneDelaysAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		first, last := &fake{name: "first", write: fine}, &fake{name: "last", write: fine}
		slow := &fake{name: "slow", write: func(ctx context.Context, _ int) error { retry.Sleep(ctx, time.Hour); return nil }}
		late := &fake{name: "late", write: func(_ context.Context, n int) error {
			if n < 3 {
				return errors.New("no reader yet")
			}
			return nil
		}}
		dead := &fake{name: "dead", write: func(context.Context, int) error { return retry.Permanent(fs.ErrPermission) }}
		never := &fake{name: "never", write: func(context.Context, int) error { return fs.ErrNotExist }}
		var seen []string
		err := WriteAll(t.Context(), []Sink{first, slow, late, dead, never, last}, canary, schedule, func(n retry.Notice) {
			seen = append(seen, fmt.Sprintf("%s %d", n.What, n.Attempt))
		})
		if first.done != start || last.done != start {
			t.Error("a good sink had to wait")
		}
		if got := late.done.Sub(start); got != 3*time.Second {
			t.Errorf("late was written after %s", got)
		}
		if dead.n != 1 || never.n != 5 {
			t.Errorf("dead was tried %d times, never %d times", dead.n, never.n)
		}
		if !errors.Is(err, ErrWrite) || !errors.Is(err, fs.ErrPermission) || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		const want = "sink not written: dead: permission denied\nsink not written: never: gave up after 5 attempts: file does not exist"
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		if n := strings.Count(strings.Join(seen, "\n"), "sink never"); n != 4 || len(seen) != 6 {
			t.Errorf("the observer heard %q", seen)
		}
	})
}

func TestWriteAllEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		never := &fake{name: "never", write: func(context.Context, int) error { return fs.ErrNotExist }}
		err := WriteAll(ctx, []Sink{never}, canary, retry.Schedule{Attempts: -1, Base: time.Second, Max: time.Second}, nil)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrWrite) {
			t.Errorf("got %v", err)
		}
		if time.Since(start) > 10*time.Second {
			t.Errorf("took %s", time.Since(start))
		}
	})
}

func TestWriteAllWithoutSinksOrFailures(t *testing.T) {
	if err := WriteAll(t.Context(), nil, canary, schedule, nil); err != nil {
		t.Error(err)
	}
	if err := WriteAll(t.Context(), []Sink{&fake{name: "a", write: fine}}, canary, schedule, nil); err != nil {
		t.Error(err)
	}
}
