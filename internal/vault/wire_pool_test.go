package vault

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fate is what becomes of a connection that is idle.
type fate int32

const (
	fine   fate = iota
	closed      // the other side closed it, and we did not notice: a write fails
	reset       // the same, and the write still goes through
	hole        // what is sent is lost, and nothing ever comes
	frozen      // the process stands still for an hour when it writes, and then nothing comes
)

// wireless is our end of a connection in memory.
type wireless struct {
	net.Conn
	fate   *atomic.Int32
	closed atomic.Bool
}

func (w *wireless) Write(p []byte) (int, error) {
	switch fate(w.fate.Load()) {
	case closed:
		w.Conn.Close()
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	case reset:
		w.Conn.Close()
	case hole:
	case frozen:
		time.Sleep(time.Hour)
	default:
		return w.Conn.Write(p)
	}
	return len(p), nil
}

func (w *wireless) Close() error {
	w.closed.Store(true)
	return w.Conn.Close()
}

// field is a server to which there are connections in memory, of which the tests say
// what becomes of them.
type field struct {
	c       *Client
	dials   atomic.Int64
	asked   atomic.Int64
	closing chan struct{}
	once    sync.Once
	conns   chan net.Conn

	mu   sync.Mutex
	ours []*wireless
	// dial, unless nil, comes before a connection.
	dial func(ctx context.Context) error
	// astray: nobody is at the other end of a connection that is opened.
	astray bool
}

func (f *field) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closing:
		return nil, net.ErrClosed
	}
}
func (f *field) Close() error   { f.once.Do(func() { close(f.closing) }); return nil }
func (f *field) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8200} }

func (f *field) open(ctx context.Context, _, _ string) (net.Conn, error) {
	f.dials.Add(1)
	f.mu.Lock()
	before := f.dial
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return nil, err
		}
	}
	ours, theirs := net.Pipe()
	w := &wireless{Conn: ours, fate: new(atomic.Int32)}
	f.mu.Lock()
	f.ours = append(f.ours, w)
	astray := f.astray
	f.mu.Unlock()
	if astray {
		return w, nil
	}
	select {
	case f.conns <- theirs:
		return w, nil
	case <-f.closing:
		return nil, net.ErrClosed
	}
}

// befalls says what becomes of all connections there are.
func (f *field) befalls(what fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.ours {
		w.fate.Store(int32(what))
	}
}

// transports are the ways to send a request.
var transports = []string{"wire", "transport in clear", "TLS", "HTTP/2"}

// plain starts a field; it has to be called within a bubble.
func plain(t *testing.T, way string, cfg Config, h http.HandlerFunc) *field {
	f := &field{closing: make(chan struct{}), conns: make(chan net.Conn)}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if h != nil {
			h(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Proto+" "+r.Method+" "+string(body))
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Listener.Close()
	srv.Listener = f
	switch way {
	case "TLS":
		srv.StartTLS()
	case "HTTP/2":
		srv.EnableHTTP2 = true
		srv.StartTLS()
	default:
		srv.Start()
	}
	if way == "transport in clear" {
		cfg.MaxConnsPerHost = 100
	}
	if srv.Certificate() != nil {
		cfg.CACertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	}
	cfg.Address, cfg.Dial, cfg.MaxIdle = srv.URL, f.open, 8
	var err error
	if f.c, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if (f.c.wired() != nil) != (way == "wire") {
		t.Fatal("it goes another way")
	}
	t.Cleanup(func() {
		_ = f.c.Close()
		f.mu.Lock()
		for _, w := range f.ours {
			_ = w.Conn.Close()
		}
		f.mu.Unlock()
		srv.Close()
	})
	return f
}

// everyWay runs a test for each way to send a request, in a bubble.
func everyWay(t *testing.T, cfg Config, h http.HandlerFunc, test func(t *testing.T, f *field)) {
	for _, way := range transports {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := plain(t, way, cfg, h)
				test(t, f)
			})
		})
	}
}

func (f *field) get(t *testing.T) {
	t.Helper()
	resp, err := f.c.Forward(t.Context(), get("/v1/a"))
	if resp, body := text(t, resp, err); resp.StatusCode != 200 || !strings.HasSuffix(body, " GET ") {
		t.Fatal(resp.StatusCode, body)
	}
}

func (f *field) want(t *testing.T, dials, asked int64) {
	t.Helper()
	if d, a := f.dials.Load(), f.asked.Load(); d != dials || a != asked {
		t.Errorf("%d connections and %d requests, want %d and %d", d, a, dials, asked)
	}
}

func TestAnIdleConnectionIsUsedForAMinute(t *testing.T) {
	everyWay(t, Config{}, nil, func(t *testing.T, f *field) {
		f.get(t)
		time.Sleep(59 * time.Second)
		f.get(t)
		f.want(t, 1, 2)
		time.Sleep(61 * time.Second)
		f.get(t)
		f.want(t, 2, 3)
	})
}

func TestAConnectionThatDiedWhileWeWereFrozen(t *testing.T) {
	for _, c := range []struct {
		name   string
		fate   fate
		method string
		again  bool
	}{
		{"a read", closed, "GET", true},
		{"a list", closed, "LIST", true},
		{"a write that was not sent", closed, "PUT", true},
		{"a read that was sent", reset, "GET", true},
		{"a list that was sent", reset, "LIST", true},
		{"a write that was sent", reset, "PUT", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, Config{}, nil, func(t *testing.T, f *field) {
				f.get(t)
				f.befalls(c.fate)
				p := get("/v1/a")
				if c.method == "PUT" {
					p = put("body")
				}
				p.Method = c.method
				resp, err := f.c.Forward(t.Context(), p)
				if !c.again {
					if !errors.Is(err, ErrUnreachable) {
						t.Fatal(resp, err)
					}
					f.want(t, 1, 1)
					f.get(t)
					f.want(t, 2, 2)
					return
				}
				if resp, body := text(t, resp, err); resp.StatusCode != 200 || !strings.Contains(body, " "+c.method+" ") {
					t.Error(resp.StatusCode, body)
				}
				f.want(t, 2, 2)
			})
		})
	}
}

// Our own requests go the same way.
func TestALookupSurvivesAConnectionThatDied(t *testing.T) {
	everyWay(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"data":{"keys":["a"]}}`) }, func(t *testing.T, f *field) {
		for range 2 {
			if _, err := f.c.List(t.Context(), "secret/metadata"); err != nil {
				t.Error(err)
			}
			f.befalls(reset)
		}
		f.want(t, 2, 2)
	})
}

func TestManyDeadConnectionsCostARequestOneMoreTry(t *testing.T) {
	var gate sync.WaitGroup
	everyWay(t, Config{}, func(http.ResponseWriter, *http.Request) { gate.Done(); gate.Wait() }, func(t *testing.T, f *field) {
		var all sync.WaitGroup
		gate.Add(5)
		for range 5 {
			all.Go(func() { resp, err := f.c.Forward(t.Context(), get("/v1/a")); text(t, resp, err) })
		}
		all.Wait()
		f.befalls(reset)
		before := f.dials.Load()
		gate.Add(1)
		resp, err := f.c.Forward(t.Context(), get("/v1/a"))
		text(t, resp, err)
		f.want(t, before+1, 6)
	})
}

func TestAConnectionThatBecameABlackHole(t *testing.T) {
	everyWay(t, Config{Timeout: 3 * time.Second}, nil, func(t *testing.T, f *field) {
		f.get(t)
		f.befalls(hole)
		start := time.Now()
		_, err := f.c.Forward(t.Context(), get("/v1/a"))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		f.get(t)
		f.want(t, 2, 2)
	})
}

func TestAClientThatGivesUpOnABlackHoleFindsTheWayNextTime(t *testing.T) {
	everyWay(t, Config{}, nil, func(t *testing.T, f *field) {
		f.get(t)
		f.befalls(hole)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := f.c.Forward(ctx, get("/v1/a")); err == nil {
			t.Error("an answer from a hole")
		}
		f.get(t)
		f.want(t, 2, 2)
	})
}

// Who shares a connection with somebody whose answer takes long loses nothing by it.
func TestASlowAnswerTakesNoOthersConnection(t *testing.T) {
	everyWay(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			select {
			case <-time.After(20 * time.Second):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}, func(t *testing.T, f *field) {
		fetch := func(ctx context.Context, path string) error {
			resp, err := f.c.Forward(ctx, get(path))
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		if err := fetch(t.Context(), "/v1/a"); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := fetch(t.Context(), "/v1/slow"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			all.Go(func() {
				if err := fetch(ctx, "/v1/slow"); err == nil {
					t.Error("not slow")
				}
			})
			synctest.Wait()
			time.Sleep(time.Second)
			if err := fetch(t.Context(), "/v1/a"); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
			cancel()
		}
		all.Wait()
	})
}

// freeze has the process stand still for an hour in the next request. In a simulation
// only one goroutine does, so it has to be that of the request.
func (f *field) freeze() {
	p := f.c.http.Transport.(*pool)
	once := false
	p.t.Proxy = func(*http.Request) (*url.URL, error) {
		if once {
			return nil, nil
		}
		once = true
		time.Sleep(time.Hour)
		return nil, syscall.ECONNRESET
	}
	if f.c.wired() != nil {
		f.befalls(frozen)
		return
	}
	_ = f.c.Close() // what is open by HTTP/2 asks for no proxy
}

func TestARequestDuringWhichTheProcessStoodStill(t *testing.T) {
	for _, c := range []struct {
		name, method string
		again        bool
	}{{"a read", "GET", true}, {"a list", "LIST", true}, {"a write", "PUT", false}} {
		t.Run(c.name, func(t *testing.T) {
			everyWay(t, Config{Timeout: 5 * time.Second}, nil, func(t *testing.T, f *field) {
				f.get(t)
				f.freeze()
				p := get("/v1/a")
				if c.method == "PUT" {
					p = put("body")
				}
				p.Method = c.method
				resp, err := f.c.Forward(t.Context(), p)
				if !c.again {
					if !errors.Is(err, ErrUnreachable) {
						t.Error(resp, err)
					}
					return
				}
				if resp, body := text(t, resp, err); !strings.Contains(body, " "+c.method+" ") {
					t.Error(resp.StatusCode, body)
				}
				f.want(t, 2, 2)
			})
		})
	}
}

func TestADialDuringWhichTheProcessStoodStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plain(t, "wire", Config{Timeout: 5 * time.Second}, nil)
		f.dial = func(context.Context) error {
			f.mu.Lock()
			f.dial = nil
			f.mu.Unlock()
			time.Sleep(time.Hour)
			return context.DeadlineExceeded
		}
		f.get(t)
		f.want(t, 2, 1)
	})
}

func TestNobodyWhoHungUpIsAskedFor(t *testing.T) {
	everyWay(t, Config{}, nil, func(t *testing.T, f *field) {
		f.get(t)
		f.freeze()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.c.Forward(ctx, get("/v1/a")); err == nil {
			t.Error("an answer")
		}
		time.Sleep(2 * time.Hour)
		f.want(t, 1, 1)
	})
}

func TestADialEndsWithItsRequest(t *testing.T) {
	everyWay(t, Config{}, nil, func(t *testing.T, f *field) {
		var dialing atomic.Int64
		f.dial = func(ctx context.Context) error {
			dialing.Add(1)
			defer dialing.Add(-1)
			<-ctx.Done()
			return ctx.Err()
		}
		for name, ask := range map[string]func(context.Context) error{
			"passed on": func(ctx context.Context) error { _, err := f.c.Forward(ctx, get("/v1/a")); return err },
			"our own":   func(ctx context.Context) error { _, err := f.c.Read(ctx, "a", nil); return err },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := ask(ctx); err == nil {
				t.Errorf("%s: no error", name)
			}
			cancel()
			synctest.Wait()
			if n := dialing.Load(); n != 0 {
				t.Errorf("%s: %d dials go on", name, n)
			}
		}
	})
}

func TestAHandshakeEndsWithItsRequest(t *testing.T) {
	for _, way := range []string{"TLS", "HTTP/2"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := plain(t, way, Config{}, nil)
				f.astray = true
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := f.c.Forward(ctx, get("/v1/a")); err == nil {
					t.Error("no error")
				}
				synctest.Wait()
				f.mu.Lock()
				last := f.ours[len(f.ours)-1]
				f.mu.Unlock()
				if !last.closed.Load() {
					t.Error("the handshake goes on")
				}
			})
		})
	}
}

func TestAConnectionOutlivesTheRequestThatOpenedIt(t *testing.T) {
	everyWay(t, Config{}, nil, func(t *testing.T, f *field) {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := f.c.Forward(ctx, get("/v1/a"))
		text(t, resp, err)
		synctest.Wait()
		cancel()
		synctest.Wait()
		f.get(t)
		f.want(t, 1, 2)
	})
}
