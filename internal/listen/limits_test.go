package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/config"
)

// pipes is a listener inside the test, so that hours can pass in it.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	t.Cleanup(func() { _ = ours.Close() })
	return ours
}

// within serves a handler with limits, inside a bubble; wrap may put TLS around the listener.
func within(t *testing.T, m Limits, h http.HandlerFunc, wrap func(net.Listener) net.Listener) *pipes {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	var ln net.Listener = p
	if wrap != nil {
		ln = wrap(ln)
	}
	s := m.Server(h, nil)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
		time.Sleep(time.Second) // net/http lingers with some connections
	})
	return p
}

// talk is a client that writes what it likes, when it likes.
type talk struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func talkTo(t *testing.T, c net.Conn) *talk { return &talk{t, c, bufio.NewReader(c)} }

func (c *talk) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads an answer: the status, and the body, or the first of the errors.
func (c *talk) hear() (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, said(text)
}

func said(text []byte) string {
	var body struct{ Errors []string }
	if json.Unmarshal(text, &body) == nil && len(body.Errors) == 1 {
		return "refused: " + body.Errors[0]
	}
	return string(text)
}

// closed reports whether the server closed the connection.
func (c *talk) closed() bool {
	_, err := c.r.ReadByte()
	return errors.Is(err, io.EOF)
}

// length answers how long the body was, or as a proxy does when it could not be
// sent on.
func length(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		w.Header().Set("X-Secret", "of an answer that was replaced")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, err.Error())
		return
	}
	_, _ = fmt.Fprintf(w, "%d bytes", n)
}

func TestABodyThatGoesOnComingIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := talkTo(t, within(t, Limits{}, length, nil).dial(t))
		c.say("PUT /v1/sys/storage/raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n")
		start := time.Now()
		for range 300 {
			time.Sleep(29 * time.Second)
			c.say("x")
		}
		if resp, text := c.hear(); resp.StatusCode != 200 || text != "300 bytes" || time.Since(start) < 2*time.Hour {
			t.Errorf("%s %s", resp.Status, text)
		}
	})
}

func TestABodyThatStopsEndsTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := talkTo(t, within(t, Limits{}, length, nil).dial(t))
		c.say("PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		start := time.Now()
		resp, text := c.hear()
		if took := time.Since(start); resp.StatusCode != 408 || !strings.HasPrefix(text, "refused: ") || resp.Header.Get("X-Secret") != "" || took > bodyPatience || took < bodyPatience/2 {
			t.Errorf("%s %s after %s, %v", resp.Status, text, took, resp.Header)
		}
		if !c.closed() {
			t.Error("the connection goes on")
		}
	})
}

// What a handler does not read is read by net/http, before it sends the answer.
func TestABodyThatNobodyReadsMayStopToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := within(t, Limits{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, nil)
		c := talkTo(t, p.dial(t))
		c.say("PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		start := time.Now()
		resp, _ := c.hear()
		if took := time.Since(start); resp.StatusCode != 403 || took > bodyPatience || !c.closed() {
			t.Errorf("%s after %s", resp.Status, took)
		}
	})
}

// A deadline that was set for the body must not end what comes after it.
func TestAnAnswerMayTakeLongerThanABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			select {
			case <-time.After(time.Hour):
			case <-r.Context().Done():
			}
			_, _ = fmt.Fprintf(w, "%d bytes, %v, %v", n, err, r.Context().Err())
		}
		c := talkTo(t, within(t, Limits{Body: 100}, slow, nil).dial(t))
		for _, request := range []string{
			"PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
			"PUT /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
			"GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			c.say("%s", request)
			want := "4 bytes, <nil>, <nil>"
			if strings.HasPrefix(request, "GET") {
				want = "0 bytes, <nil>, <nil>"
			}
			if resp, text := c.hear(); resp.StatusCode != 200 || text != want {
				t.Errorf("%s %s", resp.Status, text)
			}
			time.Sleep(time.Minute)
		}
	})
}

// http.Transport may go on reading a body when the handler has returned. That
// must not put a deadline on the next request.
func TestWhoReadsABodyTooLateTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan io.Reader, 1)
		h := func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "PUT" {
				late <- r.Body
				return
			}
			select {
			case <-time.After(time.Hour):
			case <-r.Context().Done():
			}
			_, _ = fmt.Fprint(w, r.Context().Err())
		}
		c := talkTo(t, within(t, Limits{}, h, nil).dial(t))
		c.say("PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
		c.hear()
		c.say("GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
		synctest.Wait()
		if _, err := (<-late).Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Error(err)
		}
		if resp, text := c.hear(); resp.StatusCode != 200 || text != "<nil>" {
			t.Errorf("%s %s", resp.Status, text)
		}
	})
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	const limit = 1000
	for _, tc := range []struct {
		name, head string
		send       int
		want       int
		reads      bool
	}{
		{"just right", "Content-Length: 1000\r\n\r\n", 1000, 200, true},
		{"known before", "Content-Length: 1001\r\n\r\n", 1001, 413, false},
		{"huge", "Content-Length: 99999999\r\n\r\n", 0, 413, false},
		{"asked before", "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 0, 413, false},
		{"in chunks, just right", "Transfer-Encoding: chunked\r\n\r\n", 1000, 200, true},
		{"in chunks, too large", "Transfer-Encoding: chunked\r\n\r\n", 1001, 413, true},
		{"in chunks, much too large", "Transfer-Encoding: chunked\r\n\r\n", 400 << 10, 413, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := false
				h := func(w http.ResponseWriter, r *http.Request) { read = true; length(w, r) }
				c := talkTo(t, within(t, Limits{Body: limit}, h, nil).dial(t))
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = fmt.Fprintf(c, "PUT /v1/x HTTP/1.1\r\nHost: x\r\n%s", tc.head)
					text := strings.Repeat("x", tc.send)
					if strings.Contains(tc.head, "chunked") {
						text = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", tc.send, text)
					}
					_, _ = io.WriteString(c, text)
				}()
				resp, text := c.hear()
				if resp.StatusCode != tc.want || read != tc.reads || (tc.want == 413) != strings.Contains(text, "max_body_size") || resp.Header.Get("X-Secret") != "" {
					t.Errorf("%s %s, read: %v", resp.Status, text, read)
				}
				_ = c.Close()
				<-sent
			})
		})
	}
}

func TestARequestMustBeAnsweredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cause error
		h := func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			cause = context.Cause(r.Context())
			w.Header().Set("X-Secret", "of an answer that was replaced")
			http.Error(w, "the client hung up", http.StatusBadGateway)
			w.(http.Flusher).Flush()
		}
		c := talkTo(t, within(t, Limits{Request: time.Minute}, h, nil).dial(t))
		for range 2 { // the connection goes on
			start := time.Now()
			c.say("GET /v1/x HTTP/1.1\r\nHost: x\r\n\r\n")
			resp, text := c.hear()
			if resp.StatusCode != 504 || !strings.Contains(text, "within 1m0s") || time.Since(start) != time.Minute || resp.Header.Get("X-Secret") != "" {
				t.Errorf("%s %s after %s", resp.Status, text, time.Since(start))
			}
			if !errors.Is(cause, context.DeadlineExceeded) {
				t.Errorf("the handler was told %v", cause)
			}
		}
	})
}

func TestAHandlerThatSaysNothingIsLateToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				<-r.Context().Done()
			}
		}
		c := talkTo(t, within(t, Limits{Request: time.Minute}, h, nil).dial(t))
		c.say("GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, text := c.hear(); resp.StatusCode != 504 {
			t.Errorf("%s %s", resp.Status, text)
		}
		c.say("GET /intime HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, text := c.hear(); resp.StatusCode != 200 || text != "" {
			t.Errorf("%s %s", resp.Status, text)
		}
	})
}

func TestTheTimeOfARequestHoldsItsBodyToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := talkTo(t, within(t, Limits{Request: 20 * time.Second}, length, nil).dial(t))
		c.say("PUT /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
		start := time.Now()
		if resp, text := c.hear(); resp.StatusCode != 504 || time.Since(start) != 20*time.Second {
			t.Errorf("%s %s after %s", resp.Status, text, time.Since(start))
		}
	})
}

func TestAnAnswerThatBeganMayGoOn(t *testing.T) {
	for _, begin := range []struct {
		name string
		how  func(http.ResponseWriter)
	}{
		{"by a status", func(w http.ResponseWriter) { w.WriteHeader(200) }},
		{"by a byte", func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) }},
		{"by a flush", func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }},
	} {
		t.Run(begin.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Link", "hint")
					w.WriteHeader(http.StatusEarlyHints) // is no beginning
					begin.how(w)
					for range 100 {
						time.Sleep(time.Minute)
						if _, err := fmt.Fprint(w, "."); err != nil || r.Context().Err() != nil {
							return
						}
					}
				}
				c := talkTo(t, within(t, Limits{Request: time.Second, Body: 1, Connections: 1}, h, nil).dial(t))
				c.say("GET /v1/sys/monitor HTTP/1.1\r\nHost: x\r\n\r\n")
				if resp, _ := c.hear(); resp.StatusCode != http.StatusEarlyHints {
					t.Errorf("%s", resp.Status)
				}
				if resp, text := c.hear(); resp.StatusCode != 200 || strings.Count(text, ".") != 100 {
					t.Errorf("%s %s", resp.Status, text)
				}
			})
		})
	}
}

// A websocket goes through a proxy behind the limits, and outlives them.
func TestAConnectionThatWasTakenOverHasNoLimits(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		for { // echo
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString(line)
			_ = rw.Flush()
		}
	}))
	defer upstream.Close()
	to, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	ln, _ := open(t, plain("127.0.0.1:0"), Options{})
	s := Limits{Request: time.Second, Body: 1, Connections: 1}.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		over, stop := context.WithTimeout(context.Background(), 1200*time.Millisecond)
		defer stop()
		defer func() {
			<-over.Done()
			if r.Context().Err() != nil {
				t.Error("the request's time ran on")
			}
		}()
		proxy.ServeHTTP(w, r)
	}), nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := talkTo(t, conn)
	c.say("GET /v1/sys/events/subscribe/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	for range 3 {
		c.say("hello, this is more than one byte\n")
		if line, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "hello") {
			t.Errorf("%q, %v", line, err)
		}
	}
	_ = conn.Close()
	<-ended
	_ = s.Close()
	<-done
}

// h2 serves HTTP/2 over TLS inside the test.
func h2(t *testing.T, m Limits, h http.HandlerFunc) *http.Client {
	t.Helper()
	ca := newAuthority(t)
	l := withTLS(t, ca)
	certs, err := newCertificates(l, Options{}.at(l), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := within(t, m, h, func(ln net.Listener) net.Listener { return tls.NewListener(limit(ln, m.Connections), certs.config()) })
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: clientOf(ca), DialContext: func(context.Context, string, string) (net.Conn, error) { return p.dial(t), nil }}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// drip is a body that comes in pieces, and what is not sent at the end.
func drip(ctx context.Context, pieces int, every time.Duration, ends bool) io.Reader {
	r, w := io.Pipe()
	go func() {
		for range pieces {
			time.Sleep(every)
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
		}
		if !ends {
			<-ctx.Done()
		}
		_ = w.Close()
	}()
	return r
}

func TestLimitsHoldForHTTP2(t *testing.T) {
	slowly := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(10 * time.Minute) // the server behind us takes its time
		length(w, r)
	}
	stream := func(w http.ResponseWriter, r *http.Request) {
		for range 10 {
			_, _ = fmt.Fprint(w, ".")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Hour)
		}
	}
	late := func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusBadGateway)
	}
	for _, tc := range []struct {
		name   string
		m      Limits
		h      http.HandlerFunc
		body   func(context.Context) io.Reader
		status int
		has    string
	}{
		{"an upload that goes on coming", Limits{}, length, func(ctx context.Context) io.Reader { return drip(ctx, 100, 29*time.Second, true) }, 200, "100 bytes"},
		{"an upload that nobody reads for long", Limits{}, slowly, func(ctx context.Context) io.Reader { return drip(ctx, 3, time.Second, true) }, 200, "3 bytes"},
		{"an upload that stops", Limits{}, length, func(ctx context.Context) io.Reader { return drip(ctx, 3, time.Second, false) }, 408, "nothing more"},
		{"an upload that is too large", Limits{Body: 10}, length, func(ctx context.Context) io.Reader { return drip(ctx, 11, time.Second, true) }, 413, "max_body_size"},
		{"an upload that is too large from the start", Limits{Body: 10}, length, func(context.Context) io.Reader { return strings.NewReader("more than ten bytes") }, 413, "max_body_size"},
		{"an answer that goes on", Limits{Request: time.Second}, stream, nil, 200, ".........."},
		{"an answer that is late", Limits{Request: time.Second}, late, nil, 504, "request_timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := h2(t, tc.m, tc.h)
				var body io.Reader
				if tc.body != nil {
					body = tc.body(ctx)
				}
				r, err := http.NewRequestWithContext(ctx, "PUT", "https://127.0.0.1/v1/x", body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.ProtoMajor != 2 || resp.StatusCode != tc.status || !strings.Contains(said(text), tc.has) {
					t.Errorf("%s %s %s, %v", resp.Proto, resp.Status, text, err)
				}
			})
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n"
	ln, _ := open(t, plain("127.0.0.1:0"), Options{})
	s := Limits{Header: 8 << 10}.Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	defer func() { _ = s.Close(); <-done }()
	for _, c := range []struct {
		size, want int
		has        string
	}{
		{8 << 10, 204, ""},
		{8<<10 + 1, 431, "refused: the headers are larger"},
		{70 << 10, 431, "refused: the headers are larger"},
		{200 << 10, 431, "431 Request Header Fields Too Large"},
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		k := talkTo(t, conn)
		k.say(head, strings.Repeat("x", c.size-len(head)+len("%s")))
		if resp, text := k.hear(); resp.StatusCode != c.want || !strings.Contains(text, c.has) {
			t.Errorf("%d bytes: %s %s", c.size, resp.Status, text)
		}
		_ = conn.Close()
	}
}

// net/http would answer it by itself, before any guard.
func TestEveryRequestComesToTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := talkTo(t, within(t, Limits{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, nil).dial(t))
		c.say("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, _ := c.hear(); resp.StatusCode != 403 {
			t.Errorf("%s", resp.Status)
		}
	})
}

func TestLimitsAreThoseOfTheBlock(t *testing.T) {
	got := LimitsOf(config.Listener{MaxConnections: 1, MaxHeaderSize: 2, MaxBodySize: 3, RequestTimeout: 4})
	if got != (Limits{Connections: 1, Header: 2, Body: 3, Request: 4}) {
		t.Errorf("%+v", got)
	}
}

// A request without a body is not to pay for limits on bodies.
func BenchmarkServeWithinLimits(b *testing.B) {
	for name, m := range map[string]Limits{"none": {}, "body": {Body: 1 << 20}, "connections": {Connections: 10}, "time": {Request: time.Minute}} {
		b.Run(name, func(b *testing.B) {
			h := m.Server(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil).Handler
			r, w := httptest.NewRequest("GET", "/v1/x", nil), httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
