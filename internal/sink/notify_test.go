//go:build unix

package sink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// audience is whoever is told, and may refuse to listen.
type audience struct {
	heard []string
	err   error
	// slow holds a command up until it is closed.
	slow chan struct{}
}

func (a *audience) Run(ctx context.Context, c Command) error {
	a.heard = append(a.heard, fmt.Sprintf("%q %q %s %s", c.Argv, c.Env, c.Timeout, c.KillTimeout))
	if a.slow != nil {
		select {
		case <-a.slow:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return a.err
}

func (a *audience) Signal(pid int, name string) error {
	a.heard = append(a.heard, fmt.Sprintf("%s to %d", name, pid))
	return a.err
}

func (a *audience) options() Options {
	return Options{Runner: a, Signaller: a, Environ: []string{"A=b"}}
}

// telling is a file sink that runs a command.
func telling(path string) config.Sink {
	s := stanza(path)
	s.Command, s.CommandTimeout = []string{"reload", "it"}, 7*time.Second
	return s
}

const ran = `["reload" "it"] ["A=b"] 7s 5s`

func TestACommandRunsAfterEachChangeAndNotWithoutOne(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		path, a := filepath.Join(t.TempDir(), "token"), &audience{}
		m := mind(t, KeepOptions{}, build(t, telling(path), a.options()))
		m.Deliver(numbered(1))
		pass(time.Hour)
		if !reflect.DeepEqual(a.heard, []string{ran}) {
			t.Errorf("after the first token: %q", a.heard)
		}
		m.Deliver(numbered(2))
		pass(time.Hour)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(time.Hour)
		if len(a.heard) != 3 {
			t.Errorf("after a new token and a file that was put back: %q", a.heard)
		}
		m.stop(t)

		// A restart that finds the file right has nothing to tell.
		m = mind(t, KeepOptions{}, build(t, telling(path), a.options()))
		m.Deliver(numbered(2))
		pass(time.Hour)
		if len(a.heard) != 3 {
			t.Errorf("after a restart: %q", a.heard)
		}
		m.stop(t)
	})
}

func TestTellingThatFailsIsTriedOnceMoreAndHurtsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		path, a := filepath.Join(t.TempDir(), "token"), &audience{err: errors.New("exit code 1")}
		m := mind(t, KeepOptions{}, build(t, telling(path), a.options()))
		m.Deliver(numbered(1))
		pass(time.Hour)
		if len(a.heard) != 2 {
			t.Errorf("heard %q", a.heard)
		}
		if got := m.meter.of("sink.success[{sink file}]"); got != 1 {
			t.Errorf("written %d times", got)
		}
		s := m.Status()[0]
		if s.Err != nil || s.NoticeErr == nil || !errors.Is(s.NoticeErr, a.err) {
			t.Errorf("status %+v", s)
		}
		if m.meter.of("sink.notify.failure[{sink file}]") != 1 || !strings.Contains(m.log.String(), "its readers could not be told") {
			t.Errorf("not reported: %s", m.log)
		}
		a.err = nil
		m.Deliver(numbered(2))
		pass(time.Hour)
		if s := m.Status()[0]; s.NoticeErr != nil || len(a.heard) != 3 {
			t.Errorf("status %+v, heard %q", s, a.heard)
		}
		m.stop(t)
	})
}

func TestASlowCommandHoldsUpNoToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		path, a := filepath.Join(t.TempDir(), "token"), &audience{slow: make(chan struct{})}
		m := mind(t, KeepOptions{}, build(t, telling(path), a.options()))
		for n := range 4 {
			m.Deliver(numbered(n))
			synctest.Wait()
			if got := content(t, path); got != fmt.Sprintf("hvs.canary-%d", n) {
				t.Errorf("token %d: %q", n, got)
			}
		}
		if len(a.heard) != 1 {
			t.Errorf("%d commands at a time", len(a.heard))
		}
		close(a.slow)
		pass(time.Minute)
		if len(a.heard) != 2 { // one more tells of all that came meanwhile
			t.Errorf("heard %q", a.heard)
		}
		m.stop(t)
	})
}

func TestACommandThatRunsDoesNotHoldUpTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := &audience{slow: make(chan struct{})}
		m := mind(t, KeepOptions{}, build(t, telling(filepath.Join(t.TempDir(), "token")), a.options()))
		m.Deliver(numbered(1))
		synctest.Wait()
		m.stop(t)
		if s := m.Status()[0]; s.NoticeErr != nil {
			t.Errorf("the end of the run is told as a failure: %v", s.NoticeErr)
		}
	})
}

func TestSignalGoesToTheProcessInThePIDFile(t *testing.T) {
	dir := t.TempDir()
	st := telling(filepath.Join(dir, "token"))
	st.Signal, st.SignalPIDFile = "SIGHUP", filepath.Join(dir, "pid")
	if err := os.WriteFile(st.SignalPIDFile, []byte("4711\n/data\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &audience{}
	s := build(t, st, a.options())
	if err := WriteAll(t.Context(), []Sink{s}, token, retry.Schedule{}, nil); err != nil {
		t.Fatal(err)
	}
	if want := []string{ran, "SIGHUP to 4711"}; !reflect.DeepEqual(a.heard, want) {
		t.Errorf("heard %q", a.heard)
	}
}

func TestAOneShotSaysThatNobodyCouldBeTold(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	both := telling(path)
	both.Signal, both.SignalPIDFile = "HUP", filepath.Join(dir, "no-pid")
	onlySignal := both
	onlySignal.Command = nil
	garbage := onlySignal
	garbage.SignalPIDFile = filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage.SignalPIDFile, []byte("hvs.canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := onlySignal
	one.SignalPIDFile = filepath.Join(dir, "one")
	if err := os.WriteFile(one.SignalPIDFile, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses := &audience{err: errors.New("refused")}
	for _, tc := range []struct {
		name string
		st   config.Sink
		o    Options
		want string
	}{
		{"a command that fails", telling(path), refuses.options(), "command: refused"},
		{"a signal that cannot be sent", one, refuses.options(), "signal: HUP to process 1: refused"},
		{"no pid file", onlySignal, refuses.options(), "signal: open " + both.SignalPIDFile + ": no such file or directory"},
		{"a pid file without a pid", garbage, refuses.options(), "signal: " + garbage.SignalPIDFile + ": its first line is not the id of a process"},
		{"both", both, refuses.options(), "command: refused; signal: open " + both.SignalPIDFile + ": no such file or directory"},
		{"nobody to run it", telling(path), Options{}, "command: cannot be run here"},
		{"nobody to send it", onlySignal, Options{}, "signal: cannot be sent from here"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_ = os.Remove(path)
			refuses.heard = nil
			err := WriteAll(t.Context(), []Sink{build(t, tc.st, tc.o)}, token, schedule, nil)
			if !errors.Is(err, ErrNotify) || errors.Is(err, ErrWrite) || err.Error() != "sink written, but nobody told: file "+path+": "+tc.want {
				t.Errorf("got %v", err)
			}
			quiet(t, err)
			if content(t, path) != "hvs.canary-token" || len(refuses.heard) > 1 {
				t.Errorf("heard %q", refuses.heard)
			}
		})
	}
}

func TestNobodyIsToldOfASinkThatIsNotWritten(t *testing.T) {
	a := &audience{}
	s := build(t, telling(filepath.Join(t.TempDir(), "no", "token")), a.options())
	if err := WriteAll(t.Context(), []Sink{s}, token, retry.Schedule{}, nil); !errors.Is(err, ErrWrite) || len(a.heard) != 0 {
		t.Errorf("got %v, heard %q", err, a.heard)
	}
}

func TestWrappedAndSealedSinksTellToo(t *testing.T) {
	w, r, a := newWrapper(t), newReader(t), &audience{}
	st := r.stanza()
	st.WrapTTL, st.Command = 5*time.Minute, []string{"reload"}
	o := a.options()
	o.Client = w.client
	s := mustNew(t, st, o)
	before := cred.Wall(time.Now())
	for range 2 {
		if err := WriteAll(t.Context(), []Sink{s}, token, retry.Schedule{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(a.heard) != 2 {
		t.Errorf("heard %q", a.heard)
	}
	due := s.(Perishable).Due()
	if min, max := before.Add(179*time.Second), time.Now().Add(200*time.Second); due.Before(min) || due.After(max) {
		t.Errorf("wrapped anew after %s of 5m", due.Sub(before))
	}
	if !s.(Watched).Intact() {
		t.Error("changed by nobody")
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	if s.(Watched).Intact() {
		t.Error("taken away unnoticed")
	}
}

func TestPIDs(t *testing.T) {
	for text, want := range map[string]int{
		"1": 1, "4711\n": 4711, " 12 \r\n": 12, "12\n/var/lib/postgresql\n5432": 12, "2147483647": 2147483647,
		"": 0, "\n12": 0, "0": 0, "-1": 0, "+1": 0, "1 2": 0, "0x10": 0, "2147483648": 0, "pid": 0,
	} {
		if pid, ok := parsePID([]byte(text)); pid != want && ok || ok != (want > 0) {
			t.Errorf("%q: got %d, %v", text, pid, ok)
		}
	}
}

func FuzzPID(f *testing.F) {
	for _, s := range []string{"1", "4711\n", "0", "-1", "99999999999999999999", "1\n2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if pid, ok := parsePID(data); ok && pid <= 0 {
			t.Errorf("%q means all processes or a group", data)
		}
	})
}
