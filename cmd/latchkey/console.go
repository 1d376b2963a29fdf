package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"

	"latchkey/internal/retry"
)

// widthOf returns how to ask a terminal for its columns, nil for what is none.
func widthOf(f *os.File) func() int {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil || w <= 0 {
			return 80
		}
		return w
	}
}

// console is stderr with one live line at its end, for a person who waits. It
// is drawn only on a terminal; log lines push it down.
type console struct {
	mu sync.Mutex
	w  io.Writer
	// width is that of the terminal, nil where there is none.
	width func() int
	// line is what stands there now, "" for nothing.
	line string
	// stop ends whatever draws; a drawer that is not its owner keeps quiet.
	stop chan struct{}
	done sync.WaitGroup
}

func newConsole(w io.Writer, width func() int) *console { return &console{w: w, width: width} }

// live reports whether there is somebody to see a line that changes.
func (c *console) live() bool { return c.width != nil }

// Write implements io.Writer for the logger.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == "" {
		return c.w.Write(p)
	}
	_, _ = io.WriteString(c.w, "\r\x1b[K")
	n, err := c.w.Write(p)
	_, _ = io.WriteString(c.w, c.line)
	return n, err
}

// waiting shows a notice and counts its wait down until the next notice or
// clear. Several may wait at a time; the line is that of the latest notice.
func (c *console) waiting(n retry.Notice) {
	if !c.live() {
		return
	}
	next := time.Now().Add(n.Next)
	stop := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halt()
	c.stop = stop
	c.draw(n, next)
	c.done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			c.mu.Lock()
			if c.stop == stop {
				c.draw(n, next)
			}
			c.mu.Unlock()
		}
	})
}

// halt ends what draws; the caller holds the lock.
func (c *console) halt() {
	if c.stop != nil {
		close(c.stop)
		c.stop = nil
	}
}

// draw writes the line anew; the caller holds the lock.
func (c *console) draw(n retry.Notice, next time.Time) {
	when := "now"
	if left := time.Until(next).Round(time.Second); left > 0 {
		when = "in " + left.String()
	}
	line := fmt.Sprintf("waiting to %s: attempt %d %s", n.What, n.Attempt+1, when)
	// A line that the terminal breaks in two could not be taken away again.
	room := c.width() - 1
	if left := room - len([]rune(line)) - len(" ()"); left >= 10 {
		line += " (" + brief(n.Err, left) + ")"
	}
	c.line = string([]rune(line)[:min(len([]rune(line)), max(room, 0))])
	_, _ = io.WriteString(c.w, "\r\x1b[K"+c.line)
}

// clear takes the live line away and waits for what drew it. Nothing may be
// waiting any more.
func (c *console) clear() {
	c.mu.Lock()
	c.halt()
	if c.line != "" {
		_, _ = io.WriteString(c.w, "\r\x1b[K")
		c.line = ""
	}
	c.mu.Unlock()
	c.done.Wait()
}

// brief is the end of an error, which says most, in at most that many characters
// and without what a terminal would obey.
func brief(err error, most int) string {
	r := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error()))
	if len(r) <= most {
		return string(r)
	}
	return "…" + string(r[len(r)-most+1:])
}
