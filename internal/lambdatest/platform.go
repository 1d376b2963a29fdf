//go:build linux

package lambdatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Platform is one execution environment. Its methods may be called from several
// goroutines; but for managed instances it invokes one at a time, as Lambda does.
type Platform struct {
	t                TB
	o                Options
	addr             string // of the APIs
	dir              string
	credentialsToken string
	log              logs
	box              *box
	server           *http.Server
	served           sync.WaitGroup

	turn     sync.RWMutex // held by who changes the life; shared by concurrent invocations
	starting sync.Mutex   // of those, held by who starts a life

	mu       sync.Mutex
	life     *life // nil when the processes must be started again
	lives    int
	reports  []InitReport
	keys     Credentials
	restored bool
	frozen   bool
	skews    map[string]time.Duration // of extensions' clocks, by name
	calls    []Call
	refused  []string
}

// InitReport says how an init went.
type InitReport struct {
	Phase    string        // "init", or "invoke" for one inside an invocation
	Duration time.Duration // until all waited for an invocation, or until it failed

	// Since the start: when the (first) extension had registered, the runtime was
	// started and asked for an invocation, and the extension asked for an event.
	// Zero for what did not happen.
	ExtensionRegisteredAfter, RuntimeReadyAfter, ExtensionReadyAfter time.Duration

	Fault *Fault // nil when it went well

	// ReportedType and ReportedBody are what the extension said by init/error or
	// exit/error.
	ReportedType, ReportedBody string
}

// Result is what came of an invocation.
type Result struct {
	RequestID string
	Payload   []byte      // the function's response
	Init      *InitReport // of an init inside the invocation
	Response  time.Duration
	Duration  time.Duration // until the extensions were ready again too
	Events    []Ended       // when the environment was reset: how the extensions ended
}

// Into decodes the response.
func (r Result) Into(v any) error { return json.Unmarshal(r.Payload, v) }

// Start starts an environment and inits it. That may fail, and Init tells;
// Options that make no sense are fatal to t.
func Start(t TB, o Options) *Platform {
	t.Helper()
	o = o.withDefaults(t)
	p := &Platform{t: t, o: o, dir: t.TempDir(), credentialsToken: uuid(), keys: o.Credentials, skews: map[string]time.Duration{}}
	if err := configured(o.Env); err != nil {
		t.Fatalf("lambdatest: %v", err)
	}
	if err := p.layOut(); err != nil {
		t.Fatalf("lambdatest: laying out /opt: %v", err)
	}
	var err error
	if p.box, err = newBox(o.Freezer == CGroup, o.CPU > 0, o.CPU); err != nil {
		t.Fatalf("lambdatest: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("lambdatest: %v", err)
	}
	p.addr = listener.Addr().String()
	p.server = &http.Server{Handler: p.handler(), ReadHeaderTimeout: time.Minute}
	p.served.Go(func() { _ = p.server.Serve(listener) })
	t.Cleanup(p.close)
	p.turn.Lock()
	defer p.turn.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), o.InitLimit)
	defer cancel()
	if _, fault := p.init(ctx, "init"); fault == nil {
		p.freeze()
	}
	return p
}

// layOut puts the binaries where the platform looks for them.
func (p *Platform) layOut() error {
	o := p.o
	extensions := filepath.Join(p.opt(), "extensions")
	if o.Extension != "" {
		if err := place(o.Extension, extensions, o.Name); err != nil {
			return err
		}
	}
	for _, other := range o.Beside {
		if err := place(other, extensions, filepath.Base(other)); err != nil {
			return err
		}
	}
	if o.Wrapper != "" {
		if err := place(o.Wrapper, p.opt(), filepath.Base(o.Wrapper)); err != nil {
			return err
		}
	}
	return place(o.Function, p.opt(), "bootstrap")
}

func (p *Platform) opt() string { return filepath.Join(p.dir, "opt") }

// seenOpt is where the processes see /opt.
func (p *Platform) seenOpt() string {
	if p.o.Private {
		return "/opt"
	}
	return p.opt()
}

func (p *Platform) bootstrap() string     { return filepath.Join(p.seenOpt(), "bootstrap") }
func (p *Platform) bootstrapFile() string { return filepath.Join(p.opt(), "bootstrap") }
func (p *Platform) wrapper() string       { return filepath.Join(p.seenOpt(), filepath.Base(p.o.Wrapper)) }

// init starts a life. What fails it also ends it.
func (p *Platform) init(ctx context.Context, phase string) (InitReport, *Fault) {
	l := p.newLife()
	p.mu.Lock()
	p.life, p.restored, p.frozen = l, false, false
	clear(p.skews) // those that are started now have the true time
	p.mu.Unlock()
	err := l.init(ctx)
	r := l.report(phase)
	if err != nil {
		if !errors.As(err, &r.Fault) {
			r.Fault = &Fault{Type: Timeout, Message: fmt.Sprintf("the %s phase timed out after %.2f seconds", phase, r.Duration.Seconds())}
			p.reset(l, "timeout")
		} else {
			p.reset(l, "failure")
		}
	}
	p.mu.Lock()
	p.reports = append(p.reports, r)
	p.mu.Unlock()
	p.log.add("platform", fmt.Sprintf("INIT phase %s took %s: %v", phase, r.Duration, err))
	return r, r.Fault
}

func (l *life) report(phase string) InitReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := InitReport{Phase: phase, Duration: time.Since(l.started)}
	since := func(at time.Time) time.Duration {
		if at.IsZero() {
			return 0
		}
		return at.Sub(l.started)
	}
	for _, a := range l.agents {
		if r.ExtensionRegisteredAfter == 0 {
			r.ExtensionRegisteredAfter, r.ExtensionReadyAfter = since(a.registeredAt), since(a.readyAt)
		}
		if r.ReportedType == "" {
			r.ReportedType, r.ReportedBody = a.reportedAs, a.reportedFor
		}
	}
	r.RuntimeReadyAfter = since(l.worker.readyAt)
	return r
}

// Init tells of the newest init.
func (p *Platform) Init() InitReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reports[len(p.reports)-1]
}

// Inits counts them, with those inside invocations.
func (p *Platform) Inits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.reports)
}

// current is the life whose processes may call; after its end, one where
// nobody is known.
func (p *Platform) current() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil {
		return p.life
	}
	return &life{
		p: p, moved: make(chan struct{}), done: make(chan struct{}), calls: map[string]int{},
		worker: &worker{state: started, current: map[string]*invocation{}},
	}
}

// reset ends the processes of a life; the next invocation starts others.
func (p *Platform) reset(l *life, reason string) []Ended {
	if l == nil {
		return nil
	}
	p.Thaw()
	// They may still call, for instance to say why they end.
	ended := l.stop(reason, p.o.ShutdownLimit)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == l {
		p.life = nil
	}
	return ended
}

// Invoke invokes the function with payload, as it is when it is []byte and as
// JSON otherwise, and returns when the environment is frozen again. The error
// is a *Fault, the function's own among them; the Result is filled all the same.
func (p *Platform) Invoke(payload any) (Result, error) {
	raw, ok := payload.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(payload); err != nil {
			return Result{}, err
		}
	}
	if p.o.InitType == ManagedInstances {
		p.turn.RLock()
		defer p.turn.RUnlock()
	} else {
		p.turn.Lock()
		defer p.turn.Unlock()
	}
	began := time.Now()
	i := &invocation{id: uuid(), payload: raw}
	result, fault := p.invoke(i, began)
	result.RequestID, result.Payload, result.Duration = i.id, i.response, time.Since(began)
	if result.Response == 0 {
		result.Response = result.Duration
	}
	if fault == nil {
		p.freeze()
	}
	if i.failure != nil {
		fault = i.failure
	}
	if fault == nil {
		return result, nil
	}
	told := *fault
	told.Message = "RequestId: " + i.id + " Error: " + fault.Message
	return result, &told
}

func (p *Platform) invoke(i *invocation, began time.Time) (result Result, fault *Fault) {
	p.Thaw()
	deadline := began.Add(p.o.Timeout)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	l, r, fault := p.alive(ctx)
	if result.Init = r; fault != nil {
		return result, fault
	}
	p.mu.Lock()
	stale := p.o.InitType == SnapStart && !p.restored
	p.mu.Unlock()
	if stale {
		if err := p.restore(l, p.o.Credentials); err != nil {
			return result, &Fault{Type: "Sandbox.RestoreFailed", Message: err.Error()}
		}
		began = time.Now()
		deadline = began.Add(p.o.Timeout)
		ctx, cancel = context.WithDeadline(context.Background(), deadline)
		defer cancel()
	}
	err := l.invoke(ctx, i, deadline, func() { result.Response = time.Since(began) })
	switch {
	case err == nil:
		return result, nil
	case errors.As(err, &fault):
		result.Events = p.reset(l, "failure")
	case p.o.InitType == ManagedInstances: // the others go on
		fault = &Fault{Type: Timeout, Message: timedOut(p.o.Timeout)}
	default:
		fault = &Fault{Type: Timeout, Message: timedOut(p.o.Timeout)}
		result.Events = p.reset(l, "timeout")
	}
	return result, fault
}

// alive is the life there is, or a new one.
func (p *Platform) alive(ctx context.Context) (*life, *InitReport, *Fault) {
	p.starting.Lock()
	defer p.starting.Unlock()
	p.mu.Lock()
	l := p.life
	p.mu.Unlock()
	if l != nil {
		return l, nil, nil
	}
	r, fault := p.init(ctx, "invoke")
	return p.current(), &r, fault
}

func timedOut(after time.Duration) string {
	return fmt.Sprintf("Task timed out after %.2f seconds", after.Seconds())
}

// invoke runs an invocation: the events, the response, and that all who were
// told are ready again. A runtime or an extension that is not ready holds the
// next one up, so the invocation is not over.
func (l *life) invoke(ctx context.Context, i *invocation, deadline time.Time, responded func()) error {
	concurrent := l.p.o.InitType == ManagedInstances
	arn := "arn:aws:lambda:" + l.p.o.Region + ":" + accountID + ":function:" + functionName
	trace := "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	i.headers = map[string]string{
		"Lambda-Runtime-Aws-Request-Id":       i.id,
		"Lambda-Runtime-Invoked-Function-Arn": arn,
		"Lambda-Runtime-Deadline-Ms":          strconv.FormatInt(deadline.UnixMilli(), 10),
		"Content-Type":                        "application/json",
	}
	if l.p.o.Trace {
		i.headers["Lambda-Runtime-Trace-Id"] = trace
	}
	told := func(a *agent) event {
		body := map[string]any{
			"eventType": "INVOKE", "deadlineMs": l.p.by(a, deadline), "requestId": i.id, "invokedFunctionArn": arn,
		}
		if l.p.o.Trace {
			body["tracing"] = map[string]string{"type": "X-Amzn-Trace-Id", "value": trace}
		}
		return event{id: uuid(), body: body}
	}
	if err := l.until(ctx, func() bool {
		if len(l.worker.parked) == 0 || i.taken {
			return i.taken
		}
		i.taken = true
		for _, a := range l.agents {
			if a.events["INVOKE"] {
				a.deliver(told(a))
			}
		}
		l.worker.give(i)
		return true
	}); err != nil {
		return err
	}
	defer func() {
		l.mu.Lock()
		delete(l.worker.current, i.id)
		l.mu.Unlock()
	}()
	if err := l.until(ctx, func() bool { return i.answered }); err != nil {
		return err
	}
	responded()
	if concurrent {
		return nil
	}
	if err := l.until(ctx, func() bool { return l.worker.state == ready }); err != nil {
		return err
	}
	return l.until(ctx, func() bool {
		return l.all(func(a *agent) bool { return !a.events["INVOKE"] || a.state == ready })
	})
}

// by is a deadline as an extension is told it: the clock that was moved is the
// platform's too.
func (p *Platform) by(a *agent, deadline time.Time) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return deadline.Add(p.skews[a.name]).UnixMilli()
}

// Restore goes on from the snapshot that a snap-start environment is after its
// init, with credentials that may be others than those of the init. The first
// invocation does it with the same ones when nobody has.
func (p *Platform) Restore(keys Credentials) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.Thaw()
	return p.restore(p.current(), keys)
}

func (p *Platform) restore(l *life, keys Credentials) error {
	p.mu.Lock()
	p.keys, p.restored = keys, true
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l.mu.Lock()
	if l.worker.state == restoreReady {
		l.worker.state = restoring
		close(l.worker.restore)
		l.changed()
	}
	l.mu.Unlock()
	return l.until(ctx, func() bool { return l.worker.state == ready })
}

// Shutdown ends the environment as Lambda does, with a reason such as
// "spindown", and tells how the extensions took it. The next invocation would
// start it again.
func (p *Platform) Shutdown(reason string) []Ended {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.mu.Lock()
	l := p.life
	p.mu.Unlock()
	return p.reset(l, reason)
}

// freeze freezes what Lambda would between invocations.
func (p *Platform) freeze() {
	if p.o.Freezer != None && p.o.InitType != ManagedInstances {
		p.Freeze()
	}
}

// Freeze freezes the environment wherever it stands, and returns when it is.
func (p *Platform) Freeze() { p.stopOrGo(true) }

// Thaw undoes Freeze. An invocation does so by itself.
func (p *Platform) Thaw() { p.stopOrGo(false) }

func (p *Platform) stopOrGo(stop bool) {
	p.mu.Lock()
	l := p.life
	same := p.frozen == stop
	p.frozen = stop
	p.mu.Unlock()
	if l == nil || same {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if p.box.freezer != "" {
		set := p.box.thaw
		if stop {
			set = p.box.freeze
		}
		if err := set(ctx); err != nil {
			p.t.Errorf("lambdatest: freezing: %v", err)
		}
		return
	}
	for _, one := range l.groups() {
		if !stop {
			one.signal(syscall.SIGCONT)
			continue
		}
		one.signal(syscall.SIGSTOP)
		if err := one.stopped(ctx); err != nil {
			p.t.Errorf("lambdatest: freezing %s: %v", one.source, err)
		}
	}
}

// PID is that of an extension's process, by name, or of "runtime"; 0 when there
// is none.
func (p *Platform) PID(name string) int {
	for _, one := range p.current().groups() {
		if one.source == name && !closed(one.exited) {
			return one.pid
		}
	}
	return 0
}

// Signal sends s to the process of that name.
func (p *Platform) Signal(name string, s syscall.Signal) {
	if pid := p.PID(name); pid != 0 {
		_ = syscall.Kill(pid, s)
	}
}

// Gone waits until the process of that name is, and gives its exit code (-1 for
// a signal).
func (p *Platform) Gone(ctx context.Context, name string) (int, error) {
	for _, one := range p.current().groups() {
		if one.source == name {
			if !one.endsBefore(ctx) {
				return 0, fmt.Errorf("%s still runs: %w", name, ctx.Err())
			}
			return one.state.ExitCode(), nil
		}
	}
	return 0, fmt.Errorf("%s does not run", name)
}

// Logs is what a process said, by the extension's name or "runtime"; with "",
// what all said, each line with who.
func (p *Platform) Logs(source string) string { return p.log.text(source) }

// WaitForLog waits for a line with text by source (anyone when empty).
func (p *Platform) WaitForLog(ctx context.Context, source, text string) error {
	return p.log.wait(ctx, source, text, 0)
}

// Addr is host and port of the APIs.
func (p *Platform) Addr() string { return p.addr }

// Tmp is the directory that stands for /tmp.
func (p *Platform) Tmp() string { return p.o.Tmp }

// Calls are those that were made so far.
func (p *Platform) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func (p *Platform) note(c Call) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	return len(p.calls) - 1
}

func (p *Platform) answered(at int, from string, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.calls[at]
	c.Done, c.From, c.Status, c.Error, c.Event = time.Now(), from, a.status, a.error, a.event
}

// close ends everything, politely or not.
func (p *Platform) close() {
	p.Thaw()
	p.mu.Lock()
	l, refused := p.life, p.refused
	p.mu.Unlock()
	if l != nil {
		for _, one := range l.groups() {
			one.signal(syscall.SIGKILL)
		}
		l.stop("spindown", 0)
	}
	_ = p.server.Close()
	p.served.Wait()
	if err := p.box.remove(); err != nil {
		p.t.Errorf("lambdatest: %v", err)
	}
	if !p.o.Refusals {
		for _, r := range refused {
			p.t.Errorf("lambdatest: an extension was refused: %s", r)
		}
	}
	if f, ok := p.t.(interface{ Failed() bool }); ok && f.Failed() {
		p.t.Logf("what the environment said:\n%s", p.log.text(""))
	}
}
