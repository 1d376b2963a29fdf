//go:build linux

package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/lambdatest"
	"latchkey/internal/lambdatest/task"
	"latchkey/internal/vaulttest"
)

// scene is a function with a file, a proxy and a server that fails.
type scene struct {
	*testing.T
	*lambdatest.Platform
	server       *vaulttest.Server
	file, listen string
}

// stage starts a function after the server was made what rude says.
func stage(t *testing.T, rude func(*vaulttest.Server), o lambdatest.Options, more ...string) *scene {
	t.Helper()
	server, env := world(t)
	s := &scene{T: t, server: server, file: filepath.Join(t.TempDir(), "secret.json"), listen: address(t)}
	rude(server)
	o.Extension, o.Function = built.extension(t), built.function(t)
	// The limits are those of a test on a busy machine; a case that is about limits has
	// its own.
	o.Timeout, o.InitLimit = cmp.Or(o.Timeout, 20*time.Second), cmp.Or(o.InitLimit, 30*time.Second)
	o.Env = append(append(env, "VAULT_SECRET_PATH=secret/data/app", "VAULT_SECRET_FILE="+s.file, "LATCHKEY_LISTEN="+s.listen), more...)
	s.Platform = lambdatest.Start(t, o)
	return s
}

// held is less than an invocation, or a function's start, takes for whose sake the
// extension waits until it gives up, and as much as a busy machine may need.
const held = 1400 * time.Millisecond

func well(*vaulttest.Server) {}

func hangs(s *vaulttest.Server) { s.Rude(vaulttest.Match{}, vaulttest.Rudeness{Hang: true}) }

// do invokes and wants that to go well.
func (s *scene) do(what task.Task) (a task.Answer, took time.Duration) {
	s.Helper()
	r, err := s.Invoke(what)
	if err == nil {
		err = r.Into(&a)
	}
	if err != nil {
		s.Fatalf("%s: %v\n%s", what.Do, err, s.Logs(""))
	}
	return a, r.Duration
}

func (s *scene) request() task.Task {
	return task.Task{Do: "get", URL: "http://" + s.listen + "/v1/secret/data/app"}
}

func TestAFunctionIsNotBilledForAServerThatHangs(t *testing.T) {
	s := stage(t, hangs, lambdatest.Options{Timeout: 4 * time.Second}, "LATCHKEY_FAIL=open", "LATCHKEY_INIT_BUDGET=300ms", "LATCHKEY_REVOKE_ON_SHUTDOWN=true")
	if f := s.Init().Fault; f != nil {
		t.Fatalf("it did not start: %v", f)
	}
	n := 0
	for range 30 {
		if _, took := s.do(task.Task{}); took > held {
			n++
		}
	}
	if n > 2 {
		t.Errorf("%d of 30 invocations were held up", n)
	}
	if a, _ := s.do(s.request()); a.Status != 503 || !strings.Contains(a.Text, s.server.Addr()) {
		t.Errorf("a request got %d %s", a.Status, a.Text)
	}
	if n := strings.Count(s.Logs("latchkey-extension"), "\n"); n > 8 {
		t.Errorf("%d lines of log", n)
	}
	for _, e := range s.Shutdown("spindown") {
		if e.Killed || e.Took > held {
			t.Errorf("the end: %+v", e)
		}
	}
}

func TestAStartWithoutSecretsLeavesTheFunctionItsTime(t *testing.T) {
	s := stage(t, hangs, lambdatest.Options{Wrapper: built.wrapper(t)}, "LATCHKEY_FAIL=open", "LATCHKEY_INIT_BUDGET=300ms", "PASSWORD=vault:secret/data/app#password")
	if i := s.Init(); i.Fault != nil || i.RuntimeReadyAfter-i.ExtensionRegisteredAfter > held {
		t.Errorf("%v; the runtime took %s", i.Fault, i.RuntimeReadyAfter-i.ExtensionRegisteredAfter)
	}
	if a, _ := s.do(task.Task{Do: "env"}); a.Env["PASSWORD"] != "" {
		t.Errorf("PASSWORD is %q", a.Env["PASSWORD"])
	}
}

func TestACrashOfTheFunctionLeavesTheExtensionTimeToEnd(t *testing.T) {
	var ends []lambdatest.Ended
	// What is left of the platform's two seconds is half a second, which a busy machine
	// may use up once.
	for range 3 {
		s := stage(t, well, lambdatest.Options{}, "LATCHKEY_REFRESH_INTERVAL=1ms")
		if f := s.Init().Fault; f != nil {
			t.Fatal(f)
		}
		hangs(s.server)
		r, err := s.Invoke(task.Task{Do: "exit", Code: 3})
		if err == nil || len(r.Events) != 1 {
			t.Fatalf("%v: %+v", err, r.Events)
		}
		if e := r.Events[0]; !e.Killed && e.Code == 0 {
			return
		}
		ends = append(ends, r.Events...)
	}
	t.Errorf("%+v", ends)
}

func TestAResetFindsTheCredentialsAgain(t *testing.T) {
	s := stage(t, well, lambdatest.Options{})
	if _, err := s.Invoke(task.Task{Do: "exit", Code: 3}); err == nil {
		t.Fatal("the function did not crash")
	}
	if a, _ := s.do(s.request()); a.Status != 200 {
		t.Errorf("after a reset a request got %d %s", a.Status, a.Text)
	}
}

func TestAfterARestoreARequestWaitsUntilTheFilesAreThere(t *testing.T) {
	s := stage(t, well, lambdatest.Options{InitType: lambdatest.SnapStart})
	if n := len(s.server.Requests()); s.Init().Fault != nil || strings.Contains(s.Logs(""), "authentication") {
		t.Fatalf("%v after %d requests", s.Init().Fault, n)
	}
	a, _ := s.do(task.Task{Do: "many", Tasks: []task.Task{s.request(), {Do: "read", Path: s.file}}})
	if a.Answers[0].Status != 200 || !strings.Contains(a.Answers[1].Text, "canary") {
		t.Errorf("%+v", a.Answers)
	}
}

func TestAConnectionThatThePlatformClosedIsNoCrash(t *testing.T) {
	s := stage(t, well, lambdatest.Options{Rude: func(call string, before int) lambdatest.Rudeness {
		return lambdatest.Rudeness{Cut: call == "event/next" && before == 1}
	}})
	s.do(task.Task{})
	s.do(task.Task{})
	if n := s.Inits(); n != 1 {
		t.Errorf("%d inits", n)
	}
}

// Whatever is where the file should be, it is told by its name, and stays.
func TestAFileThatCannotBeWrittenIsToldByItsName(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a directory":    func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":         func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"below no place": func(path string) error { return os.WriteFile(filepath.Dir(path), nil, 0o600) },
	} {
		path := filepath.Join(t.TempDir(), "place", "secret")
		if name != "below no place" {
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		s := stage(t, well, lambdatest.Options{}, "VAULT_SECRET_PATH_X=secret/data/app", "VAULT_SECRET_FILE_X="+path)
		if i := s.Init(); i.ReportedType != "Extension.OutputFailed" || !strings.Contains(i.ReportedBody, path) || !strings.Contains(i.ReportedBody, "VAULT_SECRET_PATH_X") {
			t.Errorf("%s: %s %s", name, i.ReportedType, i.ReportedBody)
		}
	}
}
