// Package proxy passes Vault's API on to who asks on this machine.
//
// The way of a request: ask.go settles what is asked and with whose rights; the
// cache, if there is one, answers or has fetch.go ask the server; upstream.go
// sends it, and again where that helps; own.go takes our own tokens out of the
// answer; answer.go hands it to the client. Nothing is changed on the way that
// does not have to be: paths, queries, bodies and headers go through as they are.
//
// Four rules hold everywhere. A client's token is never sent beside ours. What is
// asked with a client's token is never asked again with ours, or of our own
// accord. An answer that has begun to reach the client is never begun again. No
// token is in a log line, an error or a label.
package proxy

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Identity has a token to lend; session.Session is one.
type Identity interface {
	// Token returns the token in use, and waits for the first one until ctx ends.
	// When there is one it is returned whatever ctx says.
	Token(ctx context.Context) (cred.Redacted, error)
	// Replace says that bad is invalid, and waits for another.
	Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error)
}

// Renewer is an Identity that logs in anew when a client asks it to, with the header
// X-Vault-Token-Options: revoke on a request that is lent its token.
type Renewer interface {
	// Renewed gives up the token in use, logs in, and returns the new one.
	Renewed(ctx context.Context) (cred.Redacted, error)
}

// Cache answers from memory what it may; cache.Cache is one.
type Cache interface {
	// Look answers from memory alone, without waiting for anybody.
	Look(a *exchange.Ask) (ans *exchange.Answer, ok bool)
	// Do answers from memory, or with what fetch yields.
	Do(ctx context.Context, a *exchange.Ask, fetch exchange.Fetch) (*exchange.Answer, error)
	// Passed says that a request that went by the cache was answered, with
	// status 0 when nobody knows: a write may have changed what is cached.
	Passed(a *exchange.Ask, status int)
}

// Lend says when a request gets our token.
type Lend string

// When a request gets our token.
const (
	LendNo    Lend = ""      // never
	LendYes   Lend = "true"  // where the client brings none
	LendForce Lend = "force" // always; what the client brings is dropped
)

// Consistency is what is done about standbys of a server that have not caught up.
type Consistency struct {
	// Enforce keeps the newest states that answers told of, and asks for them.
	Enforce bool
	// When says what becomes of a 412: "fail" (or empty) hands it to the
	// client, "retry" tries again, "forward" has the server pass the request
	// to the active node.
	When string
}

// Options are what a Handler works with.
type Options struct {
	// Client carries no token; its namespace goes along where the client of the
	// proxy sent none.
	Client *vault.Client
	Lend   Lend
	// Name is that of the identity lent.
	Name string
	// Identity is nil where there is no auto_auth; then Lend is LendNo. It may be a
	// Renewer.
	Identity Identity
	// Ours reports whether this is a token of ours, of any identity: answers
	// about it are stripped of it. nil for none.
	Ours func(cred.Redacted) bool
	// Seen is told of every request with our token, as vault.Config.Seen is; nil
	// for nobody.
	Seen func(cred.Redacted, error)
	// Cache is nil for none.
	Cache Cache
	// Retry says how often and when a request is tried again.
	Retry retry.Schedule
	// Patience bounds the wait for the first token, 10s when 0.
	Patience time.Duration
	// MaxBuffer bounds, in bytes, the body of a request or an answer that is held
	// in memory; larger ones stream, and are neither tried again nor cached. 0
	// means 1 MiB, the largest entry that the server's own storage takes.
	MaxBuffer   int64
	Consistency Consistency
	// States may be shared by handlers before one server; nil for one's own.
	States *States
	// Version goes into the User-Agent.
	Version string
	Log     *slog.Logger
	// Meter may be nil.
	Meter meter.Meter
}

// Defaults of Options.
const (
	defaultPatience = 10 * time.Second
	defaultBuffer   = 1 << 20
)

// handler is what Handler returns.
type handler struct {
	Options
	// client carries neither a token nor a User-Agent: that goes with the header.
	client *vault.Client
	// namespace is the client's.
	namespace string
	agent     agent
	judge     *judge
}

// Handler serves /v1/ as vault agent does, without its faults; docs/compatibility.md
// has the differences. Its own errors have the shape of the server's,
// {"errors": ["..."]}:
//
//	400  a path, a query or a header that nobody sends for a good reason
//	403  a wrapped answer about a token of ours
//	405  CONNECT and TRACE
//	413  a body that is larger than a guard allows, or too large to be looked into
//	502  the server cannot be reached, or its answer broke off
//	503  there is no token to lend yet; with Retry-After
//	504  the server did not answer in time
//
// The agent answers 500 where this one answers 502 and 504, and passes requests
// on without a token where this one answers 503: a client that tries again does so
// for these, and what was wrong can be told apart.
//
// A request is tried again, as often as Retry says, after 429, 5xx (but 501), an
// answer that does not come, and 412 where Consistency says so; within the
// timeout of Client in all, while the client is there, and only if its body was
// held. As in vault agent, and in every client library, that goes for writes,
// too: one whose answer was lost on its way may be done twice.
func Handler(o Options) http.Handler {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.MaxBuffer <= 0 {
		o.MaxBuffer = defaultBuffer
	}
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.States == nil {
		o.States = new(States)
	}
	if o.Identity == nil {
		o.Lend = LendNo
	}
	if o.Name == "" {
		o.Name = "default" // a name tells requests with a lent token from those without any
	}
	h := &handler{Options: o, client: o.Client.Agent(""), namespace: o.Client.Namespace(), judge: newJudge()}
	h.agent.product = "latchkey/" + o.Version + " (proxying)"
	return h
}

// questions are used again, where they are answered from memory.
var questions = sync.Pool{New: func() any { return new(question) }}

// ServeHTTP answers from memory without making anything, where it can.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := questions.Get().(*question)
	if no := h.settle(&q.Ask, r); no != nil {
		h.refuse(w, r, no)
		return
	}
	if wish := q.Header[tokenOptions]; wish != nil {
		if no := h.relog(r.Context(), &q.Ask, wish); no != nil {
			h.refuse(w, r, no)
			return
		}
	}
	if h.Cache != nil && bodiless(r) && h.recall(w, r, q) {
		return
	}
	h.pass(w, r, q)
}

// recall answers from memory, or says that it cannot. Nobody else holds q by then.
func (h *handler) recall(w http.ResponseWriter, r *http.Request, q *question) bool {
	ans, ok := h.Cache.Look(&q.Ask)
	if ok {
		h.answer(w, r, ans)
		*q = question{}
		questions.Put(q)
	}
	return ok
}

// question is a request that goes to the server.
type question struct {
	exchange.Ask
	// held says that Ask.Body is all of the body; else body is to be read, once.
	held   bool
	body   io.Reader
	length int64
	// upgrade asks for a web socket.
	upgrade bool
	// about says whether the answer is about a token of ours.
	about subject
	// named is the token that a request made with ours names, and that is not ours.
	named cred.Redacted
	// endless: the answer comes when something happens, and goes on.
	endless bool
}

// pass asks the cache with what it needs, or the server.
func (h *handler) pass(w http.ResponseWriter, r *http.Request, q *question) {
	if no := h.complete(q, r); no != nil {
		h.refuse(w, r, no)
		return
	}
	if h.Cache == nil || !q.held || q.upgrade || q.endless {
		h.direct(w, r, q)
		return
	}
	if q.Body != nil && h.recall(w, r, q) {
		return
	}
	ans, err := h.Cache.Do(r.Context(), &q.Ask, func(ctx context.Context) (*exchange.Answer, error) { return h.fetch(ctx, q) })
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.answer(w, r, ans)
}

// direct asks the server for this client alone.
func (h *handler) direct(w http.ResponseWriter, r *http.Request, q *question) {
	if !q.held || q.upgrade {
		lift(w)
	}
	if !q.held {
		// Else the server takes what is left of the body away when the answer
		// begins, from under who still sends it, and that ends the answer.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	rep, err := h.upstream(r.Context(), q)
	status := 0
	if err == nil {
		defer rep.Body.Close()
		status = rep.StatusCode
	}
	if h.Cache != nil {
		h.Cache.Passed(&q.Ask, status) // before the client hears of it
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	switch {
	case status == http.StatusSwitchingProtocols:
		h.switchOver(w, r, rep.Response)
	case rep.held:
		h.answer(w, r, rep.answer(exchange.Direct))
	default:
		h.stream(w, r, rep.Response, exchange.Direct, q.endless)
	}
}
