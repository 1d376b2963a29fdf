package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// reply is the server's answer. Its body is to be closed.
type reply struct {
	*http.Response
	// held says that body is all of it.
	held bool
	body []byte
	// token is what the request was made with.
	token cred.Redacted
}

// upstream asks the server until there is an answer that may be handed on, or
// none. ctx ends a body that is not held, too.
func (h *handler) upstream(ctx context.Context, q *question) (*reply, error) {
	end := time.Now().Add(h.client.Timeout())
	token, err := h.token(ctx, q)
	if err != nil {
		return nil, err
	}
	header := h.header(q)
	replaced := false
	for attempt := 1; ; attempt++ {
		rep, err := h.attempt(ctx, q, header, token, time.Until(end))
		if err == nil && q.Who.Lent != "" && rep.StatusCode == http.StatusForbidden && !replaced && h.lost(ctx, rep, token) && q.held {
			replaced = true
			next, err := h.replace(ctx, token)
			rep.Body.Close()
			if err != nil {
				return nil, err
			}
			token = next
			attempt--
			if now := time.Now(); !now.Before(end) {
				// An answer that came after the end came to a process that stood still.
				end = now.Add(h.client.Timeout())
			}
			continue
		}
		wait, worth := h.worth(q, rep, err, attempt)
		if !worth || time.Until(end) <= wait {
			return h.final(q, rep, err)
		}
		if rep != nil {
			_, _ = io.CopyN(io.Discard, rep.Body, 4<<10) // so that the connection serves again
			rep.Body.Close()
		}
		if !retry.Sleep(ctx, wait) {
			return nil, context.Cause(ctx)
		}
	}
}

// attempt asks once. An answer that has to be looked into is held.
func (h *handler) attempt(ctx context.Context, q *question, header http.Header, token cred.Redacted, left time.Duration) (*reply, error) {
	c := h.client
	if q.Who.Lent != "" {
		c = c.As(token)
	}
	p := vault.Passage{
		Method: q.Method, Path: q.Path, Query: q.Query, Header: header, Length: q.length, Replay: q.again(), Wait: max(left, time.Millisecond),
	}
	switch {
	case q.endless:
		p.Wait = -1
	case !q.held:
		p.Wait = 0
	}
	if p.Body = q.body; p.Replay != nil {
		p.Body = p.Replay()
	}
	resp, err := c.Forward(ctx, p)
	if err != nil {
		h.seen(q, token, err)
		return nil, err
	}
	clean(resp.Header)
	h.learn(resp.Header)
	rep := &reply{Response: resp, token: token}
	if q.Who.Lent == "" {
		rep.token = q.Who.Token
	}
	if h.holds(q, resp) {
		if err := rep.hold(max(h.MaxBuffer, leastHeld)); err != nil {
			resp.Body.Close()
			return nil, &vault.Error{Kind: vault.ErrUnreachable, Op: "read", Cause: fmt.Errorf("the answer broke off: %w", err)}
		}
	}
	if h.Seen != nil && q.Who.Lent != "" {
		h.seen(q, token, h.verdict(rep))
	}
	return rep, nil
}

// leastHeld is room for what has to be looked into, however little may be held.
const leastHeld = 64 << 10

// holds reports whether an answer is to be in memory before it goes on: to be
// cached, or because it says something about our token.
func (h *handler) holds(q *question, resp *http.Response) bool {
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return false
	case q.about != nobody, q.Who.Lent != "" && resp.StatusCode == http.StatusForbidden:
		return true
	case h.Cache == nil || !q.held || q.upgrade || q.endless || resp.ContentLength > h.MaxBuffer:
		return false
	}
	if resp.ContentLength == 0 || q.Method == http.MethodHead || isJSON(resp.Header) {
		return true
	}
	// Text can be cached for who asks for that; what has a length comes at once.
	return resp.ContentLength > 0 && says(q.Header[cacheControl], "cache")
}

func isJSON(h http.Header) bool {
	kind, _, _ := strings.Cut(first(h["Content-Type"]), ";")
	return strings.TrimSpace(kind) == "application/json"
}

// hold reads the body; one that is too large stays to be read.
func (r *reply) hold(most int64) error {
	if r.Body == http.NoBody {
		r.held = true
		return nil
	}
	if r.ContentLength > most {
		return nil
	}
	b, whole, err := slurp(r.Body, r.ContentLength, most)
	if err != nil {
		return err
	}
	if r.body, r.held = b, whole; whole {
		r.Body.Close()
		r.Body = http.NoBody
		return nil
	}
	r.body = nil
	r.Body = prefixed{io.MultiReader(bytes.NewReader(b), r.Body), r.Body}
	return nil
}

// prefixed is a body of which the beginning was read already.
type prefixed struct {
	io.Reader
	io.Closer
}

// verdict is how a request ended, as Seen wants to hear it.
func (h *handler) verdict(r *reply) error {
	if r.StatusCode < 400 {
		return nil
	}
	return h.client.Refusal("proxy", "", r.Response, r.body)
}

func (h *handler) seen(q *question, token cred.Redacted, err error) {
	if h.Seen != nil && q.Who.Lent != "" {
		h.Seen(token, err)
	}
}

// worth reports whether to ask again may help, and after which pause.
func (h *handler) worth(q *question, r *reply, err error, attempt int) (time.Duration, bool) {
	if !q.held || h.Retry.Attempts >= 0 && attempt >= h.Retry.Attempts {
		return 0, false
	}
	switch {
	case err != nil:
		var broken *vault.Error
		if errors.As(err, &broken) && broken.Op == "read" && !exchange.Reads(q.Method) {
			return 0, false // it was answered, so it was done
		}
		if !errors.Is(err, vault.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return 0, false
		}
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode >= 500 && r.StatusCode != http.StatusNotImplemented:
		err = h.verdict(r)
	case r.StatusCode == http.StatusPreconditionFailed && h.Consistency.When == "retry":
		err = h.verdict(r)
	default:
		return 0, false
	}
	return h.Retry.Pause(attempt, err), true
}

// final is what is handed on.
func (h *handler) final(q *question, r *reply, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	if r.StatusCode == http.StatusSwitchingProtocols && !q.upgrade {
		r.Body.Close()
		return nil, refusal{status: http.StatusBadGateway, text: "the server switched protocols, and nobody asked it to"}
	}
	if q.about != nobody {
		if err := h.strip(q, r); err != nil {
			r.Body.Close()
			return nil, err
		}
	}
	return r, nil
}

// fetch is upstream for the cache. An answer that is not held outlives ctx, which
// belongs to whoever waits for the flight; its reader ends it by closing it.
func (h *handler) fetch(ctx context.Context, q *question) (*exchange.Answer, error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	rep, err := h.upstream(own, q)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	if rep.held || !stop() {
		stop()
		rep.Body.Close()
		cancel()
		if !rep.held {
			return nil, context.Cause(ctx)
		}
		return rep.answer(exchange.Miss), nil
	}
	rep.Response.Body = released{rep.Response.Body, cancel}
	return &exchange.Answer{
		Status: rep.StatusCode, Header: rep.Header, At: cred.Wall(time.Now()), Token: rep.token, From: exchange.Miss, Stream: rep.Response,
	}, nil
}

// released is a body that lets go of its context.
type released struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (r released) Close() error {
	err := r.ReadCloser.Close()
	r.cancel()
	return err
}

// answer makes one of a reply that is held. Its length and date are for who
// writes it to say; a length alone says what a HEAD would have brought.
func (r *reply) answer(from exchange.From) *exchange.Answer {
	delete(r.Header, "Date")
	if len(r.body) > 0 {
		delete(r.Header, "Content-Length")
	}
	return &exchange.Answer{
		Status: r.StatusCode, Header: r.Header, Body: r.body, At: cred.Wall(time.Now()), Token: r.token, From: from,
	}
}
