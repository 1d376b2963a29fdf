package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

func stringReader(s string) io.Reader { return strings.NewReader(s) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestAnAnswerIsGivenAsItCame(t *testing.T) {
	s := &cred.Secret{
		Lease: cred.Lease{ID: "l", Duration: time.Hour, Renewable: true, Issued: noon},
		Data: map[string]any{
			"text": "a<b>&\"\\\u2028", "big": json.Number("123456789012345678901234567890"), "nested": map[string]any{"list": []any{json.Number("1.50"), true, nil}},
		},
		Auth: &cred.Token{Value: cred.Redact("hvs.x")},
	}
	c, err := pack(s)
	if err != nil {
		t.Fatal(err)
	}
	got := c.secret()
	if fmt.Sprint(got.Data) != fmt.Sprint(s.Data) || got.Lease != s.Lease || !got.Auth.Value.Equal(s.Auth.Value) {
		t.Errorf("got %#v", got.Data)
	}
	got.Data["text"] = "scribbled over"
	got.Data["nested"].(map[string]any)["list"].([]any)[0] = "too"
	if fmt.Sprint(c.secret().Data) != fmt.Sprint(s.Data) {
		t.Error("one asker changed what the next one gets")
	}
	if none, err := pack(&cred.Secret{}); err != nil || none.secret().Data != nil {
		t.Errorf("an empty answer came back as %v, %v", none.secret().Data, err)
	}
	if _, err := pack(&cred.Secret{Data: map[string]any{"f": func() {}}}); err == nil {
		t.Error("an answer that cannot be held is held")
	}
}

func TestWhenContentMoved(t *testing.T) {
	base := func() *cred.Secret {
		return &cred.Secret{
			RequestID: "1", Lease: cred.Lease{ID: "l", Duration: time.Hour, Issued: noon}, Data: map[string]any{"a": "b"},
			Auth: &cred.Token{Value: cred.Redact("t")}, Wrap: &cred.WrapInfo{Token: cred.Redact("w")},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*cred.Secret)
		same   bool
	}{
		{"nothing", func(*cred.Secret) {}, true},
		{"another request", func(s *cred.Secret) { s.RequestID = "2" }, true},
		{"a longer lease", func(s *cred.Secret) { s.Lease.Duration, s.Lease.Issued = 2*time.Hour, noon.Add(time.Hour) }, true},
		{"another lease", func(s *cred.Secret) { s.Lease.ID = "m" }, false},
		{"other data", func(s *cred.Secret) { s.Data["a"] = "c" }, false},
		{"another token", func(s *cred.Secret) { s.Auth = &cred.Token{Value: cred.Redact("u")} }, false},
		{"no token", func(s *cred.Secret) { s.Auth = nil }, false},
		{"another wrapping", func(s *cred.Secret) { s.Wrap = &cred.WrapInfo{Token: cred.Redact("x")} }, false},
	} {
		a, _ := pack(base())
		s := base()
		c.change(s)
		b, _ := pack(s)
		if a.same(&b.answer) != c.same {
			t.Errorf("%s: same is %v", c.name, !c.same)
		}
	}
}

func TestTheGate(t *testing.T) {
	schedule := retry.Schedule{Base: time.Second, Max: time.Hour}
	polite := &vault.Error{Kind: vault.ErrRateLimited, Status: 429, After: 2 * time.Minute}
	slow := &vault.Error{Kind: vault.ErrUnreachable, Cause: fmt.Errorf("no answer: %w", context.DeadlineExceeded)}
	for _, c := range []struct {
		name   string
		fails  []error
		closed time.Duration // 0 for open
	}{
		{"a sealed server", []error{errSealed}, time.Second},
		{"for longer each time", []error{errSealed, errSealed, errSealed}, 4 * time.Second},
		{"but not for ever", []error{errGone, errGone, errGone, errGone, errGone, errGone, errGone}, knock},
		{"as long as it wishes", []error{polite}, 2 * time.Minute},
		{"a token that it does not know", []error{errInvalid}, knockNobody},
		{"one path that is broken", []error{errBroken, errBroken}, 0},
		{"three of them", []error{errBroken, errBroken, errBroken}, time.Second},
		{"those that take too long", []error{slow, slow, slow, slow}, 0},
		{"a sealed server that takes too long then", []error{errSealed, slow}, 2 * time.Second},
	} {
		g := newGate(schedule, 64, quiet())
		now := noon
		for i, err := range c.fails {
			now = later(now, g.until)
			g.bad(now, err, g.epoch, itoa(int64(i)))
		}
		if got := max(g.until.Sub(now), 0); g.failures > 0 != (c.closed > 0) || got < c.closed || got > c.closed {
			t.Errorf("%s: closed for %v, want %v", c.name, got, c.closed)
		}
		if c.closed == 0 {
			continue
		}
		var ra interface{ RetryAfter() time.Duration }
		err := g.shut(now)
		if !errors.As(err, &ra) || ra.RetryAfter() != c.closed || !errors.Is(err, c.fails[len(c.fails)-1].(*vault.Error).Kind) {
			t.Errorf("%s: who asks is told %v", c.name, err)
		}
		if g.room(now) != 0 || g.room(g.until) != 1 {
			t.Errorf("%s: room for %d, then for %d", c.name, g.room(now), g.room(g.until))
		}
		g.good(g.epoch - 1)
		if g.failures == 0 {
			t.Errorf("%s: opened by an answer from before", c.name)
		}
		g.good(g.epoch)
		if g.room(now) != 2 || g.shut(now) != nil {
			t.Errorf("%s: after a success there is room for %d", c.name, g.room(now))
		}
	}
}

// Of two that fail in turn, each has the others wait longer; one alone has not.
func TestOneThatFailsAgainAndAgainDoesNotKeepTheOthersWaiting(t *testing.T) {
	for _, c := range []struct {
		keys   string
		closed time.Duration
	}{{"aaaaa", time.Second}, {"ababa", knock}, {"aaabb", 2 * time.Second}} {
		g := newGate(retry.Schedule{Base: time.Second, Max: time.Hour}, 64, quiet())
		now := noon
		for _, key := range c.keys {
			now = later(now, g.until)
			g.bad(now, errSealed, g.epoch, string(key))
		}
		if got := g.until.Sub(now); got != c.closed {
			t.Errorf("%s: closed for %v, want %v", c.keys, got, c.closed)
		}
	}
}

func TestOneFailureOfAWaveClosesTheGateOnce(t *testing.T) {
	g := newGate(retry.Schedule{Base: time.Second, Max: time.Hour}, 64, quiet())
	epoch := g.epoch
	for i := range 64 {
		g.bad(noon, errSealed, epoch, itoa(int64(i)))
	}
	if g.failures != 1 {
		t.Errorf("%d failures of requests that were under way together", g.failures)
	}
}

func TestOnePathThatFailsForEverClosesNothing(t *testing.T) {
	g := newGate(retry.Schedule{Base: time.Second, Max: time.Hour}, 64, quiet())
	for range 100 {
		g.bad(noon, errBroken, g.epoch, "db/creds/a")
	}
	if g.failures != 0 || g.room(noon) != 64 {
		t.Error("the others wait for it")
	}
}

func TestWhatAnEventMayMean(t *testing.T) {
	for path, want := range map[string]string{
		"kv/a":               "[kv/a]",
		"kv/data/a/b":        "[kv/data/a/b kv/a/b kv/metadata/a/b]",
		"kv/metadata/a":      "[kv/metadata/a kv/a kv/data/a]",
		"team/data/data/a":   "[team/data/data/a team/data/a team/metadata/data/a team/data/a team/data/metadata/a]",
		"data/data/a":        "[data/data/a data/a data/metadata/a]",
		"kv/data":            "[kv/data kv kv/metadata]",
		"":                   "[]",
		"secret/my-data/key": "[secret/my-data/key]",
	} {
		if got := fmt.Sprint(aliases(path)); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}
