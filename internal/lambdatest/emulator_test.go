//go:build linux

package lambdatest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/lambdatest/task"
)

// function is the real one.
func function(t *testing.T) string {
	t.Helper()
	path, err := Build("../..", "./internal/lambdatest/function", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// The claims of this package about the platform, run on it and, when the
// variable names it, on AWS's emulator: whoever doubts one runs it there.
func TestBothSayTheSame(t *testing.T) {
	t.Parallel()
	fn := function(t)
	rie := os.Getenv(RIE)
	for _, tc := range []struct {
		name string
		o    Options
		run  func(t *testing.T, e Environment)
	}{
		{"a file, the environment and an error", Options{}, func(t *testing.T, e Environment) {
			path := filepath.Join(e.Tmp(), "file")
			if err := os.WriteFile(path, []byte("content"), 0o640); err != nil {
				t.Fatal(err)
			}
			a := do(t, e, task.Task{Do: "read", Path: path})
			if a.Text != "content" || a.Mode != "0640" {
				t.Errorf("%+v", a)
			}
			if env := do(t, e, task.Task{Do: "env"}).Env; env["MINE"] != "1 2" || env["AWS_LAMBDA_RUNTIME_API"] == "" || env["AWS_ACCESS_KEY_ID"] != Keys.AccessKeyID {
				t.Errorf("%v", env)
			}
			_, err := e.Invoke(task.Task{Do: "fail", Text: "no"})
			var f *Fault
			if !errors.As(err, &f) || !strings.Contains(string(f.Payload), `"errorMessage":"no"`) {
				t.Errorf("%v", err)
			}
			if r := e.Init(); r.Fault != nil || r.Duration <= 0 {
				t.Errorf("%+v", r)
			}
			if ended := e.Shutdown("spindown"); len(ended) != 1 || ended[0].Killed {
				t.Errorf("%+v", ended)
			}
			if log := e.Logs("ext"); !strings.Contains(log, "SHUTDOWN") {
				t.Error("no SHUTDOWN:", log)
			}
		}},
		{"a crash in an invocation", Options{Env: []string{"SCRIPT_ext=register=INVOKE next exit=0"}}, func(t *testing.T, e Environment) {
			_, err := e.Invoke(task.Task{Do: "hang"})
			fault(t, err, Crash)
		}},
		{"init/error", Options{Env: []string{"SCRIPT_ext=register= initerror=A.B exit=1"}}, func(t *testing.T, e Environment) {
			_, _ = e.Invoke(task.Task{})
			if r := e.Init(); r.Fault == nil || r.Fault.Type != InitError || r.Fault.Message != "exit status 1" {
				t.Errorf("%+v", r.Fault)
			}
		}},
		{"the end of a process is a crash", Options{Env: []string{"SCRIPT_ext=exit=0"}}, func(t *testing.T, e Environment) {
			_, _ = e.Invoke(task.Task{})
			if r := e.Init(); r.Fault == nil || r.Fault.Type != Crash || r.Fault.Message != "exit code 0" {
				t.Errorf("%+v", r.Fault)
			}
		}},
		{"a timeout resets", Options{Timeout: time.Second}, func(t *testing.T, e Environment) {
			_, err := e.Invoke(task.Task{Do: "hang"})
			fault(t, err, Timeout)
			before := do(t, e, task.Task{}).PID
			if after := do(t, e, task.Task{}).PID; after != before {
				t.Error("the function was started anew between invocations that went well")
			}
			if log := strings.ToLower(e.Logs("ext")); !strings.Contains(log, "shutdown timeout") || strings.Count(log, "register 200") != 2 {
				t.Error(log)
			}
		}},
	} {
		tc.o.Extension, tc.o.Name, tc.o.Function = self(t), "ext", fn
		tc.o.Env = append(tc.o.Env, "MINE=1 2")
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.run(t, Start(t, tc.o))
		})
		t.Run(tc.name+", on AWS's emulator", func(t *testing.T) {
			if rie == "" {
				t.Skip(RIE + " names no emulator")
			}
			t.Parallel()
			tc.run(t, StartEmulator(t, rie, tc.o))
		})
	}
}

// do invokes with a task that must go well.
func do(t *testing.T, e Environment, what task.Task) task.Answer {
	t.Helper()
	r, err := e.Invoke(what)
	if err != nil {
		t.Fatal(err)
	}
	var a task.Answer
	if err := r.Into(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConcurrentInvocationsOfManagedInstances(t *testing.T) {
	t.Parallel()
	p := Start(t, Options{
		Extension: self(t), Name: "ext", Function: function(t), InitType: ManagedInstances, Concurrency: 3, Timeout: 20 * time.Second,
		Env: []string{"SCRIPT_ext=register=SHUTDOWN loop"},
	})
	// All three are inside at once, or the first would wait for the others for ever.
	pids := make(chan int)
	for range 3 {
		go func() {
			r, err := p.Invoke(task.Task{Do: "sleep", MS: 300})
			var a task.Answer
			if err != nil || r.Into(&a) != nil {
				t.Errorf("%v %s", err, r.Payload)
			}
			pids <- a.PID
		}()
	}
	if a, b, c := <-pids, <-pids, <-pids; a != b || b != c || a == 0 {
		t.Errorf("processes %d %d %d", a, b, c)
	}
}

func TestTheFunctionSeesWhatWasThereAtInit(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	kept, other := filepath.Join(tmp, "kept"), filepath.Join(tmp, "other")
	p := Start(t, Options{Extension: self(t), Name: "ext", Function: function(t), Tmp: tmp, Env: []string{
		"KEEP=" + kept, "SCRIPT_ext=keep register=INVOKE,SHUTDOWN loop", "LAMBDATEST_INIT_READ=" + kept + ":" + other,
	}})
	files := do(t, p, task.Task{Do: "init"}).Files
	if files[kept].Text != "kept" || files[kept].Mode != "0600" || files[other].Error == "" {
		t.Errorf("%+v", files)
	}
}
