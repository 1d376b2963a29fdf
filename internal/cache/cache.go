// Package cache keeps the server's answers for those who may have them, never
// longer than they are good for.
//
// Three kinds of answer are kept. Leased ones and tokens live as long as their
// lease does, which is kept alive meanwhile (family.go and what belongs to it).
// Static ones, secrets of a key-value engine, live for a time that the user
// gives, and are looked at again after it. Whatever else a client asks to have kept
// lives for another such time at most (brief.go). All others pass.
//
// The way of a request: Look answers from memory and does nothing else; it
// allocates nothing and takes one read lock of a shard. Where it has no answer, Do
// asks the server, once for all who ask the same, and keeps what may be kept.
// What goes by the cache is reported with Passed. Keep is the one loop of the
// cache; it checks, sweeps and counts. Who has no place for a loop calls Tend when
// Due says so.
//
// Whoever changes this room: an answer that is too old, or given to somebody who
// may not have it, is worse than a thousand misses. When in doubt, ask the
// server.
package cache

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/vault"
)

// Options says how much is kept, for how long, and with whose help.
type Options struct {
	// MaxEntries and MaxBytes bound what is kept; 0 means the defaults, 100,000
	// entries and 128 MiB. Bytes count keys and bookkeeping, too.
	MaxEntries int
	MaxBytes   int64
	Static     Static
	Brief      Brief
	// KeyHeaders names further request headers that change an answer.
	KeyHeaders []string
	Server     Server
	// Leases keeps leases and tokens alive; nil keeps none, and nothing leased is
	// cached.
	Leases Leases
	// Lent says which token an identity of ours has now, with the term that it was
	// given last; nil where nobody knows when one ends.
	Lent func(name string) cred.Token
	// Store outlives the process; nil for none.
	Store Store
	// Log and Meter may be nil.
	Log   *slog.Logger
	Meter meter.Meter
}

// Static says how secrets without a lease are kept.
type Static struct {
	// TTL is how long one is given out without a look at the server; 0 keeps none.
	TTL time.Duration
	// Stale is how much longer it is given out while the server is away.
	Stale time.Duration
	// Capabilities is how long a token is believed to be allowed to read it; 0
	// means five minutes.
	Capabilities time.Duration
	// Pessimistic has a token's right asked for before the answer is given, and
	// gives none while the server is away. Else it is asked for right after.
	Pessimistic bool
}

// Server is what the cache asks the server on its own account, in the
// namespace of the header that a client would send.
type Server interface {
	// Lookup says what a token is; an error of kind vault.ErrDenied for none.
	Lookup(ctx context.Context, tok cred.Redacted, namespace string) (cred.Token, error)
	RenewToken(ctx context.Context, tok cred.Redacted, namespace string) (cred.Lease, error)
	RenewLease(ctx context.Context, tok cred.Redacted, namespace, id string, increment time.Duration) (cred.Lease, error)
	// Capabilities says what tok may do at each of paths, which stand as the
	// policy knows them, without /v1/.
	Capabilities(ctx context.Context, tok cred.Redacted, namespace string, paths []string) (map[string][]string, error)
	// Metadata reads the metadata of a secret of a version 2 key-value engine.
	Metadata(ctx context.Context, tok cred.Redacted, namespace, path string) (*cred.Secret, error)
	// Mount says which engine serves path.
	Mount(ctx context.Context, tok cred.Redacted, namespace, path string) (vault.Mount, error)
}

// Leases keeps leases alive.
type Leases interface {
	// Hold keeps a lease alive until Drop or its end.
	Hold(h Held)
	// Drop ends it; nothing is sent.
	Drop(key string)
	// Extended says that somebody else renewed it, or that it was seen with this
	// term.
	Extended(key string, l cred.Lease)
}

// Held is a lease, or a token where Lease.ID is empty, that is kept alive. The
// functions are called without a lock held; Ended once, at the end.
type Held struct {
	Key      string
	Lease    cred.Lease
	Renew    func(ctx context.Context, increment time.Duration) (cred.Lease, error)
	Soon     bool // renewed within a minute, for nobody knows what became of it
	Extended func(cred.Lease)
	Ended    func()
}

// Store keeps records over the end of the process. No call but Settle waits for a
// disk.
type Store interface {
	Put(key string, value []byte)
	Delete(key string)
	Each(f func(key string, value []byte))
	Clear()
	// Settle waits, for a bounded time, until what was deleted is gone for good.
	Settle()
}

// Cache is made by New. It is safe for concurrent use.
type Cache struct {
	o Options
	// keyHeaders are canonical and sorted; interval and grace are of capabilities.
	keyHeaders      []string
	interval, grace int64

	store   store
	holders map[Key]*holder // guarded by the lock of the store
	flights flights
	loners  loners
	changes changes
	checks  checks
	round   round
	engines engines
	ours    ours
	family  family

	// Moments of the wall clock, in nanoseconds: strict is when all rights were
	// called into question, touched when any secret may have changed, away until
	// when the server is taken for away, remarked when the log heard of it.
	strict, touched, away, remarked atomic.Int64

	turns                              atomic.Uint64
	misses, stales, renewed, coalesced atomic.Uint64
}

// life says how long a leased answer may be given out.
type life struct {
	// ends is wall-clock time; zero for no end that is known.
	ends   time.Time
	leased bool
}

// place is what an answer is about, for eviction by path.
type place struct {
	// namespace is that of the header, "" or with a slash at the end.
	namespace string
	// path is decoded, without /v1/ and without the header's namespace.
	path string
}

// The defaults of Options.
const (
	defaultEntries  = 100_000
	defaultBytes    = 128 << 20
	defaultInterval = 5 * time.Minute
)

// New makes a cache; it does nothing until it is asked.
func New(o Options) *Cache {
	o.MaxEntries = cmp.Or(max(o.MaxEntries, 0), defaultEntries)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), defaultBytes)
	o.Static.Capabilities = cmp.Or(max(o.Static.Capabilities, 0), defaultInterval)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	c := &Cache{o: o, holders: map[Key]*holder{}, interval: int64(o.Static.Capabilities)}
	c.grace = min(c.interval, int64(grace))
	for _, name := range o.KeyHeaders {
		c.keyHeaders = append(c.keyHeaders, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	}
	slices.Sort(c.keyHeaders)
	c.keyHeaders = slices.Compact(c.keyHeaders)
	c.store.init(o.MaxEntries, o.MaxBytes)
	c.flights.init()
	c.checks.wake = make(chan struct{}, 1)
	c.round.turn = make(chan struct{}, 1)
	c.ours.tokens, c.ours.ends = map[string]cred.Redacted{}, map[string]time.Time{}
	c.family.init(c)
	return c
}

// Stats is what the cache holds and did so far.
type Stats struct {
	Entries, Leased     int
	Bytes               int64
	Hits, Misses, Stale uint64
	Evictions           uint64 // for room
	Coalesced           uint64 // asks that took the answer of another's
}

// Stats says what the cache holds and did so far.
func (c *Cache) Stats() Stats {
	return Stats{
		Entries: int(c.store.entries.Load()), Leased: int(c.store.holds.Load()), Bytes: c.store.cost.Load(),
		Hits: c.store.hits() + c.renewed.Load(), Misses: c.misses.Load(), Stale: c.stales.Load(),
		Evictions: c.store.evictions.Load(), Coalesced: c.coalesced.Load(),
	}
}
