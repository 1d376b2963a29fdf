package cred

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// mask is what every printing path shows in place of a secret.
const mask = "[redacted]"

// Redacted holds a secret string and keeps quiet about it: fmt with any verb,
// slog, encoding/json and encoding.TextMarshaler all print "[redacted]".
// Reveal is the one way out, so that a search for it finds every place where a
// secret leaves.
//
// The value sits behind a pointer because fmt does not call methods on
// unexported fields: a plain string would be printed by %+v of a struct that
// holds a Redacted in a private field, a pointer shows only an address.
//
// The zero value is the empty secret.
type Redacted struct{ p *string }

// Redact wraps s.
func Redact(s string) Redacted {
	if s == "" {
		return Redacted{}
	}
	return Redacted{&s}
}

// Reveal returns the secret itself.
func (r Redacted) Reveal() string {
	if r.p == nil {
		return ""
	}
	return *r.p
}

// Empty reports whether there is no secret.
func (r Redacted) Empty() bool { return r.p == nil }

// Equal compares in constant time; lengths are not hidden.
func (r Redacted) Equal(o Redacted) bool {
	return subtle.ConstantTimeCompare([]byte(r.Reveal()), []byte(o.Reveal())) == 1
}

// String returns "[redacted]", or "" for the empty secret.
func (r Redacted) String() string {
	if r.p == nil {
		return ""
	}
	return mask
}

// Format implements fmt.Formatter for every verb.
func (r Redacted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue implements slog.LogValuer.
func (r Redacted) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText implements encoding.TextMarshaler, and with it encoding/json.
func (r Redacted) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
