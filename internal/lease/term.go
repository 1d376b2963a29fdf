package lease

import (
	"encoding/json"
	"time"

	"latchkey/internal/cred"
)

// kind is why an answer does not stay right for ever.
type kind uint8

const (
	static      kind = iota // nobody knows when it changes
	leased                  // it has a lease
	token                   // it is a token made by ours
	certificate             // it says when it ends
	rotation                // the server changes it at a known time
	secretID                // its time to live is in the data
)

func (k kind) String() string {
	return [...]string{"static", "lease", "token", "certificate", "rotation", "secret id"}[k]
}

// action is what is done about an answer.
type action uint8

const (
	look  action = iota // read it again, or find out that it is the same version
	renew               // extend its lease
	fetch               // get another
)

func (a action) String() string { return [...]string{"look", "renew", "fetch"}[a] }

// term is how long an answer is good for.
type term struct {
	kind kind
	// from is when it was given, last renewed or last looked at; end is zero for
	// a static one.
	from, end time.Time
	// renewable says that renewing is worth trying.
	renewable bool
	// bound says that it ends with the token that asked for it.
	bound bool
	// hint is how often the server proposes to read a static answer, 0 for no
	// proposal; a version 1 key-value engine gives its field ttl.
	hint time.Duration
}

// termOf reads off an answer how long it is good for. What holds when several
// tell of an end is the lease.
func termOf(s *cred.Secret, now time.Time) term {
	now = cred.Wall(now)
	t := term{from: now}
	ends := func(k kind, after time.Duration) term {
		t.kind, t.end = k, now.Add(after)
		return t
	}
	switch l := s.Lease; {
	case l.ID != "" && l.Duration > 0:
		return term{kind: leased, from: l.Issued, end: l.Expires(), renewable: l.Renewable, bound: true}
	case s.Auth != nil && s.Auth.Lease.Duration > 0:
		t.bound = !s.Auth.Orphan
		return ends(token, s.Auth.Lease.Duration)
	case l.ID == "":
		t.hint = l.Duration
	}
	d := s.Data
	if _, ok := d["certificate"].(string); ok {
		if at, ok := number(d["expiration"]); ok && at > 0 {
			t.kind, t.end = certificate, time.Unix(at, 0)
			return t
		}
	}
	if ttl, ok := s.Rotation(); ok {
		return ends(rotation, seconds(max(ttl, 0)))
	}
	if _, ok := d["secret_id"].(string); ok {
		if ttl, ok := number(d["secret_id_ttl"]); ok && ttl > 0 {
			return ends(secretID, seconds(ttl))
		}
	}
	return t
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}

// seconds is bounded, so that no nonsense of a server overflows.
func seconds(n int64) time.Duration { return time.Duration(min(n, 1<<32)) * time.Second }

// rules are what the configuration says.
type rules struct {
	interval  time.Duration
	threshold float64
}

// next decides what is due next and when, by nothing but what it is given. luck
// is between 0 and 1, and keeps things apart that began together.
func (t term) next(r rules, luck float64) (action, time.Time) {
	life := t.end.Sub(t.from)
	switch {
	case t.kind == static:
		return look, t.from.Add(share(t.every(r), 0.85+0.1*luck))
	case t.kind == rotation:
		// The server needs a moment to change it.
		return fetch, t.end.Add(time.Second)
	case t.renewable:
		return renew, t.from.Add(share(life, (2-luck/5)/3))
	}
	part := r.threshold + (luck-0.5)*0.1
	if part <= 0 || part >= 1 {
		part = r.threshold
	}
	after := share(life, part)
	if life > 2*time.Second {
		// Of a short life, the last tenth is no time to get another.
		after = min(after, life-time.Second)
	}
	return fetch, t.from.Add(after)
}

// every is how often a static answer is looked at, before jitter.
func (t term) every(r rules) time.Duration {
	if t.hint > 0 {
		return min(t.hint, r.interval)
	}
	return r.interval
}

// again decides when to try again after a failure, if wait is what the schedule
// of repetition says. The nearer the end, the sooner; but never in less than a
// second, unless the schedule says so.
func (t term) again(r rules, now time.Time, wait time.Duration) time.Time {
	switch left := t.end.Sub(now); {
	case t.kind == static:
		wait = min(wait, t.every(r))
	case left > 0:
		wait = min(wait, max(left/4, time.Second))
	}
	return now.Add(wait)
}

// late is the moment from which on an answer that was not replaced is told
// loudly; zero where nothing stops working at the end, or where there is none.
func (t term) late() time.Time {
	if t.kind == static || t.kind == rotation {
		return time.Time{}
	}
	life := t.end.Sub(t.from)
	return t.end.Add(-max(life/10, min(time.Minute, life/3)))
}

// over reports whether the answer works no more.
func (t term) over(now time.Time) bool {
	return t.kind != static && t.kind != rotation && !cred.Wall(now).Before(t.end)
}

// back is the term by a clock that was set back. A certificate's end stands in
// it, all others were counted from a moment.
func (t term) back(by time.Duration) term {
	t.from = t.from.Add(-by)
	if t.kind != static && t.kind != certificate {
		t.end = t.end.Add(-by)
	}
	return t
}

func share(d time.Duration, part float64) time.Duration { return time.Duration(float64(d) * part) }
