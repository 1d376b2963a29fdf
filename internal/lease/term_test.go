package lease

import (
	"encoding/json"
	"testing"
	"time"

	"latchkey/internal/cred"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestWhatIsDueNext(t *testing.T) {
	r := rules{5 * time.Minute, 0.9}
	lease := func(d time.Duration, renewable bool) *cred.Secret {
		return &cred.Secret{Lease: cred.Lease{ID: "l", Duration: d, Renewable: renewable, Issued: noon}}
	}
	data := func(text string) *cred.Secret {
		s := &cred.Secret{Lease: cred.Lease{Issued: noon}}
		dec := json.NewDecoder(stringReader(text))
		dec.UseNumber()
		if err := dec.Decode(&s.Data); err != nil {
			t.Fatal(err)
		}
		return s
	}
	child := func(d time.Duration, orphan bool) *cred.Secret {
		return &cred.Secret{Lease: cred.Lease{Issued: noon}, Auth: &cred.Token{Orphan: orphan, Lease: cred.Lease{Duration: d, Renewable: true, Issued: noon}}}
	}
	hour := noon.Add(time.Hour).Unix()
	for _, c := range []struct {
		name        string
		s           *cred.Secret
		kind        kind
		act         action
		soon, late  time.Duration // with the least and the most luck, in any order
		end         time.Duration
		bound, rest bool
	}{
		{name: "a renewable lease is renewed at about two thirds", s: lease(time.Hour, true), kind: leased, act: renew, soon: 40 * time.Minute, late: 36 * time.Minute, end: time.Hour, bound: true},
		{name: "a short one too", s: lease(5*time.Second, true), kind: leased, act: renew, soon: 3333333333, late: 3 * time.Second, end: 5 * time.Second, bound: true},
		{name: "another lease is fetched again near its end", s: lease(time.Hour, false), kind: leased, act: fetch, soon: 51 * time.Minute, late: 57 * time.Minute, end: time.Hour, bound: true},
		{name: "a short one with time to spare", s: lease(5*time.Second, false), kind: leased, act: fetch, soon: 4 * time.Second, late: 4 * time.Second, end: 5 * time.Second, bound: true},
		{name: "a very short one as late as that", s: lease(time.Second, false), kind: leased, act: fetch, soon: 850 * time.Millisecond, late: 950 * time.Millisecond, end: time.Second, bound: true},
		{name: "a lease without an end", s: lease(0, true), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "key-value", s: data(`{"a":"b"}`), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "nothing", s: data(`null`), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "key-value 1 with a longer ttl", s: &cred.Secret{Lease: cred.Lease{Duration: 768 * time.Hour}}, kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "key-value 1 with a shorter ttl", s: &cred.Secret{Lease: cred.Lease{Duration: 20 * time.Second}}, kind: static, act: look, soon: 17 * time.Second, late: 19 * time.Second},
		{name: "a rotated password", s: data(`{"password":"p","rotation_period":86400,"ttl":600}`), kind: rotation, act: fetch, soon: 601 * time.Second, late: 601 * time.Second, end: 600 * time.Second},
		{name: "one rotated by a schedule", s: data(`{"password":"p","rotation_schedule":"0 0 * * *","ttl":600}`), kind: rotation, act: fetch, soon: 601 * time.Second, late: 601 * time.Second, end: 600 * time.Second},
		{name: "one that should be rotated already", s: data(`{"password":"p","rotation_period":86400,"ttl":-3}`), kind: rotation, act: fetch, soon: time.Second, late: time.Second},
		{name: "a ttl in a key-value secret means nothing", s: data(`{"ttl":600}`), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "a certificate", s: data(`{"certificate":"c","expiration":` + json.Number(itoa(hour)).String() + `}`), kind: certificate, act: fetch, soon: 51 * time.Minute, late: 57 * time.Minute, end: time.Hour},
		{name: "a certificate with a lease", s: func() *cred.Secret {
			s := data(`{"certificate":"c","expiration":` + itoa(hour) + `}`)
			s.Lease = lease(20*time.Minute, false).Lease
			return s
		}(), kind: leased, act: fetch, soon: 17 * time.Minute, late: 19 * time.Minute, end: 20 * time.Minute, bound: true},
		{name: "a certificate without an end", s: data(`{"certificate":"c"}`), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "a secret id", s: data(`{"secret_id":"s","secret_id_ttl":3600}`), kind: secretID, act: fetch, soon: 51 * time.Minute, late: 57 * time.Minute, end: time.Hour},
		{name: "a secret id for ever", s: data(`{"secret_id":"s","secret_id_ttl":0}`), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "a token made by ours", s: child(time.Hour, false), kind: token, act: fetch, soon: 51 * time.Minute, late: 57 * time.Minute, end: time.Hour, bound: true},
		{name: "an orphan", s: child(time.Hour, true), kind: token, act: fetch, soon: 51 * time.Minute, late: 57 * time.Minute, end: time.Hour},
		{name: "a number that is none", s: data(`{"certificate":"c","expiration":"soon"}`), kind: static, act: look, soon: 255 * time.Second, late: 285 * time.Second},
		{name: "a number beyond all years", s: data(`{"secret_id":"s","secret_id_ttl":9223372036854775807}`), kind: secretID, act: fetch, soon: share(1<<32*time.Second, 0.85), late: share(1<<32*time.Second, 0.95), end: 1 << 32 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			term := termOf(c.s, noon)
			if term.kind != c.kind || term.bound != c.bound {
				t.Errorf("is %v, bound %v", term.kind, term.bound)
			}
			if c.end > 0 && !term.end.Equal(noon.Add(c.end)) {
				t.Errorf("ends after %v, want %v", term.end.Sub(noon), c.end)
			}
			for luck, want := range map[float64]time.Duration{0: c.soon, 1: c.late} {
				act, at := term.next(r, luck)
				if got := at.Sub(noon); act != c.act || (got-want).Abs() > time.Millisecond {
					t.Errorf("luck %v: %v after %v, want %v after %v", luck, act, got, c.act, want)
				}
			}
		})
	}
}

func TestAThresholdThatJitterTakesBeyondTheEndStandsAsItIs(t *testing.T) {
	term := term{kind: secretID, from: noon, end: noon.Add(time.Hour)}
	if _, at := term.next(rules{time.Minute, 0.97}, 1); at.Sub(noon) != share(time.Hour, 0.97) {
		t.Errorf("due after %v", at.Sub(noon))
	}
}

func TestATryAfterAFailureComesTheSoonerTheNearerTheEnd(t *testing.T) {
	r := rules{time.Minute, 0.9}
	lease := term{kind: leased, from: noon, end: noon.Add(time.Hour)}
	for _, c := range []struct {
		name string
		term term
		at   time.Duration
		wait time.Duration
		want time.Duration
	}{
		{"far from the end the schedule says", lease, 40 * time.Minute, time.Minute, time.Minute},
		{"near it a quarter of what is left", lease, 59 * time.Minute, time.Minute, 15 * time.Second},
		{"at it a second", lease, time.Hour - time.Millisecond, time.Minute, time.Second},
		{"unless the schedule is faster", lease, time.Hour - time.Millisecond, time.Millisecond, time.Millisecond},
		{"beyond it the schedule says", lease, 2 * time.Hour, time.Minute, time.Minute},
		{"what is static never waits longer than always", term{kind: static, from: noon}, 0, time.Hour, time.Minute},
	} {
		if got := c.term.again(r, noon.Add(c.at), c.wait); !got.Equal(noon.Add(c.at + c.want)) {
			t.Errorf("%s: after %v, want %v", c.name, got.Sub(noon.Add(c.at)), c.want)
		}
	}
}

func TestWhenItIsTimeToWorry(t *testing.T) {
	for _, c := range []struct {
		life, left time.Duration
	}{
		{24 * time.Hour, 144 * time.Minute},
		{time.Hour, 6 * time.Minute},
		{5 * time.Minute, time.Minute},
		{30 * time.Second, 10 * time.Second},
	} {
		term := term{kind: leased, from: noon, end: noon.Add(c.life)}
		if got := term.end.Sub(term.late()); got != c.left {
			t.Errorf("life %v: with %v left, want %v", c.life, got, c.left)
		}
	}
	if !(term{kind: static, from: noon}).late().IsZero() || !(term{kind: rotation, from: noon, end: noon}).late().IsZero() {
		t.Error("nothing ends there")
	}
}

func TestAClockSetBackMovesWhatWasCounted(t *testing.T) {
	lease := term{kind: leased, from: noon, end: noon.Add(time.Hour)}.back(time.Minute)
	cert := term{kind: certificate, from: noon, end: noon.Add(time.Hour)}.back(time.Minute)
	plain := term{kind: static, from: noon}.back(time.Minute)
	if !lease.end.Equal(noon.Add(59*time.Minute)) || !cert.end.Equal(noon.Add(time.Hour)) || !plain.end.IsZero() || !plain.from.Equal(noon.Add(-time.Minute)) {
		t.Errorf("%v %v %v", lease, cert, plain)
	}
}
