package cache

import (
	"time"

	"latchkey/internal/exchange"
)

// Look answers from memory, or says that it cannot; then Do has to be asked. It
// waits for nobody, and what it gives is shared by all who ask.
func (c *Cache) Look(a *exchange.Ask) (ans *exchange.Answer, ok bool) {
	if c.store.entries.Load() == 0 {
		return nil, false
	}
	k, how, briefly := c.way(a)
	if how < newest {
		return nil, false
	}
	e := c.recall(&k, how, briefly, time.Now().UnixNano())
	if e == nil {
		return nil, false
	}
	return &e.ans, true
}

// recall finds what may be given out now, and counts it as a hit.
func (c *Cache) recall(k *Key, how course, briefly bool, now int64) *entry {
	e := c.store.get(k)
	if e == nil {
		return nil
	}
	if ends := e.ends.Load(); ends != 0 && now >= ends {
		return nil
	}
	switch {
	case e.leased:
	case e.brief:
		if how == newest || !briefly || !c.timely(e, now) {
			return nil
		}
	default:
		if how == newest || !c.fresh(e, now) {
			return nil
		}
		switch c.right(e, now) {
		case barred, wanting:
			return nil
		case late:
			c.checks.check(e)
		}
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	c.store.shard(k).hits.Add(1)
	return e
}

// fresh says whether a static answer is good without a look at the server. One
// that was made in what is now the future was made before the clock was set back,
// nobody knows how long ago.
func (c *Cache) fresh(e *entry, now int64) bool {
	return now < e.fresh && now >= e.seen-slack && e.seen > c.touched.Load()
}
