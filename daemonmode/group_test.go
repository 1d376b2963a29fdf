package daemonmode

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func quiet(t *testing.T) *group {
	t.Helper()
	return newGroup(t.Context(), slog.New(slog.DiscardHandler))
}

// patient is an actor that ends when it is told to.
func patient(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }

func TestWhoEndsFirstIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quiet(t)
		gone := errors.New("gone")
		g.start("patient", patient)
		g.start("short", func(context.Context) error { time.Sleep(time.Minute); return gone })
		g.start("later", func(context.Context) error { time.Sleep(2 * time.Minute); return nil })
		first := <-g.ended()
		if first.name != "short" || first.err != gone {
			t.Errorf("first is %+v", first)
		}
		if err := g.stopAll(5 * time.Minute); err != nil {
			t.Error(err)
		}
	})
}

func TestAnActorThatIsStoppedEndsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quiet(t)
		g.start("a", patient)
		g.start("b", patient)
		g.stop("a")
		g.stop("a") // twice is once
		g.start("a", patient)
		synctest.Wait()
		select {
		case first := <-g.ended():
			t.Errorf("%s ended by itself", first.name)
		default:
		}
		if err := g.stopAll(time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestAPanicIsAnErrorWithoutWhatItHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quiet(t)
		g.start("wild", func(context.Context) error { panic("hvs.CANARY") })
		first := <-g.ended()
		if !errors.Is(first.err, errPanic) || strings.Contains(first.err.Error(), "CANARY") {
			t.Errorf("error is %v", first.err)
		}
		if err := g.stopAll(time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatHangsIsNamedAndLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quiet(t)
		release := make(chan struct{})
		stuck := func(context.Context) error { <-release; return nil }
		g.start("stuck", stuck)
		g.start("hung", stuck)
		g.start("patient", patient)
		start := time.Now()
		err := g.stopAll(time.Second)
		if !errors.Is(err, errStuck) || !strings.HasSuffix(err.Error(), "hung, stuck") {
			t.Errorf("error is %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
		close(release)
	})
}

// A reload may be stopping an actor when the end comes.
func TestAnEndWaitsForAnActorThatAReloadIsStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quiet(t)
		g.start("child", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(30 * time.Second)
			return context.Cause(ctx)
		})
		start := time.Now()
		reloaded := make(chan struct{})
		go func() {
			defer close(reloaded)
			g.stop("child")
		}()
		time.Sleep(time.Second)
		g.stop("child")
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("it was waited for until %v", took)
		}
		<-reloaded
	})
}

func TestWhatAReloadStartsAtTheEndEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := quiet(t)
		g.start("other", patient)
		g.close()
		g.start("child", patient)
		synctest.Wait()
		g.mu.Lock()
		child, other := g.running["child"], g.running["other"]
		g.mu.Unlock()
		select {
		case <-child.done:
		default:
			t.Error("it runs")
		}
		select {
		case <-other.done:
			t.Error("who was there before has ended")
		default:
		}
		if err := g.stopAll(time.Second); err != nil {
			t.Error(err)
		}
	})
}
