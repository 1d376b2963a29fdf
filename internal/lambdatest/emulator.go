//go:build linux

package lambdatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Environment is what a case needs that runs on both: on the Platform and on
// AWS's own emulator.
type Environment interface {
	Invoke(payload any) (Result, error)
	Init() InitReport
	Shutdown(reason string) []Ended
	Freeze()
	Thaw()
	PID(name string) int
	Signal(name string, s syscall.Signal)
	Logs(source string) string
	WaitForLog(ctx context.Context, source, text string) error
	Tmp() string
}

var (
	_ Environment = (*Platform)(nil)
	_ Environment = (*Emulator)(nil)
)

// Emulator is an environment on AWS's Runtime Interface Emulator. It is less
// strict than the Platform and knows less: it inits at the first invocation, it
// does not freeze (Freeze and Thaw do), it does not say who said what (Logs of
// any name are those of all), and of a failed init it knows type and message.
type Emulator struct {
	p       *Platform // for what both have; its own life is never begun
	url     string
	process *process
	client  *http.Client
}

// RIE is the variable that names the emulator's binary.
const RIE = "LATCHKEY_RIE"

// OnEmulator says why an environment cannot be had on the emulator, nil when it
// can.
func (o Options) OnEmulator() error {
	switch {
	case o.InitType != "" && o.InitType != OnDemand:
		return errors.New("the emulator knows on-demand alone")
	case o.Rude != nil, o.CPU != 0, o.Freezer == CGroup, o.Refusals, o.Started != nil:
		return errors.New("the emulator is not rude, does not limit, and says nothing about refusals and starts")
	}
	return nil
}

// StartEmulator starts the environment on the emulator's binary. The processes
// have a PID namespace, with which they end, and /opt of their own; it needs
// root, or user namespaces.
func StartEmulator(t TB, binary string, o Options) *Emulator {
	t.Helper()
	if err := o.OnEmulator(); err != nil {
		t.Fatalf("lambdatest: %v", err)
	}
	private := o.Private
	o.Private = true // the paths are those below /opt
	o = o.withDefaults(t)
	if err := configured(o.Env); err != nil {
		t.Fatalf("lambdatest: %v", err)
	}
	p := &Platform{t: t, o: o, dir: t.TempDir(), box: &box{}}
	e := &Emulator{p: p, client: &http.Client{Transport: &http.Transport{}}}
	if err := errors.Join(p.layOut(), place(binary, p.opt(), "rie")); err != nil {
		t.Fatalf("lambdatest: laying out /opt: %v", err)
	}
	api, err1 := FreeAddress()
	invoke, err2 := FreeAddress()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("lambdatest: %v", err)
	}
	p.addr, e.url = api, "http://"+invoke
	if err := e.start(private, api, invoke); err != nil {
		t.Fatalf("lambdatest: starting the emulator: %v", err)
	}
	t.Cleanup(e.close)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := poll(ctx, func() (bool, error) {
		c, err := net.Dial("tcp", invoke)
		if err == nil {
			_ = c.Close()
		}
		return err == nil, nil
	}); err != nil {
		t.Fatalf("lambdatest: the emulator does not listen: %v\n%s", err, p.log.text(""))
	}
	return e
}

func (e *Emulator) start(private bool, api, invoke string) error {
	p := e.p
	flags := []string{"-m", "-p", "--fork", "--kill-child"}
	if os.Geteuid() != 0 {
		flags = append(flags, "-r")
	}
	script := `set -e; mount --bind "$1" /opt; `
	if private {
		script += `mount --bind "$2" /tmp; `
	}
	script += `shift 2; exec "$@"`
	argv := append([]string{"/usr/bin/unshare"}, flags...)
	argv = append(argv, "/bin/sh", "-c", script, "sh", p.opt(), p.o.Tmp,
		"/opt/rie", "--runtime-api-address", api, "--runtime-interface-emulator-address", invoke)
	if p.o.Wrapper != "" {
		argv = append(argv, p.wrapper())
	}
	argv = append(argv, p.bootstrap())
	if p.o.Wrapper == "" {
		argv = append(argv, handlerName) // or the bootstrap would be taken for it
	}
	env := append(p.runtimeEnviron(), "AWS_LAMBDA_FUNCTION_TIMEOUT="+strconv.Itoa(int(math.Ceil(p.o.Timeout.Seconds()))))
	out, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errs, errsW, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Env: env, Dir: "/", Stdout: outW, Stderr: errsW,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	one := &process{source: "emulator", exited: make(chan struct{}), said: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // see spawn
		defer runtime.UnlockOSThread()
		err := startPatiently(cmd)
		_, _ = outW.Close(), errsW.Close()
		if err == nil {
			one.pid = cmd.Process.Pid
		}
		if started <- err; err != nil {
			return
		}
		_ = cmd.Wait()
		one.ended, one.state = time.Now(), cmd.ProcessState
		close(one.exited)
	}()
	go func() {
		other := make(chan struct{})
		go func() { p.log.follow("platform", errs); close(other) }()
		p.log.follow("environment", out)
		<-other
		close(one.said)
	}()
	e.process = one
	return <-started
}

// Invoke implements Environment.
func (e *Emulator) Invoke(payload any) (Result, error) {
	e.Thaw()
	raw, ok := payload.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(payload); err != nil {
			return Result{}, err
		}
	}
	lines, _ := e.p.log.all()
	began := time.Now()
	req, err := http.NewRequest(http.MethodPost, e.url+"/2015-03-31/functions/function/invocations", strings.NewReader(string(raw)))
	if err != nil {
		return Result{}, err
	}
	r, err := e.client.Do(req)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return Result{}, err
	}
	result := Result{Payload: body, Duration: time.Since(began), Response: time.Since(began)}
	if r.StatusCode != http.StatusOK {
		// It answers first and says why afterwards.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_ = e.p.log.wait(ctx, "platform", "Invoke DONE failed", len(lines))
		cancel()
	}
	said := ""
	e.p.log.drain()
	all, _ := e.p.log.all()
	for _, one := range all[len(lines):] {
		said += one.Text + "\n"
	}
	var failed struct{ ErrorType, ErrorMessage string }
	_ = json.Unmarshal(body, &failed)
	switch {
	case strings.HasPrefix(string(body), "Task timed out after"):
		return result, &Fault{Type: Timeout, Message: string(body)}
	case failed.ErrorType != "":
		return result, &Fault{Type: failed.ErrorType, Message: failed.ErrorMessage, Payload: body}
	case r.StatusCode != http.StatusOK:
		f := faultIn(said)
		if f == nil {
			f = &Fault{Type: "Sandbox.Failure", Message: r.Status}
		}
		return result, f
	}
	e.Freeze()
	return result, nil
}

// faultIn finds what the emulator says failed first.
func faultIn(log string) *Fault {
	_, kind, found := strings.Cut(log, "First fatal error stored in appctx: ")
	if !found {
		return nil
	}
	kind, _, _ = strings.Cut(kind, "\n")
	f := &Fault{Type: strings.TrimSpace(kind)}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "Init failed") || strings.Contains(line, "Invoke failed") {
			if _, message, ok := strings.Cut(line, "error="); ok {
				f.Message, _, _ = strings.Cut(strings.TrimSpace(message), " InvokeID=")
				break
			}
		}
	}
	return f
}

// Init implements Environment. Before the first invocation there was none.
func (e *Emulator) Init() InitReport {
	log := e.p.log.text("platform")
	r := InitReport{}
	_, ms, found := strings.Cut(log, "INIT REPORT(durationMs: ")
	if !found {
		return r
	}
	r.Phase = "init"
	ms, _, _ = strings.Cut(ms, ")")
	if d, err := time.ParseDuration(ms + "ms"); err == nil {
		r.Duration = d
	}
	before, _, _ := strings.Cut(log, "phase: invoke")
	if strings.Contains(before, "Init failed") {
		r.Fault = faultIn(before)
	}
	return r
}

// Shutdown implements Environment; the reason is the emulator's own.
func (e *Emulator) Shutdown(string) []Ended {
	e.Thaw()
	began := time.Now()
	if pid := e.child(e.process.pid, "rie"); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if !e.process.endsBefore(ctx) {
		e.p.t.Errorf("lambdatest: the emulator does not end")
	}
	e.process.end()
	<-e.process.said
	killed := strings.Contains(e.p.log.text("platform"), "did not exit after deadline")
	return []Ended{{Extension: e.p.o.Name, Told: true, Took: time.Since(began), Killed: killed}}
}

// Freeze implements Environment.
func (e *Emulator) Freeze() { e.each(syscall.SIGSTOP) }

// Thaw implements Environment.
func (e *Emulator) Thaw() { e.each(syscall.SIGCONT) }

func (e *Emulator) each(s syscall.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{e.p.o.Name, "runtime"} {
		pid := e.PID(name)
		if pid == 0 || name == "" {
			continue
		}
		_ = syscall.Kill(-pid, s)
		if s == syscall.SIGSTOP {
			if err := (&process{pid: pid}).stopped(ctx); err != nil {
				e.p.t.Errorf("lambdatest: freezing %s: %v", name, err)
			}
		}
	}
}

// PID implements Environment.
func (e *Emulator) PID(name string) int {
	rie := e.child(e.process.pid, "rie")
	if rie == 0 {
		return 0
	}
	if name == "runtime" {
		return e.child(rie, filepath.Base(e.p.bootstrap()))
	}
	return e.child(rie, name)
}

// child finds a child of a process by the base of its executable.
func (e *Emulator) child(of int, name string) int {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", of))
	for _, file := range tasks {
		list, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(list)) {
			exe, _ := os.Readlink("/proc/" + word + "/exe")
			if filepath.Base(exe) == name {
				pid, _ := strconv.Atoi(word)
				return pid
			}
		}
	}
	return 0
}

// Signal implements Environment.
func (e *Emulator) Signal(name string, s syscall.Signal) {
	if pid := e.PID(name); pid != 0 {
		_ = syscall.Kill(pid, s)
	}
}

// Logs implements Environment.
func (e *Emulator) Logs(source string) string {
	if source != "" && source != "platform" {
		source = "environment"
	}
	return e.p.log.text(source)
}

// WaitForLog implements Environment.
func (e *Emulator) WaitForLog(ctx context.Context, source, text string) error {
	if source != "" && source != "platform" {
		source = "environment"
	}
	return e.p.log.wait(ctx, source, text, 0)
}

// Tmp implements Environment.
func (e *Emulator) Tmp() string { return e.p.o.Tmp }

func (e *Emulator) close() {
	e.client.CloseIdleConnections()
	e.Thaw()
	e.process.end()
	<-e.process.said
	if f, ok := e.p.t.(interface{ Failed() bool }); ok && f.Failed() {
		e.p.t.Logf("what the environment said:\n%s", e.p.log.text(""))
	}
}
