package cache

import "latchkey/internal/cred"

// Adopt hears which token an identity of ours has now; an empty one says that it
// has none. What it gets is cached from now on. What was cached with an older one
// is given out no more, while its leases are kept alive for those who have them,
// for as long as that token lets them.
//
// A token whose uses are counted, or that is a batch token, is no reason to cache
// anything. Nothing is concluded from the token's lease: see Renewed.
func (c *Cache) Adopt(name string, tok cred.Token) {
	f := &c.family
	f.lock()
	defer f.unlock()
	defer c.relogged(name, tok.Value)
	old := f.lent[name]
	if old != nil && old.secret.Equal(tok.Value) {
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
	f.save(m)
}

// Renewed hears how long the token lives that an identity of ours has: what was
// made with it is given out no longer. Who calls it at all calls it at each login,
// after Adopt, and at each renewal; without it, the end of a token is noticed when
// Adopt hears of the next.
func (c *Cache) Renewed(name string, l cred.Lease) {
	f := &c.family
	f.lock()
	defer f.unlock()
	m := f.lent[name]
	if m == nil {
		return
	}
	if l.Issued.IsZero() {
		l.Issued = now()
	}
	m.issued, m.length = l.Issued.UnixNano(), span(l.Duration)
	f.settle(m)
	f.save(m)
}
