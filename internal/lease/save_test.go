package lease

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
)

// shelf is a Store in memory.
type shelf struct {
	mu   sync.Mutex
	all  map[string][]byte
	puts int
}

func newShelf() *shelf { return &shelf{all: map[string][]byte{}} }

func (s *shelf) Put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[key] = value
	s.puts++
}

func (s *shelf) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

func (s *shelf) Each(f func(string, []byte)) {
	s.mu.Lock()
	all := maps.Clone(s.all)
	s.mu.Unlock()
	for key, value := range all {
		f(key, value)
	}
}

func (s *shelf) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.all)
}

func (s *shelf) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// owned is an identity that says whose it is.
type owned struct{ *identity }

func (o owned) Accessor() string { return fmt.Sprint("accessor-", o.token) }

// process is a house whose leases outlive it.
func process(t *testing.T, s *server, store Store, id Identity) *house {
	t.Helper()
	h := &house{s: s, log: &journal{}, changes: map[string]int{}}
	h.Manager = New(Options{Log: slog.New(h.log), Store: store})
	h.Restore(time.Now())
	h.Use(id)
	h.keep(t)
	return h
}

// dynamic is a server with a bit of everything that a process should not ask for
// twice.
func dynamic() *server {
	s := newServer()
	s.set("db/creds/a", thing{ttl: time.Hour, max: 240 * time.Hour})
	s.set("aws/creds/a", thing{ttl: 2 * time.Hour})
	s.set("kv/data/a", thing{kv2: true, value: "1"})
	s.set("child", thing{auth: &cred.Token{
		Value: cred.Redact("hvs.child"), Accessor: "c", Type: "service", Policies: []string{"p"}, Metadata: map[string]string{"m": "v"},
		Lease: cred.Lease{Duration: 10 * time.Hour, Renewable: true},
	}})
	return s
}

var dynamicPaths = []string{"db/creds/a", "aws/creds/a", "child"}

func TestANewProcessGoesOnWithTheLeasesOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		me := owned{s.login()}
		h := process(t, s, store, me)
		before := map[string]*cred.Secret{}
		for _, path := range append(dynamicPaths, "kv/data/a") {
			before[path] = h.get(t, path)
		}
		if store.len() != len(dynamicPaths) {
			t.Errorf("%d records", store.len())
		}
		time.Sleep(50 * time.Minute) // renewed once meanwhile
		_ = h.stop()
		time.Sleep(20 * time.Minute)
		reads, renewals := s.count("read"), s.count("renew")
		h = process(t, s, store, me)
		for _, path := range dynamicPaths {
			now, was := h.get(t, path), before[path]
			if !reflect.DeepEqual(now.Data, was.Data) || now.Lease.ID != was.Lease.ID || (now.Auth == nil) != (was.Auth == nil) {
				t.Errorf("%s: %v became %v", path, was.Data, now.Data)
			}
			if now.Auth != nil && (!now.Auth.Value.Equal(was.Auth.Value) || now.Auth.Accessor != "c" || now.Auth.Metadata["m"] != "v") {
				t.Errorf("the token became %v", now.Auth)
			}
		}
		if l := h.get(t, "db/creds/a").Lease; l.Left(time.Now()) < 59*time.Minute {
			t.Errorf("the lease is given with %v left", l.Left(time.Now()))
		}
		if s.count("read") != reads || s.count("renew") != renewals+1 || h.allMoves() != 0 {
			t.Errorf("asked %s, %d changes", s.asked(), h.allMoves())
		}
		time.Sleep(10 * time.Hour)
		if id := h.get(t, "db/creds/a").Lease.ID; id != before["db/creds/a"].Lease.ID || !s.alive(id) {
			t.Errorf("%s after a night\n%s", id, h.log)
		}
		if h.get(t, "aws/creds/a").Lease.ID == before["aws/creds/a"].Lease.ID || h.get(t, "child").Auth == nil {
			t.Error("what cannot be renewed was not fetched anew")
		}
	})
}

func TestWhatEndedWithAnotherTokenIsFetchedWhenItIsNeeded(t *testing.T) {
	for _, c := range []struct {
		name string
		next func(s *server) Identity
	}{
		{"another token", func(s *server) Identity { return owned{s.login()} }},
		{"a token that nobody knows by name", func(s *server) Identity { return s.login() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, store := dynamic(), newShelf()
				h := process(t, s, store, owned{s.login()})
				first := h.get(t, "db/creds/a").Lease.ID
				h.get(t, "aws/creds/a")
				_ = h.stop()
				s.resetCounts()
				h = process(t, s, store, c.next(s))
				time.Sleep(time.Hour)
				if s.count("") != 0 || store.len() != 0 {
					t.Errorf("nobody asked, and the server was asked %s; %d records", s.asked(), store.len())
				}
				if id := h.get(t, "db/creds/a").Lease.ID; id == first || !s.alive(id) {
					t.Errorf("%s is given", id)
				}
				if store.len() != 1 || h.allMoves() > 1 {
					t.Errorf("%d records, %d changes", store.len(), h.allMoves())
				}
			})
		})
	}
}

func TestALeaseThatTheServerLostIsNeverGivenByTheNextProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		me := owned{s.login()}
		h := process(t, s, store, me)
		first := h.get(t, "db/creds/a").Lease.ID
		_ = h.stop()
		s.do(func() { clear(s.leases) })
		s.delay = time.Second // the renewal that shows it takes its time
		h = process(t, s, store, me)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if id := h.get(t, "db/creds/a").Lease.ID; id == first || !s.alive(id) {
					t.Errorf("%s is given", id)
				}
			})
		}
		wg.Wait()
		if s.count("read db") != 2 || s.count("renew") != 1 {
			t.Errorf("asked %s", s.asked())
		}
	})
}

func TestWhileTheServerIsAwayTheNextProcessGivesWhatWasKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		for i := range 30 {
			s.set(fmt.Sprint("db/creds/more-", i), thing{ttl: time.Hour, max: 240 * time.Hour})
		}
		me := owned{s.login()}
		h := process(t, s, store, me)
		ids := map[string]string{}
		for i := range 30 {
			path := fmt.Sprint("db/creds/more-", i)
			ids[path] = h.get(t, path).Lease.ID
		}
		_ = h.stop()
		s.do(func() { s.down = errGone })
		h = process(t, s, store, me)
		began := time.Now()
		for path, id := range ids {
			if got := h.get(t, path).Lease.ID; got != id {
				t.Errorf("%s became %s", id, got)
			}
		}
		if time.Since(began) > time.Second {
			t.Errorf("that took %v", time.Since(began))
		}
		time.Sleep(10 * time.Minute)
		s.do(func() { s.down = nil })
		time.Sleep(2 * time.Hour)
		for path, id := range ids {
			if got := h.get(t, path).Lease.ID; got != id || !s.alive(id) {
				t.Errorf("%s became %s\n%s", id, got, h.log)
			}
		}
		if h.allMoves() != 0 {
			t.Errorf("%d changes", h.allMoves())
		}
	})
}

func TestAPolicyThatDoesNotRenewLeavesTheKeptLeaseToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		me := owned{s.login()}
		h := process(t, s, store, me)
		first := h.get(t, "db/creds/a").Lease.ID
		_ = h.stop()
		s.renewalsForbidden = errDenied
		h = process(t, s, store, me)
		if id := h.get(t, "db/creds/a").Lease.ID; id != first {
			t.Errorf("%s is given", id)
		}
		time.Sleep(time.Hour)
		if id := h.get(t, "db/creds/a").Lease.ID; id == first || !s.alive(id) || s.count("renew") != 1 {
			t.Errorf("%s is given, asked %s", id, s.asked())
		}
	})
}

func TestATokenThatDiedMeanwhileTakesTheKeptLeasesAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		me := owned{s.login()}
		h := process(t, s, store, me)
		first := h.get(t, "db/creds/a").Lease.ID
		_ = h.stop()
		s.do(func() { s.revoked[me.token] = true })
		h = process(t, s, store, me)
		var wg sync.WaitGroup
		wg.Go(func() {
			if id := h.get(t, "db/creds/a").Lease.ID; id == first || !s.alive(id) {
				t.Errorf("%s is given", id)
			}
		})
		time.Sleep(5 * time.Second)
		h.Use(owned{s.login()})
		wg.Wait()
	})
}

func TestTheSameTokenAgainFetchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := dynamic()
		me := owned{s.login()}
		h := process(t, s, nil, me)
		first := h.get(t, "db/creds/a").Lease.ID
		s.resetCounts()
		h.Use(me)
		time.Sleep(time.Minute)
		if h.get(t, "db/creds/a").Lease.ID != first || s.count("") != 0 {
			t.Errorf("asked %s", s.asked())
		}
		h.Use(owned{s.login()})
		time.Sleep(time.Minute)
		if h.get(t, "db/creds/a").Lease.ID == first || s.count("read") != 1 || h.moves("db/creds/a") != 1 {
			t.Errorf("asked %s", s.asked())
		}
	})
}

func TestWhatIsNotNeededAnyMoreIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		me := owned{s.login()}
		h := process(t, s, store, me)
		h.get(t, "db/creds/a")
		h.get(t, "aws/creds/a")
		h.Retain(map[string]bool{cred.Request{Path: "aws/creds/a"}.Key(): true})
		if store.len() != 1 {
			t.Errorf("%d records", store.len())
		}
		_ = h.stop()
		// In the next process it is dropped before the server said anything, and
		// wanted again while it does.
		s.do(func() { s.delay = time.Minute })
		h = process(t, s, store, me)
		h.get(t, "db/creds/a")
		_ = h.stop()
		h = process(t, s, store, me)
		time.Sleep(time.Second)
		h.Retain(nil)
		if store.len() != 0 {
			t.Errorf("%d records", store.len())
		}
		reads := s.count("read")
		h.get(t, "db/creds/a")
		if s.count("read") > reads+1 || store.len() != 1 {
			t.Errorf("asked %s, %d records", s.asked(), store.len())
		}
	})
}

func TestAnAnswerOfAOneShotIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, store := dynamic(), newShelf()
		me := owned{s.login()}
		ids := map[string]string{}
		for _, path := range append(dynamicPaths, "kv/data/a") {
			secret := me.read(t.Context(), cred.Request{Path: path}).Secret
			ids[path] = secret.Lease.ID
			Save(store, me.Accessor(), cred.Request{Path: path}, secret)
			Save(store, me.Accessor(), cred.Request{Path: "fresh/" + path, Fresh: true}, secret)
		}
		if store.len() != len(dynamicPaths) {
			t.Errorf("%d records", store.len())
		}
		time.Sleep(30 * time.Minute)
		h := process(t, s, store, me)
		for _, path := range dynamicPaths {
			if got := h.get(t, path).Lease.ID; got != ids[path] {
				t.Errorf("%s became %s", ids[path], got)
			}
		}
		time.Sleep(24 * time.Hour)
		if id := h.get(t, "db/creds/a").Lease.ID; id != ids["db/creds/a"] || !s.alive(id) {
			t.Errorf("%s after a day", id)
		}
	})
}

func TestRecordsThatAreOfNoUseAreRemoved(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	req := cred.Request{Op: cred.OpWrite, Path: "db/creds/a", Body: map[string]any{"n": json.Number("12345678901234567890"), "list": []any{"x"}}}
	good := func() record {
		return record{
			V: recordVersion, Request: req, Owner: "o", Kind: leased, From: now.Add(-time.Minute), End: now.Add(time.Hour), Granted: time.Hour,
			Lease: cred.Lease{ID: "db/creds/a/1", Duration: time.Hour, Renewable: true}, Data: json.RawMessage(`{"p":"1"}`),
		}
	}
	for _, c := range []struct {
		name   string
		change func(r *record)
		lives  bool
	}{
		{"as it was", func(*record) {}, true},
		{"over", func(r *record) { r.End = now }, false},
		{"of a clock that was set back", func(r *record) { r.From = now.Add(time.Minute) }, false},
		{"of another version", func(r *record) { r.V++ }, false},
		{"of another request", func(r *record) { r.Request.Path = "db/creds/b" }, false},
		{"static", func(r *record) { r.Kind = static }, false},
		{"without a lease", func(r *record) { r.Lease.ID = "" }, false},
		{"a token without one", func(r *record) { r.Kind = token }, false},
		{"without an end", func(r *record) { r.End = r.From }, false},
	} {
		r := good()
		c.change(&r)
		value, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		store := newShelf()
		store.Put(req.Key(), value)
		store.Put("rubbish", []byte("rubbish"))
		m := New(Options{Log: quiet(), Store: store})
		if n := m.Restore(now); n == 1 != c.lives || store.len() != n || len(m.Entries()) != n {
			t.Errorf("%s: %d restored, %d records", c.name, n, store.len())
		}
	}
	if n := New(Options{Log: quiet()}).Restore(now); n != 0 {
		t.Errorf("without a store %d", n)
	}
}

func TestTenThousandRestoredLeasesAreRenewedOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10_000
		s, store := newServer(), newShelf()
		me := owned{s.login()}
		reqs := leases(n)
		for i, req := range reqs {
			s.set(req.Path, thing{ttl: time.Hour, max: 240 * time.Hour})
			Save(store, me.Accessor(), req, me.read(t.Context(), reqs[i]).Secret)
		}
		s.resetCounts()
		s.delay = 10 * time.Millisecond
		h := process(t, s, store, me)
		for i, res := range h.ReadAll(t.Context(), reqs) {
			if res.Err != nil || !s.alive(res.Secret.Lease.ID) {
				t.Fatalf("%d: %v", i, res.Err)
			}
		}
		if s.count("read") != 0 || s.count("renew") != n || s.together > 10 {
			t.Errorf("%d reads, %d renewals, %d at a time", s.count("read"), s.count("renew"), s.together)
		}
	})
}

func FuzzRecord(f *testing.F) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	req := cred.Request{Path: "db/creds/a", Query: "a=b"}
	store := newShelf()
	Save(store, "owner", req, &cred.Secret{Lease: cred.Lease{ID: "l", Duration: time.Hour, Issued: now}, Data: map[string]any{"p": json.Number("1")}})
	Save(store, "", cred.Request{Path: "t"}, &cred.Secret{Auth: &cred.Token{Value: cred.Redact("hvs.x"), Lease: cred.Lease{Duration: time.Hour}}})
	store.Each(func(key string, value []byte) { f.Add(key, value) })
	f.Add("0 x", []byte(`{"V":1,"Request":{"Path":"x"},"Kind":1,"Lease":{"ID":"x"},"From":"2025-12-31T00:00:00Z","End":"2026-02-01T00:00:00Z","Data":"no object"}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		e, err := readRecord(key, value, now)
		if err != nil {
			if e != nil {
				t.Error("an entry and an error")
			}
			return
		}
		if !e.good(now) || e.key != key {
			t.Errorf("%+v", e.term)
		}
		_ = e.secret()
		again, err := newRecord(e.req, &e.content, e.granted, e.owner)
		if err != nil {
			t.Fatalf("it cannot be written again: %v", err)
		}
		if b, err := readRecord(key, again, now); err != nil || !bytes.Equal(b.data, e.data) || !b.term.end.Equal(e.term.end) {
			t.Errorf("written again it is another: %v", err)
		}
	})
}
