package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// moduleKey is the attribute that carries a room's name; pipelines that parse
// vault agent's JSON know it.
const moduleKey = "@module"

// unprintable stands for a value whose own method panicked. The panic's text
// is left out: it may quote the value.
const unprintable = "[a value that cannot be printed]"

// encoder turns the parts of a line into bytes. Attributes arrive resolved and
// with the names of their groups joined into the key by dots.
type encoder interface {
	head(b []byte, t time.Time, l slog.Level, module, msg string) []byte
	attr(b []byte, key string, v slog.Value) []byte
	tail(b []byte) []byte
}

// handler is a slog.Handler. With and WithGroup make a copy, in which the
// attributes are already encoded: they are usually few and used often.
type handler struct {
	level  slog.Leveler
	enc    encoder
	out    *Output
	module string
	prefix string // of the open groups, with its last dot
	attrs  []byte
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	p := buffers.Get().(*[]byte)
	b := h.enc.head((*p)[:0], r.Time, r.Level, h.module, r.Message)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool { b = h.append(b, h.prefix, a); return true })
	b = append(h.enc.tail(b), '\n')
	err := h.out.write(b)
	*p = b
	buffers.Put(p)
	return err
}

// WithAttrs implements slog.Handler; the attribute "@module" lengthens the
// room's name instead of printing beside it.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		if a.Key == moduleKey {
			if c.module != "" {
				c.module += "."
			}
			c.module += text(resolve(a.Value))
			continue
		}
		c.attrs = c.append(c.attrs, c.prefix, a)
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.prefix += name + "."
	return &c
}

func (h *handler) append(b []byte, prefix string, a slog.Attr) []byte {
	v := resolve(a.Value)
	switch {
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			b = h.append(b, prefix, m)
		}
		return b
	case a.Key == "" && v.Any() == nil: // slog's rule: the empty Attr is ignored
		return b
	}
	return h.enc.attr(b, prefix+a.Key, v)
}

// resolve is Value.Resolve, but for a LogValue that panicked, as it does on a
// nil pointer: slog would print a stack of twenty lines in the value's place.
func resolve(v slog.Value) slog.Value {
	if v.Kind() != slog.KindLogValuer {
		return v
	}
	r := v.Resolve()
	if err, ok := r.Any().(error); ok && strings.HasPrefix(err.Error(), "LogValue panicked") {
		return slog.StringValue(unprintable)
	}
	return r
}

// text is the one way from a value to a string, for both forms.
func text(v slog.Value) (s string) {
	if v.Kind() == slog.KindTime {
		return v.Time().Format(time.RFC3339Nano)
	}
	if v.Kind() != slog.KindAny {
		return v.String()
	}
	defer func() {
		if recover() != nil {
			s = unprintable
		}
	}()
	switch x := v.Any().(type) {
	case nil:
		return "<nil>"
	case fmt.Formatter: // before the others: it is how a secret keeps quiet
		return fmt.Sprintf("%v", x)
	case error:
		return x.Error()
	case fmt.Stringer:
		return x.String()
	case []byte:
		// Bytes are a payload more often than words, so their length must do.
		return fmt.Sprintf("[%d bytes]", len(x))
	default:
		return fmt.Sprintf("%+v", x)
	}
}

// Output is where the lines of one logger go. It serialises them and sends each
// to both places.
type Output struct {
	mu     sync.Mutex
	stderr io.Writer
	file   *rotating
	failed bool
}

// write tries both places. slog drops a handler's error, so the first failure
// of the file is told on stderr, once until the file works again.
func (o *Output) write(line []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.stderr.Write(line)
	if o.file == nil {
		return err
	}
	_, fileErr := o.file.Write(line)
	if fileErr != nil && !o.failed {
		_, _ = fmt.Fprintf(o.stderr, "the log file cannot be written: %v\n", fileErr)
	}
	o.failed = fileErr != nil
	if err == nil {
		err = fileErr
	}
	return err
}

// Reopen goes on in the file that to names by File and Rotate*, or in none; of
// Options, nothing else is looked at. The same path is opened anew, for whoever
// rotates a log from outside and moved the file away. No line is lost. On an
// error, which names the path, the file in use stays.
func (o *Output) Reopen(to Options) error {
	var next *rotating
	if to.File != "" {
		var err error
		if next, err = openFile(to); err != nil {
			return err
		}
	}
	o.mu.Lock()
	old := o.file
	o.file, o.failed = next, false
	o.mu.Unlock()
	if old != nil {
		_ = old.Close() // all that it should hold is in it
	}
	return nil
}

// Close ends the file and everything that belongs to it, and may be called more
// than once. Lines logged later go to stderr alone.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	f := o.file
	o.file = nil
	return f.Close()
}
