package cache

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// kin is a cache between a server that answers what the test says, and something
// that keeps leases alive when the test says.
type kin struct {
	t      testing.TB
	c      *Cache
	server *kinServer
	leases *kinLeases
	store  *kinStore
	log    *bytes.Buffer
	// asked counts what reached the server.
	asked int
	n     int
}

func newKin(t testing.TB, change ...func(*Options)) *kin {
	k := &kin{t: t, server: &kinServer{}, leases: &kinLeases{held: map[string]Held{}}, store: &kinStore{m: map[string][]byte{}}, log: &bytes.Buffer{}}
	o := Options{Server: k.server, Leases: k.leases, Store: k.store, Log: slog.New(slog.NewTextHandler(k.log, nil))}
	for _, f := range change {
		f(&o)
	}
	k.c = New(o)
	return k
}

// restarted is another cache on the same store.
func (k *kin) restarted() *kin {
	k.t.Helper()
	r := newKin(k.t, func(o *Options) { o.Store = k.store })
	r.store = k.store
	return r
}

// lease is an answer with a lease of a minute at path, with an id of its own.
func (k *kin) lease(path string) string { return k.leaseFor(path, 60) }

func (k *kin) leaseFor(path string, seconds int) string {
	k.n++
	return fmt.Sprintf(`{"request_id":"r","lease_id":"%s/lease%d","renewable":true,"lease_duration":%d,"data":{"password":"p%d"},"wrap_info":null,"auth":null}`, path, k.n, seconds, k.n)
}

func loginAnswer(token string, seconds int, orphan bool, more string) string {
	return fmt.Sprintf(`{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"auth":{"client_token":%q,"accessor":"acc-%s","policies":["p"],"lease_duration":%d,"renewable":true,"entity_id":"","token_type":"service","orphan":%v%s}}`,
		token, token, seconds, orphan, more)
}

// by is a request with a client's token; "@name" is one with an identity's.
func by(who, method, path, body string) *exchange.Ask {
	a := &exchange.Ask{Method: method, Path: path, Header: http.Header{}}
	if name, ok := strings.CutPrefix(who, "@"); ok {
		a.Who.Lent = name
	} else {
		a.Who.Token = cred.Redact(who)
	}
	if body != "" {
		a.Body = []byte(body)
	}
	return a
}

func in(ns string, a *exchange.Ask) *exchange.Ask { a.Namespace = ns; return a }

// told is what the server says.
func told(token string, status int, body string) *exchange.Answer {
	ans := &exchange.Answer{Status: status, Header: http.Header{}, At: cred.Wall(time.Now()), Token: cred.Redact(token)}
	if body != "" {
		ans.Header.Set("Content-Type", "application/json")
		ans.Body = []byte(body)
	}
	return ans
}

// ask sends a request for which the server has this answer; token is what an
// identity's requests are made with.
func (k *kin) ask(a *exchange.Ask, token string, status int, body string) *exchange.Answer {
	k.t.Helper()
	if a.Who.Lent == "" {
		token = a.Who.Token.Reveal()
	}
	if ans, ok := k.c.Look(a); ok {
		return ans
	}
	ans, err := k.c.Do(k.t.Context(), a, func(context.Context) (*exchange.Answer, error) {
		k.asked++
		return told(token, status, body), nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return ans
}

// creds reads a lease at path, such as /v1/db/creds/app, and says where it came from.
func (k *kin) creds(who, token, path string) exchange.From {
	k.t.Helper()
	return k.ask(by(who, "GET", path, ""), token, 200, k.lease(strings.TrimPrefix(path, "/v1/"))).From
}

// cached fails the test unless looking at path gives what stands in the cache, or
// the opposite.
func (k *kin) cached(want bool, who, path string) {
	k.t.Helper()
	if _, ok := k.c.Look(by(who, "GET", path, "")); ok != want {
		k.t.Errorf("%s by %s: in the cache %v, want %v", path, who, ok, want)
	}
}

func (k *kin) adopt(name, token string) {
	k.c.Adopt(name, cred.Token{Value: cred.Redact(token), Accessor: "acc-" + token, Lease: cred.Lease{Duration: time.Hour}})
}

// kept fails the test unless these are kept alive, and nothing else.
func (k *kin) kept(want ...string) {
	k.t.Helper()
	got := k.leases.keys()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		k.t.Errorf("kept alive are %q, want %q", got, want)
	}
	k.sound()
}

// sound checks that everything the family knows fits together.
func (k *kin) sound() {
	k.t.Helper()
	f := &k.c.family
	f.lock()
	defer f.unlock()
	all := map[*member]bool{}
	for _, m := range f.byToken {
		all[m] = true
	}
	for _, m := range f.byLease {
		all[m] = true
	}
	paths, served := 0, 0
	for m := range all {
		if m.gone {
			k.t.Errorf("%q is gone, and known", m.id)
		}
		if m.until != m.bound() {
			k.t.Errorf("%q: until is not what it should be", m.id)
		}
		if !m.isToken() && (m.parent == nil || !all[m.parent]) {
			k.t.Errorf("lease %q has no token", m.id)
		}
		if m.parent != nil {
			found := false
			for ch := m.parent.first; ch != nil; ch = ch.next {
				found = found || ch == m
			}
			if !found {
				k.t.Errorf("%q is not among the children of its parent", m.id)
			}
		}
		for ch := m.first; ch != nil; ch = ch.next {
			if ch.parent != m || !all[ch] {
				k.t.Errorf("%q has a strange child %q", m.id, ch.id)
			}
		}
		if m.path != "" {
			paths++
		}
		if m.served {
			served++
			if f.byKey[m.key] != m || k.c.store.get(&m.key) == nil {
				k.t.Errorf("%q is said to be given out, and is not", m.id)
			}
		}
	}
	if n := len(f.paths.under("", nil)); n != paths {
		k.t.Errorf("%d members by path, want %d", n, paths)
	}
	if len(f.byKey) != served {
		k.t.Errorf("%d members by key, want %d", len(f.byKey), served)
	}
	if n := int(k.c.store.holds.Load()); n != served {
		k.t.Errorf("%d leased entries in the store, %d known", n, served)
	}
	if k.c.o.Store == k.store {
		k.recorded(all)
	}
}

// recorded checks that there is a record of each member and answer, and of nothing
// else.
func (k *kin) recorded(all map[*member]bool) {
	k.t.Helper()
	want := map[string]bool{}
	for m := range all {
		want[m.recordName()] = true
		if m.served {
			want[fmt.Sprintf("answer/%x", m.key[:])] = true
		}
	}
	if got := k.store.names(); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		k.t.Errorf("records %q, want %q", got, slices.Sorted(maps.Keys(want)))
	}
}

// kinServer is what the cache asks on its own account.
type kinServer struct {
	mu      sync.Mutex
	lookups int
	// lookup answers; nil knows every token for an hour.
	lookup func(tok string) (cred.Token, error)
	// renewals are the tokens, or the tokens and leases, that were renewed.
	renewals []string
}

func (s *kinServer) Lookup(_ context.Context, tok cred.Redacted, _ string) (cred.Token, error) {
	s.mu.Lock()
	s.lookups++
	lookup := s.lookup
	s.mu.Unlock()
	if lookup != nil {
		return lookup(tok.Reveal())
	}
	return cred.Token{
		Value: tok, Accessor: "acc-" + tok.Reveal(), Type: "service",
		Lease: cred.Lease{Duration: time.Hour, Renewable: true, Issued: cred.Wall(time.Now())},
	}, nil
}

func (s *kinServer) renewed(what string) (cred.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewals = append(s.renewals, what)
	return cred.Lease{Duration: time.Minute, Renewable: true, Issued: cred.Wall(time.Now())}, nil
}

func (s *kinServer) RenewToken(_ context.Context, tok cred.Redacted, ns string) (cred.Lease, error) {
	return s.renewed(ns + tok.Reveal())
}

func (s *kinServer) RenewLease(_ context.Context, tok cred.Redacted, ns, id string, _ time.Duration) (cred.Lease, error) {
	return s.renewed(tok.Reveal() + " " + ns + " " + id)
}

func (*kinServer) Capabilities(context.Context, cred.Redacted, string, []string) (map[string][]string, error) {
	return nil, vault.ErrUnreachable
}

func (*kinServer) Metadata(context.Context, cred.Redacted, string, string) (*cred.Secret, error) {
	return nil, vault.ErrUnreachable
}

func (*kinServer) Mount(context.Context, cred.Redacted, string, string) (vault.Mount, error) {
	return vault.Mount{}, vault.ErrUnreachable
}

// kinLeases keeps alive what it is told to; the test plays the clock.
type kinLeases struct {
	mu   sync.Mutex
	held map[string]Held
	// heard are the terms that clients brought about.
	heard []string
}

func (l *kinLeases) Hold(h Held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[h.Key] = h
}

func (l *kinLeases) Drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.held, key)
}

func (l *kinLeases) Extended(key string, lease cred.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, fmt.Sprint(key, " ", lease.Duration))
}

func (l *kinLeases) keys() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.held))
}

func (l *kinLeases) get(t testing.TB, key string) Held {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.held[key]
	if !ok {
		t.Fatalf("%q is not kept alive", key)
	}
	return h
}

// over ends what is held, as a renewer does that lost it.
func (l *kinLeases) over(t testing.TB, key string) {
	t.Helper()
	h := l.get(t, key)
	l.Drop(key)
	h.Ended()
}

// renew renews what is held, for a minute.
func (l *kinLeases) renew(t testing.TB, key string) {
	t.Helper()
	h := l.get(t, key)
	if h.Renew == nil {
		t.Fatalf("%q is only watched", key)
	}
	lease, err := h.Renew(t.Context(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h.Extended(lease)
}

// kinStore is records in a map.
type kinStore struct {
	mu sync.Mutex
	m  map[string][]byte
	// settled is how many records there were when somebody waited for the disk last,
	// -1 for never.
	settled int
}

func (s *kinStore) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = len(s.m)
}

func (s *kinStore) Put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[key] = bytes.Clone(value)
}

func (s *kinStore) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, key)
}

func (s *kinStore) Each(f func(key string, value []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.m {
		f(k, v)
	}
}

func (s *kinStore) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.m)
}

func (s *kinStore) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.m))
}
