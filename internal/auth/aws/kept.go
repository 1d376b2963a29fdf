package aws

import (
	"context"
	"fmt"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/auth"
)

// early is how long before their end keys are got anew; less for those that live
// shortly. They are only needed at a login, so there is no hurry to be first.
const early = 5 * time.Minute

// kept holds keys that end until shortly before they do. Keys without an end are
// asked for each time, because where they come from (variables, a file) costs
// nothing and may change.
type kept struct {
	from Credentials
	// turn is held by who asks; the one place is taken by sending.
	turn chan struct{}

	have     sdk.Credentials
	got, due time.Time // wall clock
}

func keep(from Credentials) *kept { return &kept{from: from, turn: make(chan struct{}, 1)} }

// Retrieve implements Credentials.
func (k *kept) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return sdk.Credentials{}, fmt.Errorf("%w: waiting for keys: %w", auth.ErrCredentials, ctx.Err())
	}
	defer func() { <-k.turn }()
	now := time.Now().Round(0)
	// A clock that was set back makes what is known about the end worth nothing.
	if k.have.HasKeys() && now.Before(k.due) && !now.Before(k.got) {
		return k.have, nil
	}
	fresh, err := k.from.Retrieve(ctx)
	if err != nil {
		if k.have.HasKeys() && now.Before(k.have.Expires.Add(-30*time.Second)) && !now.Before(k.got) {
			return k.have, nil
		}
		return sdk.Credentials{}, err
	}
	k.have = sdk.Credentials{}
	if fresh.CanExpire {
		k.have, k.got = fresh, now
		k.due = fresh.Expires.Add(-min(early, fresh.Expires.Sub(now)/4))
	}
	return fresh, nil
}

// Forget implements forgetter.
func (k *kept) Forget() {
	k.turn <- struct{}{}
	k.have = sdk.Credentials{}
	<-k.turn
	forget(k.from)
}

// Region implements locator.
func (k *kept) Region(ctx context.Context) (string, error) { return regionOf(ctx, k.from) }

func forget(c Credentials) {
	if f, ok := c.(forgetter); ok {
		f.Forget()
	}
}

func regionOf(ctx context.Context, c Credentials) (string, error) {
	if l, ok := c.(locator); ok {
		return l.Region(ctx)
	}
	return "", nil
}
