package lease

import (
	"fmt"
	"testing"
	"time"

	"latchkey/internal/vault"
)

func TestManyThingsThatAreRefusedAreAskedForFiftyTimesASecond(t *testing.T) {
	for _, n := range []int{1, 10, 300, 3000} {
		r := refusals{}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		asked := 0
		const seconds, looks = 60, 10
		for range seconds * looks { // everybody looks ten times a second
			for i := range n {
				key := fmt.Sprint(i)
				if r.standing(key, now) == nil {
					asked++
					r.note(key, &vault.Error{Kind: vault.ErrNotFound}, now)
				}
			}
			now = now.Add(time.Second / looks)
		}
		if most := n + seconds*60; asked > most && n > looks {
			t.Errorf("%d things were asked for %d times in a minute, more than %d", n, asked, most)
		}
		if n == 1 && asked < seconds*looks/2 {
			t.Errorf("one thing was asked for %d times", asked)
		}
	}
}

func TestAFaultThatPassesIsNoRefusal(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, kind := range []error{vault.ErrSealed, vault.ErrUnreachable, vault.ErrInvalidToken, vault.ErrRateLimited} {
		r := refusals{}
		for i := range 100 {
			r.note(fmt.Sprint(i), &vault.Error{Kind: kind}, now)
		}
		if len(r) != 0 {
			t.Errorf("%v is remembered", kind)
		}
	}
}

func TestASuccessEndsARefusal(t *testing.T) {
	r := refusals{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 100 {
		r.note(fmt.Sprint(i), &vault.Error{Kind: vault.ErrDenied}, now)
	}
	if r.standing("99", now) == nil {
		t.Fatal("it is not remembered")
	}
	r.note("99", nil, now)
	if err := r.standing("99", now); err != nil {
		t.Errorf("still %v", err)
	}
	if err := r.standing("50", now.Add(-time.Hour)); err != nil {
		t.Errorf("by a clock that was set back: %v", err)
	}
}
