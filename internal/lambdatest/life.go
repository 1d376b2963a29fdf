//go:build linux

package lambdatest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Fault is why an init or an invocation failed, as who invoked the function
// sees it.
type Fault struct {
	Type    string // such as Extension.Crash
	Message string
	Payload []byte // of an error that the function itself returned
}

// Error gives type and message.
func (f *Fault) Error() string { return f.Type + ": " + f.Message }

// The types of faults.
const (
	LaunchError  = "Extension.LaunchError" // the extension could not be executed
	InitError    = "Extension.InitError"   // it said so, by init/error
	ExitError    = "Extension.ExitError"   // it said so, by exit/error
	Crash        = "Extension.Crash"       // it ended, however well, without having been told to
	RuntimeExit  = "Runtime.ExitError"
	InvalidEntry = "Runtime.InvalidEntrypoint"
	Timeout      = "Sandbox.Timedout" // of an init or an invocation
	TooLarge     = "Function.ResponseSizeTooLarge"
)

// life is that of the processes: from a start to a reset or the shutdown. The
// environment may have several, one after the other, with one /tmp.
type life struct {
	p      *Platform
	number int

	mu      sync.Mutex
	moved   chan struct{} // closed and replaced whenever something below has
	agents  []*agent
	worker  *worker
	runtime bool   // is started
	open    bool   // internal extensions may register
	fault   *Fault // the first
	halted  bool   // because of the fault, which by then is final
	ending  bool   // exits are expected
	done    chan struct{}
	once    sync.Once // for the end
	endings []Ended
	started time.Time
	calls   map[string]int
}

func (p *Platform) newLife() *life {
	p.lives++
	return &life{
		p: p, number: p.lives, moved: make(chan struct{}), done: make(chan struct{}),
		worker: &worker{state: started, current: map[string]*invocation{}},
		calls:  map[string]int{}, started: time.Now(),
	}
}

// changed tells who waits. With the lock held.
func (l *life) changed() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// until waits until is holds, which is asked with the lock held. It ends with
// the life's fault, or with ctx.
func (l *life) until(ctx context.Context, is func() bool) error {
	for {
		l.mu.Lock()
		holds, halted, moved := is(), l.halted, l.moved
		fault := l.fault
		l.mu.Unlock()
		switch {
		case halted:
			return fault
		case holds:
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fail notes a fault, of which the first counts. With the lock held.
func (l *life) fail(kind, message string) {
	if l.fault == nil {
		l.fault = &Fault{Type: kind, Message: message}
	}
}

// init starts everything, in the platform's order, and waits until everything
// waits for an invocation.
func (l *life) init(ctx context.Context) error {
	if err := l.startExtensions(ctx); err != nil {
		return err
	}
	if err := l.startRuntime(); err != nil {
		return err
	}
	if err := l.until(ctx, func() bool { return !l.worker.readyAt.IsZero() || l.worker.state == restoreReady }); err != nil {
		return err
	}
	l.mu.Lock()
	l.open = false
	l.mu.Unlock()
	return l.until(ctx, func() bool { return l.all(func(a *agent) bool { return a.state == ready }) })
}

// all asks of each agent. With the lock held.
func (l *life) all(is func(*agent) bool) bool {
	for _, a := range l.agents {
		if !is(a) {
			return false
		}
	}
	return true
}

func (l *life) startExtensions(ctx context.Context) error {
	files, err := os.ReadDir(filepath.Join(l.p.opt(), "extensions"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for n, f := range files {
		if n == maxExtensions {
			l.halt(LaunchError, fmt.Sprintf("Extension limit (%d) reached", maxExtensions))
			return l.fault
		}
		a := &agent{name: f.Name(), id: uuid(), state: started, events: map[string]bool{}}
		l.mu.Lock()
		l.agents = append(l.agents, a)
		l.mu.Unlock()
		path := filepath.Join(l.p.seenOpt(), "extensions", f.Name())
		proc, err := l.p.spawn(f.Name(), []string{path}, l.p.extensionEnviron(), "/", func(one *process) { l.ended(a, one) })
		if err != nil {
			l.mu.Lock()
			a.state = launchFailed
			l.mu.Unlock()
			l.halt(LaunchError, err.Error())
			return l.fault
		}
		l.mu.Lock()
		a.proc = proc
		l.mu.Unlock()
	}
	return l.until(ctx, func() bool { return l.all(func(a *agent) bool { return !a.registeredAt.IsZero() }) })
}

// halt is a fault that ends all waiting.
func (l *life) halt(kind, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail(kind, message)
	l.halted = true
	l.changed()
}

func (l *life) startRuntime() error {
	argv := []string{l.p.bootstrap()}
	if l.p.o.Wrapper != "" {
		argv = append([]string{l.p.wrapper()}, argv...)
	}
	l.mu.Lock()
	l.runtime, l.open = true, true
	l.mu.Unlock()
	proc, err := l.p.spawn("runtime", argv, l.p.runtimeEnviron(), filepath.Dir(l.p.bootstrapFile()), func(one *process) {
		l.mu.Lock()
		defer l.mu.Unlock()
		defer l.changed()
		if l.ending {
			return
		}
		message := "Runtime exited without providing a reason"
		if !one.state.Success() {
			message = "Runtime exited with error: " + one.how()
		}
		l.fail(RuntimeExit, message)
		l.halted = true
	})
	if err != nil {
		l.halt(InvalidEntry, err.Error())
		return l.fault
	}
	l.mu.Lock()
	l.worker.proc = proc
	l.mu.Unlock()
	return nil
}

// ended notes that an extension's process has. Outside a shutdown that is a
// crash, whatever its code, unless the extension has said more before.
func (l *life) ended(a *agent, one *process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.changed()
	if l.ending {
		if a.state = exited; !one.state.Success() {
			a.state = shutdownFailed
		}
		return
	}
	switch a.state {
	case initFailed:
		l.fail(InitError, one.how())
	case exitFailed:
		l.fail(ExitError, one.how())
	default:
		l.fail(Crash, one.how())
	}
	l.halted = true
}

// groups are the processes there are.
func (l *life) groups() []*process {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*process
	for _, a := range l.agents {
		if a.proc != nil {
			all = append(all, a.proc)
		}
	}
	if l.worker.proc != nil {
		all = append(all, l.worker.proc)
	}
	return all
}

// Ended says how an extension took its end.
type Ended struct {
	Extension string
	Told      bool          // it got a SHUTDOWN event
	Took      time.Duration // from there until it had ended
	Killed    bool          // because it took too long, or was not to be told
	Code      int           // -1 when it was killed
}

// stop ends the life: the runtime first, then each extension that wants to know
// is told, within limit, and in the end nothing is left.
//
// Whoever calls it second waits for the first and hears the same.
func (l *life) stop(reason string, limit time.Duration) []Ended {
	l.once.Do(func() { l.endings = l.end(reason, limit) })
	return l.endings
}

func (l *life) end(reason string, limit time.Duration) []Ended {
	l.mu.Lock()
	l.ending = true
	agents, fn := l.agents, l.worker.proc
	external := 0
	for _, a := range agents {
		if !a.internal && a.proc != nil {
			external++
		}
	}
	l.mu.Unlock()
	deadline := time.Now().Add(limit)
	if fn != nil {
		if external > 0 {
			fn.signal(syscall.SIGTERM)
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(runtimeShare*float64(limit)))
			fn.endsBefore(ctx)
			cancel()
		}
		fn.end()
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	told := time.Now()
	var report []Ended
	var waitFor []*agent
	l.mu.Lock()
	for _, a := range agents {
		if a.internal || a.proc == nil {
			continue
		}
		alive := !closed(a.proc.exited)
		tell := alive && a.events["SHUTDOWN"] && !a.over()
		report = append(report, Ended{Extension: a.name, Told: tell})
		waitFor = append(waitFor, a)
		if tell {
			a.deliver(event{body: map[string]any{
				"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": l.p.by(a, deadline),
			}})
		} else if alive && !a.over() {
			a.proc.signal(syscall.SIGKILL)
		}
	}
	l.mu.Unlock()
	for n, a := range waitFor {
		e := &report[n]
		if !a.proc.endsBefore(ctx) {
			e.Killed = true
		}
		a.proc.end()
		l.p.heard(a.proc)
		e.Took = a.proc.ended.Sub(told)
		e.Code = a.proc.state.ExitCode()
		e.Killed = e.Killed || e.Code == -1
	}
	if fn != nil {
		l.p.heard(fn)
	}
	close(l.done)
	return report
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// uuid is a random one, version 4.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return false
			}
		} else if !strings.ContainsRune("0123456789abcdefABCDEF", rune(s[i])) {
			return false
		}
	}
	return true
}
