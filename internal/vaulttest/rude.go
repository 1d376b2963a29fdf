package vaulttest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Match says which requests are meant. The zero Match is all of them.
type Match struct {
	// Method is GET, PUT (POST is the same), LIST, DELETE; "" is any.
	Method string
	// Path is without /v1/; a trailing "*" makes it a prefix; "" is any.
	Path string
}

func (m Match) is(r *Request) bool {
	method := r.Method
	if method == http.MethodPost {
		method = http.MethodPut
	}
	want := m.Method
	if want == http.MethodPost {
		want = http.MethodPut
	}
	if want != "" && want != method {
		return false
	}
	if prefix, ok := strings.CutSuffix(m.Path, "*"); ok {
		return strings.HasPrefix(r.Path, prefix)
	}
	return m.Path == "" || m.Path == r.Path
}

// Rudeness is one way to misbehave. At most one of Status, Half, Drop, Hang,
// Raw and Late is set; Delay and Do go with any of them or stand alone.
type Rudeness struct {
	// Skip lets this many matching requests pass first; then Times of them
	// are treated rudely, 0 for all.
	Skip, Times int

	// Status answers with this status and Errors in Vault's shape.
	Status int
	Errors []string
	// RetryAfter is sent in whole seconds when positive.
	RetryAfter time.Duration

	// Half sends the true answer's head and half of its body, then drops.
	Half bool
	// Drop closes the connection without an answer.
	Drop bool
	// Hang gives no answer until the client or the server goes away.
	Hang bool
	// Raw answers 200 with this body, whatever it is.
	Raw string

	// Delay waits before anything else, or until the client goes away.
	Delay time.Duration
	// Do is called before anything else, such as to seal the server in the
	// middle of a client's run.
	Do func()
	// Late is called after the true answer has been made and before it is sent:
	// what it changes, the answer does not tell of.
	Late func()
}

type rule struct {
	m    Match
	r    Rudeness
	seen int
}

// takes reports whether the rule treats this request; it counts.
func (r *rule) takes(rec *Request) bool {
	if !r.m.is(rec) {
		return false
	}
	r.seen++
	n := r.seen - r.r.Skip
	return n > 0 && (r.r.Times == 0 || n <= r.r.Times)
}

// Rude treats the matching requests as r says, until the returned function is
// called. Rules are asked in the order they were made, and each that matches
// counts the request until one takes it.
func (f *Front) Rude(m Match, r Rudeness) (stop func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ours := &rule{m: m, r: r}
	f.rules = append(f.rules, ours)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, x := range f.rules {
			if x == ours {
				f.rules = append(f.rules[:i:i], f.rules[i+1:]...)
				return
			}
		}
	}
}

func (r Rudeness) serve(w http.ResponseWriter, req *http.Request, f *Front) {
	if r.Do != nil {
		r.Do()
	}
	if r.Delay > 0 && !f.pause(req, r.Delay) {
		return
	}
	switch {
	case r.Hang:
		f.pause(req, 0)
		panic(http.ErrAbortHandler)
	case r.Drop:
		panic(http.ErrAbortHandler)
	case r.Half:
		r.half(w, req, f)
	case r.Late != nil:
		r.late(w, req, f)
	case r.Status != 0:
		r.status(w)
	case r.Raw != "":
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(r.Raw))
	default:
		f.inner.ServeHTTP(w, req)
	}
}

// pause waits for d (0: without end) and reports whether it went by.
func (f *Front) pause(req *http.Request, d time.Duration) bool {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
		return true
	case <-req.Context().Done():
	case <-f.closed:
	}
	return false
}

func (r Rudeness) status(w http.ResponseWriter) {
	if r.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.RetryAfter+time.Second-1)/time.Second)))
	}
	errs := r.Errors
	if errs == nil {
		errs = []string{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.Status)
	_ = json.NewEncoder(w).Encode(map[string][]string{"errors": errs})
}

func (r Rudeness) half(w http.ResponseWriter, req *http.Request, f *Front) {
	whole := &held{header: w.Header(), status: http.StatusOK}
	f.inner.ServeHTTP(whole, req)
	body := whole.body
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(whole.status)
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func (r Rudeness) late(w http.ResponseWriter, req *http.Request, f *Front) {
	whole := &held{header: w.Header(), status: http.StatusOK}
	f.inner.ServeHTTP(whole, req)
	r.Late()
	w.WriteHeader(whole.status)
	_, _ = w.Write(whole.body)
}

// held is an answer that is kept instead of sent.
type held struct {
	header http.Header
	status int
	body   []byte
}

func (h *held) Header() http.Header    { return h.header }
func (h *held) WriteHeader(status int) { h.status = status }
func (h *held) Write(p []byte) (int, error) {
	h.body = append(h.body, p...)
	return len(p), nil
}
