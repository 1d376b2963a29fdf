package lease

import (
	"errors"
	"time"

	"latchkey/internal/vault"
)

// refusals remembers what the server has just said no to, for as long as it takes
// that however many such things there are and however often each is asked for
// again, only so many a second reach the server. One alone is asked for whenever
// somebody wants to.
type refusals map[string]said

type said struct {
	err   error
	until time.Time
}

// apiece is the time that each refused request gets for itself.
const apiece = 20 * time.Millisecond

// many is from when on those that nobody asks for any more are looked for.
const many = 1000

// final reports whether the server answered, and will most likely say the same
// the next time.
func final(err error) bool {
	return errors.Is(err, vault.ErrNotFound) || errors.Is(err, vault.ErrBadRequest) ||
		errors.Is(err, vault.ErrDenied) && !errors.Is(err, vault.ErrInvalidToken)
}

// note takes in how a request went.
func (r refusals) note(key string, err error, now time.Time) {
	if err == nil || !final(err) {
		delete(r, key)
		return
	}
	if len(r) >= many {
		for k, old := range r {
			if now.After(old.until) {
				delete(r, k)
			}
		}
	}
	delete(r, key)
	r[key] = said{err, now.Add(time.Duration(len(r)) * apiece)}
}

// standing is the refusal that still counts, nil for none. One from the future
// means that the clock was set back.
func (r refusals) standing(key string, now time.Time) error {
	old, ok := r[key]
	if !ok || !now.Before(old.until) || old.until.Sub(now) > time.Duration(len(r)+1)*apiece {
		return nil
	}
	return old.err
}
