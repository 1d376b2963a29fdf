// Package loglevel is the words for how much is logged. It stands apart from
// internal/logging, so that a program that logs to no file carries nothing that
// rotates one.
package loglevel

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
)

// Trace is the level below debug, which slog does not name.
const Trace = slog.LevelDebug - 4

// Parse reads a log_level: trace, debug, info (or notice), warn (or warning),
// error (or err), in any case. The error names the accepted words.
func Parse(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "trace":
		return Trace, nil
	case "debug":
		return slog.LevelDebug, nil
	case "info", "notice":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error", "err":
		return slog.LevelError, nil
	}
	return 0, errors.New("unknown log level " + strconv.Quote(s) + ": use trace, debug, info, warn or error")
}
