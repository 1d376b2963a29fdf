package main

import (
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// counter stands before the server and counts what arrives there, by kind too.
type counter struct {
	*httptest.Server
	n atomic.Int64

	mu    sync.Mutex
	kinds map[string]int
}

// The kinds of requests that daemons make again and again.
const (
	kindPoll    = "look at a version"
	kindRead    = "read"
	kindRenewal = "renew a lease"
)

// kind says what a request is for, as far as method and path tell.
func kind(r *http.Request) string {
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login"):
		return "log in"
	case path == "auth/token/renew-self":
		return "renew the token"
	case path == "auth/token/lookup-self":
		return "look at the token"
	case path == "sys/leases/renew":
		return kindRenewal
	case strings.HasPrefix(path, "sys/internal/ui/mounts"):
		return "look at a mount"
	case strings.HasPrefix(path, "sys/events/"):
		return "subscribe"
	case path == "sys/health":
		return "look at the server"
	case strings.HasPrefix(path, "secret/metadata/"):
		return kindPoll
	case r.Method == http.MethodGet:
		return kindRead
	}
	return r.Method
}

func startCounter(target string) (*counter, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	c := &counter{kinds: map[string]int{}}
	proxy := httputil.NewSingleHostReverseProxy(u)
	// The standard transport keeps two connections, and opens one for nearly
	// every request of those who ask in parallel.
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}
	proxy.ErrorLog = log.New(io.Discard, "", 0) // a contender that is stopped gives requests up
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.n.Add(1)
		c.mu.Lock()
		c.kinds[kind(r)]++
		c.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	return c, nil
}

// counts is how many requests of each kind have arrived so far.
func (c *counter) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.kinds)
}

// since is what has arrived after before was taken.
func (c *counter) since(before map[string]int) map[string]int {
	now := c.counts()
	for k, n := range before {
		if now[k] -= n; now[k] == 0 {
			delete(now, k)
		}
	}
	return now
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
