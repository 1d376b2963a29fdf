// Package reader answers what templates, references and the proxy ask of the
// server: each request once per run, whoever asks, however often.
//
// It finds out the KV version of each mount with one preflight per mount,
// fetches what is asked together in parallel, repeats what a passing fault
// broke, and remembers every answer, failures too: a dynamic secret read twice
// is two leases. Ask for everything you need in one ReadAll. A Fleeting one
// remembers the mounts only.
package reader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Options are the habits of a Reader.
type Options struct {
	// Retry is used for what may mend itself; see vault.Temporary. A denial
	// or an absent secret is final at once.
	Retry retry.Schedule
	// Parallel bounds the requests under way at once.
	Parallel int
	// Fleeting is for an asker who keeps the answers himself and asks again when
	// he wants to: none is remembered, nor the leases that came with it, and what
	// fails has its mount asked for anew the next time.
	Fleeting bool
	Observer retry.Observer
	Log      *slog.Logger
}

// Reader reads with one identity. It is safe for concurrent use, but two
// concurrent calls may both make the same write.
type Reader struct {
	client *vault.Client
	o      Options
	mu     sync.Mutex
	mounts mounts
	// learning is held by whoever asks for mounts: those who come meanwhile
	// most likely want to know the same.
	learning chan struct{}
	// known holds the answers by request, flights those by API path.
	known   map[string]cred.Result
	flights map[string]*flight
	leases  []cred.Lease
	leased  []Leased
}

// New returns a Reader over the client's identity.
func New(c *vault.Client, o Options) *Reader {
	if o.Parallel <= 0 {
		o.Parallel = 10
	}
	return &Reader{
		client: c, o: o, learning: make(chan struct{}, 1),
		known: make(map[string]cred.Result), flights: make(map[string]*flight),
	}
}

// Leases returns what the answers so far came with and what ends with this
// reader's token: leases, and tokens that are its children.
func (r *Reader) Leases() []cred.Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]cred.Lease(nil), r.leases...)
}

// Leased is an answer that ends with a lease or carries a token, and what it was
// the answer to.
type Leased struct {
	Request cred.Request
	Secret  *cred.Secret
}

// Leased returns the answers so far that came with a lease or a token, orphans
// included. Those of requests that are Fresh are their asker's own and not among
// them.
func (r *Reader) Leased() []Leased {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Leased(nil), r.leased...)
}

// ReadAll answers the requests in their order and waits for all of them.
func (r *Reader) ReadAll(ctx context.Context, reqs []cred.Request) []cred.Result {
	out := make([]cred.Result, len(reqs))
	r.ReadEach(ctx, reqs, func(i int, res cred.Result) { out[i] = res })
	return out
}

// ReadEach is ReadAll that hands over each answer as it arrives: each is called
// once for every request, with its index, and never twice at a time.
func (r *Reader) ReadEach(ctx context.Context, reqs []cred.Request, each func(i int, res cred.Result)) {
	todo := r.unknown(reqs)
	at := make(map[string][]int, len(reqs))
	for i, req := range reqs {
		key := req.Key()
		at[key] = append(at[key], i)
		if _, ask := todo[key]; !ask {
			each(i, r.recall(key))
		}
	}
	var turn sync.Mutex
	answer := func(key string, res cred.Result) {
		r.remember(todo[key], key, res)
		turn.Lock()
		defer turn.Unlock()
		for _, i := range at[key] {
			each(i, res)
		}
	}
	r.ask(ctx, maps.Clone(todo), answer)
}

// preflightGrace is how long a preflight may still take when all it could tell
// is known.
const preflightGrace = time.Second

// ask fetches the requests and waits for all of them. A path that most likely
// stands as it is does not wait for its mount's preflight, which spares a round
// trip. An answer needs no confirmation, since a version 2 engine knows no path
// without its data/; a failure is read again where the preflight says that the
// path was meant otherwise.
func (r *Reader) ask(ctx context.Context, todo map[string]cred.Request, answer func(string, cred.Result)) {
	literal := make(map[string]cred.Request)
	var paths []string
	for key, req := range todo {
		paths = append(paths, req.Path)
		if r.mounts.likelyLiteral(req) {
			literal[key] = req
			delete(todo, key)
		}
	}
	m := r.preflights(ctx, paths)
	var beside sync.WaitGroup
	beside.Go(m.run)
	defer beside.Wait()
	defer m.leave()
	var g errgroup.Group
	g.SetLimit(r.o.Parallel)
	var open atomic.Int64
	open.Store(int64(len(literal)))
	if len(todo) > 0 {
		m.want()
	}
	for key, req := range literal {
		g.Go(func() error {
			res := r.fetch(ctx, req, req.Path, false)
			if res.Err != nil || open.Add(-1) > 0 {
				// Something may yet have to know its mount; when the one
				// path there is was answered well, nothing has.
				m.want()
			}
			if res.Err != nil {
				<-m.done
				if path, kv2, err := r.mounts.resolve(req); err == nil && path != req.Path {
					res = r.fetch(ctx, req, path, kv2)
				}
			}
			answer(key, res)
			return nil
		})
	}
	if len(todo) > 0 {
		<-m.done
	}
	for key, req := range todo {
		g.Go(func() error {
			path, kv2, err := r.mounts.resolve(req)
			if err != nil {
				answer(key, cred.Result{Err: err})
				return nil
			}
			answer(key, r.fetch(ctx, req, path, kv2))
			return nil
		})
	}
	_ = g.Wait()
}

func (r *Reader) recall(key string) cred.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[key]
}

// passes reports whether the answer goes to the asker and is kept by nobody
// here.
func (r *Reader) passes(req cred.Request) bool { return r.o.Fleeting || req.Fresh }

// unknown returns the requests that have no answer yet, each once.
func (r *Reader) unknown(reqs []cred.Request) map[string]cred.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	todo := make(map[string]cred.Request)
	for _, req := range reqs {
		key := req.Key()
		if _, ok := r.known[key]; !ok || r.passes(req) {
			todo[key] = req
		}
	}
	return todo
}

func (r *Reader) remember(req cred.Request, key string, res cred.Result) {
	if r.o.Fleeting {
		if mount, _, _ := r.mounts.of(req.Path); res.Err != nil && (mount.Path == "" || !vault.Temporary(res.Err)) {
			r.mounts.doubt(req.Path)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !req.Fresh {
		r.known[key] = res
	}
	if res.Secret == nil {
		return
	}
	if !req.Fresh && (res.Secret.Lease.ID != "" || res.Secret.Auth != nil) {
		r.leased = append(r.leased, Leased{req, res.Secret})
	}
	if res.Secret.Lease.ID != "" {
		r.leases = append(r.leases, res.Secret.Lease)
	}
	if child := res.Secret.Auth; child != nil && !child.Orphan {
		l := child.Lease
		l.ID = "a token with the accessor " + child.Accessor
		r.leases = append(r.leases, l)
	}
}

// flight is the one reading of an API path, under way or over.
type flight struct {
	done chan struct{}
	res  cred.Result
}

// fetch does one request at an API path. Requests that name the same path in
// two ways, with and without its "data/", share one.
func (r *Reader) fetch(ctx context.Context, req cred.Request, path string, kv2 bool) cred.Result {
	if req.Op == cred.OpWrite || r.passes(req) {
		return r.get(ctx, req, path, kv2)
	}
	key := cred.Request{Op: req.Op, Path: path, Query: req.Query}.Key()
	r.mu.Lock()
	f, shared := r.flights[key]
	if !shared {
		f = &flight{done: make(chan struct{})}
		r.flights[key] = f
	}
	r.mu.Unlock()
	if shared {
		<-f.done
		return f.res
	}
	f.res = r.get(ctx, req, path, kv2)
	close(f.done)
	return f.res
}

// get does a request, patiently.
func (r *Reader) get(ctx context.Context, req cred.Request, path string, kv2 bool) cred.Result {
	var s *cred.Secret
	err := r.patiently(ctx, req.String(), func(ctx context.Context) (err error) {
		s, err = r.once(ctx, req, path, kv2)
		return err
	})
	switch {
	case err != nil:
		return cred.Result{Err: err}
	case s.Data == nil && s.Wrap == nil && s.Auth == nil && req.Op == cred.OpRead:
		return cred.Result{Err: &vault.Error{Kind: vault.ErrNotFound, Op: "read", Path: path, Cause: errors.New("the answer is empty")}}
	}
	for _, w := range s.Warnings {
		r.o.Log.WarnContext(ctx, "server warns", "path", path, "warning", w)
	}
	return cred.Result{Secret: s}
}

// patiently does what is asked and repeats it by the schedule after a passing
// fault; any other failure is an answer.
func (r *Reader) patiently(ctx context.Context, what string, try func(context.Context) error) error {
	return retry.Do(ctx, r.o.Retry, what, r.o.Observer, func(ctx context.Context) error {
		err := try(ctx)
		if err != nil && !vault.Temporary(err) {
			return retry.Permanent(err)
		}
		return err
	})
}

func (r *Reader) once(ctx context.Context, req cred.Request, path string, kv2 bool) (*cred.Secret, error) {
	switch req.Op {
	case cred.OpWrite:
		body := req.Body
		if kv2 {
			body = map[string]any{"data": body}
		}
		return r.client.Write(ctx, path, body)
	case cred.OpList:
		s, err := r.client.List(ctx, path)
		if errors.Is(err, vault.ErrNotFound) {
			// Nothing to list is an empty list.
			return &cred.Secret{Data: map[string]any{}}, nil
		}
		return s, err
	default:
		query, err := url.ParseQuery(req.Query)
		if err != nil {
			return nil, fmt.Errorf("read %s: query: %w", path, err)
		}
		return r.client.Read(ctx, path, query)
	}
}
