package proxy

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/exchange"
)

// cacheSays are the values of X-Cache, made once.
var cacheSays = [...][]string{exchange.Miss: {"MISS"}, exchange.Hit: {"HIT"}, exchange.Stale: {"STALE"}}

// small is what net/http buffers to find out the length by itself.
const small = 2048

// answer writes one, from wherever it came.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, a *exchange.Answer) {
	if a.Stream != nil {
		body := a.Stream.Body
		defer body.Close()
		stop := context.AfterFunc(r.Context(), func() { _ = body.Close() })
		defer stop()
		h.stream(w, r, a.Stream, a.From, false)
		return
	}
	head := w.Header()
	for name, v := range a.Header {
		head[name] = v
	}
	if a.From != exchange.Direct && a.Status < 400 {
		head["X-Cache"] = cacheSays[a.From]
	}
	if a.From == exchange.Hit || a.From == exchange.Stale {
		head["Age"] = age(time.Since(a.At))
	}
	if len(a.Body) > small && r.Method != http.MethodHead {
		head["Content-Length"] = []string{strconv.Itoa(len(a.Body))}
	}
	if a.Status != http.StatusOK {
		w.WriteHeader(a.Status)
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.Body)
	}
	h.done(r, a.Status, a.From)
}

// ages are the values of Age that were asked for, up to an hour.
var ages [3600]atomic.Pointer[[]string]

// age is so many seconds as a header's value.
func age(d time.Duration) []string {
	n := max(int(d/time.Second), 0)
	if n >= len(ages) {
		return []string{strconv.Itoa(n)}
	}
	if v := ages[n].Load(); v != nil {
		return *v
	}
	v := []string{strconv.Itoa(n)}
	ages[n].Store(&v)
	return v
}

// done counts an answer and writes its line.
func (h *handler) done(r *http.Request, status int, from exchange.From) {
	if status >= 400 {
		h.Meter.Count("proxy.client_error", 1)
	} else {
		h.Meter.Count("proxy.success", 1)
	}
	h.note(r, status, from.String())
}

// buffers are for what is passed on in pieces.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// stream writes an answer as it comes. One without a known length that is no JSON
// is for somebody who looks at it as it comes, too.
func (h *handler) stream(w http.ResponseWriter, r *http.Request, resp *http.Response, from exchange.From, endless bool) {
	head := w.Header()
	for name, v := range resp.Header {
		head[name] = v
	}
	if from != exchange.Direct && resp.StatusCode < 400 {
		head["X-Cache"] = cacheSays[from]
	}
	live := resp.ContentLength < 0 && (endless || !isJSON(resp.Header))
	if live || resp.ContentLength < 0 || resp.ContentLength > defaultBuffer {
		lift(w)
	}
	w.WriteHeader(resp.StatusCode)
	h.done(r, resp.StatusCode, from)
	if r.Method == http.MethodHead || resp.Body == http.NoBody {
		return
	}
	var flush func() error
	if live {
		flush = http.NewResponseController(w).Flush
	}
	if !copyBody(w, resp, flush) {
		// Half an answer must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
}

// copyBody reports whether all of the body was written.
func copyBody(w http.ResponseWriter, resp *http.Response, flush func() error) bool {
	b := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(b)
	if flush != nil {
		_ = flush()
	}
	for {
		n, err := resp.Body.Read(b[:])
		if n > 0 {
			if _, werr := w.Write(b[:n]); werr != nil {
				return false
			}
		}
		if err != nil {
			return err == io.EOF
		}
		if flush != nil && flush() != nil {
			return false
		}
	}
}

// lift takes the deadlines off a connection: a body may take as long as it takes.
// A server that has none does not mind.
func lift(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
}
