package vaulttest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Request is one request as the front saw it, with the answer's status.
type Request struct {
	Method string
	// Path is without /v1/ and without the query.
	Path  string
	Query string
	// Header and Body are the request's own: they hold secrets. A body is
	// complete up to a mebibyte; of a larger one that much is kept.
	Header http.Header
	Body   []byte
	Proto  string
	// Status is what was answered, 0 when the connection was dropped.
	Status int
	// Answer is the body that was sent back, as far as it was sent, and up to a
	// mebibyte.
	Answer []byte
}

// Front stands before a handler: it records every request and is rude on
// request. The zero value is not usable; a Server and a Proxy have one.
type Front struct {
	inner http.Handler

	mu       sync.Mutex
	requests []*Request
	now      int
	peak     int
	rules    []*rule
	closed   chan struct{}
}

func newFront(inner http.Handler) *Front {
	return &Front{inner: inner, closed: make(chan struct{})}
}

// kept is how much of a body is recorded.
const kept = 1 << 20

// ServeHTTP records the request, lets the first matching rudeness have it, and
// otherwise passes it on.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, kept))
	if err != nil {
		return // the client went away in the middle of its own request
	}
	// What is larger streams, as it does where no front stands.
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
	rec := &Request{
		Method: r.Method, Path: strings.TrimPrefix(r.URL.Path, "/v1/"), Query: r.URL.RawQuery,
		Header: r.Header.Clone(), Body: body, Proto: r.Proto,
	}
	if r.URL.Query().Get("list") == "true" && r.Method == http.MethodGet {
		rec.Method = "LIST"
	}
	rule := f.enter(rec)
	defer f.leave()
	tw := &tee{ResponseWriter: w, f: f, rec: rec}
	if rule == nil {
		f.inner.ServeHTTP(tw, r)
		return
	}
	rule.r.serve(tw, r, f)
}

func (f *Front) enter(rec *Request) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, rec)
	f.now++
	f.peak = max(f.peak, f.now)
	for _, r := range f.rules {
		if r.takes(rec) {
			return r
		}
	}
	return nil
}

func (f *Front) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now--
}

// tee notes what is answered.
type tee struct {
	http.ResponseWriter
	f   *Front
	rec *Request
}

func (t *tee) WriteHeader(status int) {
	t.f.mu.Lock()
	t.rec.Status = status
	t.f.mu.Unlock()
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(p []byte) (int, error) {
	t.f.mu.Lock()
	if t.rec.Status == 0 {
		t.rec.Status = http.StatusOK
	}
	t.rec.Answer = append(t.rec.Answer, p[:min(len(p), kept-len(t.rec.Answer))]...)
	t.f.mu.Unlock()
	return t.ResponseWriter.Write(p)
}

// Hijack hands the connection over, for a websocket.
func (t *tee) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.f.mu.Lock()
	t.rec.Status = http.StatusSwitchingProtocols
	t.f.mu.Unlock()
	return http.NewResponseController(t.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController reach the connection.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Requests returns a copy of everything recorded, in order of arrival.
func (f *Front) Requests() []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Request, len(f.requests))
	for i, r := range f.requests {
		out[i] = *r
	}
	return out
}

// Count returns how many requests had this method and path. An empty method
// is any; a path that ends in "*" is a prefix; a GET with list=true is a LIST.
// PUT and POST are one, as they are to Vault.
func (f *Front) Count(method, path string) int {
	match := Match{method, path}
	n := 0
	for _, r := range f.Requests() {
		if match.is(&r) {
			n++
		}
	}
	return n
}

// UserAgents returns the different User-Agents seen, sorted.
func (f *Front) UserAgents() []string {
	var out []string
	for _, r := range f.Requests() {
		out = append(out, r.Header.Get("User-Agent"))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Peak returns the largest number of requests that were open at once.
func (f *Front) Peak() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.peak
}

// Open returns how many requests are open now: not answered, or not to the end.
func (f *Front) Open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Forget drops what was recorded and counted; rules stay.
func (f *Front) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.peak = nil, f.now
}

// release frees everyone who hangs, once.
func (f *Front) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
}
