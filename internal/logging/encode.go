package logging

import (
	"encoding/json"
	"log/slog"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// The layouts are those vault agent's own logger uses.
const (
	standardTime = "2006-01-02T15:04:05.000Z0700"
	jsonTime     = "2006-01-02T15:04:05.000000Z07:00"
)

// levelName gives the word for a level; levels in between round down.
func levelName(l slog.Level) (upper, lower string) {
	switch {
	case l < slog.LevelDebug:
		return "[TRACE] ", "trace"
	case l < slog.LevelInfo:
		return "[DEBUG] ", "debug"
	case l < slog.LevelWarn:
		return "[INFO]  ", "info"
	case l < slog.LevelError:
		return "[WARN]  ", "warn"
	}
	return "[ERROR] ", "error"
}

// standard writes
//
//	2026-11-21T18:00:00.000Z [INFO]  agent.auth: logged in: method=approle ttl=1h0m0s
type standard struct{}

func (standard) head(b []byte, t time.Time, l slog.Level, module, msg string) []byte {
	if !t.IsZero() {
		b = append(t.AppendFormat(b, standardTime), ' ')
	}
	upper, _ := levelName(l)
	b = append(b, upper...)
	if module != "" {
		b = append(append(b, module...), ": "...)
	}
	b = appendPrintable(b, msg)
	return append(b, ':')
}

func (standard) attr(b []byte, key string, v slog.Value) []byte {
	b = append(b, ' ')
	b = appendWord(b, key)
	b = append(b, '=')
	return appendWord(b, text(v))
}

// tail removes the colon when nothing followed it.
func (standard) tail(b []byte) []byte {
	if b[len(b)-1] == ':' {
		return b[:len(b)-1]
	}
	return b
}

// appendWord quotes what would not stay one word, and whatever could pretend
// to be a second line or move a terminal's cursor.
func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, `""`...)
	}
	for _, r := range s {
		if r <= ' ' || r == '"' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return strconv.AppendQuote(b, s)
		}
	}
	return append(b, s...)
}

// appendPrintable leaves words and quotes alone and escapes control characters.
func appendPrintable(b []byte, s string) []byte {
	for _, r := range s {
		if unicode.IsPrint(r) {
			b = utf8.AppendRune(b, r)
			continue
		}
		q := strconv.QuoteRune(r)
		b = append(b, q[1:len(q)-1]...)
	}
	return b
}

// jsonLine writes one object per line, with the keys vault agent uses.
type jsonLine struct{}

func (jsonLine) head(b []byte, t time.Time, l slog.Level, module, msg string) []byte {
	_, lower := levelName(l)
	b = append(append(append(b, `{"@level":"`...), lower...), `","@message":`...)
	b = appendJSONString(b, msg)
	if module != "" {
		b = appendJSONString(append(b, `,"@module":`...), module)
	}
	if !t.IsZero() {
		b = append(t.AppendFormat(append(b, `,"@timestamp":"`...), jsonTime), '"')
	}
	return b
}

// attr keeps numbers, truth values and lists of strings; all else is text, so
// that nothing is marshalled field by field.
func (jsonLine) attr(b []byte, key string, v slog.Value) []byte {
	b = append(appendJSONString(append(b, ','), key), ':')
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
	case slog.KindAny:
		if list, ok := v.Any().([]string); ok {
			return appendJSONList(b, list)
		}
	}
	return appendJSONString(b, text(v))
}

func (jsonLine) tail(b []byte) []byte { return append(b, '}') }

func appendJSONList(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, s)
	}
	return append(b, ']')
}

// appendJSONString copies the usual string and leaves the others to
// encoding/json.
func appendJSONString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			q, err := json.Marshal(s)
			if err != nil { // no string makes it fail
				return append(b, `""`...)
			}
			return append(b, q...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
