package cache

import (
	"context"
	"strings"
	"sync"
	"time"
)

// engines remembers which paths are served by a key-value engine, for servers
// whose answers do not say so.
type engines struct {
	mu   sync.Mutex
	seen []engine
}

type engine struct {
	namespace, path string
	kv              bool
	until           int64
}

// manyEngines bounds what is remembered; the oldest is forgotten first.
const manyEngines = 128

func (s *engines) find(at place, now int64) (kv, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := -1
	for _, e := range s.seen {
		if now < e.until && e.namespace == at.namespace && len(e.path) > longest && strings.HasPrefix(at.path, e.path) {
			longest, kv, known = len(e.path), e.kv, true
		}
	}
	return kv, known
}

func (s *engines) learn(e engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.seen {
		if old.namespace == e.namespace && old.path == e.path {
			s.seen[i] = e
			return
		}
	}
	if len(s.seen) >= manyEngines {
		s.seen = append(s.seen[:0], s.seen[1:]...)
	}
	s.seen = append(s.seen, e)
}

// isKV asks the server which engine stands behind a path.
func (c *Cache) isKV(ctx context.Context, q *question) bool {
	first, _, _ := strings.Cut(q.at.path, "/")
	switch first {
	case "auth", "sys", "identity", "cubbyhole":
		return false
	}
	if kv, known := c.engines.find(q.at, q.sent); known {
		return kv
	}
	tok, ok := c.token(q.a.Who)
	if !ok || c.o.Server == nil {
		return false
	}
	e := engine{namespace: q.at.namespace, path: first + "/", until: q.sent + int64(time.Minute)}
	if m, err := c.o.Server.Mount(ctx, tok, q.at.namespace, q.at.path); err == nil {
		e.kv, e.until = m.Type == "kv", q.sent+int64(10*time.Minute)
		if e.path = m.Path; m.Path == "" || !strings.HasPrefix(q.at.path, m.Path) {
			// The namespace stands in the path, so that nobody knows where it ends.
			e.path = q.at.path[:strings.LastIndexByte(q.at.path, '/')+1]
		}
	}
	c.engines.learn(e)
	return e.kv
}
