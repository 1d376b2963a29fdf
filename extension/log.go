package extension

import (
	"io"
	"latchkey/internal/lambdaenv"
	"log/slog"
	"strings"
)

// NewLogger writes lines as Lambda wants them: JSON with the keys that its log
// viewers know where the function's log format is JSON, else text.
func NewLogger(w io.Writer, level slog.Leveler, asJSON bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: lambdaKeys(asJSON)}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if asJSON {
		h = slog.NewJSONHandler(w, o)
	}
	return slog.New(h).With("extension", "latchkey")
}

// LoggerFor is NewLogger as the settings want it; s is nil where they make no sense.
func LoggerFor(w io.Writer, s *lambdaenv.Settings) *slog.Logger {
	if s == nil {
		return NewLogger(w, slog.LevelInfo, false)
	}
	return NewLogger(w, s.LogLevel, s.LogJSON)
}

// Named returns a logger for a room.
func Named(log *slog.Logger, room string) *slog.Logger { return log.With("module", room) }

// lambdaKeys renames what slog calls otherwise than Lambda.
func lambdaKeys(asJSON bool) func([]string, slog.Attr) slog.Attr {
	return func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return plain(a)
		}
		switch a.Key {
		case slog.TimeKey:
			a.Key = "timestamp"
			a.Value = slog.StringValue(a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z"))
		case slog.LevelKey:
			a.Value = slog.StringValue(levelName(a.Value.Any().(slog.Level)))
		case slog.MessageKey:
			if asJSON {
				a.Key = "message"
			}
		case "@module":
			a.Key = "module"
		}
		return plain(a)
	}
}

// plain writes a duration as people do, and not as a number of nanoseconds.
func plain(a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// levelName is a level in Lambda's words.
func levelName(l slog.Level) string {
	if l < slog.LevelDebug {
		return "TRACE"
	}
	name, _, _ := strings.Cut(l.String(), "+")
	return name
}
