package vault

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wire sends requests over connections of its own and keeps these for the next. It
// exists beside http.Transport because it is about twice as cheap, which is what a
// proxy costs: the transport hands each request to one goroutine and each answer
// from another, while here whoever asks writes and reads. It does the ordinary
// alone: a request with a body that is in memory or without one, in clear, or over
// TLS where nobody wants HTTP/2. Proxies, upgrades and bodies that stream are left to
// the transport.
type wire struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	// address is what is dialed, host what the header says.
	address, host string
	// tls is nil for connections in clear; a handshake may take shaking.
	tls     *tls.Config
	shaking time.Duration
	// most is how many idle connections are kept.
	most int

	mu   sync.Mutex
	idle []*link // the one that was used last is at the end
	// last is when an answer was read to its end.
	last time.Time
	// reaper ends the wait for the oldest to be too old; nil while there is none.
	reaper context.CancelFunc
}

// newWire is nil where connections of its own are not what is wanted.
func newWire(co *core) *wire {
	t := co.transport
	if t.ForceAttemptHTTP2 || t.DisableKeepAlives || t.MaxConnsPerHost > 0 ||
		strings.ContainsFunc(co.base.Host, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return nil
	}
	if proxy, err := t.Proxy(&http.Request{URL: co.base}); err != nil || proxy != nil {
		return nil
	}
	w := &wire{
		dial: t.DialContext, address: net.JoinHostPort(co.base.Hostname(), port(co.base)), host: strings.TrimSuffix(co.base.Host, ":"),
		most: t.MaxIdleConnsPerHost, shaking: t.TLSHandshakeTimeout,
	}
	if co.base.Scheme == "https" {
		w.tls = t.TLSClientConfig.Clone()
		w.tls.NextProtos = []string{"http/1.1"}
		if w.tls.ServerName == "" {
			w.tls.ServerName = co.base.Hostname()
		}
	}
	return w
}

// link is a connection. One request uses it at a time.
type link struct {
	net.Conn
	wire *wire
	r    *bufio.Reader
	w    *bufio.Writer
	// left bounds what is read, while a head is.
	left int64
	// wrote says whether anything of the request under way may have been sent.
	wrote bool
	// hangUp ends what is under way; quiet is for what is idle.
	hangUp func()
	quiet  func() bool
	// since is when it became idle; zero for one that is new.
	since time.Time
}

// maxHead bounds the head of an answer, as http.Transport does.
const maxHead = 1 << 20

var (
	errHead  = errors.New("the head of the answer is too large")
	errStale = errors.New("the server closed the idle connection")
	errOdd   = errors.New("the server's answer has a status that there is not")
)

// Read implements io.Reader for r.
func (l *link) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHead
	}
	n, err := l.Conn.Read(p)
	l.left -= int64(n)
	return n, err
}

// Write implements io.Writer for w.
func (l *link) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	l.wrote = l.wrote || n > 0
	return n, err
}

// take returns an idle connection that is good as far as anybody can see, or nil.
func (w *wire) take() *link {
	for {
		w.mu.Lock()
		n := len(w.idle)
		if n == 0 {
			w.mu.Unlock()
			return nil
		}
		l := w.idle[n-1]
		w.idle[n-1] = nil
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		// However short it was idle: what came unasked would be taken for the answer
		// to the next request, which may be somebody else's.
		if !tooOld(l.since) && l.quiet() {
			return l
		}
		_ = l.Close()
	}
}

// put keeps a connection for the next request.
func (w *wire) put(l *link) {
	// What nobody asked for would be taken for the next answer.
	if l.r.Buffered() > 0 {
		_ = l.Close()
		return
	}
	l.since = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = l.since
	if len(w.idle) >= w.most {
		_ = l.Close()
		return
	}
	w.idle = append(w.idle, l)
	if w.reaper == nil {
		w.wait(maxAge)
	}
}

// wait has reap called after a while. The lock is held.
func (w *wire) wait(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	stop := context.AfterFunc(ctx, w.reap)
	w.reaper = func() {
		stop()
		cancel()
	}
}

// reap closes what is too old; nobody else would, once no more requests come.
func (w *wire) reap() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reaper == nil {
		return // closed meanwhile
	}
	w.reaper()
	w.reaper = nil
	old := 0
	for old < len(w.idle) && tooOld(w.idle[old].since) {
		_ = w.idle[old].Close()
		old++
	}
	w.idle = append(w.idle[:0], w.idle[old:]...)
	clear(w.idle[len(w.idle):cap(w.idle)])
	if len(w.idle) > 0 {
		w.wait(max(maxAge-time.Since(w.idle[0].since), time.Second))
	}
}

// lost hears that a request that began then had a dead connection. Where no other was
// answered meanwhile, those that are idle are taken for dead as well.
func (w *wire) lost(start time.Time) {
	w.mu.Lock()
	answered := w.last.After(start)
	w.mu.Unlock()
	if !answered {
		w.closeIdle()
	}
}

// closeIdle closes what no request uses.
func (w *wire) closeIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.idle {
		_ = l.Close()
	}
	w.idle = nil
	if w.reaper != nil {
		w.reaper()
		w.reaper = nil
	}
}

// open dials.
func (w *wire) open(ctx context.Context) (*link, error) {
	conn, err := w.dial(ctx, "tcp", w.address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn, wire: w, quiet: quiet(conn)}
	if w.tls != nil {
		if l.Conn, err = w.shake(ctx, conn); err != nil {
			_ = conn.Close()
			return nil, err
		}
		l.quiet = quietTLS(l.Conn, l.quiet)
	}
	l.r, l.w = bufio.NewReader(l), bufio.NewWriter(l)
	l.hangUp = func() { _ = l.SetDeadline(aLongTimeAgo) }
	return l, nil
}

// quietTLS is quiet for a connection over TLS; socket is quiet for the one below it,
// from which whatever came together with the last answer was taken already.
func quietTLS(conn net.Conn, socket func() bool) func() bool {
	b := make([]byte, 1)
	return func() bool {
		_ = conn.SetReadDeadline(aLongTimeAgo) // nothing is waited for; the next request sets its own
		_, err := conn.Read(b)
		return errors.Is(err, os.ErrDeadlineExceeded) && socket()
	}
}

// errShake says that a handshake took too long.
var errShake = errors.New("no TLS handshake in time")

// shake comes to terms with the server about TLS.
func (w *wire) shake(ctx context.Context, conn net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.shaking, errShake)
	defer cancel()
	c := tls.Client(conn, w.tls)
	err := c.HandshakeContext(ctx)
	var odd tls.RecordHeaderError
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &odd) && string(odd.RecordHeader[:]) == "HTTP/":
		return nil, http.ErrSchemeMismatch
	case context.Cause(ctx) == errShake:
		return nil, errShake
	}
	return nil, err
}

// roundTrip sends a request and reads the head of its answer, which has to come
// within wait unless that is negative. body, nil for none, yields what is sent,
// of the request's length. ctx ends the body of the answer, too.
func (w *wire) roundTrip(ctx context.Context, req *http.Request, body func() io.Reader, wait time.Duration) (*http.Response, error) {
	var end time.Time
	if wait >= 0 {
		end = time.Now().Add(wait)
	}
	start, l := time.Now(), w.take()
	if l != nil {
		resp, err := l.ask(ctx, req, body, end)
		if err == nil {
			return resp, nil
		}
		stale := errors.Is(err, errStale)
		if stale || black(start, true) {
			w.lost(start)
		}
		// A server that is about to close an idle connection does not look whether
		// somebody just wrote to it. Then another is opened, for the others may be
		// as dead.
		if !again(ctx, req.Method, stale, l.wrote, false) {
			return nil, w.failed(ctx, err, end, wait)
		}
	}
	l, err := w.reach(ctx, end)
	if err != nil {
		return nil, late(err, end, wait)
	}
	resp, err := l.ask(ctx, req, body, end)
	if err != nil {
		return nil, w.failed(ctx, err, end, wait)
	}
	return resp, nil
}

// failed says why there is no answer.
func (w *wire) failed(ctx context.Context, err error, end time.Time, wait time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return late(err, end, wait)
}

func (w *wire) reach(ctx context.Context, end time.Time) (*link, error) {
	if end.IsZero() {
		return w.open(ctx)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	return w.open(ctx)
}

// late says of an error after the end that nobody answered in time.
func late(err error, end time.Time, wait time.Duration) error {
	if err == nil || end.IsZero() || time.Now().Before(end) {
		return err
	}
	return fmt.Errorf("no answer within %s: %w", wait, context.DeadlineExceeded)
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "LIST", "SCAN":
		return true
	}
	return false
}

// aLongTimeAgo is a deadline that ends what is under way.
var aLongTimeAgo = time.Unix(1, 0)

// ask uses the connection for one request. After an error it is closed.
func (l *link) ask(ctx context.Context, req *http.Request, body func() io.Reader, end time.Time) (*http.Response, error) {
	_ = l.SetDeadline(end)
	stop := context.AfterFunc(ctx, l.hangUp)
	resp, err := l.exchange(req, body)
	if err != nil {
		stop()
		_ = l.Close()
		return nil, err
	}
	// A body that came with its head is read without the connection.
	if here := resp.ContentLength >= 0 && resp.ContentLength <= int64(l.r.Buffered()); !here && !end.IsZero() {
		_ = l.SetDeadline(time.Time{})
		if ctx.Err() != nil {
			// The two deadlines may have been set in any order.
			l.hangUp()
		}
	}
	b := &answerBody{ReadCloser: resp.Body, link: l, stop: stop, keep: !resp.Close && resp.StatusCode != http.StatusSwitchingProtocols}
	if resp.Body == http.NoBody {
		b.end(true)
		return resp, nil
	}
	resp.Body = b
	return resp, nil
}

// exchange writes the request and reads the head of the answer.
func (l *link) exchange(req *http.Request, body func() io.Reader) (*http.Response, error) {
	l.wrote = false
	if err := l.head(req); err != nil {
		return nil, err
	}
	var werr error
	if body != nil {
		_, werr = io.Copy(l.w, body())
	}
	if werr == nil {
		werr = l.w.Flush()
	}
	l.left = maxHead
	if _, err := l.r.Peek(1); err != nil {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		case !l.since.IsZero():
			return nil, fmt.Errorf("%w: %w", errStale, err)
		case werr != nil:
			return nil, werr
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	for range 5 {
		resp, err := http.ReadResponse(l.r, req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 100 {
			return nil, errOdd
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			l.left = 1<<63 - 1
			// An answer before all of the request was taken says that no other
			// will follow.
			resp.Close = resp.Close || werr != nil
			return resp, nil
		}
	}
	return nil, errors.New("the server sends one provisional answer after the other")
}

// head writes the head of a request into the buffer. What cannot stand there is an
// error, before anything is sent: nobody is to smuggle a second request in.
func (l *link) head(req *http.Request) error {
	uri := req.URL.RequestURI()
	if strings.ContainsFunc(uri, func(c rune) bool { return c <= ' ' || c == 0x7f }) || req.Method == "" || strings.ContainsFunc(req.Method, notInName) {
		return errors.New("the request's first line cannot be sent")
	}
	for name, values := range req.Header {
		if name == "" || strings.ContainsFunc(name, notInName) {
			return errors.New("a header's name cannot be sent")
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(c rune) bool { return isControl(c) && c != '\t' }) {
				return fmt.Errorf("the header %s cannot be sent", name)
			}
		}
	}
	w := l.w
	for _, s := range [...]string{req.Method, " ", uri, " HTTP/1.1\r\nHost: ", l.wire.host, "\r\n"} {
		_, _ = w.WriteString(s)
	}
	for name, values := range req.Header {
		switch name {
		case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection":
			continue
		}
		for _, v := range values {
			for _, s := range [...]string{name, ": ", v, "\r\n"} {
				_, _ = w.WriteString(s)
			}
		}
	}
	if req.ContentLength > 0 || !idempotent(req.Method) {
		_, _ = w.WriteString("Content-Length: ")
		_, _ = w.Write(strconv.AppendInt(w.AvailableBuffer(), req.ContentLength, 10))
		_, _ = w.WriteString("\r\n")
	}
	_, _ = w.WriteString("\r\n")
	return nil // what failed so far, Flush says
}

// answerBody gives the connection back at its end.
type answerBody struct {
	io.ReadCloser
	link *link
	stop func() bool
	keep bool

	mu   sync.Mutex
	over bool
}

// Read implements io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err == io.EOF)
	}
	return n, err
}

// Close implements io.Closer. What was not read to its end closes the connection.
func (b *answerBody) Close() error {
	b.end(false)
	return nil
}

// end happens once. whole says that the answer was read to its end.
func (b *answerBody) end(whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.over = true
	// Once the context has ended, its deadline may come at any time.
	if b.stop() && whole && b.keep {
		b.link.wire.put(b.link)
		return
	}
	_ = b.link.Close()
}
