package vault

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// scripted serves each connection with a function of its number, from 1.
func scripted(t *testing.T, serve func(n int, conn net.Conn, r *bufio.Reader)) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				serve(n, conn, bufio.NewReader(conn))
			})
		}
	})
	c, err := New(Config{Address: "http://" + l.Addr().String(), MaxIdle: 8, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if c.wired() == nil {
		t.Fatal("the transport is used")
	}
	t.Cleanup(func() {
		_ = c.Close()
		l.Close()
		all.Wait()
	})
	return c
}

// hear reads one request, with its body, and returns its first line; "" at the
// end of the connection.
func hear(r *bufio.Reader) string {
	req, err := http.ReadRequest(r)
	if err != nil {
		return ""
	}
	body, _ := io.ReadAll(req.Body)
	return strings.TrimSpace(req.Method + " " + req.RequestURI + " " + string(body))
}

func get(path string) Passage { return Passage{Method: "GET", Path: path, Header: http.Header{}} }

func put(body string) Passage {
	again := func() io.Reader { return strings.NewReader(body) }
	return Passage{Method: "PUT", Path: "/v1/a", Header: http.Header{}, Body: again(), Length: int64(len(body)), Replay: again}
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestAnswersOfAllForms(t *testing.T) {
	for _, c := range []struct {
		name, method, answer string
		status               int
		body                 string
		kept                 bool // the connection serves the next request
	}{
		{"a length", "GET", ok, 200, "ok", true},
		{"pieces", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, "ok", true},
		{"pieces and a trailer", "GET", "HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n", 200, "ok", true},
		{"until it is closed", "GET", "HTTP/1.1 200 OK\r\n\r\nok", 200, "ok", false},
		{"an old server", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
		{"the last one", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
		{"nothing", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
		{"no length", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 200, "", true},
		{"provisional ones before", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, 200, "ok", true},
		{"more than was asked for", "GET", ok + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200, "ok", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var conns atomic.Int64
			cl := scripted(t, func(n int, conn net.Conn, r *bufio.Reader) {
				conns.Store(int64(n))
				for hear(r) != "" {
					_, _ = io.WriteString(conn, c.answer)
					if strings.Contains(c.name, "until") || strings.Contains(c.name, "old") {
						return
					}
				}
			})
			for range 3 {
				p := get("/v1/a")
				p.Method = c.method
				resp, err := cl.Forward(t.Context(), p)
				if resp, got := text(t, resp, err); resp.StatusCode != c.status || got != c.body {
					t.Errorf("%d %q", resp.StatusCode, got)
				}
			}
			if n := conns.Load(); c.kept && n != 1 || !c.kept && n != 3 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":                 "",
		"half a head":             "HTTP/1.1 200 OK\r\nContent-Le",
		"something else":          "SSH-2.0-OpenSSH_9\r\n",
		"a head without an end":   "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHead),
		"provisional without end": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10),
		"a status of its own":     "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok",
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
	} {
		t.Run(name, func(t *testing.T) {
			cl := scripted(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				hear(r)
				_, _ = io.WriteString(conn, answer)
			})
			if _, err := cl.Forward(t.Context(), get("/v1/a")); !errors.Is(err, ErrUnreachable) {
				t.Errorf("error is %v", err)
			}
		})
	}
	t.Run("a status of its own behind a redirect", func(t *testing.T) {
		cl := scripted(t, func(n int, conn net.Conn, r *bufio.Reader) {
			if hear(r); n == 1 {
				_, _ = io.WriteString(conn, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /v1/b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nok")
		})
		if _, err := cl.Forward(t.Context(), get("/v1/a")); !errors.Is(err, ErrUnreachable) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("half a body", func(t *testing.T) {
		cl := scripted(t, func(_ int, conn net.Conn, r *bufio.Reader) {
			hear(r)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")
		})
		resp, err := cl.Forward(t.Context(), get("/v1/a"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("it was taken for a whole one")
		}
	})
}

func TestAConnectionThatWasClosedMeanwhileIsNotUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Passage
	}{
		{"a read", get("/v1/a")},
		{"a write", put("x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			closed := make(chan struct{}, 10)
			cl := scripted(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				hear(r)
				_, _ = io.WriteString(conn, ok)
				conn.Close()
				closed <- struct{}{}
			})
			for range 5 {
				resp, err := cl.Forward(t.Context(), c.p)
				if _, got := text(t, resp, err); got != "ok" {
					t.Errorf("%q", got)
				}
				<-closed
			}
		})
	}
}

// A server, or a thing before it, that sends an answer which nobody asked for: it
// must not become that of another client's request.
func TestAnAnswerThatNobodyAskedForIsNobodys(t *testing.T) {
	unasked := make(chan struct{})
	cl := scripted(t, func(n int, conn net.Conn, r *bufio.Reader) {
		for i := 0; hear(r) != ""; i++ {
			_, _ = io.WriteString(conn, ok)
			if n == 1 && i == 0 {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				close(unasked)
			}
		}
	})
	for range 3 {
		resp, err := cl.Forward(t.Context(), get("/v1/a"))
		if _, got := text(t, resp, err); got != "ok" {
			t.Errorf("got %q", got)
		}
		<-unasked
	}
}

// The time that a request had is over long before its connection is too old.
func TestAConnectionOutlivesTheTimeOfItsRequest(t *testing.T) {
	for name, answer := range map[string]string{
		"an answer in one piece":   ok,
		"an answer without a body": "HTTP/1.1 204 No Content\r\n\r\n",
		"an answer in chunks":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int32
			cl := scripted(t, func(_ int, conn net.Conn, r *bufio.Reader) {
				opened.Add(1)
				for hear(r) != "" {
					_, _ = io.WriteString(conn, answer)
				}
			})
			for range 3 {
				resp, err := cl.Forward(t.Context(), get("/v1/a"))
				text(t, resp, err)
				w := cl.wired()
				w.mu.Lock()
				for _, l := range w.idle {
					_ = l.SetDeadline(aLongTimeAgo) // which is when that time was over
				}
				w.mu.Unlock()
			}
			if n := opened.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestABodyMayComeAfterTheTimeForItsHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = time.Second
		d := &dialed{conns: make(chan net.Conn)}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "o")
			_ = http.NewResponseController(w).Flush()
			<-time.After(2 * wait)
			_, _ = io.WriteString(w, "k")
		})}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(d) }()
		c, err := New(Config{Address: "http://vault", Dial: d.dial, MaxIdle: 3, Timeout: wait})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			resp, err := c.Forward(t.Context(), get("/v1/a"))
			if _, got := text(t, resp, err); got != "ok" {
				t.Errorf("%q", got)
			}
		}
		if n := d.opened.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		_ = c.Close()
		_ = srv.Close()
		<-served
	})
}

// A server that hears a write and is gone may have done it: nobody here asks twice.
func TestAWriteThatWasHeardIsNotSentAgain(t *testing.T) {
	var heard atomic.Int64
	cl := scripted(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		hear(r)
		_, _ = io.WriteString(conn, ok)
		if hear(r) != "" {
			heard.Add(1)
		}
	})
	resp, err := cl.Forward(t.Context(), get("/v1/a"))
	text(t, resp, err)
	if _, err := cl.Forward(t.Context(), put("x")); !errors.Is(err, ErrUnreachable) || heard.Load() != 1 {
		t.Errorf("%v, heard %d times", err, heard.Load())
	}
}

func TestAnEarlyAnswerToALongBodyArrives(t *testing.T) {
	const early = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
	cl := scripted(t, func(_ int, conn net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(conn, early)
		_, _ = io.Copy(io.Discard, r) // a reset would take the answer away
	})
	resp, err := cl.Forward(t.Context(), put(strings.Repeat("x", 1<<20)))
	if resp, got := text(t, resp, err); resp.StatusCode != 413 || got != "no" {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

func TestACancelledRequestEndsAndItsConnectionToo(t *testing.T) {
	for _, name := range []string{"before the head", "in the body"} {
		t.Run(name, func(t *testing.T) {
			begun, gone := make(chan struct{}), make(chan struct{})
			cl := scripted(t, func(n int, conn net.Conn, r *bufio.Reader) {
				hear(r)
				if n > 1 {
					_, _ = io.WriteString(conn, ok)
					return
				}
				if name == "in the body" {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")
				}
				close(begun)
				_, _ = r.ReadByte()
				close(gone)
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-begun
				cancel()
			}()
			resp, err := cl.Forward(ctx, get("/v1/a"))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Error("no error")
			}
			<-gone
			resp, err = cl.Forward(t.Context(), get("/v1/a"))
			if _, got := text(t, resp, err); got != "ok" {
				t.Errorf("the next one got %q", got)
			}
		})
	}
}

// Whatever is cancelled when, nobody gets the answer to somebody else's question.
func TestManyRequestsAndHangUpsDoNotMixUpAnswers(t *testing.T) {
	c := forwarder(t, func(w http.ResponseWriter, r *http.Request) {
		body := strings.Repeat(r.URL.Path+"\n", 200+rand.IntN(200))
		if rand.IntN(2) == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		if rand.IntN(20) == 0 {
			w.Header().Set("Connection", "close")
		}
		_, _ = io.WriteString(w, body)
	}, Config{MaxIdle: 8})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 200 {
				path := fmt.Sprintf("/v1/%d/%d", i, j)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
				if j%2 == 0 {
					ctx = t.Context()
				}
				resp, err := c.Forward(ctx, get(path))
				if err != nil {
					// A dialer looks at the deadline itself, and may be ahead of ctx.
					if end, ok := ctx.Deadline(); !ok || time.Now().Before(end) {
						t.Error(err)
					}
					cancel()
					continue
				}
				lines := bufio.NewScanner(resp.Body)
				for n := 0; lines.Scan(); n++ {
					if line := lines.Text(); line != path && ctx.Err() == nil {
						t.Errorf("%s got %s", path, line)
					}
					if j%5 == 0 && n == 10 {
						break // not read to its end
					}
				}
				resp.Body.Close()
				cancel()
			}
		})
	}
	all.Wait()
}

// dialed is a listener that is dialed in memory.
type dialed struct {
	conns  chan net.Conn
	end    sync.Once
	opened atomic.Int64
	closed atomic.Int64
}

func (d *dialed) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	d.conns <- theirs
	d.opened.Add(1)
	return &counted{Conn: ours, closed: &d.closed}, nil
}

type counted struct {
	net.Conn
	once   sync.Once
	closed *atomic.Int64
}

func (c *counted) Close() error {
	c.once.Do(func() { c.closed.Add(1) })
	return c.Conn.Close()
}

func (d *dialed) Accept() (net.Conn, error) {
	if c, ok := <-d.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (d *dialed) Close() error   { d.end.Do(func() { close(d.conns) }); return nil }
func (d *dialed) Addr() net.Addr { return &net.TCPAddr{} }

func TestIdleConnectionsAreClosedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dialed{conns: make(chan net.Conn)}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/slow" {
				<-time.After(time.Second)
			}
			w.WriteHeader(204)
		})}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(d) }()
		c, err := New(Config{Address: "http://vault", Dial: d.dial, MaxIdle: 3})
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				if _, err := c.Forward(t.Context(), get("/v1/slow")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if o, cl := d.opened.Load(), d.closed.Load(); o != 5 || cl != 2 {
			t.Errorf("%d opened, %d closed: more than 3 are kept, or fewer", o, cl)
		}
		<-time.After(maxAge / 2)
		if _, err := c.Forward(t.Context(), get("/v1/a")); err != nil {
			t.Error(err)
		}
		<-time.After(maxAge/2 + time.Second)
		synctest.Wait()
		if o, cl := d.opened.Load(), d.closed.Load(); o != 5 || cl != 4 {
			t.Errorf("%d opened, %d closed: the one that was used is to stay", o, cl)
		}
		<-time.After(maxAge)
		synctest.Wait()
		if o, cl := d.opened.Load(), d.closed.Load(); o != 5 || cl != 5 {
			t.Errorf("%d opened, %d closed: all are too old", o, cl)
		}
		_ = c.Close()
		_ = srv.Close()
		<-served
	})
}

func TestWhatTheWireIsNotFor(t *testing.T) {
	for name, cfg := range map[string]Config{
		"TLS":                        {Address: "https://vault:8200"},
		"a proxy":                    {Address: "http://vault:8200", ProxyAddress: "http://proxy:3128"},
		"a bound of connections":     {Address: "http://vault:8200", MaxConnsPerHost: 1},
		"connections for one use":    {Address: "http://vault:8200", DisableKeepAlive: true},
		"a name in another alphabet": {Address: "http://vault.bücher:8200"},
	} {
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if c.wired() != nil {
			t.Errorf("%s goes over the wire", name)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":{}}`) }))
	defer srv.Close()
	for name, cfg := range map[string]Config{"wire": {Address: srv.URL}, "transport": {Address: srv.URL, MaxConnsPerHost: 100}} {
		b.Run(name, func(b *testing.B) {
			c, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			b.ReportAllocs()
			for b.Loop() {
				resp, err := c.Forward(context.Background(), get("/v1/secret/data/app"))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
