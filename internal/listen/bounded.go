package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"latchkey/internal/exchange"
)

// bounded holds requests to the limits. Those without a body, where none is set
// for the whole request, pass untouched.
type bounded struct {
	limits Limits
	next   http.Handler
}

func (b *bounded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 && b.limits.Request <= 0 {
		b.next.ServeHTTP(w, r)
		return
	}
	// All that a request is held with is one piece of memory.
	held := &struct {
		answer
		body    body
		request http.Request
	}{answer: answer{ResponseWriter: w, http1: r.ProtoMajor == 1, limits: b.limits}, request: *r}
	a, own := &held.answer, &held.request // a handler does not change the request that it was given
	if b.limits.Request > 0 {
		ctx, done := a.within(r.Context())
		defer done()
		own = r.WithContext(ctx)
	}
	if r.ContentLength != 0 {
		a.body = &held.body
		a.body.begins(w, r, b.limits)
		own.Body = a.body
		defer a.body.finish()
	}
	if b.limits.Body > 0 && r.ContentLength > b.limits.Body {
		a.body.found(tooLarge)
	} else {
		b.next.ServeHTTP(a, own)
	}
	if !a.begun {
		a.begin() // the handler said nothing, which is 200, if it was in time
	}
}

// fault is what a limit found.
type fault int32

const (
	fine     fault = iota
	tooLarge       // the body
	stalled        // the body, in the middle
	late           // the answer
)

// answer is what a handler writes to. What it says first is replaced, if a limit
// was hit by then.
type answer struct {
	http.ResponseWriter
	http1  bool
	limits Limits
	body   *body       // nil for none
	onTime func() bool // ends the request's time, and says whether it was still running; nil for none

	begun    bool
	replaced bool
}

// errLate is the cause of a request's context that took too long.
var errLate = fmt.Errorf("request_timeout is over: %w", context.DeadlineExceeded)

// within gives the context of a request that must be answered in time. It ends by
// itself until onTime is called; done frees it.
func (a *answer) within(parent context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(parent)
	timer, stop := context.WithTimeout(context.WithoutCancel(parent), a.limits.Request)
	a.onTime = context.AfterFunc(timer, func() { cancel(errLate) })
	return ctx, func() {
		a.onTime()
		stop()
		cancel(nil)
	}
}

// begin is called once, when the answer begins. It reports whether that is the
// handler's; otherwise it wrote one of ours.
func (a *answer) begin() bool {
	a.begun = true
	found := fine
	if a.body != nil {
		found = a.body.begin()
	}
	if a.onTime != nil && !a.onTime() {
		found = late
	}
	if found == fine {
		return true
	}
	a.replaced = true
	clear(a.Header())
	// A body that is too large is left to net/http, which closes with some care
	// for a client that is still sending.
	if a.http1 && a.body != nil && found != tooLarge {
		a.Header().Set("Connection", "close")
	}
	switch found {
	case tooLarge:
		exchange.Refuse(a.ResponseWriter, http.StatusRequestEntityTooLarge,
			fmt.Sprintf("the body is larger than the %d bytes that this listener takes; max_body_size is the limit", a.limits.Body))
	case stalled:
		exchange.Refuse(a.ResponseWriter, http.StatusRequestTimeout, fmt.Sprintf("nothing more of the body came for %s", bodyPatience))
	default:
		exchange.Refuse(a.ResponseWriter, http.StatusGatewayTimeout,
			fmt.Sprintf("there was no answer within %s; request_timeout is the limit, of this listener and not of the server", a.limits.Request))
	}
	return false
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	informs := code >= 100 && code < 200 && code != http.StatusSwitchingProtocols
	if a.replaced || !informs && !a.begun && !a.begin() {
		return
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter. What belongs to an answer that was
// replaced is dropped, and is no error: the client has its answer.
func (a *answer) Write(p []byte) (int, error) {
	if a.replaced || !a.begun && !a.begin() {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController calls.
func (a *answer) FlushError() error {
	if a.replaced || !a.begun && !a.begin() {
		return nil
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() }

// Hijack is what http.ResponseController calls: the connection is the handler's
// from then on, without limits.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.replaced || !a.begun && !a.begin() {
		return nil, nil, errLate
	}
	conn, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil && a.body != nil {
		a.body.leave()
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController find what is not here.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// timedOut reports whether reading ended by a deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
