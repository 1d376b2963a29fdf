package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// counter stands before the server and counts what arrives there.
type counter struct {
	*httptest.Server
	n atomic.Int64
}

func startCounter(target string) (*counter, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	c := &counter{}
	proxy := httputil.NewSingleHostReverseProxy(u)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.n.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	return c, nil
}

// delay is a TCP proxy that models distance: what enters it leaves it half a
// round trip later, however much it is. The bandwidth is not limited. Opening a
// connection costs a round trip as well, although the loopback accepts at once:
// the first bytes are held until a real SYN would have been answered.
type delay struct {
	net.Listener
	target    string
	roundTrip time.Duration
	// sleep is exact where time.Sleep is not: the runtime's timers wait in
	// whole milliseconds when nothing else is going on, and two of those in
	// each round trip would be a tenth of it.
	sleep func(time.Duration)
}

func startDelay(target string, roundTrip time.Duration) (*delay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &delay{Listener: l, target: target, roundTrip: roundTrip, sleep: exactSleep}
	go d.serve()
	return d, nil
}

func (d *delay) serve() {
	for {
		c, err := d.Accept()
		if err != nil {
			return
		}
		opened := time.Now().Add(d.roundTrip)
		go func() {
			s, err := net.Dial("tcp", d.target)
			if err != nil {
				_ = c.Close()
				return
			}
			var both sync.WaitGroup
			both.Go(func() { d.carry(s, c, opened) })
			both.Go(func() { d.carry(c, s, opened) })
			both.Wait()
			_ = c.Close()
			_ = s.Close()
		}()
	}
}

type chunk struct {
	data []byte
	due  time.Time
}

// carry copies from src to dst, each chunk half a round trip after it came in
// and none before the connection would have been open. A nil chunk is the end.
func (d *delay) carry(dst, src net.Conn, opened time.Time) {
	queue := make(chan chunk, 1<<16)
	go func() {
		defer close(queue)
		for {
			b := make([]byte, 32<<10)
			n, err := src.Read(b)
			at := time.Now()
			if at.Before(opened) {
				at = opened
			}
			if n > 0 {
				queue <- chunk{b[:n], at.Add(d.roundTrip / 2)}
			}
			if err != nil {
				queue <- chunk{nil, at.Add(d.roundTrip / 2)}
				return
			}
		}
	}()
	failed := false
	for c := range queue {
		d.sleep(time.Until(c.due))
		switch {
		case failed:
		case c.data == nil:
			if t, ok := dst.(interface{ CloseWrite() error }); ok {
				_ = t.CloseWrite()
			}
		default:
			if _, err := dst.Write(c.data); err != nil {
				failed = true
				_ = src.Close()
			}
		}
	}
}

func exactSleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := syscall.NsecToTimespec(int64(d))
	for syscall.Nanosleep(&t, &t) == syscall.EINTR {
	}
}
