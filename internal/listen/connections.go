package listen

import (
	"context"
	"net"
	"net/http"
	"sync"

	"latchkey/internal/exchange"
)

// spare is how many connections beyond the limit are told so at a time.
const spare = 16

// limited counts the connections that are open.
type limited struct {
	net.Listener
	max int

	mu     sync.Mutex
	served int
	told   int
}

// limit has a listener count; max <= 0 counts nothing.
func limit(ln net.Listener, max int) net.Listener {
	if max <= 0 {
		return ln
	}
	return &limited{Listener: ln, max: max}
}

// Accept waits for a connection that is served, or told that it is not.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if t := l.take(c); t != nil {
			return t, nil
		}
		_ = c.Close()
	}
}

func (l *limited) take(c net.Conn) *taken {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.served < l.max:
		l.served++
		return &taken{Conn: c, place: &l.served, mu: &l.mu}
	case l.told < spare:
		l.told++
		return &taken{Conn: c, place: &l.told, mu: &l.mu, beyond: true}
	}
	return nil
}

// taken is a connection that gives its place back when it is closed.
type taken struct {
	net.Conn
	mu     *sync.Mutex
	place  *int // nil when given back
	beyond bool
}

// Close implements net.Conn; more than once is harmless.
func (t *taken) Close() error {
	err := t.Conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.place != nil {
		*t.place--
		t.place = nil
	}
	return err
}

// NetConn is the connection itself, as tls.Conn has it.
func (t *taken) NetConn() net.Conn { return t.Conn }

// full turns away what came beyond the limit.
type full struct{ next http.Handler }

func (f *full) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k, ok := r.Context().Value(linkKey{}).(*link); ok && k.beyond {
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "1")
		exchange.Refuse(w, http.StatusServiceUnavailable, "as many connections are open to this listener as it takes; max_connections is the limit. Close some that are idle, or try again")
		return
	}
	f.next.ServeHTTP(w, r)
}

// link is what is known about a connection, for its requests.
type link struct {
	beyond bool
	once   sync.Once
	conn   *net.UnixConn // nil for tcp
	peer   Peer
	known  bool
}

type linkKey struct{}

// remember is a server's ConnContext. A connection over tcp within the limits has
// nothing to remember.
func remember(ctx context.Context, c net.Conn) context.Context {
	k := &link{}
	for {
		if t, ok := c.(*taken); ok {
			k.beyond = t.beyond
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	k.conn, _ = c.(*net.UnixConn)
	if k.conn == nil && !k.beyond {
		return ctx
	}
	return context.WithValue(ctx, linkKey{}, k)
}
