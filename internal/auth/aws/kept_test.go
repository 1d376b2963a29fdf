package aws

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"latchkey/internal/awstest"
)

// atomicKeys can be given others.
type atomicKeys struct {
	mu sync.Mutex
	k  awstest.Keys
}

func (a *atomicKeys) set(k awstest.Keys) { a.mu.Lock(); defer a.mu.Unlock(); a.k = k }

func (a *atomicKeys) Retrieve(context.Context) (sdk.Credentials, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.k.ID == "" {
		return sdk.Credentials{}, errors.New("no keys")
	}
	return sdk.Credentials{AccessKeyID: a.k.ID, SecretAccessKey: a.k.Secret, SessionToken: a.k.Token}, nil
}

// mint makes new keys each time, that live for life.
type mint struct {
	n    int
	life time.Duration
	err  error
	took time.Duration
}

func (m *mint) Retrieve(ctx context.Context) (sdk.Credentials, error) {
	if m.took > 0 {
		select {
		case <-time.After(m.took):
		case <-ctx.Done():
			return sdk.Credentials{}, ctx.Err()
		}
	}
	if m.err != nil {
		return sdk.Credentials{}, m.err
	}
	m.n++
	c := sdk.Credentials{AccessKeyID: strconv.Itoa(m.n), SecretAccessKey: "s"}
	if m.life > 0 {
		c.CanExpire, c.Expires = true, time.Now().Add(m.life)
	}
	return c, nil
}

func TestKeysAreGotAgainBeforeTheirEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &mint{life: time.Hour}
		k := keep(from)
		is := func(when, want string) {
			t.Helper()
			if c, err := k.Retrieve(t.Context()); err != nil || c.AccessKeyID != want {
				t.Errorf("%s: %s, %v", when, c.AccessKeyID, err)
			}
		}
		is("at first", "1")
		time.Sleep(54 * time.Minute)
		is("six minutes before", "1")
		time.Sleep(2 * time.Minute)
		is("four minutes before", "2")
		from.err = errors.New("down")
		time.Sleep(57 * time.Minute)
		is("nobody there, and not at their end", "2")
		time.Sleep(3 * time.Minute)
		if _, err := k.Retrieve(t.Context()); err == nil {
			t.Error("keys at their end are handed out")
		}
		from.err = nil
		is("back", "3")
		k.Forget()
		is("forgotten", "4")
		from.life = 40 * time.Second
		k.Forget()
		is("living shortly", "5")
		time.Sleep(29 * time.Second)
		is("living shortly, in time", "5")
		time.Sleep(2 * time.Second)
		is("living shortly, soon over", "6")
		from.life = 0
		time.Sleep(time.Minute)
		is("without an end", "7")
		is("without an end, again", "8")
	})
}

func TestOneAsksForKeysAndTheOthersWaitAsLongAsTheyMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := &mint{life: time.Hour, took: 2 * time.Second}
		k := keep(from)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if c, err := k.Retrieve(t.Context()); err != nil || c.AccessKeyID != "1" {
					t.Errorf("%s, %v", c.AccessKeyID, err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		wg.Wait()
	})
}
