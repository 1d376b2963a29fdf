package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"latchkey/internal/retry"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// console is stderr with one live line at its end, for a person who waits. It
// is drawn only on a terminal; log lines push it down.
type console struct {
	mu   sync.Mutex
	w    io.Writer
	live bool
	// line is what stands there now, "" for nothing.
	line string
	stop chan struct{}
	done sync.WaitGroup
}

func newConsole(w io.Writer, terminal bool) *console { return &console{w: w, live: terminal} }

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

// waiting shows a notice and counts its wait down until the next notice or clear.
func (c *console) waiting(n retry.Notice) {
	if !c.live {
		return
	}
	c.clear()
	next := time.Now().Add(n.Next)
	stop := make(chan struct{})
	c.mu.Lock()
	c.stop = stop
	c.mu.Unlock()
	c.draw(n, next)
	c.done.Add(1)
	go func() {
		defer c.done.Done()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.draw(n, next)
			case <-stop:
				return
			}
		}
	}()
}

func (c *console) draw(n retry.Notice, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := max(time.Until(next), 0).Round(time.Second)
	c.line = fmt.Sprintf("waiting: %s, attempt %d failed (%s), next try in %s",
		n.What, n.Attempt, brief(n.Err), left)
	_, _ = io.WriteString(c.w, "\r\x1b[K"+c.line)
}

// clear takes the live line away and waits for what draws it.
func (c *console) clear() {
	c.mu.Lock()
	if c.stop != nil {
		close(c.stop)
		c.stop = nil
	}
	c.mu.Unlock()
	c.done.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line != "" {
		_, _ = io.WriteString(c.w, "\r\x1b[K")
		c.line = ""
	}
}

// brief is an error short enough for one line of a terminal.
func brief(err error) string {
	const most = 60
	r := []rune(err.Error())
	if len(r) <= most {
		return string(r)
	}
	return "…" + string(r[len(r)-most:])
}
