// Package lease keeps the answers of the server current for as long as
// somebody uses them: it renews what can be renewed, fetches again what ends,
// and looks now and then at what never ends.
package lease

import (
	"context"
	"log/slog"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
)

// Identity is the server as one token sees it. It is safe for concurrent use.
type Identity interface {
	// ReadEach always asks the server and remembers nothing. each is called
	// once for every request, with its index, never twice at a time.
	ReadEach(ctx context.Context, reqs []cred.Request, each func(i int, res cred.Result))
	// Version is a fingerprint of what a read would answer, without reading
	// it; see cred.Secret.Version. ok is false where there is none, and "" is
	// one that equals no other.
	Version(ctx context.Context, req cred.Request) (v string, ok bool, err error)
	// Renew extends a lease and returns it as it is from now on.
	Renew(ctx context.Context, id string, increment time.Duration) (cred.Lease, error)
}

// Options are the habits of a Manager.
type Options struct {
	// StaticInterval is how often an answer without an end is looked at, 5m
	// when 0.
	StaticInterval time.Duration
	// Threshold is the share of a lease that cannot be renewed after which it
	// is fetched again, 0.9 when 0.
	Threshold float64
	// Backoff is the wait after a failure.
	Backoff retry.Schedule
	// Parallel bounds the requests under way at once, 10 when 0.
	Parallel int
	Log      *slog.Logger
	Meter    meter.Meter
}

// Manager holds answers.
type Manager struct{ o Options }

// New returns a Manager that knows nothing and does nothing.
func New(o Options) *Manager { return &Manager{o: o} }

// Use sets who asks from now on.
func (m *Manager) Use(id Identity) {}

// ReadAll answers the requests in their order and waits for all of them.
func (m *Manager) ReadAll(ctx context.Context, reqs []cred.Request) []cred.Result {
	out := make([]cred.Result, len(reqs))
	m.ReadEach(ctx, reqs, func(i int, res cred.Result) { out[i] = res })
	return out
}

// ReadEach is ReadAll that hands over each answer as it arrives.
func (m *Manager) ReadEach(ctx context.Context, reqs []cred.Request, each func(i int, res cred.Result)) {
}

// Keep does what is due until ctx ends.
func (m *Manager) Keep(ctx context.Context, changed func(keys []string)) error { return nil }

// Retain drops the answers whose key is not in keys.
func (m *Manager) Retain(keys map[string]bool) {}

// Touch has what stands at path looked at now.
func (m *Manager) Touch(path string) {}

// Entry is what is known of one answer, without the answer.
type Entry struct {
	// What is the request for people, such as "read kv/data/app".
	What string
	// Kind is "lease", "certificate", "rotation", "secret id", "token" or "static".
	Kind    string
	LeaseID string
	// Issued is when the answer was given or the lease last renewed, Expires
	// its end, zero for none.
	Issued, Expires time.Time
	// Next is "renew", "fetch" or "look", NextAt when.
	Next   string
	NextAt time.Time
	// Err is why the last attempt failed, nil when it did not.
	Err error
}

// Entries tells what is held, the soonest due first.
func (m *Manager) Entries() []Entry { return nil }
