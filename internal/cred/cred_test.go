package cred

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

const canary = "hvs.CANARY-7f3a"

func TestNothingPrintsASecret(t *testing.T) {
	r := Redact(canary)
	tok := Token{Value: r, Accessor: "acc", Policies: []string{"p"}, Wrap: nil}
	wrapped := Token{Wrap: &WrapInfo{Token: r, TTL: time.Minute}}
	sec := Secret{Data: map[string]any{"password": canary}, Auth: &tok, Wrap: &WrapInfo{Token: r}}
	type private struct {
		r Redacted
		t Token
	}
	values := map[string]any{
		"Redacted": r, "*Redacted": &r, "Token": tok, "*Token": &tok, "wrapped Token": wrapped,
		"Secret": sec, "*Secret": &sec, "WrapInfo": WrapInfo{Token: r}, "in private fields": private{r, tok},
		"in a slice": []Redacted{r}, "in a map": map[string]Token{"a": tok},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3v"} {
			if out := fmt.Sprintf(verb, v); leaks(out) {
				t.Errorf("fmt %s of %s shows the secret: %s", verb, name, out)
			}
		}
		if out, err := json.Marshal(v); err == nil && leaks(string(out)) {
			t.Errorf("json of %s shows the secret: %s", name, out)
		}
		for _, h := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(h(&b)).Info("m", "v", v)
			if leaks(b.String()) {
				t.Errorf("slog of %s shows the secret: %s", name, b.String())
			}
		}
	}
}

func leaks(s string) bool {
	return strings.Contains(s, canary) || strings.Contains(strings.ToLower(s), fmt.Sprintf("%x", canary))
}

func TestRedacted(t *testing.T) {
	if got := Redact(canary).Reveal(); got != canary {
		t.Errorf("Reveal = %q", got)
	}
	if !Redact("").Empty() || Redact("x").Empty() {
		t.Error("Empty is wrong")
	}
	if !Redact("a").Equal(Redact("a")) || Redact("a").Equal(Redact("b")) || Redact("a").Equal(Redacted{}) {
		t.Error("Equal is wrong")
	}
	if Redact("x").String() != "[redacted]" || (Redacted{}).String() != "" {
		t.Error("String is wrong")
	}
}

func TestLeaseArithmetic(t *testing.T) {
	issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := Lease{Duration: time.Hour, Issued: issued}
	for _, c := range []struct {
		name    string
		l       Lease
		at      time.Duration
		expired bool
		left    time.Duration
	}{
		{"fresh", l, 0, false, time.Hour},
		{"almost over", l, time.Hour - 1, false, 1},
		{"over to the instant", l, time.Hour, true, 0},
		{"long over", l, 48 * time.Hour, true, 0},
		{"clock set back", l, -time.Hour, false, 2 * time.Hour},
		{"no end", Lease{Issued: issued}, 1e6 * time.Hour, false, 0},
	} {
		now := issued.Add(c.at)
		if c.l.Expired(now) != c.expired || c.l.Left(now) != c.left {
			t.Errorf("%s: expired %v left %v, want %v %v", c.name, c.l.Expired(now), c.l.Left(now), c.expired, c.left)
		}
	}
	if got := l.RenewAt(0.5); !got.Equal(issued.Add(30 * time.Minute)) {
		t.Errorf("RenewAt = %v", got)
	}
	if !(Lease{}).RenewAt(0.5).IsZero() || !(Lease{}).Expires().IsZero() {
		t.Error("a lease without an end has no times")
	}
}

func TestWallDropsTheMonotonicClock(t *testing.T) {
	if s := Wall(time.Now()).String(); strings.Contains(s, "m=") {
		t.Errorf("monotonic reading kept: %s", s)
	}
}
