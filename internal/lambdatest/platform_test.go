//go:build linux

package lambdatest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// self is the test binary, which is the extension and the runtime too.
func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts an environment with the scripts of extension and runtime.
func run(t *testing.T, o Options, ext, runtime string) *Platform {
	t.Helper()
	o.Function = self(t)
	if o.Extension == "" && ext != "none" {
		o.Extension, o.Name = self(t), "ext"
	}
	if ext != "" {
		o.Env = append(o.Env, "SCRIPT_ext="+ext)
	}
	if runtime != "" {
		o.Env = append(o.Env, "SCRIPT_RUNTIME="+runtime)
	}
	return Start(t, o)
}

// said compares what a process said, word by word of each line, without the
// spaces that stand for what was not there.
func said(t *testing.T, p *Platform, source string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(p.Logs(source)) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	for n, w := range want {
		if n >= len(got) || !strings.HasPrefix(got[n], w) {
			t.Fatalf("%s said\n%s\nwanted\n%s", source, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if len(got) > len(want) {
		t.Errorf("%s said more: %q", source, got[len(want):])
	}
}

func fault(t *testing.T, err error, kind string) *Fault {
	t.Helper()
	var f *Fault
	if !errors.As(err, &f) || f.Type != kind {
		t.Fatalf("the fault is %v, not %s", err, kind)
	}
	return f
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAnOrdinaryLife(t *testing.T) {
	t.Parallel()
	p := run(t, Options{}, "", "")
	if r := p.Init(); r.Fault != nil || r.ExtensionRegisteredAfter == 0 || r.RuntimeReadyAfter < r.ExtensionRegisteredAfter {
		t.Errorf("init: %+v", r)
	}
	for range 3 {
		r, err := p.Invoke(map[string]int{"a": 1})
		if err != nil || string(r.Payload) != `"done"` {
			t.Fatalf("%v, %q", err, r.Payload)
		}
	}
	ended := p.Shutdown("spindown")
	if len(ended) != 1 || !ended[0].Told || ended[0].Killed || ended[0].Code != 0 {
		t.Errorf("shutdown: %+v", ended)
	}
	said(t, p, "ext", "register 200 012345678912", "next 200 INVOKE", "next 200 INVOKE", "next 200 INVOKE", "next 200 SHUTDOWN spindown")
	said(t, p, "runtime", "invocation 200", "respond 202", "invocation 200", "respond 202", "invocation 200", "respond 202", "SIGTERM")
	if p.Inits() != 1 {
		t.Errorf("%d inits", p.Inits())
	}
}

// What is refused, by the type of the refusal. The scripts end in ways that
// make the init fail too; what matters is what was said until then.
func TestAnExtensionIsRefused(t *testing.T) {
	t.Parallel()
	const unknown = "id=00000000-0000-4000-8000-000000000000"
	for _, tc := range []struct {
		name, script string
		want         []string
	}{
		{"a name that no file has", "name=other register=INVOKE exit=1", []string{"register 403 Extension.InvalidExtensionName"}},
		{"no name", "name=- register=INVOKE exit=1", []string{"register 403 Extension.InvalidExtensionName Empty extension name"}},
		{"an event there is not", "register=INVOKE,RESTORE exit=1", []string{"register 403 Extension.InvalidEventType RESTORE: ErrorInvalidEventType"}},
		{"no JSON", "body={ exit=1", []string{"register 403 InvalidRequestFormat"}},
		{"configuration keys", `body={"configurationKeys":["a"]} exit=1`, []string{"register 403 InvalidRequestFormat configurationKeys are deprecated"}},
		{"registering twice", "register= register= exit=1", []string{"register 200", "register 403 Extension.InvalidExtensionState State transition from Registered to Registered failed for extension ext. Error: State transition is not allowed"}},
		{"next before register", unknown + " next exit=1", []string{"next 403 Extension.UnknownExtensionIdentifier"}},
		{"next without an identifier", "next exit=1", []string{"next 403 Extension.MissingExtensionIdentifier"}},
		{"next with what is no UUID", "id=abc next exit=1", []string{"next 403 Extension.InvalidExtensionIdentifier"}},
		{"two nexts at once", "register=INVOKE twice exit=1", []string{"register 200", "next 403 Extension.InvalidExtensionState State transition from Ready to Ready", "twice: 403"}},
		{"init/error without a type", "register= initerror exit=1", []string{"register 200", "initerror 403 Extension.MissingHeader Lambda-Extension-Function-Error-Type not found"}},
		{"init/error before register", unknown + " initerror=A.B exit=1", []string{"initerror 403 Extension.UnknownExtensionIdentifier"}},
		{"next after init/error", "register= initerror=A.B next exit=1", []string{"register 200", "initerror 202", "next 403 Extension.InvalidExtensionState State transition from InitError to Ready"}},
		{"exit/error after init/error", "register= initerror=A.B exiterror=A.B exit=1", []string{"register 200", "initerror 202", "exiterror 403 Extension.InvalidExtensionState"}},
		{"init/error twice is nothing", "register= initerror=A.B initerror=C.D exit=1", []string{"register 200", "initerror 202", "initerror 202"}},
		{"next after exit/error", "register= exiterror=A.B next exit=1", []string{"register 200", "exiterror 202", "next 403 Extension.InvalidExtensionState State transition from ExitError to Ready"}},
		{"telemetry is a stub", "put=/2022-07-01/telemetry put=/2020-08-15/logs exit=1", []string{"put 202 Telemetry.NotSupported", "put 202 Telemetry.NotSupported"}},
		{"what there is not", "put=/2020-01-01/extension/register put=/other exit=1", []string{"put 405", "put 404"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Refusals: true, Freezer: None} // or it could be frozen before it has said all
			p := run(t, o, tc.script, "")
			if tc.name == "two nexts at once" {
				if err := p.WaitForLog(within(t, 10*time.Second), "ext", "twice"); err != nil {
					t.Fatal(err)
				}
			}
			said(t, p, "ext", tc.want...)
		})
	}
}

func TestInitErrorIsRefusedAfterTheFirstNext(t *testing.T) {
	t.Parallel()
	p := run(t, Options{Refusals: true}, "register=INVOKE next initerror=A.B exiterror=C.D exit=1", "")
	_, err := p.Invoke(nil)
	fault(t, err, ExitError)
	said(t, p, "ext", "register 200", "next 200 INVOKE",
		"initerror 403 Extension.InvalidExtensionState State transition from Running to InitError", "exiterror 202")
}

func TestHowAnInitFails(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, ext, runtime string
		kind, message      string
		reported           string
	}{
		{"it crashes before register", "exit=7", "", Crash, "exit status 7", ""},
		{"it ends well, which is a crash", "register= exit=0", "", Crash, "exit code 0", ""},
		{"it says why", "register= initerror=Extension.Login exit=1", "", InitError, "exit status 1", "Extension.Login"},
		{"it says why by exit/error", "register= exiterror=Extension.Login exit=1", "", ExitError, "exit status 1", "Extension.Login"},
		{"the runtime ends", "", "exit=0", RuntimeExit, "Runtime exited without providing a reason", ""},
		{"the runtime crashes", "", "exit=2", RuntimeExit, "Runtime exited with error: exit status 2", ""},
		{"the runtime says why", "", "runtimeiniterror exit=1", "Runtime.Unknown", "the function failed to start", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := run(t, Options{}, tc.ext, tc.runtime)
			r := p.Init()
			if r.Fault == nil || r.Fault.Type != tc.kind || r.Fault.Message != tc.message || r.ReportedType != tc.reported {
				t.Fatalf("%+v %+v", r, r.Fault)
			}
			if tc.reported != "" && r.ReportedBody != `{"errorMessage":"it is so"}` {
				t.Errorf("reported: %q", r.ReportedBody)
			}
			// The first invocation tries again, and says what the second init said.
			result, err := p.Invoke(nil)
			fault(t, err, tc.kind)
			if result.Init == nil || result.Init.Phase != "invoke" || p.Inits() != 2 {
				t.Errorf("no init inside the invocation: %+v", result)
			}
		})
	}
}

func TestAFileThatCannotRunIsALaunchError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"no program": 0o755, "not executable": 0o644} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(path, []byte("\x00\x01\r\n"), mode); err != nil {
			t.Fatal(err)
		}
		p := run(t, Options{Extension: path}, "", "")
		if r := p.Init(); r.Fault == nil || r.Fault.Type != LaunchError {
			t.Errorf("%s: %+v", name, r.Fault)
		}
	}
}

func TestTheRuntimeStartsWhenAllHaveRegistered(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	other := filepath.Join(t.TempDir(), "ext-late")
	if err := place(self(t), filepath.Dir(other), filepath.Base(other)); err != nil {
		t.Fatal(err)
	}
	var registers int
	p := make(chan *Platform, 1)
	go func() {
		p <- run(t, Options{Beside: []string{other}, Rude: func(call string, before int) Rudeness {
			if call == "register" && before == 1 { // whichever comes second
				registers++
				return Rudeness{Hold: hold}
			}
			if call == "invocation/next" {
				select {
				case <-hold:
				default:
					t.Error("the runtime was started before all had registered")
				}
			}
			return Rudeness{}
		}}, "", "")
	}()
	// Nothing tells that nothing happens: the first to register gives the runtime
	// its chance, and the start of a process is what it would take.
	select {
	case <-p:
		t.Fatal("init was over before all had registered")
	case <-time.After(200 * time.Millisecond):
	}
	close(hold)
	if r := (<-p).Init(); r.Fault != nil || registers != 1 {
		t.Errorf("%+v", r.Fault)
	}
}

func TestAnInitThatTakesTooLongIsTriedAgainInTheFirstInvocation(t *testing.T) {
	t.Parallel()
	// Nobody is registered as long as the init lasts, however far it came in its time.
	var slow atomic.Bool
	slow.Store(true)
	p := run(t, Options{InitLimit: 300 * time.Millisecond, Timeout: 20 * time.Second, Rude: func(call string, _ int) Rudeness {
		if call == "register" && slow.Load() {
			return Rudeness{Hold: make(chan struct{})}
		}
		return Rudeness{}
	}}, "", "")
	fault(t, p.Init().Fault, Timeout)
	slow.Store(false)
	r, err := p.Invoke(nil)
	if err != nil || r.Init == nil || r.Init.Fault != nil {
		t.Fatalf("%v %+v", err, r.Init)
	}
}

func TestTooManyExtensions(t *testing.T) {
	t.Parallel()
	o := Options{}
	dir := t.TempDir()
	for _, n := range strings.Split("abcdefghij", "") {
		if err := place(self(t), dir, "ext-"+n); err != nil {
			t.Fatal(err)
		}
		o.Beside = append(o.Beside, filepath.Join(dir, "ext-"+n))
	}
	p := run(t, o, "", "") // with ext, eleven
	if f := fault(t, p.Init().Fault, LaunchError); f.Message != "Extension limit (10) reached" {
		t.Error(f.Message)
	}
}

func TestAnInvocationThatTakesTooLongResetsTheEnvironment(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	keep := filepath.Join(tmp, "keep")
	p := run(t, Options{Timeout: 1500 * time.Millisecond, Tmp: tmp, Env: []string{"KEEP=" + keep}},
		"kept keep register=INVOKE,SHUTDOWN loop", "invocation hang")
	r, err := p.Invoke(nil)
	if f := fault(t, err, Timeout); f.Message != "RequestId: "+r.RequestID+" Error: Task timed out after 1.50 seconds" {
		t.Error(f.Message)
	}
	if len(r.Events) != 1 || !r.Events[0].Told || r.Events[0].Killed {
		t.Errorf("%+v", r.Events)
	}
	_, err = p.Invoke(nil)
	fault(t, err, Timeout)
	// One may be killed before it is ready again, and says SHUTDOWN then.
	said(t, p, "ext", "kept: false", "register 200", "next 200 INVOKE", "next 200 SHUTDOWN timeout",
		"kept: true", "register 200", "next 200 INVOKE", "next 200 SHUTDOWN timeout")
	if p.Inits() != 2 {
		t.Errorf("%d inits", p.Inits())
	}
}

func TestAnExtensionThatIsNotReadyAgainHoldsTheInvocationUp(t *testing.T) {
	t.Parallel()
	p := run(t, Options{Timeout: 400 * time.Millisecond, ShutdownLimit: 200 * time.Millisecond}, "register=INVOKE,SHUTDOWN next hang", "")
	r, err := p.Invoke(nil)
	fault(t, err, Timeout)
	if string(r.Payload) != `"done"` || r.Response >= r.Duration {
		t.Errorf("the response came before: %+v", r)
	}
	if len(r.Events) != 1 || !r.Events[0].Told || !r.Events[0].Killed || r.Events[0].Code != -1 {
		t.Errorf("%+v", r.Events)
	}
}

func TestACrashInAnInvocation(t *testing.T) {
	t.Parallel()
	p := run(t, Options{}, "register=INVOKE next exit=0", "invocation hang")
	r, err := p.Invoke(nil)
	if f := fault(t, err, Crash); f.Message != "RequestId: "+r.RequestID+" Error: exit code 0" {
		t.Error(f.Message)
	}
	p = run(t, Options{}, "register=INVOKE,SHUTDOWN loop", "invocation exit=9")
	r, err = p.Invoke(nil)
	fault(t, err, RuntimeExit)
	if len(r.Events) != 1 || !r.Events[0].Told {
		t.Errorf("%+v", r.Events)
	}
	said(t, p, "ext", "register 200", "next 200 INVOKE", "next 200 SHUTDOWN failure")
}

func TestWhoDoesNotGoWhenToldIsKilled(t *testing.T) {
	t.Parallel()
	p := run(t, Options{ShutdownLimit: time.Second}, "register=INVOKE,SHUTDOWN loop child hang", "")
	ended := p.Shutdown("spindown")
	if len(ended) != 1 || !ended[0].Told || !ended[0].Killed || ended[0].Took < 200*time.Millisecond {
		t.Errorf("%+v", ended)
	}
	// What it left behind is gone too: the log ended, which that held open.
	p = run(t, Options{}, "register=INVOKE loop", "")
	if ended = p.Shutdown("spindown"); len(ended) != 1 || ended[0].Told || !ended[0].Killed {
		t.Errorf("without SHUTDOWN: %+v", ended)
	}
}

func TestARuntimeThatDoesNotHearSIGTERMIsKilled(t *testing.T) {
	t.Parallel()
	p := run(t, Options{}, "", "say=stubborn serve")
	began := time.Now()
	p.Shutdown("spindown")
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if !strings.Contains(p.Logs("runtime"), "SIGTERM") {
		t.Error("no SIGTERM")
	}
	// With no extension there is nothing but SIGKILL.
	p = run(t, Options{}, "none", "")
	if p.Shutdown("spindown"); strings.Contains(p.Logs("runtime"), "SIGTERM") {
		t.Error("SIGTERM with no extension")
	}
}

func TestAFrozenEnvironmentDoesNothing(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]Freezer{"SIGSTOP": Stop, "control group": CGroup} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if how == CGroup {
				if err := HasCGroups(true, false); err != nil {
					t.Skip(err)
				}
			}
			p := run(t, Options{Freezer: how}, "", "")
			for range 3 {
				if _, err := p.Invoke(nil); err != nil {
					t.Fatal(err)
				}
			}
			p.Signal("runtime", syscall.SIGTERM)
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			if err := p.WaitForLog(ctx, "runtime", "SIGTERM"); err == nil {
				t.Error("a frozen process took a signal")
			}
			p.Thaw()
			if err := p.WaitForLog(within(t, 10*time.Second), "runtime", "SIGTERM"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAShareOfACore(t *testing.T) {
	t.Parallel()
	if err := HasCGroups(false, true); err != nil {
		t.Skip(err)
	}
	p := run(t, Options{CPU: 0.25}, "", "")
	if _, err := p.Invoke(nil); err != nil {
		t.Fatal(err)
	}
	members, err := os.ReadFile(filepath.Join(p.box.cpu, "cgroup.procs"))
	for _, who := range []string{"ext", "runtime"} {
		if pid := strconv.Itoa(p.PID(who)); err != nil || !strings.Contains("\n"+string(members), "\n"+pid+"\n") {
			t.Errorf("%s (%s) is not in the group: %v %q", who, pid, err, members)
		}
	}
}

func TestWhatAnExtensionSeesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	p := run(t, Options{Env: []string{"MINE=1"}}, "env register=INVOKE loop", "env serve")
	ext, fn := p.Logs("ext"), p.Logs("runtime")
	for _, name := range []string{"MINE", "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_LAMBDA_INITIALIZATION_TYPE"} {
		if !strings.Contains(ext, " "+name) || !strings.Contains(fn, " "+name) {
			t.Errorf("%s is not there", name)
		}
	}
	for _, name := range []string{"AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "_HANDLER"} {
		if strings.Contains(ext, " "+name) || !strings.Contains(fn, " "+name) {
			t.Errorf("%s: is the function's alone", name)
		}
	}
}

func TestWhatCannotBeConfigured(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{{"AWS_REGION=x"}, {"_X=1"}, {"nothing"}, {"=1"}, {"A=" + strings.Repeat("x", 4096)}} {
		if configured(env) == nil {
			t.Errorf("%.20q can", env)
		}
	}
	if err := configured([]string{"A=" + strings.Repeat("x", 4095), "AWS_LAMBDA_LOG_FORMAT"[:0] + "=x"}[:1]); err != nil {
		t.Error(err)
	}
}

func TestTheWrapperStartsTheFunction(t *testing.T) {
	t.Parallel()
	wrapper := filepath.Join(t.TempDir(), "wrapper")
	if err := place(self(t), filepath.Dir(wrapper), "wrapper"); err != nil {
		t.Fatal(err)
	}
	p := run(t, Options{Wrapper: wrapper}, "", "")
	if _, err := p.Invoke(nil); err != nil {
		t.Fatal(err)
	}
	said(t, p, "runtime", "wrapped bootstrap", "invocation 200", "respond 202")
}

func TestPrivateDirectories(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the test's own files are found again only as root")
	}
	tmp := t.TempDir()
	p := run(t, Options{Private: true, Tmp: tmp, Env: []string{"KEEP=/tmp/keep"}}, "keep register=INVOKE,SHUTDOWN loop", "kept serve")
	if r := p.Init(); r.Fault != nil {
		t.Fatal(r.Fault)
	}
	if _, err := os.Stat(filepath.Join(tmp, "keep")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(p.Logs("runtime"), "kept: true") {
		t.Error("the runtime has another /tmp")
	}
	if ended := p.Shutdown("spindown"); ended[0].Killed || ended[0].Code != 0 {
		t.Errorf("%+v", ended)
	}
}

func TestInternalExtensions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script string
		want         []string
	}{
		{"while the runtime starts", "name=inside register= invocation", []string{"register 200"}},
		{"cannot have SHUTDOWN", "name=inside register=SHUTDOWN serve", []string{"register 403 Extension.InvalidEventType"}},
		{"not twice", "name=inside register=INVOKE register=INVOKE serve", []string{"register 200", "register 403 Extension.InvalidExtensionState"}},
		{"not when init is over", "invocation name=inside register=INVOKE respond exit=0", []string{"invocation 200", "register 403 Extension.RegistrationClosed", "respond 202"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := run(t, Options{Refusals: true, InitLimit: time.Second, Timeout: time.Second, ShutdownLimit: 100 * time.Millisecond}, "", tc.script)
			if strings.HasPrefix(tc.script, "invocation") {
				_, _ = p.Invoke(nil)
			}
			got := p.Logs("runtime")
			for _, w := range tc.want {
				found := false
				for line := range strings.Lines(got) {
					found = found || strings.HasPrefix(strings.Join(strings.Fields(line), " "), w)
				}
				if !found {
					t.Errorf("no %q in\n%s", w, got)
				}
			}
		})
	}
}

func TestSnapStart(t *testing.T) {
	t.Parallel()
	p := run(t, Options{InitType: SnapStart}, "env credentials register=INVOKE,SHUTDOWN next credentials loop", "restore serve")
	if r := p.Init(); r.Fault != nil {
		t.Fatal(r.Fault)
	}
	if err := p.Restore(Credentials{AccessKeyID: "ASIACLONE", SecretAccessKey: "x", SessionToken: "y"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Invoke(nil); err != nil {
		t.Fatal(err)
	}
	env, _, _ := strings.Cut(p.Logs("ext"), "\n")
	if strings.Contains(env, "AWS_ACCESS_KEY_ID") || !strings.Contains(env, "AWS_CONTAINER_CREDENTIALS_FULL_URI") {
		t.Errorf("env: %s", env)
	}
	said(t, p, "ext", "env", "credentials 200 "+Keys.AccessKeyID, "register 200", "next 200 INVOKE", "credentials 200 ASIACLONE")
	said(t, p, "runtime", "restore 200", "invocation 200", "respond 202")

	// A runtime that knows no hooks is invoked all the same, and restored by that.
	p = run(t, Options{InitType: SnapStart}, "", "")
	if _, err := p.Invoke(nil); err != nil {
		t.Fatal(err)
	}
}

func TestManagedInstances(t *testing.T) {
	t.Parallel()
	p := run(t, Options{InitType: ManagedInstances, Refusals: true, InitLimit: time.Second}, "register=INVOKE,SHUTDOWN exit=1", "")
	said(t, p, "ext", "register 403 Extension.InvalidEventType INVOKE: ErrorInvalidEventType")

	p = run(t, Options{InitType: ManagedInstances}, "register=SHUTDOWN loop", "serve")
	if _, err := p.Invoke(nil); err != nil {
		t.Fatal(err)
	}
	p.Shutdown("spindown")
	said(t, p, "ext", "register 200", "next 200 SHUTDOWN spindown")
}

func TestRudeness(t *testing.T) {
	t.Parallel()
	p := run(t, Options{InitLimit: time.Second, Rude: func(call string, _ int) Rudeness {
		if call == "register" {
			return Rudeness{Status: 500}
		}
		return Rudeness{}
	}}, "register=INVOKE exit=1", "")
	said(t, p, "ext", "register 500")
	p = run(t, Options{InitLimit: time.Second, Rude: func(call string, _ int) Rudeness { return Rudeness{Cut: call == "register"} }}, "register=INVOKE exit=1", "")
	said(t, p, "ext", "register no answer")
}

func TestARefusalFailsTheTest(t *testing.T) {
	t.Parallel()
	quiet := &recorder{T: t}
	run2 := Start(quiet, Options{Extension: self(t), Name: "ext", Function: self(t), Env: []string{"SCRIPT_ext=register=WHAT exit=1"}})
	run2.close()
	if quiet.errors == 0 {
		t.Error("nobody would have known")
	}
}

// recorder counts what would have failed a test.
type recorder struct {
	*testing.T
	errors int
}

func (r *recorder) Errorf(string, ...any) { r.errors++ }

func TestWhatARuntimeMayNot(t *testing.T) {
	t.Parallel()
	p := run(t, Options{}, "", "invocation respond=abc respond respond invocation")
	if _, err := p.Invoke(nil); err != nil {
		t.Fatal(err)
	}
	said(t, p, "runtime", "invocation 200", "respond 400 InvalidRequestID", "respond 202", "respond 403 InvalidStateTransition")

	p = run(t, Options{}, "", "invocation big hang")
	_, err := p.Invoke(nil)
	fault(t, err, TooLarge)
}
