package extension

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/vault"
)

// door is a login that opens or does not.
type door struct{ closed error }

func (d door) Login(context.Context, *vault.Client) (cred.Token, error) {
	return cred.Token{Value: cred.Redact("token"), Type: "service"}, d.closed
}

// A second identity that cannot log in is no reason to leave the files of the first
// as they are; without the first there is nothing to be done.
func TestALoginThatFailsStopsWhatNeedsItAlone(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	client, err := vault.New(vault.Config{Address: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	login := func(closed error) Work {
		s := session.New(door{closed}, client, session.Options{Name: "test", Mount: "auth/test", Log: log, Retry: retry.Schedule{Attempts: 1, Base: time.Second}})
		return s.Pull(session.PullOptions{})
	}
	refused := retry.Permanent(errors.New("role not found"))
	for what, c := range map[string]struct {
		logins []Work
		done   int
	}{
		"both open":         {[]Work{login(nil), login(nil)}, 1},
		"the second closed": {[]Work{login(nil), login(refused)}, 1},
		"the first closed":  {[]Work{login(refused), login(nil)}, 0},
	} {
		files := &once{}
		e := &extension{ctx: t.Context()}
		err := e.tend(t.Context(), paceAll(append(c.logins, files)), time.Now())
		if files.done != c.done || (err == nil) != (what == "both open") {
			t.Errorf("%s: files done %d times, %v", what, files.done, err)
		}
	}
}
