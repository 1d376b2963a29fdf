package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/retry"
)

func notice(attempt int, next time.Duration) retry.Notice {
	return retry.Notice{What: "log in by approle at auth/approle", Attempt: attempt, Err: errors.New("503 Vault is sealed"), Next: next}
}

// screen is what a terminal shows after the output: the finished lines and
// the live one.
func screen(out string) []string {
	lines := []string{""}
	for _, r := range strings.ReplaceAll(out, "\r\x1b[K", "\x00") {
		last := &lines[len(lines)-1]
		switch r {
		case 0:
			*last = ""
		case '\n':
			lines = append(lines, "")
		default:
			*last += string(r)
		}
	}
	return lines
}

func TestAPersonSeesOneLiveLineCountingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := newConsole(&out, columns(100))
		shown := func() []string {
			c.mu.Lock()
			defer c.mu.Unlock()
			return screen(out.String())
		}
		c.waiting(notice(2, 4*time.Second))
		want := "waiting to log in by approle at auth/approle: attempt 3 in 4s (503 Vault is sealed)"
		if got := shown(); len(got) != 1 || got[0] != want {
			t.Errorf("screen is %q", got)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := shown(); len(got) != 1 || !strings.Contains(got[0], "attempt 3 in 3s") {
			t.Errorf("after a second the screen is %q", got)
		}
		fmt.Fprintln(c, "a log line")
		if got := shown(); len(got) != 2 || got[0] != "a log line" || !strings.HasPrefix(got[1], "waiting to ") {
			t.Errorf("with a log line the screen is %q", got)
		}
		c.waiting(notice(3, 8*time.Second))
		if got := shown(); len(got) != 2 || !strings.Contains(got[1], "attempt 4") {
			t.Errorf("after the next try the screen is %q", got)
		}
		c.clear()
		c.clear()
		if got := shown(); len(got) != 2 || got[1] != "" {
			t.Errorf("at the end the screen is %q", got)
		}
	})
}

func TestNoLiveLineWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&out, nil)
	c.waiting(notice(1, time.Second))
	fmt.Fprintln(c, "a log line")
	c.clear()
	if out.String() != "a log line\n" {
		t.Errorf("output is %q", out.String())
	}
}

func columns(n int) func() int { return func() int { return n } }

func TestTheLiveLineFitsTheTerminal(t *testing.T) {
	for _, width := range []int{100, 80, 60, 40, 10, 1, 0} {
		var out bytes.Buffer
		c := newConsole(&out, columns(width))
		n := notice(1, 0)
		n.Err = errors.New(strings.Repeat("x", 200) + "\n\x1b[2Jconnection refused")
		c.waiting(n)
		c.mu.Lock()
		got := screen(out.String())
		c.mu.Unlock()
		if len(got) != 1 || len([]rune(got[0])) >= max(width, 1) {
			t.Errorf("at %d columns the screen is %q", width, got)
		}
		if width >= 80 && (!strings.Contains(got[0], "attempt 2 now (…") || !strings.HasSuffix(got[0], "refused)")) {
			t.Errorf("at %d columns the line is %q", width, got[0])
		}
		c.clear()
	}
}

// Reads are repeated side by side, so their notices come side by side too.
func TestTheLiveLineEndsAfterManyWaitedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := newConsole(&out, columns(80))
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() { c.waiting(notice(i, time.Minute)) })
		}
		all.Wait()
		c.clear()
		if got := screen(out.String()); len(got) != 1 || got[0] != "" {
			t.Errorf("at the end the screen is %q", got)
		}
	})
}
