package cache

import (
	"context"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// slack is how far the wall clock may step back without anybody having set it.
const slack = int64(2 * time.Second)

// grace is how long an answer may be given out, optimistically, while the question
// whether it still may be is under way.
const grace = time.Minute

// holder is somebody who may read what is kept: an identity of ours, or a token of
// a client's.
type holder struct {
	id  Key
	who exchange.Who
	// token is the client's.
	token tokenID
	// entries is guarded by the lock of the store.
	entries int
	// gone: the token is no more.
	gone atomic.Bool
	// What the server said of its rights until strict counts no more, not even for
	// one answer; what it said until soft is to be asked again.
	strict, soft atomic.Int64
	// ends is when the token ends, as far as is known; 0 for no end, and for an
	// identity of ours, whose login says.
	ends atomic.Int64

	mu sync.Mutex
	// blind are the mounts whose metadata it may not read.
	blind map[string]struct{}
}

// manyBlind bounds blind; whoever has more mounts asks in vain sometimes.
const manyBlind = 64

func (h *holder) sees(mount string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, blind := h.blind[mount]
	return !blind
}

func (h *holder) blinded(mount string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.blind == nil || len(h.blind) >= manyBlind {
		h.blind = map[string]struct{}{}
	}
	h.blind[mount] = struct{}{}
}

func holderID(who exchange.Who) Key {
	if who.Lent != "" {
		return sha256.Sum256([]byte("L" + who.Lent))
	}
	return sha256.Sum256([]byte("T" + who.Token.Short().Reveal()))
}

// holder finds or makes one. The store's lock is held.
func (c *Cache) holder(who exchange.Who) *holder {
	id := holderID(who)
	h := c.holders[id]
	if h == nil {
		h = &holder{id: id, who: who, token: idOf(who.Token)}
		c.holders[id] = h
	}
	return h
}

// right is what is known of a holder's right to an answer.
type right uint8

const (
	// barred: nothing may be given out before the server was asked, whatever
	// happens.
	barred right = iota
	// wanting: neither, but where it is away and the user is an optimist.
	wanting
	// late: it is time to ask; meanwhile an answer may be given out.
	late
	// sure: the server said so not long ago.
	sure
)

// barred says whether there is a reason not to believe in a holder's right, besides
// that it was looked at long ago.
func (c *Cache) barred(e *entry, now int64) bool {
	h, checked := e.holder, e.checked.Load()
	if h.gone.Load() || checked <= c.strict.Load() || checked <= h.strict.Load() || now < checked-slack {
		return true
	}
	ends := h.ends.Load()
	return ends != 0 && now >= ends
}

func (c *Cache) right(e *entry, now int64) right {
	if c.barred(e, now) {
		return barred
	}
	h, checked := e.holder, e.checked.Load()
	due := checked + c.interval
	if soft := h.soft.Load(); checked <= soft {
		due = min(due, soft)
	}
	switch {
	case now < due:
		return sure
	case c.o.Static.Pessimistic || now >= due+c.grace:
		return wanting
	}
	return late
}

// token is what a holder's requests are made with; the second result is false
// where an identity of ours has not logged in.
func (c *Cache) token(who exchange.Who) (cred.Redacted, bool) {
	if who.Lent == "" {
		return who.Token, !who.Token.Empty()
	}
	c.ours.mu.Lock()
	defer c.ours.mu.Unlock()
	tok := c.ours.tokens[who.Lent]
	return tok, !tok.Empty()
}

// until says when a client's token ends, 0 for never. It is looked up once: what is
// given out without asking must not be given to a token that is used up or over.
// It is false for one that may not be looked up or has its uses counted.
func (c *Cache) until(ctx context.Context, q *question) (int64, bool) {
	f, tok := &c.family, q.a.Who.Token
	switch {
	case q.a.Who.Lent != "":
		return 0, true
	case tok.Empty() || c.o.Server == nil:
		return 0, false
	case c.o.Leases != nil && !isBatch(tok):
		// The family hears of its end and of its renewals.
		if !f.knows(ctx, q.a, &exchange.Answer{Token: tok}) {
			return 0, false
		}
		f.lock()
		defer f.unlock()
		if m := f.byToken[idOf(tok)]; m != nil {
			return m.until, true
		}
		return 0, false
	}
	c.store.mu.Lock()
	h := c.holders[holderID(q.a.Who)]
	c.store.mu.Unlock()
	if h != nil {
		if ends := h.ends.Load(); ends == 0 || q.sent < ends {
			return ends, true
		}
	}
	f.lock()
	left := f.refused[idOf(tok)].Sub(now())
	f.unlock()
	if left > 0 && left <= aLongWhile {
		return 0, false
	}
	info, err := c.o.Server.Lookup(ctx, tok, q.a.Namespace)
	if err != nil || info.Uses > 0 {
		f.lock()
		defer f.unlock()
		f.refuse(idOf(tok), aShortWhile)
		return 0, false
	}
	if info.Lease.Issued.IsZero() {
		info.Lease.Issued = time.Unix(0, q.sent)
	}
	if ends := info.Lease.Expires(); !ends.IsZero() {
		return ends.UnixNano(), true
	}
	return 0, true
}

// ours are the tokens of our identities.
type ours struct {
	mu     sync.Mutex
	tokens map[string]cred.Redacted
	// ends are when they did at the login, as far as was said.
	ends map[string]time.Time
}

// relogged says that an identity of ours has another token now: what is kept for
// it is checked at once, or gone where nothing is ever checked.
func (c *Cache) relogged(name string, login cred.Token) {
	tok := login.Value
	c.ours.mu.Lock()
	c.ours.tokens[name], c.ours.ends[name] = tok, login.Lease.Expires()
	c.ours.mu.Unlock()
	c.store.mu.Lock()
	h := c.holders[holderID(exchange.Who{Lent: name})]
	c.store.mu.Unlock()
	if h == nil {
		return
	}
	h.soft.Store(time.Now().UnixNano())
	h.mu.Lock()
	h.blind = nil
	h.mu.Unlock()
	c.outdated(h, tok)
}

// dead drops the static entries of a token that is no more, and those that were
// made with it and are kept briefly, and says how many there were.
func (c *Cache) dead(tok cred.Redacted) int {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.changes.deaths.Add(1)
	n := 0
	if h := c.holders[holderID(exchange.Who{Token: tok})]; h != nil {
		n = c.bury(h)
	}
	if c.o.Brief.TTL > 0 {
		n += len(c.store.removeIf(&c.store.statics, func(e *entry) bool { return e.brief && e.ans.Token.Equal(tok) }))
	}
	return n
}

// bury drops all that is kept for a holder. The store's lock is held.
func (c *Cache) bury(h *holder) int {
	h.gone.Store(true)
	delete(c.holders, h.id)
	if h.entries == 0 {
		return 0
	}
	return len(c.store.removeIf(&c.store.statics, func(e *entry) bool { return e.holder == h }))
}

// doubt has everybody's rights asked for again before the next answer: a token
// was revoked and nobody knows which, or a policy was changed.
func (c *Cache) doubt() { c.strict.Store(time.Now().UnixNano()) }

// checks are the entries whose holders' rights are to be asked for.
type checks struct {
	mu      sync.Mutex
	waiting []*entry
	wake    chan struct{}
}

// manyChecks bounds what waits. Whoever finds it full is asked for at the next hit,
// or before it.
const manyChecks = 4096

// check puts an entry on the list, once.
func (s *checks) check(e *entry) {
	if e.queued.Swap(true) {
		return
	}
	s.mu.Lock()
	full := len(s.waiting) >= manyChecks
	if !full {
		s.waiting = append(s.waiting, e)
	}
	s.mu.Unlock()
	if full {
		e.queued.Store(false)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *checks) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0
}

// take empties the list.
func (s *checks) take() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.waiting
	s.waiting = nil
	for _, e := range out {
		e.queued.Store(false)
	}
	return out
}
