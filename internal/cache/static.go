package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"latchkey/internal/exchange"
)

// versioned is what an answer of a version 2 key-value engine says of itself.
type versioned struct {
	Data struct {
		Metadata struct {
			Deletion string `json:"deletion_time"`
		} `json:"metadata"`
	} `json:"data"`
}

// deletion is when the version in an answer ends by itself, 0 for never.
func deletion(body []byte) int64 {
	if !bytes.Contains(body, []byte(`"deletion_time":"2`)) {
		return 0
	}
	var v versioned
	if json.Unmarshal(body, &v) != nil {
		return 0
	}
	at, err := time.Parse(time.RFC3339Nano, v.Data.Metadata.Deletion)
	if err != nil {
		return 0
	}
	return at.UnixNano()
}

// static keeps the answer to a read of a key-value engine, and gives what is kept.
func (c *Cache) static(ctx context.Context, q *question, t top, ans *exchange.Answer) *exchange.Answer {
	if !c.isStatic(ctx, q, t, ans) || !json.Valid(ans.Body) {
		return nil
	}
	ends, ok := c.until(ctx, q)
	if !ok {
		return nil
	}
	e := newEntry(q.k, q.at, ans, true)
	e.checked.Store(q.sent)
	c.lasts(e, q.sent)
	if length := seconds(t.leaseDuration); length > 0 {
		// Whoever wrote a secret of version 1 may have said when to look again.
		e.fresh = min(e.fresh, q.sent+int64(length))
		e.ends.Store(min(e.ends.Load(), e.fresh+int64(c.o.Static.Stale)))
	}
	return c.insert(q, e, ans.Header, ends)
}

func (c *Cache) isStatic(ctx context.Context, q *question, t top, ans *exchange.Answer) bool {
	if c.o.Static.TTL <= 0 || q.a.Method != http.MethodGet || ans.Status != http.StatusOK {
		return false
	}
	if t.leaseID != "" || t.hasAuth || t.hasWrap || len(t.data) == 0 || t.data[0] != '{' {
		return false
	}
	if asksForMore(q.a.Query) || strings.HasSuffix(q.at.path, "/") {
		return false
	}
	if t.mountType != "" {
		return t.mountType == "kv"
	}
	return c.isKV(ctx, q)
}

// lasts says until when a static answer is good that was seen to be right at now.
func (c *Cache) lasts(e *entry, now int64) {
	e.seen, e.fresh = now, now+int64(c.o.Static.TTL)
	ends := e.fresh + int64(c.o.Static.Stale)
	if deleted := deletion(e.ans.Body); deleted != 0 {
		// The version goes by itself, then.
		e.fresh, ends = min(e.fresh, deleted), min(ends, deleted)
	}
	e.ends.Store(ends)
}

// untold is the end of a token that nobody asked the server for.
const untold = -1

// insert puts a static entry, or one that is kept briefly, into the store, if nothing
// was written since q was sent. until is when the holder's token ends.
func (c *Cache) insert(q *question, e *entry, h http.Header, until int64) *exchange.Answer {
	c.store.mu.Lock()
	ok := false
	var out dropped
	if old := c.store.get(&q.k); old != nil && old.turn > q.turn {
		// An answer that took longer is not the newer one.
	} else if q.mark.stands() && q.mark.quiet(q.sent) && (!e.brief || c.mayKeep(q, e)) {
		if e.ans.Header == nil {
			e.dress(&c.store, h)
		}
		e.holder, e.turn = c.holder(q.a.Who), q.turn
		if until != untold {
			e.holder.ends.Store(until)
		}
		out, ok = c.store.put(e)
	}
	c.store.mu.Unlock()
	c.tell(out)
	if !ok {
		return nil
	}
	return &e.ans
}

// newEntry copies an answer into one piece of memory with its path.
func newEntry(k Key, at place, ans *exchange.Answer, static bool) *entry {
	n := len(ans.Body)
	buf := make([]byte, n+len(at.namespace)+len(at.path))
	copy(buf, ans.Body)
	copy(buf[n+copy(buf[n:], at.namespace):], at.path)
	e := &entry{key: k, path: buf[n:], in: uint16(len(at.namespace)), leased: !static}
	given := ans.At.Round(0)
	if given.IsZero() {
		given = now()
	}
	e.ans = exchange.Answer{Status: ans.Status, Body: buf[:n:n], At: given, Token: ans.Token, From: exchange.Hit}
	e.cost = int32(overhead + len(buf))
	return e
}

// dress gives an entry its headers. The store's lock is held.
func (e *entry) dress(s *store, h http.Header) {
	head, cost := s.head(h, !e.leased)
	e.ans.Header = head
	e.cost += cost
}
