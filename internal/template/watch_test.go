package template

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// fakeSource holds what it answered, as a lease manager does, and counts what it
// would have asked the server.
type fakeSource struct {
	mu       sync.Mutex
	secrets  map[string]*cred.Secret // by name
	errs     map[string]error
	held     map[string]*cred.Secret // by key
	names    map[string]string       // key to name
	fetched  map[string]int
	total    int
	retained []map[string]bool
	changed  func(keys ...string)
	// hook runs inside a fetch, without the lock.
	hook func(ctx context.Context, r Request) error
	// issue answers requests with Fresh.
	issue  func(r Request) *cred.Secret
	issued []time.Time
}

func newSource() *fakeSource {
	return &fakeSource{
		secrets: map[string]*cred.Secret{}, errs: map[string]error{}, held: map[string]*cred.Secret{},
		names: map[string]string{}, fetched: map[string]int{},
	}
}

func (f *fakeSource) ReadAll(ctx context.Context, reqs []Request) []Result {
	out := make([]Result, len(reqs))
	f.ReadEach(ctx, reqs, func(i int, res Result) { out[i] = res })
	return out
}

func (f *fakeSource) ReadEach(ctx context.Context, reqs []Request, each func(int, Result)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, r := range reqs {
		wg.Go(func() {
			res := f.read(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			each(i, res)
		})
	}
	wg.Wait()
}

func (f *fakeSource) read(ctx context.Context, r Request) Result {
	key := r.Key()
	f.mu.Lock()
	if s := f.held[key]; s != nil && !r.Fresh {
		f.mu.Unlock()
		return Result{Secret: s}
	}
	f.fetched[name(r)]++
	f.total++
	hook := f.hook
	f.names[key] = name(r)
	f.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, r); err != nil {
			return Result{Err: err}
		}
	}
	if ctx.Err() != nil {
		return Result{Err: context.Cause(ctx)}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch s, err := f.secrets[name(r)], f.errs[name(r)]; {
	case err != nil:
		return Result{Err: err}
	case r.Fresh && f.issue != nil:
		return Result{Secret: f.issue(r)}
	case s == nil:
		return Result{Err: fmt.Errorf("read %s: 404", r.Path)}
	default:
		if !r.Fresh {
			f.held[key] = s
		}
		return Result{Secret: s}
	}
}

func (f *fakeSource) Retain(keys map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.retained = append(f.retained, maps.Clone(keys))
	maps.DeleteFunc(f.held, func(key string, _ *cred.Secret) bool { return !keys[key] })
}

// set gives a secret another value, v, and tells the watch where it is held.
func (f *fakeSource) set(path, v string) {
	f.mu.Lock()
	f.secrets[path] = kv2(map[string]any{"v": v})
	delete(f.errs, path)
	var keys []string
	for key := range f.held {
		if f.names[key] == path {
			f.held[key] = f.secrets[path]
			keys = append(keys, key)
		}
	}
	changed := f.changed
	f.mu.Unlock()
	if changed != nil && len(keys) > 0 {
		changed(keys...)
	}
}

// loses has reads of a path fail, and forgets what is held of it.
func (f *fakeSource) loses(path string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs[path] = err
	maps.DeleteFunc(f.held, func(key string, _ *cred.Secret) bool { return f.names[key] == path })
}

func (f *fakeSource) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// tells is how often Retain was called, told with what last.
func (f *fakeSource) tells() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.retained)
}

func (f *fakeSource) told() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retained[len(f.retained)-1]
}

func (f *fakeSource) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fetched[path]
}

var testSchedule = retry.Schedule{Attempts: 3, Base: time.Second, Max: time.Minute}

// watching is a watch that runs.
type watching struct {
	*Watch
	t    *testing.T
	src  *fakeSource
	stop context.CancelCauseFunc
	done chan struct{}
	err  error

	mu      sync.Mutex
	reports []Report
	at      []time.Time
}

var errStop = errors.New("the test is over")

// watch starts a watch and returns when its first round is over. It is ended with
// the test, and nothing of it may be left then.
func watch(t *testing.T, src *fakeSource, o Options, wo WatchOptions, specs ...Spec) *watching {
	t.Helper()
	if wo.Retry.Base == 0 {
		wo.Retry = testSchedule
	}
	ignore := goleak.IgnoreCurrent()
	w := &watching{Watch: mustNew(t, o, specs...).Watch(src, wo), t: t, src: src, done: make(chan struct{})}
	src.changed = w.Changed
	var ctx context.Context
	ctx, w.stop = context.WithCancelCause(context.Background())
	go func() {
		defer close(w.done)
		w.err = w.Run(ctx, func(rep Report) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reports, w.at = append(w.reports, rep), append(w.at, time.Now())
		})
	}()
	t.Cleanup(func() {
		w.stop(errStop)
		<-w.done
		goleak.VerifyNone(t, ignore)
	})
	synctest.Wait()
	return w
}

// told returns the reports so far, and when each came.
func (w *watching) told() ([]Report, []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.reports), slices.Clone(w.at)
}

func (w *watching) last() Report {
	reports, _ := w.told()
	return reports[len(reports)-1]
}

// outcomes returns how often a template with this file was reported, and with
// which errors.
func (w *watching) outcomes(file string) (out []Outcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rep := range w.reports {
		for _, o := range rep.Templates {
			if filepath.Base(o.Destination) == file || o.Variable == file {
				out = append(out, o)
			}
		}
	}
	return out
}

func (w *watching) status(file string) Status {
	w.t.Helper()
	for _, s := range w.Status() {
		if filepath.Base(s.Destination) == file || s.Variable == file {
			return s
		}
	}
	w.t.Fatalf("no status of %s", file)
	return Status{}
}

// after lets time go by and everything settle.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func of(path string) string {
	return fmt.Sprintf(`{{ with secret %q }}{{ .Data.data.v }}{{ end }}`, path)
}

func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestAChangedSecretIsInTheFileAtOnceAndInNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.set("kv/b", "1")
		w := watch(t, src, Options{}, WatchOptions{}, spec(dir, "a", of("kv/a")), spec(dir, "b", of("kv/b")), spec(dir, "ab", of("kv/a")+of("kv/b")))
		start := time.Now()
		src.set("kv/a", "2")
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		for file, want := range map[string]string{"a": "2", "b": "1", "ab": "21"} {
			if got := read(t, filepath.Join(dir, file)); got != want {
				t.Errorf("%s holds %q, want %q", file, got, want)
			}
		}
		if a, b := len(w.outcomes("a")), len(w.outcomes("b")); a != 2 || b != 1 {
			t.Errorf("rendered %d and %d times", a, b)
		}
		before := src.requests()
		after(6 * time.Hour)
		if src.requests() != before || len(w.outcomes("a")) != 2 {
			t.Error("something was asked or rendered while nothing changed")
		}
	})
}

func TestAChangeInTheMiddleOfARoundIsNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.set("kv/b", "1")
		meanwhile := make(chan string, 1)
		src.hook = func(_ context.Context, r Request) error {
			// kv/a is answered already, and held; kv/b is on its way.
			select {
			case v := <-meanwhile:
				time.Sleep(time.Second)
				src.set("kv/a", v)
			default:
			}
			return nil
		}
		text := of("kv/a") + `{{ with secret "kv/a" }}{{ with secret "kv/b" }}{{ .Data.data.v }}{{ end }}{{ end }}`
		src.held[Request{Path: "kv/a"}.Key()], src.names[Request{Path: "kv/a"}.Key()] = src.secrets["kv/a"], "kv/a"
		meanwhile <- "2"
		w := watch(t, src, Options{}, WatchOptions{}, spec(dir, "ab", text))
		after(time.Minute)
		if got := read(t, filepath.Join(dir, "ab")); got != "21" {
			t.Errorf("holds %q", got)
		}
		// Now with keys that it is known to use.
		src.loses("kv/b", nil)
		meanwhile <- "4"
		w.Changed(Request{Path: "kv/b"}.Key())
		after(time.Minute)
		if got := read(t, filepath.Join(dir, "ab")); got != "41" || len(meanwhile) != 0 {
			t.Errorf("holds %q", got)
		}
	})
}

func TestATemplateThatFailsIsTriedAgainOnItsOwnSchedule(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.errs["kv/b"] = errDenied
		var tries []time.Duration
		start := time.Now()
		src.hook = func(_ context.Context, r Request) error {
			if r.Path == "kv/b" {
				tries = append(tries, time.Since(start))
			}
			return nil
		}
		w := watch(t, src, Options{}, WatchOptions{}, spec(dir, "a", of("kv/a")), spec(dir, "b", of("kv/b")))
		after(200 * time.Second)
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 123, 183}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(tries, want) {
			t.Errorf("tried at %v, want %v", tries, want)
		}
		if s := w.status("b"); !errors.Is(s.Err, errDenied) || s.Next != "retry" || s.Failures != 9 || s.NextAt.Sub(start) != 243*time.Second {
			t.Errorf("status %+v", s)
		}
		if n := len(w.outcomes("a")); n != 1 || src.count("kv/a") != 1 {
			t.Errorf("the other was rendered %d times, read %d times", n, src.count("kv/a"))
		}
		src.set("kv/b", "2")
		after(time.Minute)
		if s := w.status("b"); s.Err != nil || s.Next != "" || s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
		if read(t, filepath.Join(dir, "b")) != "2" {
			t.Error("not rendered")
		}
		// The schedule begins anew.
		tries, start = nil, time.Now()
		src.loses("kv/b", errDenied)
		w.Changed(Request{Path: "kv/b"}.Key())
		after(2 * time.Second)
		if len(tries) != 2 || tries[1] != time.Second {
			t.Errorf("tried at %v", tries)
		}
		if read(t, filepath.Join(dir, "b")) != "2" {
			t.Error("the last good file is gone")
		}
	})
}

type askedToWait struct{}

func (askedToWait) Error() string             { return "429" }
func (askedToWait) RetryAfter() time.Duration { return time.Hour }

func TestATemplateLeavesAServerAloneThatAsksForIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.errs["kv/a"] = askedToWait{}
		watch(t, src, Options{}, WatchOptions{}, spec(dir, "a", of("kv/a")))
		after(59 * time.Minute)
		if n := src.count("kv/a"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestALocalFaultAsksForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		blocked := filepath.Join(dir, "blocked")
		if err := os.Mkdir(blocked, 0o700); err != nil {
			t.Fatal(err)
		}
		w := watch(t, src, Options{}, WatchOptions{},
			spec(dir, "blocked", of("kv/a")), spec(dir, "broken", of("kv/a")+`{{ "x" | parseInt }}`), spec(dir, "good", of("kv/a")))
		after(time.Hour)
		if n := src.count("kv/a"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if s := w.status("blocked"); !errors.Is(s.Err, ErrWrite) || s.Failures < 50 {
			t.Errorf("status %+v", s)
		}
		if s := w.status("broken"); !errors.Is(s.Err, ErrRender) {
			t.Errorf("status %+v", s)
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if read(t, blocked) != "1" || src.count("kv/a") != 1 || len(w.outcomes("good")) != 1 {
			t.Error("not mended, or not alone")
		}
	})
}

func TestAnAnswerThatDoesNotComeHoldsUpNoOtherTemplate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.set("kv/slow", "1")
		src.hook = func(ctx context.Context, r Request) error {
			if r.Path == "kv/slow" {
				<-ctx.Done()
			}
			return nil
		}
		side := filepath.Join(dir, "side")
		w := watch(t, src, Options{}, WatchOptions{},
			spec(dir, "slow", of("kv/slow")), spec(dir, "a", of("kv/a")),
			spec(dir, "b", of("kv/a")+`{{ "x" | writeToFile "`+side+`" "" "" "0600" }}`))
		for _, file := range []string{"a", "b"} {
			if read(t, filepath.Join(dir, file)) != "1" {
				t.Errorf("%s was not written", file)
			}
		}
		src.set("kv/a", "2")
		synctest.Wait()
		for _, file := range []string{"a", "b"} {
			if read(t, filepath.Join(dir, file)) != "2" {
				t.Errorf("%s was not written again", file)
			}
		}
		if s := w.status("slow"); !s.RenderedAt.IsZero() || w.last().Complete {
			t.Error("what hangs counts as rendered")
		}
		start := time.Now()
		w.stop(errStop)
		<-w.done
		if !errors.Is(w.err, errStop) || time.Since(start) != 0 {
			t.Errorf("ended with %v after %v", w.err, time.Since(start))
		}
		if s := w.status("slow"); s.Err != nil {
			t.Errorf("the end counts as a failure: %v", s.Err)
		}
	})
}

func TestWaitHoldsChangesBackUntilItIsQuiet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "0")
		sp := spec(dir, "a", of("kv/a"))
		sp.Wait = &Wait{Min: 5 * time.Second, Max: 12 * time.Second}
		w := watch(t, src, Options{}, WatchOptions{}, sp)
		if read(t, sp.Destination) != "0" {
			t.Error("the first render waits")
		}
		start := time.Now()
		src.set("kv/a", "1")
		after(5*time.Second - 1)
		if read(t, sp.Destination) != "0" {
			t.Error("not held back")
		}
		if s := w.status("a"); s.Next != "change" || s.NextAt.Sub(start) != 5*time.Second {
			t.Errorf("status %+v", s)
		}
		after(1)
		if read(t, sp.Destination) != "1" {
			t.Error("held back for too long")
		}
		// Changes that go on are bounded by max.
		start = time.Now()
		for i := range 10 {
			src.set("kv/a", fmt.Sprint("x", i))
			if i == 3 && read(t, sp.Destination) != "1" {
				t.Error("written while changes came")
			}
			after(3 * time.Second)
		}
		outs := w.outcomes("a")
		var when []time.Duration
		_, times := w.told()
		for _, at := range times[len(times)-(len(outs)-2):] {
			when = append(when, at.Sub(start))
		}
		if want := []time.Duration{12 * time.Second, 24 * time.Second}; !slices.Equal(when, want) {
			t.Errorf("written at %v, want %v", when, want)
		}
		after(10 * time.Second)
		if read(t, sp.Destination) != "x9" {
			t.Errorf("holds %q", read(t, sp.Destination))
		}
	})
}

func TestExitOnRetryFailureEndsTheWatch(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*Spec, *WatchOptions)
		ends    bool
		command bool
	}{
		{"after its attempts", func(*Spec, *WatchOptions) {}, true, false},
		{"not without the option", func(_ *Spec, o *WatchOptions) { o.ExitOnRetryFailure = false }, false, false},
		{"not where error_fatal is off", func(s *Spec, _ *WatchOptions) { s.ErrorFatal = false }, false, false},
		{"not with attempts without end", func(_ *Spec, o *WatchOptions) { o.Retry.Attempts = -1 }, false, false},
		{"not for a command", func(s *Spec, _ *WatchOptions) { s.Exec = &Exec{Command: []string{"x"}} }, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				dir, src := t.TempDir(), newSource()
				src.set("kv/a", "1")
				sp, o := spec(dir, "b", of("kv/b")), WatchOptions{Retry: testSchedule, ExitOnRetryFailure: true}
				if tc.command {
					sp = spec(dir, "b", of("kv/a"))
				}
				tc.change(&sp, &o)
				w := watch(t, src, Options{Runner: &program1{err: errDenied}}, o, spec(dir, "a", of("kv/a")), sp)
				after(3*time.Second - 1)
				select {
				case <-w.done:
					t.Fatal("ended before its time")
				default:
				}
				after(time.Hour)
				select {
				case <-w.done:
					var ex *retry.Exhausted
					if !tc.ends || !errors.As(w.err, &ex) || ex.Attempts != 3 || !strings.Contains(w.err.Error(), "secret kv/b") {
						t.Errorf("ended with %v", w.err)
					}
				default:
					if tc.ends {
						t.Error("goes on")
					}
				}
			})
		})
	}
}

// program1 is a Runner whose commands take their time.
type program1 struct {
	mu   sync.Mutex
	err  error
	ran  []string
	at   []time.Time
	hook func(ctx context.Context, c Command) error
}

func (p *program1) Run(ctx context.Context, c Command) error {
	p.mu.Lock()
	p.ran, p.at = append(p.ran, strings.Join(c.Argv, " ")), append(p.at, time.Now())
	err, hook := p.err, p.hook
	p.mu.Unlock()
	if hook != nil {
		return hook(ctx, c)
	}
	return err
}

// all returns what ran, and when.
func (p *program1) all() (ran []string, at []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ran), slices.Clone(p.at)
}

func (p *program1) n() int {
	ran, _ := p.all()
	return len(ran)
}

func (p *program1) count(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.ran {
		if r == what {
			n++
		}
	}
	return n
}

func first[A, B any](a A, _ B) A { return a }

func withCommand(sp Spec, argv ...string) Spec {
	sp.Exec = &Exec{Command: argv}
	return sp
}

func TestACommandRunsOnceForTheTemplatesOfARound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{}
		src.set("kv/a", "1")
		src.set("kv/b", "1")
		var specs []Spec
		for i := range 20 {
			specs = append(specs, withCommand(spec(dir, fmt.Sprint("a", i), of("kv/a")), "reload", "now"))
		}
		specs = append(specs, withCommand(spec(dir, "b", of("kv/b")), "reload", "now"), withCommand(spec(dir, "c", of("kv/b")), "other"))
		w := watch(t, src, Options{Runner: run}, WatchOptions{}, specs...)
		if run.count("reload now") != 1 || run.count("other") != 1 {
			t.Errorf("ran %v", first(run.all()))
		}
		src.set("kv/a", "2")
		after(time.Minute)
		if run.count("reload now") != 2 || run.count("other") != 1 {
			t.Errorf("ran %v", first(run.all()))
		}
		src.set("kv/a", "2") // the bytes do not differ
		after(time.Minute)
		if run.n() != 3 {
			t.Errorf("ran %v", first(run.all()))
		}
		if outs := w.outcomes("a0"); len(outs) != 5 || outs[1].Command != "reload" || outs[4].Changed {
			t.Errorf("%+v", outs)
		}
	})
}

func TestACommandDoesNotWaitForEverForAnotherTemplateOfItsRound(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{}
		src.set("kv/a", "1")
		src.set("kv/slow", "1")
		src.hook = func(_ context.Context, r Request) error {
			if r.Path == "kv/slow" {
				time.Sleep(time.Minute)
			}
			return nil
		}
		watch(t, src, Options{Runner: run}, WatchOptions{}, withCommand(spec(dir, "a", of("kv/a")), "x"), withCommand(spec(dir, "slow", of("kv/slow")), "x"))
		if run.n() != 0 {
			t.Error("ran at once")
		}
		after(patience)
		if run.n() != 1 {
			t.Errorf("ran %d times", run.n())
		}
		after(time.Hour)
		if run.n() != 2 {
			t.Errorf("ran %d times", run.n())
		}
	})
}

func TestACommandThatFailsIsTriedAgainAndNothingIsWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{err: errDenied}
		src.set("kv/a", "1")
		sp := withCommand(spec(dir, "a", of("kv/a")), "x", canary)
		w := watch(t, src, Options{Runner: run}, WatchOptions{}, sp)
		start := time.Now()
		written, err := os.Stat(sp.Destination)
		if err != nil {
			t.Fatal(err)
		}
		after(16 * time.Second)
		var at []time.Duration
		_, all := run.all()
		for _, a := range all {
			at = append(at, a.Sub(start)/time.Second)
		}
		if !slices.Equal(at, []time.Duration{0, 1, 3, 7, 15}) {
			t.Errorf("ran at %v", at)
		}
		if s := w.status("a"); !errors.Is(s.Err, ErrCommand) || !errors.Is(s.Err, errDenied) || s.Next != "command" || s.NextAt.Sub(start) != 31*time.Second {
			t.Errorf("status %+v", s)
		}
		run.mu.Lock()
		run.err = nil
		run.mu.Unlock()
		after(time.Hour)
		if s := w.status("a"); s.Err != nil || s.Next != "" || run.n() != 6 {
			t.Errorf("status %+v, ran %d times", s, run.n())
		}
		again, err := os.Stat(sp.Destination)
		if err != nil || !os.SameFile(written, again) || src.count("kv/a") != 1 {
			t.Error("the file was written again, or the secret read again")
		}
	})
}

func TestACommandThatHangsHoldsUpNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{}
		src.set("kv/a", "1")
		run.hook = func(ctx context.Context, c Command) error {
			if c.Argv[0] == "hang" {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return nil
		}
		watch(t, src, Options{Runner: run}, WatchOptions{}, withCommand(spec(dir, "a", of("kv/a")), "hang"), withCommand(spec(dir, "b", of("kv/a")), "quick"))
		for i := range 3 {
			src.set("kv/a", fmt.Sprint("n", i))
			synctest.Wait()
			if want := fmt.Sprint("n", i); read(t, filepath.Join(dir, "a")) != want || read(t, filepath.Join(dir, "b")) != want {
				t.Error("a template waits for a command")
			}
		}
		if run.count("hang") != 1 || run.count("quick") != 4 {
			t.Errorf("ran %v", first(run.all()))
		}
	})
}

func TestAFileThatChangesWhileItsCommandRunsHasItRunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{}
		src.set("kv/a", "1")
		var saw []string
		run.hook = func(context.Context, Command) error {
			time.Sleep(time.Minute)
			saw = append(saw, read(t, filepath.Join(dir, "a")))
			return nil
		}
		watch(t, src, Options{Runner: run}, WatchOptions{}, withCommand(spec(dir, "a", of("kv/a")), "x"))
		for i := range 5 {
			after(time.Second)
			src.set("kv/a", fmt.Sprint("n", i))
		}
		after(time.Hour)
		if len(saw) != 2 || saw[1] != "n4" {
			t.Errorf("ran %d times, saw %v", run.n(), saw)
		}
	})
}

func TestSplaySpreadsCommands(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{}
		var specs []Spec
		for i := range 10 {
			sp := withCommand(spec(dir, fmt.Sprint(i), "x"), "x", fmt.Sprint(i))
			sp.Exec.Splay = time.Minute
			specs = append(specs, sp)
		}
		start := time.Now()
		watch(t, src, Options{Runner: run}, WatchOptions{}, specs...)
		after(time.Minute)
		times := map[time.Duration]bool{}
		_, all := run.all()
		for _, at := range all {
			times[at.Sub(start)] = true
		}
		if run.n() != 10 || len(times) < 5 {
			t.Errorf("ran %d times, at %d moments", run.n(), len(times))
		}
	})
}

func TestAFileThatATemplateReadsIsLookedAtAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		in := filepath.Join(dir, "in")
		w := watch(t, src, Options{}, WatchOptions{Retry: retry.Schedule{Base: 24 * time.Hour, Max: 24 * time.Hour}},
			spec(dir, "out", of("kv/a")+fmt.Sprintf(`{{ file %q }}`, in)), spec(dir, "other", of("kv/a")))
		if s := w.status("out"); !errors.Is(s.Err, ErrRender) {
			t.Fatalf("status %+v", s)
		}
		put := func(content string) {
			t.Helper()
			if err := os.WriteFile(in+".new", []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(in+".new", in); err != nil {
				t.Fatal(err)
			}
		}
		for _, content := range []string{"one", "two", "six"} {
			put(content)
			after(2 * glance)
			if got := read(t, filepath.Join(dir, "out")); got != "1"+content {
				t.Errorf("holds %q after %q", got, content)
			}
		}
		n := len(w.outcomes("out"))
		put("six") // the same bytes
		if err := os.Chtimes(in, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if len(w.outcomes("out")) != n {
			t.Error("rendered although the content is the same")
		}
		// In place, with the same size, and a time that goes back.
		if err := os.WriteFile(in, []byte("ten"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(in, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if got := read(t, filepath.Join(dir, "out")); got != "1ten" {
			t.Errorf("holds %q", got)
		}
		if err := os.Remove(in); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if s := w.status("out"); !errors.Is(s.Err, ErrRender) || read(t, filepath.Join(dir, "out")) != "1ten" {
			t.Errorf("status %+v", s)
		}
		if src.count("kv/a") != 1 || len(w.outcomes("other")) != 1 {
			t.Error("others were disturbed")
		}
	})
}

func TestAWatchDoesNotReadPipes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := watch(t, newSource(), Options{}, WatchOptions{}, spec(t.TempDir(), "a", `{{ file "/dev/zero" }}`))
		wantError(t, w.status("a").Err, ErrRender, "not a regular file")
	})
}

func TestADestinationThatDisappearsIsWrittenAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, run := t.TempDir(), newSource(), &program1{}
		src.set("kv/a", "1")
		side := filepath.Join(dir, "side")
		sp := withCommand(spec(dir, "a", of("kv/a")+`{{ "s" | writeToFile "`+side+`" "" "" "0600" }}`), "x")
		w := watch(t, src, Options{Runner: run}, WatchOptions{}, sp, spec(dir, "b", of("kv/a")))
		for i, path := range []string{sp.Destination, side} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			after(5 * time.Second)
			if !exists(path) || run.n() != i+2 {
				t.Errorf("%s is there: %v; %d commands", path, exists(path), run.n())
			}
		}
		if src.count("kv/a") != 1 || len(w.outcomes("b")) != 1 {
			t.Error("something else happened")
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		after(5 * time.Second)
		if read(t, sp.Destination) != "1" || read(t, filepath.Join(dir, "b")) != "1" {
			t.Error("not written again")
		}
	})
}

func TestAChangedSourceFileIsNotReloaded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		source := filepath.Join(dir, "tmpl")
		if err := os.WriteFile(source, []byte(of("kv/a")), 0o600); err != nil {
			t.Fatal(err)
		}
		sp := Spec{Source: source, Destination: filepath.Join(dir, "a"), ErrorFatal: true}
		watch(t, src, Options{}, WatchOptions{}, sp)
		if err := os.WriteFile(source, []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
		src.set("kv/a", "2")
		after(time.Minute)
		if read(t, sp.Destination) != "2" {
			t.Error("the template was read again")
		}
	})
}

func TestVariablesAndCompleteness(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		a, b := spec(dir, "", of("kv/a")), spec(dir, "", of("kv/b"))
		a.Destination, a.Variable, b.Destination, b.Variable = "", "A", "", "B"
		lenient := spec(dir, "lenient", of("kv/none"))
		lenient.ErrorFatal = false
		w := watch(t, src, Options{}, WatchOptions{}, a, b, lenient, spec(dir, "c", of("kv/a")))
		if vars := w.Variables(); len(vars) != 1 || vars["A"].Reveal() != "1" || w.last().Complete {
			t.Errorf("variables %v, %+v", len(vars), first(w.told()))
		}
		src.set("kv/b", "2")
		after(time.Second)
		if vars := w.Variables(); vars["B"].Reveal() != "2" || !w.last().Complete {
			t.Errorf("variables %v, %+v", vars["B"].Reveal(), first(w.told()))
		}
		src.loses("kv/b", errDenied)
		src.set("kv/a", "3")
		w.Changed(Request{Path: "kv/b"}.Key())
		after(time.Minute)
		if vars := w.Variables(); vars["A"].Reveal() != "3" || vars["B"].Reveal() != "2" || !w.last().Complete {
			t.Error("a failure took a value away")
		}
		outs := w.outcomes("A")
		if len(outs) != 2 || !outs[1].Changed || outs[1].Value.Reveal() != "3" {
			t.Errorf("%+v", outs)
		}
		w.Changed(Request{Path: "kv/a"}.Key())
		synctest.Wait()
		if outs := w.outcomes("A"); len(outs) != 3 || outs[2].Changed || outs[2].Value.Reveal() != "3" {
			t.Errorf("%+v", outs)
		}
		src.set("kv/a", "a\x00b")
		synctest.Wait()
		wantError(t, w.status("A").Err, ErrRender, "A: a variable cannot hold a NUL byte")
	})
}

func TestAWatchWithoutTemplatesIsComplete(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := watch(t, newSource(), Options{}, WatchOptions{})
		after(time.Hour)
		if len(first(w.told())) != 1 || !w.last().Complete {
			t.Errorf("%+v", first(w.told()))
		}
	})
}

func TestOnlyAnswersInUseAreRetained(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/which", "kv/a")
		src.set("kv/a", "1")
		src.set("kv/b", "2")
		w := watch(t, src, Options{}, WatchOptions{},
			spec(dir, "x", `{{ with secret "kv/which" }}{{ with secret .Data.data.v }}{{ .Data.data.v }}{{ end }}{{ end }}`), spec(dir, "plain", "text"))
		keys := func(paths ...string) map[string]bool {
			m := map[string]bool{}
			for _, p := range paths {
				m[Request{Path: p}.Key()] = true
			}
			return m
		}
		last := func() map[string]bool { return src.told() }
		if want := keys("kv/which", "kv/a"); !maps.Equal(last(), want) {
			t.Errorf("retained %v, want %v", last(), want)
		}
		src.set("kv/which", "kv/b")
		after(time.Second)
		if want := keys("kv/which", "kv/b"); !maps.Equal(last(), want) {
			t.Errorf("retained %v, want %v", last(), want)
		}
		// While it fails, what the file is made of stays.
		src.set("kv/which", "kv/none")
		after(time.Second)
		if want := keys("kv/which", "kv/b", "kv/none"); !maps.Equal(last(), want) {
			t.Errorf("retained %v, want %v", last(), want)
		}
		n := src.tells()
		w.Changed(Request{Path: "kv/none"}.Key())
		after(time.Hour)
		if src.tells() != n || src.count("kv/b") != 1 {
			t.Error("told again although nothing changed")
		}
	})
}

func TestWhatIsBeingAskedIsRetained(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		for _, p := range []string{"kv/a", "kv/b", "kv/c"} {
			src.set(p, "1")
		}
		src.hook = func(_ context.Context, r Request) error {
			if r.Path == "kv/b" {
				time.Sleep(time.Minute)
			}
			return nil
		}
		// kv/a is answered and held while kv/b is on its way; meanwhile another
		// round ends.
		watch(t, src, Options{}, WatchOptions{}, spec(dir, "ab", of("kv/a")+of("kv/b")), spec(dir, "c", of("kv/c")))
		src.set("kv/c", "2")
		after(time.Hour)
		if src.count("kv/a") != 1 || read(t, filepath.Join(dir, "ab")) != "11" {
			t.Errorf("kv/a was read %d times", src.count("kv/a"))
		}
	})
}

func TestTemplatesWithOneDestinationAreRenderedInTheirOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src := t.TempDir(), newSource()
		src.set("kv/a", "1")
		src.set("kv/b", "1")
		watch(t, src, Options{}, WatchOptions{}, spec(dir, "x", "a"+of("kv/a")), spec(dir, "x", "b"+of("kv/b")),
			spec(dir, "y", of("kv/a")+`{{ "s" | writeToFile "`+filepath.Join(dir, "x")+`" "" "" "0600" }}`))
		for i := range 5 {
			src.set("kv/a", fmt.Sprint("n", i))
			after(time.Second)
			if got := read(t, filepath.Join(dir, "x")); got != "s" {
				t.Errorf("holds %q", got)
			}
		}
	})
}

func TestNothingAWatchSaysHoldsASecret(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir, src, log := t.TempDir(), newSource(), &logged{}
		src.set("kv/a", canary)
		v := spec(dir, "", of("kv/a"))
		v.Destination, v.Variable = "", "V"
		w := watch(t, src, Options{Log: log.logger(), Runner: &program1{err: errDenied}}, WatchOptions{},
			withCommand(spec(dir, "a", of("kv/a")), "x", canary), v,
			spec(dir, "bad", `{{ with secret "kv/a" }}{{ .Data.data.v | parseJSON }}{{ end }}`),
			spec(dir, "bad too", `{{ with secret "kv/a" }}{{ .Data.data.v | sprig_fail }}{{ end }}`),
			spec(dir, "bad path", `{{ with secret "kv/a" }}{{ secret "kv/b" .Data.data.v }}{{ end }}`))
		after(time.Hour)
		all := log.text() + fmt.Sprintf("%v %+v %#v", w.Status(), w.Status(), first(w.told()))
		for _, s := range w.Status() {
			all += fmt.Sprint(s.Err)
		}
		for _, rep := range first(w.told()) {
			for _, o := range rep.Templates {
				all += fmt.Sprintf("%v %+v", o, o)
			}
		}
		if strings.Contains(all, canary) {
			t.Error("a secret is told")
		}
		if !strings.Contains(all, "template not rendered") {
			t.Error("nothing is told at all")
		}
	})
}

// A day of everything at once: what the files hold in the end is what the server
// holds, no template was forgotten, and nobody was stormed.
func TestADay(t *testing.T) {
	inBubble(t, func(t *testing.T) { day(t, rand.New(rand.NewPCG(1, 1)), 24*time.Hour, 1000) })
}

func FuzzNothingIsLost(f *testing.F) {
	f.Add(uint64(1), uint16(50))
	f.Add(uint64(2), uint16(200))
	f.Fuzz(func(t *testing.T, seed uint64, events uint16) {
		inBubble(t, func(t *testing.T) {
			day(t, rand.New(rand.NewPCG(seed, 7)), time.Hour, int(events%300))
		})
	})
}

func day(t *testing.T, rnd *rand.Rand, length time.Duration, events int) {
	dir, src, run := t.TempDir(), newSource(), &program1{}
	const secrets, templates = 8, 12
	value := map[string]string{}
	path := func(i int) string { return fmt.Sprint("kv/", i) }
	for i := range secrets {
		value[path(i)] = "0"
		src.set(path(i), "0")
	}
	var jitter sync.Mutex
	src.hook = func(ctx context.Context, r Request) error {
		jitter.Lock()
		d := time.Duration(rnd.IntN(3)) * time.Second
		jitter.Unlock()
		retry.Sleep(ctx, d)
		return nil
	}
	in := filepath.Join(dir, "in")
	if err := os.WriteFile(in, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	uses := map[string][]string{}
	var specs []Spec
	for i := range templates {
		file, text := fmt.Sprint("t", i), ""
		for range 1 + rnd.IntN(3) {
			p := path(rnd.IntN(secrets))
			uses[file] = append(uses[file], p)
			text += of(p)
		}
		text += fmt.Sprintf(`{{ file %q }}`, in)
		sp := spec(dir, file, text)
		if i%3 == 0 {
			sp = withCommand(sp, "reload", fmt.Sprint(i%6))
		}
		if i%4 == 0 {
			sp.Wait = &Wait{Min: 10 * time.Second, Max: 40 * time.Second}
		}
		specs = append(specs, sp)
	}
	w := watch(t, src, Options{Runner: run}, WatchOptions{Retry: retry.Schedule{Attempts: 5, Base: time.Second, Max: time.Minute, Jitter: 0.3}}, specs...)
	content := "x"
	for n := range events {
		jitter.Lock()
		pause := time.Duration(rnd.Int64N(int64(2 * length / time.Duration(max(1, events)))))
		what, i := rnd.IntN(10), rnd.IntN(secrets)
		jitter.Unlock()
		if rnd2 := n % 5; rnd2 != 0 {
			pause /= 100
		}
		time.Sleep(pause)
		switch {
		case what < 6:
			value[path(i)] = fmt.Sprint("v", n)
			src.set(path(i), value[path(i)])
		case what == 6:
			src.mu.Lock()
			src.errs[path(i)] = errDenied
			src.mu.Unlock()
		case what == 7:
			_ = os.Remove(filepath.Join(dir, fmt.Sprint("t", n%templates)))
		case what == 8:
			content = fmt.Sprint("f", n)
			if err := os.WriteFile(in+"~", []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(in+"~", in); err != nil {
				t.Fatal(err)
			}
		case what == 9:
			run.mu.Lock()
			run.err = map[bool]error{true: errDenied}[n%2 == 0]
			run.mu.Unlock()
		}
	}
	src.mu.Lock()
	clear(src.errs)
	src.mu.Unlock()
	run.mu.Lock()
	run.err = nil
	run.mu.Unlock()
	after(5 * time.Minute)
	for file, paths := range uses {
		want := ""
		for _, p := range paths {
			want += value[p]
		}
		if got := read(t, filepath.Join(dir, file)); got != want+content {
			t.Errorf("%s holds %q, want %q", file, got, want+content)
		}
		if s := w.status(file); s.Err != nil || s.Next != "" {
			t.Errorf("%s: %+v", file, s)
		}
	}
	if limit := secrets + events*10; src.requests() > limit {
		t.Errorf("%d requests for %d events", src.requests(), events)
	}
	before, ran := src.requests(), run.n()
	after(length / 8)
	if src.requests() != before || run.n() != ran {
		t.Error("something was asked or run while nothing changed")
	}
}
