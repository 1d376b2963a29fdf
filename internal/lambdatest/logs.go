//go:build linux

package lambdatest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
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
}

func (l *logs) add(source, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
