package session

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// lent is what one caller of Token or Replace got.
type lent struct {
	tok  cred.Redacted
	err  error
	took time.Duration
}

// together calls f from n callers at once; the results are read after a pass.
func together(n int, f func() (cred.Redacted, error)) func() []lent {
	var wg sync.WaitGroup
	out := make([]lent, n)
	for i := range n {
		wg.Go(func() {
			start := time.Now()
			tok, err := f()
			out[i] = lent{tok, err, time.Since(start)}
		})
	}
	return func() []lent { wg.Wait(); return out }
}

func TestRequestsBeforeTheFirstLoginWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		down := true
		w.loginErr = func() error {
			if down {
				return errDown
			}
			return nil
		}
		r := keep(t, w, forever, nil)
		got := together(100, func() (cred.Redacted, error) { return r.Token(t.Context()) })
		pass(2 * time.Second)
		w.set(func() { down = false })
		for _, g := range got() {
			if g.err != nil || g.tok.Reveal() != "hvs.CANARY-1" || g.took == 0 {
				t.Errorf("%v after %v", g.err, g.took)
			}
		}
		if tok, err := r.Token(t.Context()); err != nil || tok.Reveal() != "hvs.CANARY-1" {
			t.Errorf("later: %v", err)
		}
		r.end(t)
	})
}

func TestWhoWaitsInVainHearsWhyTheLoginFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		w.loginErr = func() error { return errRefused }
		r := keep(t, w, forever, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := r.Token(ctx)
		if !errors.Is(err, vault.ErrNotLoggedIn) || !errors.Is(err, vault.ErrBadRequest) || !strings.Contains(err.Error(), "auth/approle") {
			t.Errorf("error is %v", err)
		}
		r.end(t)
	})
}

func TestATokenIsReplacedOnceForAllWhoComplain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, 768*time.Hour)
		r := keep(t, w, forever, nil)
		pass(2 * time.Minute) // no longer young
		old, err := r.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.revoke(old)
		for _, g := range together(50, func() (cred.Redacted, error) { return r.Replace(t.Context(), old) })() {
			if g.err != nil || g.tok.Reveal() != "hvs.CANARY-2" {
				t.Errorf("replaced by %q: %v", g.tok.Reveal(), g.err)
			}
		}
		start := time.Now()
		if tok, err := r.Replace(t.Context(), old); err != nil || tok.Reveal() != "hvs.CANARY-2" || time.Since(start) != 0 {
			t.Errorf("a late complaint: %q, %v, after %v", tok.Reveal(), err, time.Since(start))
		}
		r.want(t, 2, 0)
		r.end(t)
	})
}

func TestATokenThatIsOverIsNotLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Minute, time.Minute)
		r := keep(t, w, forever, nil)
		w.set(func() { w.loginErr = func() error { return errDown }; w.renewErr = w.loginErr })
		pass(2 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if tok, err := r.Token(ctx); !tok.Empty() || !errors.Is(err, vault.ErrNotLoggedIn) || !errors.Is(err, vault.ErrUnreachable) {
			t.Errorf("%q, %v", tok.Reveal(), err)
		}
		w.set(func() { w.loginErr, w.renewErr = nil, nil })
		if tok, err := r.Token(t.Context()); err != nil || tok.Reveal() != "hvs.CANARY-2" {
			t.Errorf("after the outage: %q, %v", tok.Reveal(), err)
		}
		r.end(t)
	})
}

func TestAWrappedLoginIsNotLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(time.Hour, time.Hour)
		w.wrap = true
		r := keep(t, w, forever, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if tok, err := r.Token(ctx); !tok.Empty() || !errors.Is(err, vault.ErrNotLoggedIn) {
			t.Errorf("%q, %v", tok.Reveal(), err)
		}
		r.end(t)
	})
}
