// Package cred holds the nouns of latchkey: tokens, secrets and leases, the
// type that keeps secrets out of logs, and all arithmetic about their time.
//
// It does no I/O and imports nothing of ours, so every room may use it.
// Expiry is wall-clock time without a monotonic part, compared with a "now"
// that the caller passes at the moment of use: a frozen process has no timer
// worth trusting. Anything that may hold a secret either is a Redacted or
// prints itself without it; keep it that way when adding a field.
package cred

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// Lease says how long a token or a secret is good for.
type Lease struct {
	// ID is the server's lease id; empty for tokens and for static secrets.
	ID string
	// Duration is the time to live granted at Issued; 0 means no end is known.
	Duration time.Duration
	// Renewable is the server's word that the lease may be extended.
	Renewable bool
	// Issued is wall-clock time; see Wall.
	Issued time.Time
}

// Wall strips the monotonic reading, so that comparisons hold across a frozen
// process and a suspended machine.
func Wall(t time.Time) time.Time { return t.Round(0) }

// Expires returns the wall-clock end, or the zero time when none is known.
func (l Lease) Expires() time.Time {
	if l.Duration <= 0 {
		return time.Time{}
	}
	return l.Issued.Add(l.Duration)
}

// Expired reports whether the lease has ended at now. A lease without an end
// never has.
func (l Lease) Expired(now time.Time) bool {
	return l.Duration > 0 && !Wall(now).Before(l.Expires())
}

// RenewAt returns the moment at which fraction (between 0 and 1) of the lease
// has gone by, or the zero time when the lease has no end.
func (l Lease) RenewAt(fraction float64) time.Time {
	if l.Duration <= 0 {
		return time.Time{}
	}
	return l.Issued.Add(time.Duration(float64(l.Duration) * fraction))
}

// Left returns the time to the end at now, never negative; 0 too when the
// lease has no end, so look at Duration first.
func (l Lease) Left(now time.Time) time.Duration {
	if l.Duration <= 0 || l.Expired(now) {
		return 0
	}
	return l.Expires().Sub(Wall(now))
}

// Token is a client token and what the server said of it.
//
// A login with response wrapping yields a Token whose Value is empty and whose
// Wrap is set: it can be delivered to sinks, but not used.
type Token struct {
	Value    Redacted
	Accessor string
	// Type is "service", "batch", or "" where the server does not say.
	Type     string
	Policies []string
	// TokenPolicies and IdentityPolicies tell where Policies come from, as far as the
	// server says.
	TokenPolicies, IdentityPolicies []string

	Metadata map[string]string
	EntityID string
	Orphan   bool
	// Uses is the number of requests left, 0 for no limit.
	Uses  int
	Lease Lease
	// Namespace is where the token was issued ("" for the root namespace).
	Namespace string
	// Borrowed is set for a token that was there before the run; to revoke it
	// is its owner's affair.
	Borrowed bool
	Wrap     *WrapInfo
}

// String shows the accessor, never the token.
func (t Token) String() string {
	if t.Wrap != nil {
		return "token wrapped for " + t.Wrap.TTL.String()
	}
	return fmt.Sprintf("token accessor=%s ttl=%s", t.Accessor, t.Lease.Duration)
}

// Format implements fmt.Formatter, so that no verb reaches into the fields.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("accessor", t.Accessor),
		slog.Duration("ttl", t.Lease.Duration),
		slog.Bool("renewable", t.Lease.Renewable),
		slog.String("policies", strings.Join(t.Policies, ",")))
}

// WrapInfo describes a response-wrapped answer.
type WrapInfo struct {
	Token           Redacted
	Accessor        string
	TTL             time.Duration
	CreationTime    time.Time
	CreationPath    string
	WrappedAccessor string
}

// Secret is one answer of the server. Data holds the payload as encoding/json
// gives it with numbers kept as json.Number; for KV version 2 it is the
// server's own shape, {"data": {...}, "metadata": {...}}.
type Secret struct {
	RequestID string
	Lease     Lease
	Data      map[string]any
	Warnings  []string
	// Auth is set when the answer carries a token.
	Auth *Token
	// Wrap is set when the answer is response-wrapped.
	Wrap *WrapInfo
	// MountType is the engine that answered, such as "kv", or "" where the server
	// does not say.
	MountType string
}

// String shows the lease, never the data.
func (s Secret) String() string {
	return fmt.Sprintf("secret lease=%q duration=%s fields=%d", s.Lease.ID, s.Lease.Duration, len(s.Data))
}

// Format implements fmt.Formatter, so that no verb reaches into the fields.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON refuses to be a back door: it yields the same text as String.
func (s Secret) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", s.String()), nil }
