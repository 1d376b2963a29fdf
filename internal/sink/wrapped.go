package sink

import (
	"context"
	"errors"
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

	// pending is a wrapping that could not be written yet, of which token
	// and since when by the wall clock: a reader's key that is late must not have the server
	// make a wrapping token for each time we look.
	pending *cred.WrapInfo
	of      cred.Redacted
	since   time.Time
}

func (w *wrapped) Write(ctx context.Context, tok cred.Token) error {
	if tok.Value.Empty() {
		return retry.Permanent(errors.New("wrap_ttl: there is no token to wrap, or the login has wrapped it already"))
	}
	if w.pending == nil || !w.of.Equal(tok.Value) || time.Since(w.since) > w.ttl/2 {
		info, err := w.client.As(tok.Value).Wrap(ctx, w.ttl, map[string]any{"token": tok.Value.Reveal()})
		if err != nil {
			if !vault.Temporary(err) {
				err = retry.Permanent(err)
			}
			return err
		}
		w.pending, w.of, w.since = &info, tok.Value, cred.Wall(time.Now())
	}
	err := w.plain.Write(ctx, cred.Token{Wrap: w.pending})
	if err == nil {
		w.pending = nil
	}
	return err
}
