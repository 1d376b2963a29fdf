package cache

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// Brief says how answers to a GET are kept for a time of the user's, and no longer
// than their lease: nothing is renewed, nothing is looked at again, and who asked is
// all that is asked of who asks again. What Static and Leases keep by better rules
// they keep; it is for the rest.
//
// A client decides: X-Vault-Cache-Control: cache takes such an answer and leaves
// one, recache only leaves one, and without a word of these neither is done.
type Brief struct {
	// TTL is how long an answer is given out; 0 keeps none.
	TTL time.Duration
	// Every has each GET be one that said cache.
	Every bool
}

// way says how a request goes through the cache; briefly is whether its answer may
// be kept, and given out, as Brief says.
func (c *Cache) way(a *exchange.Ask) (k Key, how course, briefly bool) {
	k, how, said := keyOf(a, c.keyHeaders)
	briefly = (said || c.o.Brief.Every) && c.o.Brief.TTL > 0 && a.Method == http.MethodGet
	return k, how, briefly
}

// brief keeps an answer for who said that it may be of an age, and gives what is
// kept. scanned is whether t is what it says of itself.
func (c *Cache) brief(q *question, t top, scanned bool, ans *exchange.Answer) *exchange.Answer {
	if ans.Stream != nil || ans.Status < 200 || ans.Status >= 300 || ans.Header.Get("Content-Encoding") != "" {
		return nil
	}
	life := int64(c.o.Brief.TTL)
	leased := false
	switch {
	case scanned:
		// A login is somebody's, and a wrapped answer is opened once.
		if t.hasAuth || t.hasWrap || !json.Valid(ans.Body) {
			return nil
		}
		leased = t.leaseID != ""
		if leased || t.leaseDuration != 0 {
			life = min(life, int64(seconds(t.leaseDuration)))
		}
	case isJSON(ans.Header):
		return nil // it says what it is not
	}
	ends := earliest(q.sent+life, endOf(t, ans, q.sent))
	if leased {
		ends = earliest(ends, c.lentUntil(q.a.Who, ans.Token)) // it takes its leases along
	}
	// An answer may have been under way for long, if the process stood still.
	if time.Now().UnixNano() >= ends {
		return nil
	}
	e := newEntry(q.k, q.at, ans, true)
	e.brief, e.leasedBriefly = true, leased
	e.list = asksForMore(q.a.Query) || strings.HasSuffix(q.at.path, "/")
	e.seen, e.fresh = q.sent, ends
	e.ends.Store(ends)
	e.checked.Store(q.sent)
	return c.insert(q, e, ans.Header, untold)
}

// endOf is when what an answer holds ends by itself, 0 for never: a version that is
// to be deleted, a certificate, a password that is rotated.
func endOf(t top, ans *exchange.Answer, sent int64) int64 {
	at := deletion(ans.Body)
	var d map[string]json.RawMessage
	if t.mountType == "kv" || len(t.data) == 0 || t.data[0] != '{' || json.Unmarshal(t.data, &d) != nil {
		return at
	}
	if n, ok := integer(d["expiration"]); ok && n > 0 && d["certificate"] != nil {
		at = earliest(at, int64(min(time.Duration(n), longest/time.Second)*time.Second))
	}
	if n, ok := integer(d["ttl"]); ok && (d["rotation_period"] != nil || d["rotation_schedule"] != nil) {
		at = earliest(at, sent+int64(seconds(n)))
	}
	return at
}

// lentUntil is when the token ends that an identity of ours lent, 0 for never or
// where nobody knows.
func (c *Cache) lentUntil(who exchange.Who, tok cred.Redacted) int64 {
	if who.Lent == "" {
		return 0
	}
	c.ours.mu.Lock()
	ends := c.ours.ends[who.Lent]
	c.ours.mu.Unlock()
	if c.o.Lent != nil {
		// It may have been renewed since.
		if now := c.o.Lent(who.Lent); now.Value.Equal(tok) {
			ends = now.Lease.Expires()
		}
	}
	if ends.IsZero() {
		return 0
	}
	return ends.UnixNano()
}

// timely says whether an answer that was kept briefly may be given out. One from
// what is now the future was made before the clock was set back.
func (c *Cache) timely(e *entry, now int64) bool {
	return c.fresh(e, now) && !c.barred(e, now)
}

// mayKeep says whether the token that an answer was got with is still that of who
// asked, and whether a list is as it was. The store's lock is held, so that a login
// or a write that comes now finds the answer.
func (c *Cache) mayKeep(q *question, e *entry) bool {
	if e.list && c.changes.any.Load() != q.mark.any {
		return false
	}
	if q.a.Who.Lent == "" {
		return true
	}
	tok, ok := c.token(q.a.Who)
	return ok && tok.Equal(e.ans.Token)
}

// outdated drops what was kept briefly for an identity with another token than
// tok: its leases end with that token, and who logs in anew may read other things.
func (c *Cache) outdated(h *holder, tok cred.Redacted) {
	c.unkeep(func(e *entry) bool { return e.holder == h && !e.ans.Token.Equal(tok) })
}

// spent drops what was kept briefly with a token that is no more.
func (c *Cache) spent(tok cred.Redacted) int {
	if tok.Empty() {
		return 0
	}
	return c.unkeep(func(e *entry) bool { return e.ans.Token.Equal(tok) })
}

// unlease drops all that was kept briefly and has a lease: one was revoked, or
// more, and which answers they came with nobody wrote down.
func (c *Cache) unlease() int {
	return c.unkeep(func(e *entry) bool { return e.leasedBriefly })
}

// unkeep drops what was kept briefly and matches, and has nothing be kept that is
// under way.
func (c *Cache) unkeep(match func(*entry) bool) int {
	if c.o.Brief.TTL <= 0 {
		return 0
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.changes.deaths.Add(1)
	return len(c.store.removeIf(&c.store.statics, func(e *entry) bool { return e.brief && match(e) }))
}
