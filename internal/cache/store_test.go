package cache

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
	"latchkey/internal/meter"
)

// lease puts a leased entry into the store, past the family.
func (b *bench) lease(path string, ends time.Duration, size int) (*exchange.Ask, bool) {
	a := get("t", path)
	k, _, _ := keyOf(a, nil)
	ans := answer(200, `{"lease_id":"x","pad":"`+strings.Repeat("x", size)+`"}`)
	return a, b.put(k, placeOf(a), ans, life{ends: time.Now().Add(ends), leased: true})
}

func (b *bench) has(a *exchange.Ask) bool {
	_, ok := b.Look(a)
	return ok
}

// sound compares what the store counts with what it holds.
func (b *bench) sound() {
	b.t.Helper()
	s := &b.store
	var cost, statics, leased int64
	chained := map[*entry]bool{}
	for _, e := range s.tails {
		for ; e != nil; e = e.next {
			chained[e] = true
		}
	}
	for i := range s.shards {
		for short, e := range s.shards[i].m {
			cost += int64(e.cost)
			r := &s.statics
			if e.leased {
				leased++
				r = &s.leased
			} else {
				statics++
				if !chained[e] {
					b.t.Fatal("a static is not in the index")
				}
			}
			if r.entries[e.slot] != e || s.shard(&e.key) != &s.shards[i] || short == 0 {
				b.t.Fatal("an entry is not where it says")
			}
		}
	}
	if int(statics) != len(s.statics.entries) || int(leased) != len(s.leased.entries) || len(chained) != int(statics) ||
		s.cost.Load() != cost || s.entries.Load() != statics+leased || s.holds.Load() != leased {
		b.t.Fatalf("%d statics, %d leased, %d bytes; rings %d and %d, index %d, counted %d bytes, %d entries, %d leased", statics, leased, cost,
			len(s.statics.entries), len(s.leased.entries), len(chained), s.cost.Load(), s.entries.Load(), s.holds.Load())
	}
	if s.entries.Load() > int64(s.max) || s.cost.Load() > s.maxCost {
		b.t.Fatalf("%d entries of %d, %d bytes of %d", s.entries.Load(), s.max, s.cost.Load(), s.maxCost)
	}
	held := 0
	for _, h := range b.holders {
		held += h.entries
	}
	if held != int(statics) {
		b.t.Fatalf("holders have %d of %d", held, statics)
	}
}

func TestTheStoreKeepsItsBoundsWhateverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{MaxEntries: 50, MaxBytes: 40_000})
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 20_000 {
			name := fmt.Sprint("s", r.IntN(120))
			switch r.IntN(12) {
			case 0:
				b.lease("db/creds/"+name, time.Hour, r.IntN(3000))
			case 1:
				a := get("t", "db/creds/"+name)
				k, _, _ := keyOf(a, nil)
				b.evict(k)
			case 2:
				b.Passed(put("t", "secret/data/"+name, "{}"), 204)
			case 3:
				b.Touch("secret/data/" + name)
			case 4:
				if r.IntN(50) == 0 {
					b.evictAll()
				} else if r.IntN(10) == 0 {
					b.evictPaths("", "secret/data/s1")
				} else if r.IntN(10) == 0 {
					b.dead(cred.Redact("u"))
				}
			default:
				b.with(func() { b.versions[name] = []version{{strings.Repeat("x", r.IntN(2000)), time.Now()}} })
				_, _ = b.ask(get([]string{"t", "u"}[r.IntN(2)], "secret/data/"+name))
			}
			if i%50 == 0 {
				b.sound()
			}
			time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
		}
		b.expire(time.Now().Add(24 * time.Hour))
		b.sound()
		if b.Stats().Entries != 0 || len(b.holders) != 0 {
			t.Errorf("%+v, %d holders", b.Stats(), len(b.holders))
		}
	})
}

func TestWhatIsReadStaysAndWhatIsNotGoes(t *testing.T) {
	story(t, Options{MaxEntries: 100, Static: Static{TTL: time.Hour}}, func(b *bench) {
		read := func(name string) {
			b.with(func() { b.versions[name] = []version{{"x", time.Now()}} })
			if _, err := b.ask(get("t", "secret/data/"+name)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 50 {
			read(fmt.Sprint("often", i))
		}
		for i := range 1000 {
			read(fmt.Sprint("once", i))
			for j := range 50 {
				if i%10 == 0 {
					b.has(get("t", fmt.Sprint("secret/data/often", j)))
				}
			}
		}
		stayed := 0
		for i := range 50 {
			if b.has(get("t", fmt.Sprint("secret/data/often", i))) {
				stayed++
			}
		}
		if stayed < 45 {
			t.Errorf("%d of 50 that are read all the time are still there", stayed)
		}
		if s := b.Stats(); s.Entries != 100 || s.Evictions == 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLeasedAnswersGoLast(t *testing.T) {
	story(t, Options{MaxEntries: 10, Static: Static{TTL: time.Hour}}, func(b *bench) {
		var leased []*exchange.Ask
		for i := range 9 {
			a, ok := b.lease(fmt.Sprint("db/creds/", i), time.Hour, 10)
			if !ok {
				t.Fatal("refused")
			}
			leased = append(leased, a)
		}
		for i := range 20 {
			b.set(fmt.Sprint("s", i), "x")
			b.want(get("t", fmt.Sprint("secret/data/s", i)), 200, exchange.Miss, "x")
		}
		a, ok := b.lease("db/creds/10", time.Hour, 10)
		leased = append(leased, a)
		for _, a := range leased {
			if !ok || !b.has(a) {
				t.Errorf("%s went for a static", a.Path)
			}
		}
		b.want(get("t", "secret/data/s1"), 200, exchange.Miss, "x")
		if b.has(get("t", "secret/data/s1")) {
			t.Error("a static took the room of a lease")
		}
		if _, ok := b.lease("db/creds/11", time.Hour, 10); !ok || b.Stats().Leased != 10 {
			t.Errorf("%v, %+v", ok, b.Stats())
		}
		b.sound()
	})
}

func TestAnAnswerLargerThanHalfOfAllIsNotKept(t *testing.T) {
	story(t, Options{MaxBytes: 10_000}, func(b *bench) {
		if _, ok := b.lease("db/creds/a", time.Hour, 5000); ok {
			t.Error("kept")
		}
		if _, ok := b.lease("db/creds/a", time.Hour, 3000); !ok {
			t.Error("not kept")
		}
	})
}

func TestNothingLeasedOutlivesItsEnd(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		a, _ := b.lease("db/creds/a", time.Minute, 10)
		time.Sleep(time.Minute - 1)
		if !b.has(a) {
			t.Error("gone too early")
		}
		time.Sleep(time.Nanosecond)
		if b.has(a) {
			t.Error("given out at its end")
		}
		k, _, _ := keyOf(a, nil)
		b.extend(k, time.Now().Add(time.Minute))
		if !b.has(a) {
			t.Error("gone although it was renewed")
		}
		b.setBack(2 * time.Minute)
		if b.has(a) {
			t.Error("the clock was set back by more than what was left")
		}
	})
}

func TestKeepTakesOutWhatIsOverAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &counter{counts: map[string]int{}, gauges: map[string]float64{}}
		b := newBench(t, Options{Meter: m})
		b.set("a", "one")
		stop := b.keep()
		b.lease("db/creds/a", 10*time.Second, 10)
		for range 3 {
			_, _ = b.ask(get("t", "secret/data/a"))
		}
		time.Sleep(2 * time.Second)
		m.want(t, 2, 1, 2)
		time.Sleep(2 * time.Minute)
		if s := b.Stats(); s.Leased != 0 || s.Entries != 1 || s.Evictions != 0 {
			t.Errorf("%+v", s)
		}
		time.Sleep(2 * time.Hour)
		if s := b.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("%+v", s)
		}
		stop()
		m.want(t, 2, 1, 0)
	})
}

type counter struct {
	mu     sync.Mutex
	counts map[string]int
	gauges map[string]float64
}

func (c *counter) Count(name string, n int, _ ...meter.Label) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[name] += n
}

func (c *counter) Gauge(name string, v float64, _ ...meter.Label) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gauges[name] = v
}

func (c *counter) Time(string, time.Duration, ...meter.Label) {}

func (c *counter) want(t *testing.T, hits, misses int, entries float64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts["cache.hit"] != hits || c.counts["cache.miss"] != misses || c.gauges["cache.entries"] != entries {
		t.Errorf("%v %v", c.counts, c.gauges)
	}
}

func TestPathsAreClearedInTheirNamespaceOnly(t *testing.T) {
	story(t, Options{}, func(b *bench) {
		at := func(ns, path string) *exchange.Ask {
			a := get("t", path)
			a.Namespace = ns
			k, _, _ := keyOf(a, nil)
			b.put(k, placeOf(a), answer(200, "{}"), life{ends: time.Now().Add(time.Hour)})
			return a
		}
		for _, c := range []struct {
			ns, prefix string
			want       int
		}{
			{"", "db/creds/a", 2}, {"n", "db", 2}, {"n/", "db/", 2}, {"", "n/", 2}, {"", "db/creds/b", 1}, {"m/", "", 0}, {"", "", 5},
		} {
			b.evictAll()
			at("", "db/creds/a")
			at("", "db/creds/a1")
			at("", "db/creds/b")
			at("n/", "db/creds/a")
			at("", "n/db/creds/c")
			if got := b.evictPaths(c.ns, c.prefix); got != c.want {
				t.Errorf("%q below %q: %d went, want %d", c.prefix, c.ns, got, c.want)
			}
		}
	})
}

func TestPlacesAreDecodedAndClean(t *testing.T) {
	for in, want := range map[string]string{
		"/v1/secret/data/a":       "secret/data/a",
		"/v1/secret/data/%61":     "secret/data/a",
		"/v1/secret//data/a":      "secret/data/a",
		"/v1/secret/x/../data/a":  "secret/data/a",
		"/v1/secret/%2e%2e/kv/a":  "kv/a",
		"/v1/secret/./data/a":     "secret/data/a",
		"/v1//secret/data/a":      "secret/data/a",
		"/v1/secret/data/a%2Fb":   "secret/data/a/b",
		"/v1/secret/data/a/":      "secret/data/a/",
		"/v1/secret/data/a%zz":    "secret/data/a%zz",
		"/v1/secret/data/a..b":    "secret/data/a..b",
		"/v1/../../secret/data/a": "secret/data/a",
		"/v1/":                    "",
	} {
		if got := placeOf(ask("GET", in, "", "")).path; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestTheSameSecretHasManyPaths(t *testing.T) {
	for _, c := range []struct {
		a, b   string
		within bool
	}{
		{"secret/data/a", "secret/metadata/a", true},
		{"secret/data/a", "secret/a", true},
		{"secret/data/a/", "secret/destroy/a", true},
		{"n/secret/data/a", "secret/metadata/a", true},
		{"secret/data/a", "n/secret/data/a", false},
		{"secret/data/team/a", "secret/data/a", false},
		{"secret/data/data", "secret/data/delete", true},
		{"a", "b", false},
		{"xsecret/data/a", "secret/data/a", false},
		{"", "", true},
	} {
		if within(c.a, c.b) != c.within {
			t.Errorf("%s and %s: within %v", c.a, c.b, within(c.a, c.b))
		}
		if c.within && c.b != "" && tail(c.a) != tail(c.b) {
			t.Errorf("%s and %s have different tails", c.a, c.b)
		}
	}
}
