// Package health answers who asks how the daemon is: machines over HTTP
// (Handler), people in a table (Table), and `latchkey status` on the other side
// of the wire (Fetch).
//
// It keeps no state of its own. Whoever arranges the daemon hands in a function
// that puts a Status together from what the rooms say about themselves; it is
// called for every request, so that an answer is never older than the question.
// docs/health.md describes the shapes for those who build on them; a field is
// added there in the same commit.
package health

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Status is everything /agent/v1/status tells. It holds no secret, and an
// accessor only as its Hash. Moments are wall-clock time; the zero moment is
// "never" or "not known" and left out of the JSON.
type Status struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at,omitzero"`
	// Now is when the answer was given, by the clock of the daemon's machine:
	// ages are counted from it. Handler sets it when it is zero.
	Now time.Time `json:"now,omitzero"`
	// Ready is that the first success is done and nothing is overdue. Reasons
	// says what is missing, one line each, most important first.
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons,omitempty"`
	Token   Token    `json:"token"`
	// Identities are the logins beside the default one, whose token is Token.
	Identities []Identity `json:"identities,omitempty"`
	Sinks      []Sink     `json:"sinks,omitempty"`
	Templates  []Template `json:"templates,omitempty"`
	Leases     Leases     `json:"leases"`
	// Cache is nil when nothing is cached.
	Cache *Cache `json:"cache,omitempty"`
	// Child is nil when no process is supervised, Reload when none was asked for.
	Child  *Child  `json:"child,omitempty"`
	Reload *Reload `json:"reload,omitempty"`
}

// Next is what something will do next, and when. Action is a verb ("renew",
// "log in", "retry"), empty for nothing; NextAt may lie in the past for a moment,
// when it is being done.
type Next struct {
	Action string    `json:"next_action,omitempty"`
	At     time.Time `json:"next_at,omitzero"`
}

// Failure is the last failure that nothing succeeded after; zero for none.
type Failure struct {
	Error string    `json:"last_error,omitempty"`
	At    time.Time `json:"last_error_at,omitzero"`
}

// Token is how the login is.
type Token struct {
	// State is "none" before the first success, "valid", "expired", "invalid"
	// when the server does not take it any more, or "wrapped" when the login was
	// answered with a wrapping, whose end ExpiresAt is.
	State string `json:"state"`
	// AccessorHash is Hash of the token's accessor.
	AccessorHash string `json:"accessor_hash,omitempty"`
	// TTL is the whole seconds the token has left; 0 with a zero ExpiresAt for a
	// token without an end. Handler computes it from ExpiresAt when it is 0.
	TTL       int64     `json:"ttl_seconds"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Since is when this token was got, RenewedAt when it was last renewed.
	Since     time.Time `json:"since,omitzero"`
	RenewedAt time.Time `json:"renewed_at,omitzero"`
	Policies  []string  `json:"policies,omitempty"`
	Logins    int       `json:"logins"`
	Renewals  int       `json:"renewals"`
	Next
	Failure
}

// Identity is a login with a name, and how its token is.
type Identity struct {
	Name  string `json:"name"`
	Token Token  `json:"token"`
}

// Cache is what the proxy holds, and how often that was of use since the start, or
// the reload that began another cache.
// Stale counts the answers that were older than they should be, because the
// server was away; Evicted those that were dropped for want of room.
type Cache struct {
	Entries int    `json:"entries"`
	Bytes   int64  `json:"bytes"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Stale   uint64 `json:"stale"`
	Evicted uint64 `json:"evicted"`
}

// Sink is one place that the token goes to.
type Sink struct {
	Name      string    `json:"name"`
	WrittenAt time.Time `json:"written_at,omitzero"`
	Next
	Failure
}

// Template is one template: its output goes to Destination or to Variable.
type Template struct {
	Name        string `json:"name"`
	Destination string `json:"destination,omitempty"`
	Variable    string `json:"variable,omitempty"`
	// RenderedAt is the last render without a failure, ChangedAt the last one
	// whose output was other than before.
	RenderedAt time.Time `json:"rendered_at,omitzero"`
	ChangedAt  time.Time `json:"changed_at,omitzero"`
	Next
	Failure
}

// Leases is what the lease manager holds. Count counts all; Entries lists those
// that are due soonest, at most MaxEntries.
type Leases struct {
	Count   int     `json:"count"`
	Entries []Lease `json:"entries,omitempty"`
}

// MaxEntries is how many leases a status lists.
const MaxEntries = 1000

// Lease is one answer that is kept current.
type Lease struct {
	// Key says what was asked: an operation and a path, never a body.
	Key  string `json:"key"`
	Kind string `json:"kind,omitempty"`
	// ID is the lease's id at the server, empty for an answer without one.
	ID        string    `json:"lease_id,omitempty"`
	IssuedAt  time.Time `json:"issued_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Next
	Failure
}

// Child is the supervised process. PID is 0 when none runs; LastExit says how
// the one before ended ("exit status 1"), empty when none has.
type Child struct {
	PID       int       `json:"pid"`
	StartedAt time.Time `json:"started_at,omitzero"`
	Restarts  int       `json:"restarts"`
	LastExit  string    `json:"last_exit,omitempty"`
}

// Reload is the last reload: when, and what was wrong with it, empty when it was
// taken over.
type Reload struct {
	At    time.Time `json:"at,omitzero"`
	Error string    `json:"error,omitempty"`
}

// Hash is what a status shows of an accessor: enough to see whether two are the
// same, nothing to look one up with. It is the first half of the SHA-256, in
// hex; an accessor is random, so nobody finds it by trying. Empty stays empty.
func Hash(accessor string) string {
	if accessor == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(accessor))
	return hex.EncodeToString(sum[:16])
}
