package lease

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
)

// day is a day in the life of a daemon: what it holds, and what befalls it.
type day struct {
	*house
	reqs []cred.Request
	// secrets are the key-value ones, and when each was last changed.
	secrets map[string]time.Time
	// frozen, when positive, is for how many nanoseconds the next callback stands still.
	frozen atomic.Int64
	// well is since when the server answers and the daemon runs.
	well time.Time
}

const (
	dayInterval = 5 * time.Minute
	// A minute after the server is back, everything is right again.
	convalescence = time.Minute
)

func newDay(t *testing.T) *day {
	s := newServer()
	d := &day{secrets: map[string]time.Time{}}
	put := func(path string, th thing) {
		s.set(path, th)
		d.reqs = append(d.reqs, cred.Request{Path: path})
	}
	now := time.Now()
	for i := range 10 {
		put(fmt.Sprintf("db/creds/long-%d", i), thing{ttl: time.Hour, max: 30 * 24 * time.Hour})
		put(fmt.Sprintf("db/creds/short-%d", i), thing{ttl: 2 * time.Minute, max: time.Hour})
		put(fmt.Sprintf("aws/creds/%d", i), thing{ttl: 30 * time.Minute})
		put(fmt.Sprintf("pki/issue/%d", i), thing{extra: map[string]any{"certificate": "c", "expiration": number64(now.Add(48 * time.Hour).Unix())}})
		for _, p := range []string{fmt.Sprintf("kv/data/%d", i), fmt.Sprintf("kv/data/hidden-%d", i), fmt.Sprintf("old/%d", i)} {
			put(p, thing{value: "0", kv2: strings.HasPrefix(p, "kv/"), noMeta: strings.Contains(p, "hidden")})
			d.secrets[p] = now
		}
	}
	d.house = &house{s: s, log: &journal{}, changes: map[string]int{}}
	d.Manager = New(Options{Log: slog.New(d.log), StaticInterval: dayInterval})
	d.Use(s.login())
	d.keepWith(t, func(keys []string) {
		d.changed(keys)
		time.Sleep(time.Duration(d.frozen.Swap(0)))
	})
	for _, res := range d.ReadAll(t.Context(), d.reqs) {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	d.well = now
	return d
}

// check looks at everything that is held, as a template would.
func (d *day) check(t *testing.T) {
	t.Helper()
	if time.Since(d.well) < convalescence {
		return
	}
	for i, res := range d.ReadAll(t.Context(), d.reqs) {
		path := d.reqs[i].Path
		if res.Err != nil {
			t.Fatalf("%v: %s: %v\n%s", time.Now(), path, res.Err, d.log)
		}
		if id := res.Secret.Lease.ID; id != "" && !d.s.alive(id) {
			t.Fatalf("%v: %s is dead: %+v\n%s", time.Now(), id, d.entry(path), d.log)
		}
		if at, ok := d.secrets[path]; ok && time.Since(later(at, d.well)) > dayInterval+convalescence {
			if got, want := valueOf(res.Secret), d.value(path); got != want {
				t.Fatalf("%v: %s is %v, not %v: %+v\n%s", time.Now(), path, got, want, d.entry(path), d.log)
			}
		}
	}
}

func (d *day) value(path string) (v string) {
	d.s.do(func() { v = d.s.things[path].value })
	return v
}

func valueOf(s *cred.Secret) any {
	if inner, ok := s.Data["data"].(map[string]any); ok {
		return inner["value"]
	}
	return s.Data["value"]
}

// pass lets minutes go by, with a change somewhere every seven.
func (d *day) pass(t *testing.T, minutes int) {
	t.Helper()
	for range minutes {
		time.Sleep(time.Minute)
		if now := time.Now(); now.Minute()%7 == 0 {
			path := fmt.Sprintf([]string{"kv/data/%d", "kv/data/hidden-%d", "old/%d"}[now.Minute()%3], now.Minute()%10)
			d.s.change(path, now.String())
			d.secrets[path] = now
		}
		d.check(t)
	}
}

// down has the server answer with err for some minutes.
func (d *day) down(t *testing.T, err error, minutes int) {
	d.s.do(func() { d.s.down = err })
	d.well = time.Now().Add(1000 * time.Hour)
	d.pass(t, minutes)
	d.s.do(func() { d.s.down = nil })
	d.well = time.Now()
}

func TestADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDay(t)
		start := time.Now()
		d.pass(t, 3*60)
		calm := d.s.count("")
		d.down(t, errGone, 10)
		d.pass(t, 2*60)
		d.down(t, errSealed, 90)
		d.pass(t, 60)
		d.s.do(func() { d.s.revoked[1] = true })
		d.well = time.Now().Add(time.Second)
		time.Sleep(time.Second)
		d.Use(d.s.login())
		d.pass(t, 3*60)
		d.rewind(time.Now(), 7*time.Minute)
		d.nudge()
		d.pass(t, 60)
		// Suspended for three hours: the loop stands still in a callback.
		d.frozen.Store(int64(3 * time.Hour))
		d.well = time.Now().Add(4 * time.Hour)
		d.pass(t, 4*60)
		d.pass(t, 60)
		for _, ttl := range []int{1, 2, 3} {
			d.Use(d.s.login())
			d.well = time.Now()
			d.pass(t, 30*ttl)
		}
		d.down(t, errBroken, 20)
		d.pass(t, int((24*time.Hour-time.Since(start))/time.Minute))
		if took := time.Since(start); took < 24*time.Hour-time.Minute {
			t.Errorf("the day had %v", took)
		}
		d.account(t, calm)
	})
}

// account compares what the quiet first hours cost with what was due.
func (d *day) account(t *testing.T, got int) {
	t.Helper()
	const hours = 3.0
	per := func(every time.Duration) float64 { return 10 * hours * float64(time.Hour) / float64(every) }
	// As often as jitter allows, 70 answers to begin with, and 3 hours' changes.
	most := 70 + per(36*time.Minute) + per(72*time.Second) + per(50*time.Minute) + per(25*time.Minute) + 3*per(255*time.Second) + 27 + 10
	least := per(40*time.Minute) + per(80*time.Second)*0.9 + per(29*time.Minute)*0.9 + 3*per(285*time.Second)*0.98
	if float64(got) > most || float64(got) < least {
		t.Errorf("%d requests in three quiet hours, want %.0f to %.0f", got, least, most)
	}
	for i := range 10 {
		if n := d.moves(fmt.Sprintf("db/creds/long-%d", i)); n > 6 {
			t.Errorf("long-%d changed %d times", i, n)
		}
		if n := d.moves(fmt.Sprintf("pki/issue/%d", i)); n != 0 {
			t.Errorf("a certificate changed %d times", n)
		}
	}
}
