package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	"latchkey/internal/cred"
)

// family is what the cache knows of tokens and leases: who was made with whose
// token, and where. A token that ends takes along what was made with it, as it
// does in the server.
//
// Its lock may be held while entries are stored, moved and evicted; never the
// other way round.
type family struct {
	c *Cache

	mu         sync.Mutex
	byKey      map[Key]*member
	byLease    map[string]*member
	byToken    map[tokenID]*member
	byAccessor map[string]*member
	// lent are the newest tokens of our identities, by name.
	lent map[string]*member
	// paths is all that was made at a known path, sorted by it; see paths.go.
	paths *member
	seq   uint32
	// refused are tokens whose leases are not cached, and until when that is
	// believed; asking are those that the server is being asked about.
	refused map[tokenID]time.Time
	asking  map[tokenID]chan struct{}
	// warned is when the log last heard of an entry that was dropped for room.
	warned   time.Time
	unwarned int

	events events
	lost   lost
}

// tokenID stands for a token, however it is spelled, where its value need not be
// known.
type tokenID [16]byte

func idOf(tok cred.Redacted) (id tokenID) {
	sum := sha256.Sum256([]byte(tok.Short().Reveal()))
	copy(id[:], sum[:])
	return id
}

// isBatch says whether a token is one that has no leases which can be renewed, by
// the looks of it.
func isBatch(tok cred.Redacted) bool {
	text := tok.Reveal()
	return strings.HasPrefix(text, "hvb.") || strings.HasPrefix(text, "b.")
}

func (id tokenID) String() string { return hex.EncodeToString(id[:]) }

// member is a token or a lease. There is one for each leased entry, so its size
// counts. Times are nanoseconds of the wall clock.
type member struct {
	c *Cache
	// parent is the token it was made with, nil for a token that stands alone.
	parent, first, prev, next *member
	// left and right are of the order by path, seq is its tie-break.
	left, right *member
	// key is the entry that it is the answer of, if served.
	key Key
	// id is the lease's, or the token's accessor.
	id string
	// path is where it was made, namespace included: for a lease its id without
	// the last part, as the server has it. Empty where nobody knows.
	path string
	// space is the namespace to speak of it in.
	space string
	// secret is the token; empty for a lease.
	secret cred.Redacted
	// issued and length are its own term, without end when length is 0; until
	// counts in those that it was made with, 0 for no end.
	issued, length, until int64
	seq                   uint32
	// lenders is how many identities of ours use the token now.
	lenders uint16

	served, held, renewable bool
	// past says that it was a token of an identity of ours.
	past bool
	// orphan says of a token that was made elsewhere that it ends with no other.
	orphan bool
	gone   bool
}

func (m *member) isToken() bool { return !m.secret.Empty() }

// heldKey is the name under which it is kept alive.
func (m *member) heldKey() string {
	switch {
	case !m.isToken():
		return m.id
	case m.id != "":
		return "token " + m.id
	}
	return "token " + idOf(m.secret).String()
}

func (m *member) lease() cred.Lease {
	l := cred.Lease{Duration: time.Duration(m.length), Renewable: m.renewable, Issued: moment(m.issued)}
	if !m.isToken() {
		l.ID = m.id
	}
	return l
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// span is a length of time that can be added to a moment.
func span(d time.Duration) int64 { return int64(min(max(d, 0), longest)) }

// longest is longer than any lease.
const longest = time.Second << 32

func now() time.Time { return cred.Wall(time.Now()) }

// earliest is the sooner of two ends, 0 being none.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (f *family) init(c *Cache) {
	f.c = c
	f.byKey = make(map[Key]*member)
	f.byLease = make(map[string]*member)
	f.byToken = make(map[tokenID]*member)
	f.byAccessor = make(map[string]*member)
	f.lent = make(map[string]*member)
	f.refused = make(map[tokenID]time.Time)
	f.asking = make(map[tokenID]chan struct{})
}

// lost are entries that the store dropped by itself, and that the family has
// still to hear of.
type lost struct {
	mu   sync.Mutex
	keys []Key
}

func (l *lost) add(k Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, k)
}

func (l *lost) take() []Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := l.keys
	l.keys = nil
	return keys
}

func (l *lost) any() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys) > 0
}

// forget hears that the store dropped a leased entry by itself, for room or
// because its time was over. It never waits: while the family is busy, maybe with
// the very call that made the store drop it, the news is left for later. No lock
// of the store may be held.
func (f *family) forget(k Key) {
	f.lost.add(k)
	if f.mu.TryLock() {
		f.unlock()
	}
}

func (f *family) lock() {
	f.mu.Lock()
	f.drain()
}

func (f *family) unlock() {
	for {
		f.drain()
		f.mu.Unlock()
		// What came in between found the lock taken.
		if !f.lost.any() || !f.mu.TryLock() {
			return
		}
	}
}

func (f *family) drain() {
	for _, k := range f.lost.take() {
		m := f.byKey[k]
		if m == nil {
			continue
		}
		// Another answer may stand there by now. It goes too, because it stood on
		// this member, which does.
		f.c.evict(k)
		if m.until == 0 || now().UnixNano() < m.until {
			f.crowded()
		}
		f.displace(m)
	}
}

// drainEnded is drain after the store was told to drop what nobody wants any more.
func (f *family) drainEnded() {
	for _, k := range f.lost.take() {
		f.end(f.byKey[k])
	}
}

// warnEvery is how often the log hears that there is no room.
const warnEvery = time.Minute

// crowded tells the log that something was dropped while it was still good.
func (f *family) crowded() {
	f.unwarned++
	at := now()
	if past := at.Sub(f.warned); past >= 0 && past < warnEvery {
		return
	}
	f.c.o.Log.Warn("the cache is full: leased answers were dropped, and their leases are not renewed any more",
		"dropped", f.unwarned, "room", "max_entries, max_size")
	f.warned, f.unwarned = at, 0
}

// displace takes a member's answer out of the game while nothing is known to be
// wrong with it. A lease has nothing else to live for. A token has what was made
// with it; it is renewed no more, and they end with it.
func (f *family) displace(m *member) {
	if !m.isToken() || m.until != 0 && m.until <= now().UnixNano() {
		f.end(m)
		return
	}
	f.unserve(m)
	if m.held {
		f.c.o.Leases.Drop(m.heldKey())
		m.renewable = false
		f.hold(m)
	}
	f.save(m)
}

// enter makes m known. What it may collide with has been looked for.
func (f *family) enter(m, parent *member) {
	m.c = f.c
	f.seq++
	m.seq = f.seq
	if m.isToken() {
		f.byToken[idOf(m.secret)] = m
		if m.id != "" {
			f.byAccessor[m.id] = m
		}
	} else {
		f.byLease[m.id] = m
	}
	if m.path != "" {
		f.paths = f.paths.with(m)
	}
	f.join(m, parent)
	m.until = m.bound()
}

// serve says that m's answer is the entry k.
func (f *family) serve(m *member, k Key) {
	m.key, m.served = k, true
	f.byKey[k] = m
}

// bound is when m is over, 0 for never.
func (m *member) bound() int64 {
	var own int64
	if m.length > 0 {
		own = m.issued + m.length
	}
	if m.parent == nil {
		return own
	}
	return earliest(own, m.parent.until)
}

func (f *family) join(m, parent *member) {
	m.parent = parent
	if parent == nil {
		return
	}
	m.next, parent.first = parent.first, m
	if m.next != nil {
		m.next.prev = m
	}
}

func (f *family) part(m *member) {
	p := m.parent
	if p == nil {
		return
	}
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		p.first = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	}
	m.parent, m.prev, m.next = nil, nil, nil
}

// hold has m kept alive until its end, or, where it cannot be renewed, watched.
func (f *family) hold(m *member) { f.keep(m, false) }

// keep is hold; soon has it renewed at once.
func (f *family) keep(m *member, soon bool) {
	if m.length <= 0 {
		return
	}
	m.held = true
	h := Held{Key: m.heldKey(), Lease: m.lease(), Soon: soon, Extended: m.extended, Ended: m.ended}
	if m.renewable {
		h.Renew = m.renew
	}
	f.c.o.Leases.Hold(h)
}

var errGone = errors.New("it is not kept any more")

// renew asks the server for more of m's time, with the token that it belongs to.
func (m *member) renew(ctx context.Context, increment time.Duration) (cred.Lease, error) {
	f := &m.c.family
	f.lock()
	tok, gone := m.secret, m.gone
	if !gone && !m.isToken() {
		tok = m.parent.secret
	}
	f.unlock()
	switch {
	case gone:
		return cred.Lease{}, errGone
	case m.isToken():
		return m.c.o.Server.RenewToken(ctx, tok, m.space)
	}
	return m.c.o.Server.RenewLease(ctx, tok, m.space, m.id, increment)
}

func (m *member) extended(l cred.Lease) {
	f := &m.c.family
	f.lock()
	defer f.unlock()
	if !m.gone {
		f.term(m, l)
	}
}

func (m *member) ended() {
	f := &m.c.family
	f.lock()
	defer f.unlock()
	m.held = false // whoever calls holds it no more
	f.end(m)
}

// term gives m another time to live: more, or less.
func (f *family) term(m *member, l cred.Lease) {
	if l.Issued.IsZero() {
		l.Issued = now()
	}
	if l.Duration <= 0 {
		// No time is left, so that what is there is over.
		f.end(m)
		return
	}
	m.issued, m.length, m.renewable = l.Issued.UnixNano(), span(l.Duration), l.Renewable
	f.settle(m)
	f.save(m)
}

// settle has a change of m's end reach its entry, and all below.
func (f *family) settle(m *member) {
	until := m.bound()
	if until == m.until {
		return
	}
	m.until = until
	if m.served {
		f.c.extend(m.key, moment(until))
	}
	for ch := m.first; ch != nil; ch = ch.next {
		f.settle(ch)
	}
}

// end takes m out with all that was made with it: nothing of it is given out or
// kept alive any more. The token of an identity of ours stays, without what was
// made with it. It returns how many entries went.
func (f *family) end(m *member) int {
	if m == nil || m.gone {
		return 0
	}
	n := f.below(m, f.end)
	if m.lenders > 0 || m.gone {
		return n + f.c.spent(m.secret)
	}
	for m.first != nil { // a token of ours, which stays
		ch := m.first
		f.part(ch)
		f.settle(ch)
		f.save(ch)
	}
	n += f.unserve(m)
	f.remove(m)
	if m.isToken() {
		n += f.c.dead(m.secret)
	}
	return n
}

// below does something to each child of m, which may go meanwhile.
func (f *family) below(m *member, do func(*member) int) (n int) {
	for ch := m.first; ch != nil; {
		next := ch.next
		n += do(ch)
		ch = next
	}
	return n
}

// most is how many leases there may be for each entry that there may be, because
// those are kept alive that are not given out any more.
const most = 2

// retire has nothing of m and of what was made with it given out any more, while
// it is kept alive for those who have it. It returns how many entries went.
func (f *family) retire(m *member) int {
	if m == nil || m.gone {
		return 0
	}
	n := f.below(m, f.retire)
	if !m.served {
		return n
	}
	if !m.isToken() && len(f.byLease) > most*f.c.o.MaxEntries {
		f.crowded()
		return n + f.end(m)
	}
	n += f.unserve(m)
	f.save(m)
	return n
}

// spare makes room for a token where there are as many as there may be: it lets go
// of one that nothing was made with and that is not given out. It ends nothing: its
// static answers stay, and when it asks for a lease it is looked up once more. Where
// the first few are all in use there is no room.
func (f *family) spare() bool {
	if len(f.byToken) < most*f.c.o.MaxEntries {
		return true
	}
	looked := 0
	for _, m := range f.byToken {
		if m.first == nil && !m.served && m.lenders == 0 {
			f.remove(m)
			return true
		}
		if looked++; looked == 64 {
			break
		}
	}
	return false
}

// unserve takes m's answer away.
func (f *family) unserve(m *member) int {
	if !m.served {
		return 0
	}
	f.unsaveAnswer(m)
	delete(f.byKey, m.key)
	n := f.c.evict(m.key)
	m.key, m.served = Key{}, false
	return n
}

// remove takes a childless m off every list.
func (f *family) remove(m *member) {
	m.gone = true
	if m.held {
		m.held = false
		f.c.o.Leases.Drop(m.heldKey())
	}
	f.unsave(m)
	if m.path != "" {
		f.paths = f.paths.without(m)
	}
	if m.isToken() {
		drop(f.byToken, idOf(m.secret), m)
		drop(f.byAccessor, m.id, m)
	} else {
		drop(f.byLease, m.id, m)
	}
	p := m.parent
	f.part(m)
	f.prune(p)
}

// prune lets go of a token of the past when nothing is left of it.
func (f *family) prune(m *member) {
	if m != nil && m.past && m.lenders == 0 && m.first == nil && !m.gone && !m.held && !m.served {
		f.remove(m)
	}
}

func drop[K comparable](in map[K]*member, k K, m *member) {
	if in[k] == m {
		delete(in, k)
	}
}

// spaceOf splits what stands before a part of a path that begins it in its
// namespace: of "team/database/creds/app" and "database/creds/app" it is "team/".
func spaceOf(full, rest string) (string, bool) {
	space, ok := strings.CutSuffix(full, rest)
	if !ok || space != "" && !strings.HasSuffix(space, "/") {
		return "", false
	}
	return space, true
}
