package child

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/meter"
)

// fake is a program that only says that it runs.
type fake struct {
	number int
	env    []string
	// obeys is how long it takes to end when asked; negative: it does not.
	// lingers is how long something else of its group stays after it.
	obeys, lingers time.Duration

	mu         sync.Mutex
	got        []string
	ended      bool
	emptyAt    time.Time
	over, done chan struct{}
	err        error
}

func (f *fake) pid() int                 { return 1000 + f.number }
func (f *fake) overCh() <-chan struct{}  { return f.over }
func (f *fake) doneCh() <-chan struct{}  { return f.done }
func (f *fake) stopCh() <-chan os.Signal { return nil }
func (f *fake) result() error            { return f.err }

func (f *fake) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, what)
}

// exit ends it; what it left stays for a while.
func (f *fake) exit(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.ended, f.err, f.emptyAt = true, err, time.Now().Add(f.lingers)
	close(f.over)
	close(f.done)
}

func (f *fake) signal(sig os.Signal) error {
	f.note(sig.String())
	return nil
}

func (f *fake) ask(sig os.Signal) {
	f.note("asked by " + sig.String())
	if f.obeys >= 0 {
		time.AfterFunc(f.obeys, func() { f.exit(nil) })
	}
}

func (f *fake) kill() {
	f.note("killed")
	f.exit(&ExitError{Program: "fake", Code: -1, Signal: "SIGKILL"})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.emptyAt = time.Time{}
}

func (f *fake) left() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.emptyAt)
}

// stage is a supervisor whose programs are fakes.
type stage struct {
	*Supervisor
	t      *testing.T
	cancel context.CancelCauseFunc
	ended  chan error
	counts counts

	mu sync.Mutex
	// dress changes a fake before it starts; its error keeps it from starting.
	dress func(*fake) error
	fakes []*fake
	tries []time.Time
}

type counts struct {
	meter.Meter
	mu sync.Mutex
	of map[string]int
}

func (c *counts) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[name]
}

func (c *counts) Count(name string, n int, _ ...meter.Label) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[name] += n
}

var errEnough = errors.New("enough")

// play runs act beside Run, in a bubble with a clock of its own.
func play(t *testing.T, o SupervisorOptions, act func(*stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, ended: make(chan error, 1), counts: counts{of: map[string]int{}}}
		o.Command, o.Meter = []string{"fake"}, &s.counts
		sup, err := NewSupervisor(o)
		if err != nil {
			t.Fatal(err)
		}
		sup.launch = s.launch
		s.Supervisor = sup
		var ctx context.Context
		ctx, s.cancel = context.WithCancelCause(t.Context())
		gone := make(chan struct{})
		defer func() {
			s.cancel(nil)
			<-gone
		}()
		go func() {
			defer close(gone)
			s.ended <- sup.Run(ctx)
		}()
		synctest.Wait()
		act(s)
	})
}

func (s *stage) launch(env []string) (job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries = append(s.tries, time.Now())
	f := &fake{number: len(s.fakes) + 1, env: env, over: make(chan struct{}), done: make(chan struct{})}
	if s.dress != nil {
		if err := s.dress(f); err != nil {
			return nil, err
		}
	}
	s.fakes = append(s.fakes, f)
	return f, nil
}

// dressed sets dress.
func (s *stage) dressed(dress func(*fake) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dress = dress
}

// all are the programs that were started.
func (s *stage) all() []*fake {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.fakes)
}

func (s *stage) starts() int { return len(s.all()) }

// attempts counts also what could not be started.
func (s *stage) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tries)
}

// lastGap is the time between the last two attempts.
func (s *stage) lastGap() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.tries)
	return s.tries[n-1].Sub(s.tries[n-2])
}

// after lets the time go by and settles.
func (s *stage) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (s *stage) update(env ...string) {
	s.Update(env)
	synctest.Wait()
}

// running expects the n-th program to run, with that environment.
func (s *stage) running(n int, env ...string) *fake {
	s.t.Helper()
	st := s.Status()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fakes) != n || st.PID != 1000+n || !slices.Equal(s.fakes[n-1].env, env) {
		last := []string{"none"}
		if len(s.fakes) > 0 {
			last = s.fakes[len(s.fakes)-1].env
		}
		s.t.Fatalf("%d were started, the last with %q, and %d runs; want %d with %q", len(s.fakes), last, st.PID, n, env)
	}
	return s.fakes[n-1]
}

func (s *stage) over(want error) {
	s.t.Helper()
	synctest.Wait()
	select {
	case err := <-s.ended:
		if !errors.Is(err, want) {
			s.t.Errorf("Run returned %v, want %v", err, want)
		}
		if s.Signal(syscall.SIGHUP) || s.Status().PID != 0 {
			s.t.Error("a program still runs")
		}
	default:
		s.t.Fatal("Run has not returned")
	}
}

func (f *fake) heard() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.got, ", ")
}
