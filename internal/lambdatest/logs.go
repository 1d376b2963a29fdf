//go:build linux

package lambdatest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Line is one that a process wrote to stdout or stderr.
type Line struct {
	At     time.Time
	Source string // an extension's name, "runtime", or "platform"
	Text   string
}

// logs holds what all processes said.
type logs struct {
	mu    sync.Mutex
	lines []Line
	more  chan struct{} // closed with the next line
	pipes []*os.File    // that are being read
}

// follow reads lines from r until whoever writes them is gone. What is read is
// in the log before the lock is let go, so that an empty pipe means that all is
// in the log.
func (l *logs) follow(source string, r *os.File) {
	defer func() { _ = r.Close() }()
	raw, err := r.SyscallConn()
	if err != nil {
		l.add("platform", err.Error())
		return
	}
	l.mu.Lock()
	l.pipes = append(l.pipes, r)
	l.mu.Unlock()
	var line []byte
	buffer := make([]byte, 64*1024)
	for over := false; !over; {
		err := raw.Read(func(fd uintptr) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			n, err := syscall.Read(int(fd), buffer)
			if err == syscall.EAGAIN || err == syscall.EINTR {
				return false
			}
			over = n <= 0
			line = append(line, buffer[:max(n, 0)]...)
			for {
				one, rest, whole := bytes.Cut(line, []byte("\n"))
				if !whole {
					break
				}
				l.put(source, string(one))
				line = rest
			}
			return true
		})
		over = over || err != nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(line) > 0 {
		l.put(source, string(line))
	}
	l.pipes = slices.DeleteFunc(l.pipes, func(f *os.File) bool { return f == r })
}

// drain waits until all that was written is in the log.
func (l *logs) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = poll(ctx, func() (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range l.pipes {
			raw, err := r.SyscallConn()
			if err != nil {
				continue
			}
			waiting := 0
			_ = raw.Control(func(fd uintptr) { waiting, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
			if waiting > 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

func (l *logs) add(source, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(source, text)
}

// put adds a line, with the lock held.
func (l *logs) put(source, text string) {
	l.lines = append(l.lines, Line{At: time.Now(), Source: source, Text: text})
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

func (l *logs) all() (lines []Line, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return append([]Line(nil), l.lines...), l.more
}

// wait waits for a line of source, anyone's when it is empty, that holds text,
// beginning with line number from.
func (l *logs) wait(ctx context.Context, source, text string, from int) error {
	for {
		lines, more := l.all()
		for _, one := range lines[min(from, len(lines)):] {
			if (source == "" || one.Source == source) && strings.Contains(one.Text, text) {
				return nil
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("no line of %q with %q: %w", source, text, ctx.Err())
		}
	}
}

// text joins the lines of a source, all when it is empty.
func (l *logs) text(source string) string {
	l.drain()
	lines, _ := l.all()
	var b strings.Builder
	for _, one := range lines {
		if source == "" {
			b.WriteString(one.Source + ": ")
		} else if one.Source != source {
			continue
		}
		b.WriteString(one.Text + "\n")
	}
	return b.String()
}
