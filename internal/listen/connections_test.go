package listen

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/config"
)

// serving serves a greeting within the limits of a block, until the test ends.
func serving(t *testing.T, l config.Listener, o Options) net.Listener {
	t.Helper()
	ln, _ := open(t, l, o)
	s := LimitsOf(l).Server(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }), nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return ln
}

func dial(t *testing.T, ln net.Listener) *talk {
	t.Helper()
	conn, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return talkTo(t, conn)
}

func TestConnectionsBeyondTheLimitAreTold(t *testing.T) {
	l := plain("127.0.0.1:0")
	l.MaxConnections = 2
	ln := serving(t, l, Options{})
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	var in []*talk
	for range 2 {
		c := dial(t, ln)
		c.say(request)
		if resp, text := c.hear(); resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, text)
		}
		in = append(in, c)
	}
	out := dial(t, ln)
	out.say(request)
	resp, text := out.hear()
	if resp.StatusCode != 503 || !strings.Contains(text, "max_connections") || resp.Header.Get("Retry-After") == "" || !out.closed() {
		t.Errorf("%s %s", resp.Status, text)
	}
	// Those that are in stay in, and the place of one that goes is free again.
	in[0].say(request)
	if resp, _ := in[0].hear(); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
	_ = in[1].Close()
	for {
		c := dial(t, ln)
		c.say(request)
		resp, text := c.hear()
		if resp.StatusCode == 200 {
			break
		}
		if resp.StatusCode != 503 {
			t.Fatalf("%s %s", resp.Status, text)
		}
		_ = c.Close() // the server has not seen yet that one is gone
	}
}

// Whoever floods a listener gets no memory for it.
func TestAFloodOfConnectionsIsClosed(t *testing.T) {
	l := plain("127.0.0.1:0")
	l.MaxConnections = 1
	ln := serving(t, l, Options{})
	for range 1 + spare {
		dial(t, ln)
	}
	// Connections are accepted in their order.
	if c := dial(t, ln); !c.closed() {
		t.Error("it is open")
	}
}

func TestConnectionsOverTLSAreCountedToo(t *testing.T) {
	ca := newAuthority(t)
	l := withTLS(t, ca)
	l.MaxConnections = 1
	ln := serving(t, l, Options{})
	dial(t, ln) // holds the place, without a word
	if text, err := get(t, ln, clientOf(ca)); err != nil || !strings.Contains(text, "max_connections") {
		t.Errorf("%q, %v", text, err)
	}
}

// fakes is a listener of connections that only know whether they are closed.
type fakes struct {
	net.Listener
	left   int
	closed int
}

type fake struct {
	net.Conn
	of *fakes
}

func (f *fakes) Accept() (net.Conn, error) {
	if f.left == 0 {
		return nil, net.ErrClosed
	}
	f.left--
	return &fake{of: f}, nil
}
func (f *fake) Close() error { f.of.closed++; return nil }

func TestAPlaceIsGivenBackOnce(t *testing.T) {
	f := &fakes{left: 2}
	ln := limit(f, 1).(*limited)
	a, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if ln.served != 1 || ln.told != 1 || a.(*taken).beyond || !b.(*taken).beyond {
		t.Errorf("%d %d", ln.served, ln.told)
	}
	for range 3 {
		_ = a.Close()
		_ = b.Close()
	}
	if ln.served != 0 || ln.told != 0 {
		t.Errorf("%d %d", ln.served, ln.told)
	}
	f.left, f.closed = 1+spare+5, 0
	for range 1 + spare {
		if _, err := ln.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) || f.closed != 5 {
		t.Errorf("%v, %d closed", err, f.closed)
	}
}
