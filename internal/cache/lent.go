package cache

import (
	"maps"
	"slices"

	"latchkey/internal/cred"
)

// Adopt hears which token an identity of ours has now; an empty one says that it
// has none. What it gets is cached from now on. What was cached with an older one
// is given out no more, while its leases are kept alive for those who have them,
// for as long as that token lets them.
//
// A token whose uses are counted, or that is a batch token, is no reason to cache
// anything. How long it lives after a renewal Keep asks for: see Options.Lent.
func (c *Cache) Adopt(name string, tok cred.Token) {
	f := &c.family
	f.lock()
	defer f.unlock()
	defer c.relogged(name, tok)
	old := f.lent[name]
	if old != nil && old.secret.Equal(tok.Value) {
		f.lives(name, tok)
		return
	}
	if old != nil {
		delete(f.lent, name)
		old.lenders--
		old.past = true
		f.note(event{what: endOfToken, token: idOf(old.secret)})
		f.retire(old)
		f.save(old)
		f.prune(old)
	}
	if tok.Value.Empty() || tok.Uses > 0 || tok.Type == "batch" {
		return
	}
	m := f.byToken[idOf(tok.Value)]
	if m == nil {
		m = &member{id: tok.Accessor, secret: tok.Value, space: tok.Namespace, orphan: tok.Orphan, issued: now().UnixNano()}
		f.enter(m, nil)
	}
	m.lenders++
	m.past = false
	f.lent[name] = m
	if !f.lives(name, tok) {
		f.save(m)
	}
}

// terms takes in how long the tokens of our identities live by now. What was made
// with one that ends is given out no longer, even if no other comes in its place.
func (c *Cache) terms() {
	if c.o.Lent == nil {
		return
	}
	f := &c.family
	f.lock()
	names := slices.Collect(maps.Keys(f.lent))
	f.unlock()
	for _, name := range names {
		tok := c.o.Lent(name)
		f.lock()
		f.lives(name, tok)
		f.unlock()
	}
}

// lives takes in the term of an identity's token, unless a client renewed it since,
// and says whether it was news.
func (f *family) lives(name string, tok cred.Token) bool {
	m := f.lent[name]
	if m == nil || tok.Lease.Issued.IsZero() || !m.secret.Equal(tok.Value) {
		return false
	}
	issued, length := tok.Lease.Issued.UnixNano(), span(tok.Lease.Duration)
	newer := m.length == 0 || issued > m.issued || m.issued > now().UnixNano()
	if !newer || issued == m.issued && length == m.length {
		return false
	}
	m.issued, m.length = issued, length
	f.settle(m)
	f.save(m)
	return true
}
