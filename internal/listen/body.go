package listen

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// body is a request's body that is held to its limits: it must go on coming, and
// it must not be too large.
//
// It may be read by another goroutine than the handler's, even after the handler
// has returned (http.Transport does so when the server answers early). From then
// on nothing here touches the connection, which may serve the next request.
type body struct {
	from  io.ReadCloser
	conn  http.ResponseWriter // whose deadlines are set
	http1 bool

	mu    sync.Mutex
	until time.Time // when the whole request must be done, zero for never
	set   time.Time // the deadline that is set, zero for none
	over  bool      // the body is at its end, or the handler has returned
	fault fault
}

// begins is called once, before anything else.
func (b *body) begins(w http.ResponseWriter, r *http.Request, m Limits) {
	b.from, b.conn, b.http1 = r.Body, w, r.ProtoMajor == 1
	if m.Request > 0 {
		b.until = time.Now().Add(m.Request)
	}
	if m.Body > 0 {
		// It is not told w: it would write to the headers, and may be called by
		// another goroutine.
		b.from = http.MaxBytesReader(nil, r.Body, m.Body)
	}
	if b.http1 {
		// net/http reads what a handler leaves, also before it sends the answer.
		// It must not wait for that for ever either.
		b.arm()
	}
}

// arm gives the next read its time; false when nothing is to be read any more.
func (b *body) arm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return false
	}
	now := time.Now()
	want := now.Add(bodyPatience)
	if !b.until.IsZero() && b.until.Before(want) {
		want = b.until
	}
	// A fifth of exactness is given up for not setting it at every read.
	if d := want.Sub(b.set); d < 0 || d > bodyPatience/5 {
		b.deadline(want)
	}
	return true
}

// disarm is for HTTP/2, where a deadline that passes between two reads ends the
// body for good: nobody reads while the server behind us takes its time.
func (b *body) disarm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.deadline(time.Time{})
	}
}

// deadline is called with mu held, and not when it is over.
func (b *body) deadline(t time.Time) {
	b.set = t
	_ = http.NewResponseController(b.conn).SetReadDeadline(t) // where it is not supported there is no connection either
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.arm() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	if err != nil {
		b.ended(err)
	} else if !b.http1 {
		b.disarm()
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error { return b.from.Close() }

func (b *body) ended(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case b.over:
	case large:
		b.fault = tooLarge
	case timedOut(err) && !b.until.IsZero() && !time.Now().Before(b.until):
		b.fault = late
	case timedOut(err):
		b.fault = stalled
	case errors.Is(err, io.EOF):
		b.deadline(time.Time{})
		b.over = true
	}
}

func (b *body) found(f fault) {
	b.mu.Lock()
	b.fault = f
	b.mu.Unlock()
}

// begin says what was found by the time that the answer begins. What is left of
// the body then has no end of time any more, but must go on coming.
func (b *body) begin() fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = time.Time{}
	return b.fault
}

// leave gives the connection out of hand.
func (b *body) leave() {
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
}

// finish leaves the connection to net/http, which reads what is left of a body
// before it goes on to the next request.
func (b *body) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over, !b.http1:
	case b.fault == stalled, b.fault == late:
		b.deadline(time.Now())
	default:
		b.deadline(time.Now().Add(bodyPatience))
	}
	b.over = true
}
