package lease

import (
	"context"
	"time"

	"latchkey/internal/cred"
)

// Held is a lease, or a token, whose answer somebody else holds.
type Held struct {
	// Key names it for its holder; holding another under the same key takes its
	// place.
	Key string
	// Lease is what is left of it. Without an ID it is a token.
	Lease cred.Lease
	// Renew extends it by increment and returns it as it is from now on.
	Renew func(ctx context.Context, increment time.Duration) (cred.Lease, error)
	// Extended is called with what each renewal brought, may be nil.
	Extended func(cred.Lease)
	// Ended is called once, when it is over or the server knows it no more, and
	// it is held no longer. It may be nil.
	Ended func()
}

// Renewer keeps leases and tokens alive whose answers somebody else holds. It is
// safe for concurrent use.
type Renewer struct{ o Options }

// NewRenewer returns a Renewer that holds nothing. Of the options, those about
// fetching are not looked at.
func NewRenewer(o Options) *Renewer { return &Renewer{o} }

// Hold keeps a lease alive until Drop or its end.
func (r *Renewer) Hold(h Held) {}

// Drop forgets what is held under key, without a word to anybody.
func (r *Renewer) Drop(key string) {}

// Extended says that somebody else renewed what is held under key, or that it was
// seen with this term.
func (r *Renewer) Extended(key string, l cred.Lease) {}

// Run renews what is due until ctx ends, waits for what is under way, and returns
// the cause. The callbacks are called from here and its helpers alone.
func (r *Renewer) Run(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Len is how many are held.
func (r *Renewer) Len() int { return 0 }
