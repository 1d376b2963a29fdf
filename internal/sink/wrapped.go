package sink

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// wrapped has the server wrap the token, with the token itself, and hands the
// wrapping on. What a reader unwraps is {"token": "..."}, not a login answer.
type wrapped struct {
	plain
	client *vault.Client
	ttl    time.Duration

	// pending is a wrapping that could not be written yet, and of which token:
	// a reader's key that is late must not have the server make a wrapping
	// token for each time we look.
	pending *cred.WrapInfo
	of      cred.Redacted
	// since is when the last wrapping was made, by the wall clock, and life
	// how long it lives.
	since time.Time
	life  time.Duration
	// due is when the wrapping that was written last wants to be replaced.
	due time.Time
}

// freshness is the share of a wrapping's life after which the sink gets a new
// one, so that a reader who comes at any time finds one that lives. Up to a tenth
// of it is taken off at random: who was started together does not come together.
const freshness = 2.0 / 3

func (w *wrapped) Due() time.Time { return w.due }

func (w *wrapped) Write(ctx context.Context, tok cred.Token) error {
	if tok.Value.Empty() {
		return retry.Permanent(errors.New("wrap_ttl: there is no token to wrap, or the login has wrapped it already"))
	}
	if !w.holds(tok) {
		info, err := w.client.As(tok.Value).Wrap(ctx, w.ttl, map[string]any{"token": tok.Value.Reveal()})
		if err != nil {
			if !vault.Temporary(err) {
				err = retry.Permanent(err)
			}
			return err
		}
		w.pending, w.of, w.since, w.life = &info, tok.Value, cred.Wall(time.Now()), w.ttl
		if info.TTL > 0 {
			w.life = info.TTL
		}
	}
	if err := w.plain.Write(ctx, cred.Token{Wrap: w.pending}); err != nil {
		return err
	}
	w.pending = nil
	w.due = w.since.Add(time.Duration(float64(w.life) * freshness * (1 - rand.Float64()/10)))
	return nil
}

// holds reports whether there is a wrapping of the token that waits to be
// written and has half its life before it. One from the future has not: the
// clock was set back, and nobody knows how old it is.
func (w *wrapped) holds(tok cred.Token) bool {
	age := time.Since(w.since)
	return w.pending != nil && w.of.Equal(tok.Value) && age >= 0 && age <= w.life/2
}
