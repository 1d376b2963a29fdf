package child

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var usual = SupervisorOptions{StopTimeout: 30 * time.Second, Delay: time.Second}

func TestTheFirstEnvironmentStartsItAtOnce(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.after(24 * time.Hour)
		if st := s.Status(); st != (Status{}) || s.attempts() > 0 {
			t.Fatalf("it runs without an environment: %+v", st)
		}
		begin := time.Now()
		s.update("B=2", "A=1", "B=3")
		s.running(1, "A=1", "B=3")
		if st := s.Status(); !st.StartedAt.Equal(begin) || st.Restarts != 0 || st.LastExit != "" {
			t.Errorf("status %+v", st)
		}
	})
}

func TestAnEmptyEnvironmentIsOne(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.update()
		s.running(1)
	})
}

func TestABurstOfChangesGivesOneRestart(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.update("A=1")
		for _, v := range []string{"A=2", "A=3", "A=4"} {
			s.after(900 * time.Millisecond)
			s.update(v)
		}
		s.after(999 * time.Millisecond)
		s.running(1, "A=1")
		s.after(time.Millisecond)
		s.running(2, "A=4")
		if st := s.Status(); st.Restarts != 1 || st.LastExit != "exit code 0" || !st.LastExitAt.Equal(time.Now()) {
			t.Errorf("status %+v", st)
		}
		s.after(time.Hour)
		s.running(2, "A=4")
		if s.counts.get("child.start") != 2 || s.counts.get("child.restart") != 1 {
			t.Errorf("counted %v", &s.counts)
		}
	})
}

func TestChangesWithoutAPauseDoNotPutARestartOffForEver(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.update("A=0")
		for i := range 200 { // 20 s
			s.update("A=" + strings.Repeat("x", i+1))
			s.after(100 * time.Millisecond)
		}
		if n := s.starts(); n != 2 && n != 3 {
			t.Errorf("%d were started", n)
		}
	})
}

func TestNothingHappensWhenNothingChanged(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.update("A=1", "B=2")
		s.update("B=2", "A=1")
		s.update("A=0", "B=2", "A=1")
		s.after(time.Hour)
		// There and back again.
		s.update("A=2", "B=2")
		s.after(time.Second / 2)
		s.update("A=1", "B=2")
		s.after(time.Hour)
		if heard := s.running(1, "A=1", "B=2").heard(); heard != "" {
			t.Errorf("it got %s", heard)
		}
	})
}

func TestANewEnvironmentDuringARestartIsTaken(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.dressed(func(f *fake) error { f.obeys = 10 * time.Second; return nil })
		s.update("A=1")
		s.update("A=2")
		s.after(6 * time.Second) // five of which it was asked to end
		s.update("A=3")
		s.update("A=4")
		s.after(5 * time.Second)
		s.running(2, "A=4")
		s.after(time.Hour)
		s.running(2, "A=4")
	})
}

func TestNeverRestartKeepsTheOldOne(t *testing.T) {
	o := usual
	o.Restart = "never"
	play(t, o, func(s *stage) {
		s.update("A=1")
		s.update("A=2")
		s.after(time.Hour)
		if heard := s.running(1, "A=1").heard(); heard != "" {
			t.Errorf("it got %s", heard)
		}
	})
}

func TestASignalTakesTheRestartsPlace(t *testing.T) {
	if !canReload {
		t.Skip("this system has no signals")
	}
	o := usual
	o.Restart = "signal:hup"
	play(t, o, func(s *stage) {
		s.update("A=1")
		for _, v := range []string{"A=2", "A=3"} {
			s.update(v)
			s.update(v + "!")
			s.after(time.Minute)
		}
		s.update("A=3!") // known already
		s.after(time.Minute)
		if heard := s.running(1, "A=1").heard(); heard != "hangup, hangup" {
			t.Errorf("it got %s", heard)
		}
	})
}

func TestWhatDoesNotEndIsKilled(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.dressed(func(f *fake) error { f.obeys = -1; return nil })
		s.update("A=1")
		s.update("A=2")
		s.after(31*time.Second - 1)
		f := s.running(1, "A=1")
		s.after(1)
		s.running(2, "A=2")
		if heard := f.heard(); heard != "asked by terminated, killed" {
			t.Errorf("it got %s", heard)
		}
		if st := s.Status(); st.LastExit != "ended by SIGKILL" {
			t.Errorf("status %+v", st)
		}
	})
}

func TestWhatAProgramLeavesHasTheRestOfItsTime(t *testing.T) {
	for _, tc := range []struct {
		name            string
		obeys, lingers  time.Duration
		wantAt, atLeast time.Duration
		heard           string
	}{
		{"it ends in time", 10 * time.Second, 15 * time.Second, 26 * time.Second, 25 * time.Second, "asked by terminated"},
		{"it does not", 10 * time.Second, time.Hour, 31 * time.Second, 30 * time.Second, "asked by terminated, killed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			play(t, usual, func(s *stage) {
				s.dressed(func(f *fake) error { f.obeys, f.lingers = tc.obeys, tc.lingers; return nil })
				s.update("A=1")
				f := s.running(1, "A=1")
				s.update("A=2")
				s.after(time.Second + tc.atLeast - 1)
				if s.starts() != 1 {
					t.Fatal("another was started beside what is left")
				}
				s.after(time.Second)
				s.running(2, "A=2")
				if heard := f.heard(); heard != tc.heard {
					t.Errorf("it got %s", heard)
				}
			})
		})
	}
}

func TestAProgramThatCannotBeStartedAgainIsTriedAgain(t *testing.T) {
	var logged bytes.Buffer
	o := usual
	o.Log = slog.New(slog.NewTextHandler(&logged, nil))
	play(t, o, func(s *stage) {
		broken := &StartError{Program: "fake", Err: os.ErrPermission}
		s.dressed(func(f *fake) error {
			if f.number > 1 {
				return broken
			}
			return nil
		})
		s.update("A=canary1")
		s.update("A=canary2")
		s.after(2 * time.Second)
		if st := s.Status(); st.PID != 0 || !errors.Is(st.Err, broken) || !st.NextAt.After(time.Now()) || s.Signal(syscall.SIGHUP) {
			t.Fatalf("status %+v", st)
		}
		s.after(10 * time.Minute)
		// 1+2+4+8+16 seconds, and 30 from then on, each a little less.
		if n := s.attempts(); n < 20 || n > 30 {
			t.Errorf("%d tries", n)
		}
		if gap := s.lastGap(); gap < 27*time.Second || gap > 30*time.Second {
			t.Errorf("the last tries were %s apart", gap)
		}
		if n := strings.Count(logged.String(), "level=ERROR"); n != s.attempts()-1 {
			t.Errorf("%d complaints of %d failures", n, s.attempts()-1)
		}
		if strings.Contains(logged.String(), "canary") {
			t.Errorf("the log holds the environment: %s", &logged)
		}
		s.update("A=canary3")
		s.dressed(nil)
		s.after(time.Minute)
		s.running(2, "A=canary3")
		if st := s.Status(); st.Err != nil || !st.NextAt.IsZero() || st.Restarts != 1 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestAProgramThatCannotBeStartedAtAllIsAnError(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.dressed(func(*fake) error { return &StartError{Program: "fake", Err: os.ErrNotExist} })
		s.update("A=1")
		s.over(os.ErrNotExist)
		if s.attempts() != 1 {
			t.Errorf("%d tries", s.attempts())
		}
	})
}

func TestTheEndOfTheRunInEveryState(t *testing.T) {
	for _, tc := range []struct {
		name string
		act  func(*stage)
		heard
	}{
		{"before the first environment", func(*stage) {}, nil},
		{"while it runs", func(s *stage) { s.update("A=1") }, heard{"asked by terminated"}},
		{"while a change waits", func(s *stage) { s.update("A=1"); s.update("A=2") }, heard{"asked by terminated"}},
		{"while it restarts", func(s *stage) {
			s.dressed(func(f *fake) error { f.obeys = 5 * time.Second; return nil })
			s.update("A=1")
			s.update("A=2")
			s.after(2 * time.Second)
		}, heard{"asked by terminated"}},
		{"while it cannot be started", func(s *stage) {
			s.dressed(func(f *fake) error {
				if f.number > 1 {
					return os.ErrPermission
				}
				return nil
			})
			s.update("A=1")
			s.update("A=2")
			s.after(time.Minute)
		}, heard{"asked by terminated"}},
		{"when it does not want to", func(s *stage) {
			s.dressed(func(f *fake) error { f.obeys = -1; return nil })
			s.update("A=1")
		}, heard{"asked by terminated, killed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			play(t, usual, func(s *stage) {
				tc.act(s)
				s.cancel(errEnough)
				s.after(30 * time.Second)
				s.over(errEnough)
				if s.starts() != len(tc.heard) {
					t.Fatalf("%d were started, want %d", s.starts(), len(tc.heard))
				}
				for i, f := range s.all() {
					if f.heard() != tc.heard[i] {
						t.Errorf("it got %s, want %s", f.heard(), tc.heard[i])
					}
				}
			})
		})
	}
}

type heard []string

func TestItsOwnEndIsOurs(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		code int
		text string
	}{
		{"success", nil, 0, "exit code 0"},
		{"a code", &ExitError{Program: "fake", Code: 7}, 7, "exit code 7"},
		{"a signal", &ExitError{Program: "fake", Code: -1, Signal: "SIGKILL"}, 137, "ended by SIGKILL"},
		{"a signal that asks", &ExitError{Program: "fake", Code: -1, Signal: "SIGTERM"}, 143, "ended by SIGTERM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.code > 128 && !canReload {
				t.Skip("this system has no signals")
			}
			play(t, usual, func(s *stage) {
				s.update("A=1")
				s.after(time.Hour)
				s.update("A=2") // a change that waits makes no difference
				s.running(1, "A=1").exit(tc.err)
				s.after(time.Second / 2)
				s.over(tc.err)
				if code := exitCode(tc.err); code != tc.code {
					t.Errorf("exit code %d, want %d", code, tc.code)
				}
				if st := s.Status(); st.LastExit != tc.text || s.starts() != 1 {
					t.Errorf("status %+v, %d started", st, s.starts())
				}
			})
		})
	}
}

func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// A service manager signals every process of a service at once.
func TestAProgramThatWasToldToEndBesideUsIsNoFailure(t *testing.T) {
	for _, ended := range []error{
		&ExitError{Program: "fake", Code: -1, Signal: "SIGTERM"},
		&ExitError{Program: "fake", Code: 143},
	} {
		play(t, usual, func(s *stage) {
			s.update("A=1")
			s.running(1, "A=1").exit(ended)
			s.after(100 * time.Millisecond)
			s.cancel(errEnough)
			s.over(errEnough)
		})
	}
}

func TestItsOwnEndWaitsForWhatItLeft(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.dressed(func(f *fake) error { f.lingers = 10 * time.Second; return nil })
		s.update("A=1")
		failed := &ExitError{Program: "fake", Code: 7}
		s.running(1, "A=1").exit(failed)
		s.after(9 * time.Second)
		select {
		case err := <-s.ended:
			t.Fatalf("Run returned %v", err)
		default:
		}
		s.after(1100 * time.Millisecond)
		s.over(failed)
	})
}

func TestSignalsArePassedOn(t *testing.T) {
	play(t, usual, func(s *stage) {
		if s.Signal(syscall.SIGHUP) {
			t.Error("a signal was passed on to nobody")
		}
		s.update("A=1")
		if !s.Signal(syscall.SIGHUP) || s.Signal(os.Kill) {
			t.Error("SIGHUP was not passed on, or SIGKILL was")
		}
		if heard := s.running(1, "A=1").heard(); heard != "hangup" {
			t.Errorf("it got %s", heard)
		}
	})
}

func TestWhatTheOptionsMayBe(t *testing.T) {
	for name, o := range map[string]SupervisorOptions{
		"no command":              {},
		"an empty command":        {Command: []string{""}},
		"an unknown stop signal":  {Command: []string{"x"}, StopSignal: "SIGNOPE"},
		"stopping by pausing":     {Command: []string{"x"}, StopSignal: "SIGSTOP"},
		"an unknown mode":         {Command: []string{"x"}, Restart: "sometimes"},
		"a signal without name":   {Command: []string{"x"}, Restart: "signal:"},
		"an unknown signal":       {Command: []string{"x"}, Restart: "signal:SIGNOPE"},
		"a signal that only ends": {Command: []string{"x"}, Restart: "signal:KILL"},
	} {
		if _, err := NewSupervisor(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, restart := range []string{"", "always", "never"} {
		if _, err := NewSupervisor(SupervisorOptions{Command: []string{"x"}, Restart: restart, StopSignal: "KILL"}); err != nil {
			t.Errorf("%q: %v", restart, err)
		}
	}
}

func TestADayOfChanges(t *testing.T) {
	play(t, usual, func(s *stage) {
		s.dressed(func(f *fake) error { f.obeys = 3 * time.Second; return nil })
		n := 0
		for range 24 * 60 {
			n++
			s.update("A=" + time.Duration(n).String())
			s.after(time.Minute)
		}
		s.running(n, "A="+time.Duration(n).String())
		if st := s.Status(); st.Restarts != n-1 {
			t.Errorf("status %+v", st)
		}
		s.cancel(errEnough)
		s.after(3 * time.Second)
		synctest.Wait()
		s.over(errEnough)
	})
}
