package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// patience is how long somebody waits for the server while there is an answer at
// hand that is only too old.
const patience = 5 * time.Second

// respite is how long nobody asks a server that was away when it was asked last,
// as long as there are older answers.
const respite = time.Second

// refresh looks whether the server has something else than old, which is too old
// or whose holder's right is in question; that is answered by reading, which proves
// it as well as asking for it would. While the server is away it gives old once
// more.
func (c *Cache) refresh(ctx context.Context, q *question, old *entry) outcome {
	if q.sent < c.away.Load() && c.mayBeStale(q, old) {
		return c.stale(old)
	}
	if c.right(old, q.sent) == sure && !c.fresh(old, q.sent) {
		out, err := c.compare(ctx, q, old)
		switch {
		case out.hit != nil:
			return out
		case err != nil && c.isAway(ctx, nil, err) && c.mayBeStale(q, old):
			return c.gone(old, err)
		}
	}
	ans, err := c.hurry(ctx, q, c.mayBeStale(q, old))
	if !c.isAway(ctx, ans, err) {
		c.away.Store(0)
	} else if c.mayBeStale(q, old) {
		if err == nil {
			err = fmt.Errorf("status %d", ans.Status)
		}
		return c.gone(old, err)
	}
	return c.settle(ctx, q, ans, err)
}

// mayBeStale says whether an old answer may be given out while the server is away:
// not for ever, not to somebody whose right is in doubt, and not after a write.
func (c *Cache) mayBeStale(q *question, old *entry) bool {
	now := time.Now().UnixNano()
	if now >= old.ends.Load() || !q.mark.stands() {
		return false
	}
	r := c.right(old, now)
	return r > wanting || r == wanting && !c.o.Static.Pessimistic
}

// stale gives an old answer as what it is.
func (c *Cache) stale(old *entry) outcome {
	ans := old.ans
	ans.From = exchange.Stale
	return outcome{ans: &ans, hit: &ans}
}

// gone gives an old answer because the server was just found away.
func (c *Cache) gone(old *entry, err error) outcome {
	now := time.Now().UnixNano()
	c.away.Store(now + int64(respite))
	if last := c.remarked.Load(); now-last >= int64(time.Minute) || now < last {
		if c.remarked.CompareAndSwap(last, now) {
			c.o.Log.Warn("the server is away: secrets are given from memory that are older than static_ttl", "error", err)
		}
	}
	return c.stale(old)
}

// compare asks for the metadata of a version 2 key-value engine, which is less
// than the secret, and renews old where it is still the version in force. Nothing
// and no error mean that the secret has to be read.
func (c *Cache) compare(ctx context.Context, q *question, old *entry) (outcome, error) {
	mount, path, number, ok := metadataOf(q.at.path, q.a.Query)
	if !ok || c.o.Server == nil || !old.holder.sees(q.at.namespace+mount) {
		return outcome{}, nil
	}
	tok, ok := c.token(q.a.Who)
	version := versionOf(old.ans.Body)
	if !ok || version == "" {
		return outcome{}, nil
	}
	limit, end := context.WithTimeout(ctx, patience)
	defer end()
	s, err := c.o.Server.Metadata(limit, tok, q.at.namespace, path)
	switch {
	case err == nil && s.MetadataVersion(number, time.Now()) == version:
		return outcome{hit: c.renew(q, old)}, nil
	case errors.Is(err, vault.ErrInvalidToken):
		// The read finds out as well, and knows what is to be done.
	case errors.Is(err, vault.ErrDenied), errors.Is(err, vault.ErrNotFound), errors.Is(err, vault.ErrBadRequest):
		old.holder.blinded(q.at.namespace + mount)
	case err != nil:
		return outcome{}, err
	}
	return outcome{}, nil
}

// renew keeps old for another while. That somebody may read it was not asked.
func (c *Cache) renew(q *question, old *entry) *exchange.Answer {
	e := &entry{ans: old.ans, key: old.key, path: old.path, in: old.in, cost: old.cost}
	e.ans.At = time.Unix(0, q.sent)
	e.checked.Store(old.checked.Load())
	c.lasts(e, q.sent)
	return c.insert(q, e, nil, old.holder.ends.Load())
}

// hurry asks the server, not longer than patience where there is something else
// to give.
func (c *Cache) hurry(ctx context.Context, q *question, other bool) (*exchange.Answer, error) {
	if !other {
		return q.fetch(ctx)
	}
	limit, end := context.WithTimeout(ctx, patience)
	defer end()
	// A stream is read after the answer's head came, for as long as it takes.
	long, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(limit, cancel)
	ans, err := q.fetch(long)
	stop()
	if ans == nil || ans.Stream == nil {
		cancel()
	}
	return ans, err
}

// isAway says whether it was the server's absence that an exchange ended with, and
// not an answer; ctx is that of those who wait.
func (c *Cache) isAway(ctx context.Context, ans *exchange.Answer, err error) bool {
	if err != nil {
		return ctx.Err() == nil && absent(err)
	}
	switch s := ans.Status; s {
	case http.StatusNotImplemented:
		return false
	case http.StatusTooManyRequests, http.StatusPreconditionFailed, 472, 473:
		return true
	default:
		return s >= 500
	}
}

func absent(err error) bool {
	var e *vault.Error
	if !errors.As(err, &e) {
		// What is no answer of the server's is something between it and us.
		return true
	}
	if e.Kind == vault.ErrNotLoggedIn {
		// Why there is no login counts: a server that is away, or one that refuses.
		return e.Cause != nil && absent(e.Cause)
	}
	return vault.Temporary(err)
}

// metadataOf gives the mount of a secret of a version 2 key-value engine, the path
// of its metadata and the version that is asked for, "" for the newest. Where a
// mount's or a secret's own name has data in it, it may guess wrong; then there is
// no metadata, or it does not fit, and the secret is read.
func metadataOf(path, query string) (mount, meta, number string, ok bool) {
	cut := strings.Index(path, "/data/")
	if cut < 0 {
		return "", "", "", false
	}
	params, err := url.ParseQuery(query)
	if err != nil || len(params) > 1 || len(params) == 1 && len(params["version"]) != 1 {
		return "", "", "", false
	}
	if number = params.Get("version"); number == "0" {
		number = ""
	}
	mount = path[:cut+1]
	return mount, mount + "metadata/" + path[cut+len("/data/"):], number, true
}

// versionOf is the fingerprint of what an answer holds.
func versionOf(body []byte) string {
	var s cred.Secret
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v struct {
		Data map[string]any `json:"data"`
	}
	if dec.Decode(&v) != nil {
		return ""
	}
	s.Data = v.Data
	return s.Version(time.Now())
}
