// Package logging builds the one *slog.Logger of a run: lines on stderr, in
// the form people know from vault agent or as JSON, and the same lines in a
// file that is rotated.
//
// Rooms never import it; they are handed a *slog.Logger that already carries
// their name (see Named). A value that is a cred.Redacted prints as
// "[redacted]" in every form, because slog.LogValuer, error and fmt.Stringer
// are asked before anything is reflected upon; do not log a bare string that
// came out of Reveal.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Format is the shape of a line.
type Format string

// The accepted values of log_format, after lowering their case.
const (
	// Standard is a line for people: time, level, room, message, key=value.
	Standard Format = "standard"
	// JSON is one object per line with the keys @level, @message, @module and
	// @timestamp, the attributes beside them.
	JSON Format = "json"
)

// Options say what to log and where to. The zero value logs from info upwards
// to stderr in the standard form.
type Options struct {
	// Level is asked for every line, so a *slog.LevelVar can be changed while
	// the logger is in use; nil means info.
	Level slog.Leveler
	// Format is empty for Standard.
	Format Format
	// Stderr is where the lines go besides File; nil means os.Stderr.
	Stderr io.Writer

	// File is the log_file, empty for none. A path that ends in a separator
	// is a directory, and its file is agent.log.
	File string
	// RotateDuration starts a new file when the current one has been open for
	// so long in this process, 0 for never. RotateBytes does when the file
	// would grow beyond it, 0 for never.
	RotateDuration time.Duration
	RotateBytes    int
	// RotateMaxFiles is how many old files stay: 0 for all, -1 for none.
	RotateMaxFiles int
}

// New builds a logger. The file, if one is named, is opened at once, so that a
// log that cannot be written is known before the run starts; its error names
// the path. The Output is to be closed when the last line has been logged.
func New(o Options) (*slog.Logger, *Output, error) {
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	out := &Output{stderr: o.Stderr}
	h := &handler{level: o.Level, out: out}
	switch o.Format {
	case "", Standard:
		h.enc = standard{}
	case JSON:
		h.enc = jsonLine{}
	default:
		return nil, nil, formatError(string(o.Format))
	}
	if o.File != "" {
		f, err := openFile(o)
		if err != nil {
			return nil, nil, err
		}
		out.file = f
	}
	return slog.New(h), out, nil
}

// Named returns a logger for a room: "auth" below "agent" prints as
// "agent.auth". It is how slog's With would look if slog had names.
func Named(log *slog.Logger, room string) *slog.Logger { return log.With(moduleKey, room) }

// ParseFormat reads a log_format in any case. The error names the accepted
// words.
func ParseFormat(s string) (Format, error) {
	switch f := Format(strings.ToLower(s)); f {
	case Standard, JSON:
		return f, nil
	}
	return "", formatError(s)
}

func formatError(s string) error {
	return fmt.Errorf("unknown log format %q: use standard or json", s)
}
