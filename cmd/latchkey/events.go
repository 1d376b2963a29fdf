package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"latchkey/internal/logging"
)

// severity is a log whose lines go to different places by their level, as the
// event log of Windows wants them, and all of them to the log file as well.
type severity struct{ info, warn, err, file slog.Handler }

// severityLog returns how to build such a log.
func severityLog(info, warn, bad io.Writer) func(logging.Options) (*slog.Logger, *logging.Output, error) {
	return func(o logging.Options) (*slog.Logger, *logging.Output, error) {
		o.Stderr = io.Discard
		log, out, err := logging.New(o)
		if err != nil {
			return nil, nil, err
		}
		h := severity{file: log.Handler()}
		for to, place := range map[*slog.Handler]io.Writer{&h.info: info, &h.warn: warn, &h.err: bad} {
			log, _, err := logging.New(logging.Options{Level: o.Level, Format: o.Format, Stderr: place})
			if err != nil {
				return nil, nil, errors.Join(err, out.Close())
			}
			*to = log.Handler()
		}
		return slog.New(h), out, nil
	}
}

func (h severity) of(l slog.Level) slog.Handler {
	switch {
	case l >= slog.LevelError:
		return h.err
	case l >= slog.LevelWarn:
		return h.warn
	}
	return h.info
}

func (h severity) Enabled(ctx context.Context, l slog.Level) bool { return h.file.Enabled(ctx, l) }

func (h severity) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(h.of(r.Level).Handle(ctx, r), h.file.Handle(ctx, r))
}

func (h severity) WithAttrs(a []slog.Attr) slog.Handler {
	return severity{h.info.WithAttrs(a), h.warn.WithAttrs(a), h.err.WithAttrs(a), h.file.WithAttrs(a)}
}

func (h severity) WithGroup(name string) slog.Handler {
	return severity{h.info.WithGroup(name), h.warn.WithGroup(name), h.err.WithGroup(name), h.file.WithGroup(name)}
}
