package cache

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"latchkey/internal/exchange"
)

// The number of shards a read may meet; a power of two.
const shards = 64

// overhead is what an entry costs besides its body and path: itself, its places in
// a map, in a ring and in the index, and what the allocator rounds up.
const overhead = 400

// entry is one answer that is kept. What has no atomic type never changes: a newer
// answer is another entry.
type entry struct {
	ans exchange.Answer // From is Hit
	key Key
	// path is decoded and seen from the root namespace; it lies behind the body,
	// in the same piece of memory. The first in bytes of it are the header's
	// namespace.
	path   []byte
	in     uint16
	leased bool
	// brief is kept as Brief says; leasedBriefly has a lease that nobody renews, and
	// list names what is below its path.
	brief, leasedBriefly, list bool

	holder *holder // of a static one
	// seen is when the server was asked, fresh until when a static answer is good
	// without asking again. Both, like all times here, are nanoseconds of the wall
	// clock since 1970.
	seen, fresh int64
	// turn is the number of the request that it came with; greater is newer.
	turn uint64
	// ends is when it must not be given out any more whatever happens; 0 for no
	// end.
	ends atomic.Int64
	// checked is when the server said last that the holder may read it.
	checked atomic.Int64
	used    atomic.Bool // since the hand came by
	queued  atomic.Bool // for a check of the capability
	slot    int32       // in its ring
	cost    int32
	next    *entry // of those with the same tail
}

func (e *entry) namespace() string { return string(e.path[:e.in]) }

// shard is what a read meets: one lock, one map. The map is by a part of the key,
// which is as good as random and has no pointer; the entry holds all of it.
type shard struct {
	mu   sync.RWMutex
	m    map[uint64]*entry
	hits atomic.Uint64
	_    [64]byte // so that two shards do not share a cache line
}

// ring is a clock: the hand goes round and takes what was not read since it came
// by.
type ring struct {
	entries []*entry
	hand    int
}

func (r *ring) add(e *entry) {
	e.slot = int32(len(r.entries))
	r.entries = append(r.entries, e)
}

func (r *ring) remove(e *entry) {
	last := len(r.entries) - 1
	r.entries[e.slot] = r.entries[last]
	r.entries[e.slot].slot = e.slot
	r.entries[last] = nil
	r.entries = r.entries[:last]
	if cap(r.entries) > 1024 && last < cap(r.entries)/4 {
		r.entries = slices.Clone(r.entries)
	}
}

// victim is the next to go, nil when there is none.
func (r *ring) victim() *entry {
	for range 2 * len(r.entries) {
		if r.hand >= len(r.entries) {
			r.hand = 0
		}
		e := r.entries[r.hand]
		r.hand++
		if !e.used.Swap(false) {
			return e
		}
	}
	return nil
}

// store holds the entries. Reads meet a shard alone; everything that changes
// something holds mu, and each shard's lock for the moment of its change.
type store struct {
	shards [shards]shard

	mu      sync.Mutex
	max     int
	maxCost int64
	statics ring
	leased  ring
	tails   map[uint64]*entry // statics by the tail of their path
	heads   map[string]http.Header
	lists   int // statics that are lists

	cost      atomic.Int64
	entries   atomic.Int64
	holds     atomic.Int64 // leased ones
	evictions atomic.Uint64
}

func (s *store) init(max int, maxCost int64) {
	s.max, s.maxCost = max, maxCost
	for i := range s.shards {
		s.shards[i].m = map[uint64]*entry{}
	}
	s.tails = map[uint64]*entry{}
	s.heads = map[string]http.Header{}
}

func (s *store) shard(k *Key) *shard { return &s.shards[k[0]%shards] }

func short(k *Key) uint64 { return binary.LittleEndian.Uint64(k[8:]) }

// get is nil when there is none; whether it is still good is not looked at.
func (s *store) get(k *Key) *entry {
	sh := s.shard(k)
	sh.mu.RLock()
	e := sh.m[short(k)]
	sh.mu.RUnlock()
	if e == nil || e.key != *k {
		return nil
	}
	return e
}

func (s *store) hits() (n uint64) {
	for i := range s.shards {
		n += s.shards[i].hits.Load()
	}
	return n
}

// dropped collects the leased entries that a change of the store cost, for the
// family to hear of when the lock is free.
type dropped []Key

// put adds an entry and makes room for it. A static one never costs a leased one:
// it is refused when there is no other room. The lock is held.
func (s *store) put(e *entry) (out dropped, ok bool) {
	if int64(e.cost) > s.maxCost/2 {
		return nil, false
	}
	sh := s.shard(&e.key)
	if old := sh.m[short(&e.key)]; old != nil {
		if s.remove(old); old.leased && old.key != e.key {
			out = append(out, old.key)
		}
	}
	for s.entries.Load() >= int64(s.max) || s.cost.Load()+int64(e.cost) > s.maxCost {
		old := s.statics.victim()
		if old == nil && e.leased {
			old = s.leased.victim()
		}
		if old == nil {
			return out, false
		}
		s.remove(old)
		s.evictions.Add(1)
		if old.leased {
			out = append(out, old.key)
		}
	}
	if e.leased {
		s.leased.add(e)
		s.holds.Add(1)
	} else {
		s.statics.add(e)
		if e.list {
			s.lists++
		}
		t := tail(string(e.path))
		e.next, s.tails[t] = s.tails[t], e
	}
	if e.holder != nil {
		e.holder.entries++
	}
	s.entries.Add(1)
	s.cost.Add(int64(e.cost))
	sh.mu.Lock()
	sh.m[short(&e.key)] = e
	sh.mu.Unlock()
	return out, true
}

// remove takes out an entry that is in the store. The lock is held.
func (s *store) remove(e *entry) {
	sh := s.shard(&e.key)
	sh.mu.Lock()
	delete(sh.m, short(&e.key))
	sh.mu.Unlock()
	if e.leased {
		s.leased.remove(e)
		s.holds.Add(-1)
	} else {
		s.statics.remove(e)
		s.unchain(e)
		if e.list {
			s.lists--
		}
	}
	if e.holder != nil {
		e.holder.entries--
	}
	s.entries.Add(-1)
	s.cost.Add(-int64(e.cost))
}

func (s *store) unchain(e *entry) {
	t := tail(string(e.path))
	if s.tails[t] == e {
		if e.next == nil {
			delete(s.tails, t)
		} else {
			s.tails[t] = e.next
		}
		return
	}
	for at := s.tails[t]; at != nil; at = at.next {
		if at.next == e {
			at.next = e.next
			return
		}
	}
}

// drop takes out an entry if it still stands under its key. The lock is held.
func (s *store) drop(e *entry) bool {
	if s.shard(&e.key).m[short(&e.key)] != e {
		return false
	}
	s.remove(e)
	return true
}

// removeIf takes out all of a ring that match. The lock is held.
func (s *store) removeIf(r *ring, match func(*entry) bool) dropped {
	var out dropped
	for i := 0; i < len(r.entries); {
		if e := r.entries[i]; match(e) {
			s.remove(e) // another takes its slot
			out = append(out, e.key)
		} else {
			i++
		}
	}
	return out
}

// at drops the statics at a path, and those of the same secret under its other
// paths, in whatever namespace. The lock is held.
func (s *store) at(path string) int {
	n := 0
	for e := s.tails[tail(path)]; e != nil; {
		next := e.next
		if within(string(e.path), path) {
			s.remove(e)
			n++
		}
		e = next
	}
	return n
}

// above drops the lists that name what stands at a path, which is given as seen from
// the root and from its namespace. The lock is held.
func (s *store) above(paths ...string) {
	if s.lists == 0 {
		return
	}
	for i, p := range paths {
		paths[i] = plainly(p)
	}
	s.removeIf(&s.statics, func(e *entry) bool {
		if !e.list {
			return false
		}
		list := string(e.path)
		return strings.HasPrefix(paths[0], plainly(list)) || strings.HasPrefix(paths[1], plainly(list[e.in:]))
	})
}

// manyHeads is how many different sets of headers are shared; there are as many as
// there are servers and engines, times little.
const manyHeads = 256

// private are headers that belong to one exchange, and not to the answer.
func private(name string, static bool) bool {
	switch name {
	case "Date", "Content-Length", "Set-Cookie", "Age", "X-Cache", "Traceparent", "Tracestate", "Server-Timing", "X-Request-Id", "X-Amzn-Trace-Id", "Cf-Ray":
		return true
	case "X-Vault-Index":
		// It tells after which write a read is good. A secret that is read from
		// memory makes no new state, a token that is given again does belong to one.
		return static
	}
	return false
}

// head gives the headers that are kept with an answer; equal ones are one. It says
// what they cost whoever comes with them first. The lock is held.
func (s *store) head(h http.Header, static bool) (http.Header, int32) {
	names := make([]string, 0, len(h))
	for name := range h {
		if !private(name, static) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b []byte
	for _, name := range names {
		b = appendHeader(b, h, name)
	}
	if known, ok := s.heads[string(b)]; ok {
		return known, 0
	}
	out := make(http.Header, len(names))
	for _, name := range names {
		values := make([]string, len(h[name]))
		for i, v := range h[name] {
			values[i] = strings.Clone(v)
		}
		out[strings.Clone(name)] = values
	}
	if _, indexed := out["X-Vault-Index"]; !indexed {
		if len(s.heads) >= manyHeads {
			clear(s.heads)
		}
		s.heads[string(b)] = out
	}
	return out, int32(2*len(b) + 256)
}
