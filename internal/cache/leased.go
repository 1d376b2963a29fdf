package cache

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// kept keeps an answer that is a lease or a login, if it may be kept: it enters
// the family, the store takes the answer, and its lease is kept alive from now on.
// It says whether all that happened.
//
// Kept is what can be renewed, and was made with a token of the family; a token
// that stands alone (a login) needs no other. A token that the family does not
// know is looked up, once, for which ctx is good; one with a limited number of uses
// made elsewhere loses one of them to that. since is the mark that was taken before
// the request was sent: what was revoked after it is not kept.
//
// The answer is given out as it came, by day's end with the lease_duration of the
// morning, as the agent does it: the header Age says how old it is, and the lease
// is renewed meanwhile.
func (c *Cache) kept(ctx context.Context, a *exchange.Ask, k Key, t top, ans *exchange.Answer, since uint64) bool {
	if c.o.Leases == nil || t.hasWrap {
		return false
	}
	f := &c.family
	at := placeOf(a)
	m, alone := f.newcomer(at, t, ans)
	if m == nil {
		return false
	}
	if !alone && !f.knows(ctx, a, ans) {
		return false
	}
	f.lock()
	defer f.unlock()
	if f.missed(since, m, idOf(ans.Token)) || f.taken(m, k) || m.isToken() && !f.spare() {
		return false
	}
	var parent *member
	if !alone {
		if parent = f.asker(a, ans.Token); parent == nil {
			return false
		}
	}
	if old := f.byKey[k]; old != nil {
		// Somebody had it read again. Of the old answer's lease nobody hears any
		// more.
		f.displace(old)
	}
	f.enter(m, parent)
	if m.until != 0 && m.until <= now().UnixNano() {
		f.remove(m)
		return false
	}
	f.serve(m, k)
	if !c.put(k, at, ans, life{ends: moment(m.until), leased: true}) {
		f.unserve(m)
		f.remove(m)
		return false
	}
	f.hold(m)
	f.saveAnswer(m, at, a.Who, ans)
	f.save(m)
	return true
}

// newcomer is the member that an answer would become, nil when it is not one that
// is kept. alone says that it ends with nobody.
func (f *family) newcomer(at place, t top, ans *exchange.Answer) (m *member, alone bool) {
	if t.hasAuth {
		return f.newToken(at, t, ans)
	}
	length := seconds(t.leaseDuration)
	if t.leaseID == "" || !t.renewable || length <= 0 {
		return nil, false
	}
	m = &member{id: t.leaseID, issued: ans.At.UnixNano(), length: int64(length), renewable: true}
	m.space, m.path = leasePlace(at, t.leaseID)
	return m, false
}

// leasePlace says in which namespace a lease is, and where the server has it: its
// id is the path that it was made at, as the namespace has it, and one part more.
func leasePlace(at place, id string) (space, path string) {
	dir, _, ok := cutLast(id, "/")
	if !ok {
		return at.namespace, at.full()
	}
	space, ok = spaceOf(at.full(), dir)
	if !ok {
		space = at.namespace
	}
	if space == "" {
		return "", dir // which is a part of id, and costs nothing
	}
	return space, space + dir
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// login is what an answer tells of a token that was made.
type login struct {
	ClientToken   string `json:"client_token"`
	Accessor      string `json:"accessor"`
	TokenType     string `json:"token_type"`
	LeaseDuration int64  `json:"lease_duration"`
	Renewable     bool   `json:"renewable"`
	Orphan        bool   `json:"orphan"`
	NumUses       int64  `json:"num_uses"`
}

func (f *family) newToken(at place, t top, ans *exchange.Answer) (m *member, alone bool) {
	var l login
	if json.Unmarshal(t.auth, &l) != nil || l.ClientToken == "" {
		return nil, false
	}
	tok := cred.Redact(l.ClientToken)
	if l.NumUses > 0 || l.TokenType == "batch" {
		// A token that is used up is not to be handed to several, and need not be
		// looked up, which is a use.
		f.lock()
		f.refuse(idOf(tok), aLongWhile)
		f.unlock()
		return nil, false
	}
	length := seconds(l.LeaseDuration)
	if !l.Renewable || length <= 0 {
		return nil, false
	}
	m = &member{
		id: l.Accessor, secret: tok, path: at.full(), space: at.namespace,
		issued: ans.At.UnixNano(), length: int64(length), renewable: true,
	}
	if i := partAt(m.path, "auth/"); i >= 0 {
		m.space = m.path[:i]
	}
	return m, l.Orphan
}

// partAt finds what begins with head at the beginning of path or after a slash,
// -1 for nowhere.
func partAt(path, head string) int {
	for i := 0; ; {
		if strings.HasPrefix(path[i:], head) {
			return i
		}
		j := strings.IndexByte(path[i:], '/')
		if j < 0 {
			return -1
		}
		i += j + 1
	}
}

// seconds is a length of time as the server sends it, without nonsense.
func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), int64(longest/time.Second))) * time.Second
}

// taken says that m cannot enter, because its lease or token is known, and
// something else is given out for it. A server behind another cache answers two
// requests with one lease.
func (f *family) taken(m *member, k Key) bool {
	old := f.byLease[m.id]
	if m.isToken() {
		old = f.byToken[idOf(m.secret)]
	}
	switch {
	case old == nil:
		return false
	case m.isToken() || old.served && old.key != k:
		return true
	}
	f.end(old)
	return false
}

// asker is the member that a request was made with; nil when it is none of the
// family.
func (f *family) asker(a *exchange.Ask, tok cred.Redacted) *member {
	if a.Who.Lent != "" {
		m := f.lent[a.Who.Lent]
		if m == nil || !m.secret.Equal(tok) {
			return nil // the identity has another token by now
		}
		return m
	}
	if tok.Empty() {
		return nil
	}
	return f.live(f.byToken[idOf(tok)])
}

// live is m, unless its time is over.
func (f *family) live(m *member) *member {
	if m != nil && m.until != 0 && m.until <= now().UnixNano() {
		f.end(m)
		return nil
	}
	return m
}

// How long a token is believed to be of no use to us.
const (
	aLongWhile  = 10 * time.Minute
	aShortWhile = 10 * time.Second
)

// knows says whether the token of a request is of the family; if need be it asks
// the server, once for each token, and takes it in.
func (f *family) knows(ctx context.Context, a *exchange.Ask, ans *exchange.Answer) bool {
	if a.Who.Lent != "" {
		f.lock()
		defer f.unlock()
		return f.asker(a, ans.Token) != nil
	}
	if ans.Token.Empty() || isBatch(ans.Token) {
		return false
	}
	id := idOf(ans.Token)
	for {
		f.lock()
		if f.live(f.byToken[id]) != nil {
			f.unlock()
			return true
		}
		if left := f.refused[id].Sub(now()); left > 0 && left <= aLongWhile {
			f.unlock()
			return false
		}
		wait, others := f.asking[id]
		if !others {
			f.asking[id] = make(chan struct{})
		}
		f.unlock()
		if !others {
			return f.lookup(ctx, id, ans.Token, a.Namespace)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return false
		}
	}
}

// lookup asks the server about a token, for all who wait, and takes it in as one
// that stands alone. Nobody renews it but its owner.
func (f *family) lookup(ctx context.Context, id tokenID, tok cred.Redacted, namespace string) bool {
	since := f.since()
	info, err := f.c.o.Server.Lookup(ctx, tok, namespace)
	f.lock()
	defer f.unlock()
	close(f.asking[id])
	delete(f.asking, id)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)):
		return false // who waits asks himself
	case vault.Temporary(err):
		f.refuse(id, aShortWhile)
		return false
	case err != nil, info.Uses > 0, info.Type == "batch":
		f.refuse(id, aLongWhile)
		return false
	}
	if f.byToken[id] != nil {
		return true // it became one of ours meanwhile
	}
	m := &member{
		id: info.Accessor, secret: tok, space: namespace, orphan: info.Orphan,
		issued: info.Lease.Issued.UnixNano(), length: span(info.Lease.Duration),
	}
	if info.Lease.Issued.IsZero() {
		m.issued = now().UnixNano()
	}
	if f.missed(since, m, id) {
		return false
	}
	if !f.spare() {
		f.refuse(id, aShortWhile)
		return false
	}
	f.enter(m, nil)
	f.hold(m) // not renewable as far as we are concerned: watched to its end
	f.save(m)
	return true
}

// manyRefused bounds the memory for tokens that are of no use to us.
const manyRefused = 4096

// refuse remembers that nothing is cached for a token.
func (f *family) refuse(id tokenID, d time.Duration) {
	at := now()
	if len(f.refused) >= manyRefused {
		for other, until := range f.refused {
			if !at.Before(until) {
				delete(f.refused, other)
			}
		}
	}
	if len(f.refused) >= manyRefused {
		clear(f.refused)
	}
	f.refused[id] = at.Add(d)
}
