package vault

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// When a connection of HTTP/2, which all requests share, is silent, the server is
// asked whether it is there. Nobody else would find out: who waits in vain ends his
// request, and the next begins another on the same connection.
const (
	pingAfter = 5 * time.Second
	pingWait  = 5 * time.Second
)

// pool sends requests by http.Transport and adds what a process needs that may be
// stopped between any two instructions: a request that dies with a connection that
// was used before is sent once more, LIST and HTTP/2 included; one that waits in
// vain takes no other along; and no dial goes on for a request that has ended.
type pool struct {
	t     *http.Transport
	tries atomic.Uint64
}

// newPool takes t over.
func newPool(t *http.Transport) *pool {
	t.IdleConnTimeout = maxAge // compared by the wall clock, too
	if t.ForceAttemptHTTP2 {
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait}
	}
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
			return a.dial(ctx, dial, network, address)
		}
		return dial(ctx, network, address)
	}
	return &pool{t: t}
}

// RoundTrip implements http.RoundTripper.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, a, err := p.try(req)
	if err == nil {
		return resp, nil
	}
	if a.hole() {
		a.hangUp()
		p.t.CloseIdleConnections()
	}
	if !again(req.Context(), req.Method, a.reused.Load(), a.wrote(), a.heard.Load()) {
		return nil, err
	}
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, err
		}
		body, berr := req.GetBody()
		if berr != nil {
			return nil, err
		}
		next := *req
		next.Body = body
		req = &next
	}
	p.t.CloseIdleConnections() // they are as old
	resp, _, err = p.try(req)
	return resp, err
}

func (p *pool) try(req *http.Request) (*http.Response, *attempt, error) {
	ctx := req.Context()
	a := &attempt{ctx: ctx, n: p.tries.Add(1), start: time.Now(), secure: req.URL.Scheme == "https"}
	ctx = context.WithValue(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              a.got,
		GotFirstResponseByte: func() { a.heard.Store(true) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { a.shaken() },
	}), attemptKey{}, a)
	resp, err := p.t.RoundTrip(req.WithContext(ctx))
	a.over()
	if err == nil {
		resp.Request = req
	}
	return resp, a, err
}

// attemptKey is where a context has its attempt.
type attemptKey struct{}

// attempt is what is known of a request on its way.
type attempt struct {
	// ctx is the request's; that of a dial goes on without it.
	ctx   context.Context
	n     uint64
	start time.Time
	// secure says that a connection is of use after a handshake.
	secure bool

	reused, heard atomic.Bool

	mu   sync.Mutex
	conn *listening // the one it is on
	sent int64      // by that one, before
	last bool       // nobody else waits for an answer there
	// shaking ends the watch over handshakes.
	shaking []func() bool
}

func (a *attempt) got(i httptrace.GotConnInfo) {
	conn := i.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.users.Add(-1)
	}
	a.conn, _ = conn.(*listening)
	// One that was opened for another may have been idle for as long, though nobody
	// used it yet.
	a.reused.Store(i.Reused || a.conn != nil && a.conn.by != a.n)
	if a.conn != nil {
		a.conn.users.Add(1)
		a.sent = a.conn.sent.Load()
	}
}

// over is called once, when there is an answer or an error.
func (a *attempt) over() {
	if c := a.on(); c != nil {
		a.last = c.users.Add(-1) == 0
	}
}

// wrote says whether anything of the request may have been sent.
func (a *attempt) wrote() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn == nil || a.conn.sent.Load() != a.sent
}

// dial opens a connection, unless the request ends before it is there.
func (a *attempt) dial(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(a.ctx, cancel)
	defer cancel()
	conn, err := dial(ctx, network, address)
	if err != nil {
		stop()
		return nil, err
	}
	if !stop() {
		_ = conn.Close()
		return nil, context.Cause(a.ctx)
	}
	c := &listening{Conn: conn, by: a.n}
	c.heard.Store(time.Now().UnixNano())
	if a.secure {
		a.mu.Lock()
		a.shaking = append(a.shaking, context.AfterFunc(a.ctx, func() { _ = conn.Close() }))
		a.mu.Unlock()
	}
	return c, nil
}

// shaken ends the watch: from now on a connection is everybody's.
func (a *attempt) shaken() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, stop := range a.shaking {
		stop()
	}
	a.shaking = nil
}

// hole says whether the request's connection is one in which everything is lost.
// While others wait there, too, that is for them to say, or for a ping.
func (a *attempt) hole() bool {
	if a.heard.Load() || !black(a.start, a.reused.Load()) {
		return false
	}
	c := a.on()
	return c == nil || a.last && c.heard.Load() <= a.start.UnixNano()
}

// hangUp closes the request's connection, whoever else waits there in vain.
func (a *attempt) hangUp() {
	if c := a.on(); c != nil {
		_ = c.Close()
	}
}

func (a *attempt) on() *listening {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conn
}

// listening is a connection that knows when something came last, in nanoseconds of the
// wall clock, how many bytes went, and how many requests wait for an answer; by is the
// attempt that opened it.
type listening struct {
	net.Conn
	by                 uint64
	heard, sent, users atomic.Int64
}

func (l *listening) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	l.sent.Add(int64(n))
	return n, err
}

func (l *listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.heard.Store(time.Now().UnixNano())
	}
	return n, err
}
