package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Passage is a request that somebody else made and that is passed on.
type Passage struct {
	Method string
	// Path is escaped and begins with /v1/.
	Path string
	// Query is as it was sent, without the question mark.
	Query string
	// Header goes along, without a copy: Forward adds to it what the view and the
	// configuration have to say. What is between two hops has been taken out.
	Header http.Header
	// Body is nil for none; Length is its length, -1 where it is not known.
	Body   io.Reader
	Length int64
	// Replay returns the body from its beginning; nil when it can be sent only
	// once, and then a redirect is not followed.
	Replay func() io.Reader
	// Wait bounds the time to the head of the answer; the client's timeout when 0,
	// nothing when negative. For a body that can be sent only once it begins when
	// all of it is sent.
	Wait time.Duration

	// once: no redirect is followed any more.
	once bool
}

// Forward sends a request of somebody else's and returns the answer, whatever its
// status; its body is to be closed. The view's token and namespace go along where
// there are any, the namespace only if the header has none. One redirect is
// followed, as for our own requests; Config.Seen is not told. ctx ends the answer's
// body too, and everything else that was begun for it.
//
// Nothing is tried twice but, once, what died with a connection that was used before,
// or while the process stood still, and that the server cannot have done or that
// changes nothing.
//
// The error is an *Error: ErrUnreachable, with context.DeadlineExceeded below it
// when the wait was over; ErrInsecure; or ErrBadRequest for what cannot be sent.
func (c *Client) Forward(ctx context.Context, p Passage) (*http.Response, error) {
	r := request{op: p.Method, path: strings.TrimPrefix(p.Path, "/v1/")}
	if strings.ContainsFunc(c.token.Reveal(), isControl) {
		return nil, r.fail(ErrInvalidToken, "the token holds characters that no token has; is it a whole file?")
	}
	if c.limiter != nil {
		if err := c.limiter.Wait(ctx); err != nil {
			return nil, &Error{Kind: ErrUnreachable, Op: r.op, Path: r.path, Cause: err}
		}
	}
	if p.Wait == 0 {
		p.Wait = c.timeout
	}
	start := time.Now()
	resp, err := c.forward(ctx, r, p)
	if err == nil || ctx.Err() != nil || !idempotent(p.Method) || p.Body != nil && p.Replay == nil || !stoodStill(start, p.Wait) {
		return resp, err
	}
	_ = c.Close() // what was open then is of no use now
	if p.Replay != nil {
		p.Body = p.Replay()
	}
	return c.forward(ctx, r, p)
}

// forward is Forward for one try. Wait is not 0.
func (c *Client) forward(ctx context.Context, r request, p Passage) (*http.Response, error) {
	req, err := c.outgoing(ctx, p)
	if err != nil {
		return nil, r.fail(ErrBadRequest, err.Error())
	}
	if w := c.wired(); w != nil && (req.Body == nil || p.Replay != nil) && p.Header["Upgrade"] == nil {
		resp, err := w.roundTrip(ctx, req, p.Replay, p.Wait)
		if err != nil {
			return nil, c.unreachable(ctx, r, err)
		}
		again, err := c.redirected(req, resp, p)
		if again == nil && err == nil {
			return resp, nil
		}
		if err != nil {
			return nil, c.unreachable(ctx, r, err)
		}
		req = again
		p.once = true
	}
	ctx, cancel := context.WithCancelCause(ctx)
	h := &head{wait: p.Wait, cancel: cancel}
	if req.Body != nil && req.GetBody == nil {
		req.Body = &sending{ReadCloser: req.Body, sent: h.start}
	} else {
		h.start()
	}
	resp, err := c.pass(req.WithContext(ctx), p)
	if h.came(); err != nil {
		cancel(nil)
		if errors.Is(context.Cause(ctx), errNoHead) {
			err = fmt.Errorf("no answer within %s: %w", p.Wait, context.DeadlineExceeded)
		}
		return nil, c.unreachable(ctx, r, err)
	}
	if resp.Body == http.NoBody {
		cancel(nil)
		return resp, nil
	}
	b := body{resp.Body, cancel}
	resp.Body = b
	if w, ok := b.ReadCloser.(io.Writer); ok {
		resp.Body = duplex{b, w}
	}
	return resp, nil
}

// pass sends the request by the transport and follows one redirect.
func (c *Client) pass(req *http.Request, p Passage) (*http.Response, error) {
	resp, err := c.once(req)
	if err != nil {
		return nil, err
	}
	again, err := c.redirected(req, resp, p)
	if again == nil && err == nil {
		return resp, nil
	}
	if err != nil {
		return nil, err
	}
	return c.once(again)
}

// once sends a request. A status that there is not is an error: nobody could hand
// it on.
func (c *Client) once(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Transport.RoundTrip(req)
	if err == nil && resp.StatusCode < 100 {
		resp.Body.Close()
		return nil, errOdd
	}
	return resp, err
}

// redirected makes the request that a redirect asks for, by the rules of send,
// and closes the answer; or it returns nil for an answer that is to be handed on.
func (c *Client) redirected(req *http.Request, resp *http.Response, p Passage) (*http.Request, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if c.disableRedirects || p.once || p.Body != nil && p.Replay == nil {
		return nil, nil
	}
	resp.Request = req // what Location is relative to
	to, err := resp.Location()
	if err != nil {
		return nil, nil // a redirect to nowhere is the server's answer
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection serves again
	resp.Body.Close()
	if req.URL.Scheme == "https" && to.Scheme != "https" {
		return nil, fmt.Errorf("redirect from https to %s refused: it would send the token in clear: %w", place(to.String()), ErrInsecure)
	}
	again := req.Clone(req.Context())
	again.URL = to
	if again.Header.Get("Authorization") == c.basic() && to.Host != c.base.Host {
		again.Header.Del("Authorization") // it is for the address that was given
	}
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// outgoing makes the request, without the SDK and without http.Client: what they
// add costs time, and is not wanted between two parties who know each other.
func (c *Client) outgoing(ctx context.Context, p Passage) (*http.Request, error) {
	path, err := url.PathUnescape(p.Path)
	if err != nil || !strings.HasPrefix(p.Path, "/v1/") {
		return nil, errors.New("the path cannot be sent")
	}
	// A blank would end the request's first line.
	if strings.ContainsFunc(p.Query, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, errors.New("the query holds a blank or a control character")
	}
	u := &url.URL{Scheme: c.base.Scheme, Host: c.base.Host, RawQuery: p.Query}
	u.Path, u.RawPath = path, p.Path
	if c.base.Path != "" {
		u.Path, u.RawPath = c.base.Path+path, c.base.EscapedPath()+p.Path
	}
	req := &http.Request{
		Method: p.Method, URL: u, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: p.Header, ContentLength: p.Length,
	}
	if p.Body != nil && p.Length != 0 {
		req.Body = io.NopCloser(p.Body)
		if p.Replay != nil {
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(p.Replay()), nil }
		}
	}
	h := p.Header
	for k, v := range c.headers {
		h[k] = v
	}
	if !c.token.Empty() {
		h[headerToken] = []string{c.token.Reveal()}
	}
	if c.namespace != "" && len(h[headerNamespace]) == 0 {
		h[headerNamespace] = []string{c.namespace}
	}
	if c.agent != "" {
		h["User-Agent"] = []string{c.agent}
	}
	if c.base.User != nil && len(h["Authorization"]) == 0 {
		h["Authorization"] = []string{c.basic()}
	}
	return req, nil
}

// basic is the credential that the address holds, as a header's value; "" for
// none.
func (c *Client) basic() string {
	if c.base.User == nil {
		return ""
	}
	password, _ := c.base.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.base.User.Username()+":"+password))
}

// errNoHead is the cause when the wait for an answer's head was over.
var errNoHead = errors.New("no answer in time")

// head bounds the wait for the head of an answer, and lets its body take as long
// as it takes.
type head struct {
	wait   time.Duration
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	over    bool
	stop    func() bool
	release context.CancelFunc
}

// start begins the wait, unless it is over or has begun.
func (h *head) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.stop != nil || h.wait < 0 {
		return
	}
	bound, release := context.WithTimeout(context.Background(), h.wait)
	h.release = release
	h.stop = context.AfterFunc(bound, func() { h.cancel(errNoHead) })
}

// came ends the wait.
func (h *head) came() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.stop != nil {
		h.stop()
		h.release()
	}
}

// sending is a body that says when all of it is sent.
type sending struct {
	io.ReadCloser
	sent func()
}

func (s *sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		s.sent()
	}
	return n, err
}

func (s *sending) Close() error {
	s.sent()
	return s.ReadCloser.Close()
}

// body is an answer's, whose context ends when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

// duplex is the body of an answer that switched protocols.
type duplex struct {
	body
	io.Writer
}

// Refusal turns an answer that is no success, and as much of its body as has been
// read, into the *Error that a request of our own would have ended with.
func (c *Client) Refusal(op, path string, resp *http.Response, body []byte) error {
	return c.refused(request{op: op, path: path}, resp, bytes.TrimSpace(body))
}

// Timeout bounds one request, with all that is tried again for it.
func (c *Client) Timeout() time.Duration { return c.timeout }
