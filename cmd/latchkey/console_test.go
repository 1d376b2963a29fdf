package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
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
		c := newConsole(&out, true)
		shown := func() []string {
			c.mu.Lock()
			defer c.mu.Unlock()
			return screen(out.String())
		}
		c.waiting(notice(2, 4*time.Second))
		want := "waiting: log in by approle at auth/approle, attempt 2 failed (503 Vault is sealed), next try in 4s"
		if got := shown(); len(got) != 1 || got[0] != want {
			t.Errorf("screen is %q", got)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if got := shown(); len(got) != 1 || !strings.HasSuffix(got[0], "next try in 3s") {
			t.Errorf("after a second the screen is %q", got)
		}
		fmt.Fprintln(c, "a log line")
		if got := shown(); len(got) != 2 || got[0] != "a log line" || !strings.HasPrefix(got[1], "waiting: ") {
			t.Errorf("with a log line the screen is %q", got)
		}
		c.waiting(notice(3, 8*time.Second))
		if got := shown(); len(got) != 2 || !strings.Contains(got[1], "attempt 3") {
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
	c := newConsole(&out, false)
	c.waiting(notice(1, time.Second))
	fmt.Fprintln(c, "a log line")
	c.clear()
	if out.String() != "a log line\n" {
		t.Errorf("output is %q", out.String())
	}
}

func TestALongErrorIsCutInFront(t *testing.T) {
	got := brief(errors.New(strings.Repeat("x", 200) + "connection refused"))
	if len([]rune(got)) != 61 || !strings.HasPrefix(got, "…") || !strings.HasSuffix(got, "connection refused") {
		t.Errorf("brief is %q", got)
	}
}
