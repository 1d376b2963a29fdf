package sink

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
)

// KeepOptions is what a Keeper needs besides its sinks.
type KeepOptions struct {
	// Retry spaces the attempts after a failure that may pass; its Attempts are
	// not looked at. The zero value starts at a second and ends at 30.
	Retry retry.Schedule
	// Every is how often a sink is looked at, and the shortest time between two
	// writes of one token; 0 is 2 seconds.
	Every time.Duration
	// Observer hears of each attempt that failed and will be repeated, one at a
	// time; nil has the log told.
	Observer retry.Observer
	// Log hears what was written; nil for silence.
	Log   *slog.Logger
	Meter meter.Meter
}

// Keeper has every sink hold the newest token, for as long as Run runs: what
// could not be written is tried again without end, and what others changed or
// took away is put back. A login that was wrapped is written once and left
// alone, since whoever took it away has used it.
type Keeper struct {
	o     KeepOptions
	kept  []*kept
	quiet sync.Mutex // one observer call at a time

	mu     sync.Mutex
	newest cred.Token
	// serial counts the tokens delivered; 0 is none.
	serial int
}

// Status is how one sink is.
type Status struct {
	// Name is the sink's.
	Name string
	// WrittenAt is when a token was last written, the zero time for never.
	WrittenAt time.Time
	// Err is why the last attempt failed, nil when it did not.
	Err error
	// NoticeErr is why its readers could not be told of what it holds, nil when
	// they were, or need not be.
	NoticeErr error
	// ErrAt is when the later of the two failed.
	ErrAt time.Time
	// NextAt is when it will be written again without anybody's doing: the next
	// attempt, or a new wrapping. The zero time is never.
	NextAt time.Time
}

// slow spaces the attempts after a failure that no repetition mends: somebody
// may still make the directory, or change the policy.
var slow = retry.Schedule{Base: 4 * time.Second, Max: time.Minute, Jitter: 0.5}

// NewKeeper makes a Keeper that has no token yet and does nothing before Run.
func NewKeeper(sinks []Sink, o KeepOptions) *Keeper {
	if o.Retry.Base <= 0 {
		o.Retry = retry.Schedule{Base: time.Second, Max: 30 * time.Second, Jitter: 0.5}
	}
	if o.Every <= 0 {
		o.Every = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = meter.Discard
	}
	k := &Keeper{o: o}
	for _, s := range sinks {
		k.kept = append(k.kept, newKept(s, k))
	}
	return k
}

// errNewer ends the writing of a token that is not the newest any more.
var errNewer = errors.New("there is a newer token")

// Deliver has every sink hold tok instead of what it holds. It never blocks, and
// may be called before Run. A token that was delivered last is not written anew.
func (k *Keeper) Deliver(tok cred.Token) {
	k.mu.Lock()
	same := k.serial > 0 && tok.Wrap == nil && k.newest.Wrap == nil && tok.Value.Equal(k.newest.Value)
	k.newest = tok
	if !same {
		k.serial++
	}
	serial := k.serial
	k.mu.Unlock()
	if same {
		return
	}
	for _, s := range k.kept {
		s.hurry(serial)
	}
}

// token is the newest one and its number, 0 when there is none.
func (k *Keeper) token() (cred.Token, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.newest, k.serial
}

// Run keeps the sinks until ctx ends, and returns its cause. Each is on its own:
// one that fails or hangs delays no other.
func (k *Keeper) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, s := range k.kept {
		all.Go(func() { s.keep(ctx) })
		all.Go(func() { s.tell(ctx) })
	}
	all.Wait()
	<-ctx.Done()
	return context.Cause(ctx)
}

// Status says how the sinks are, in the order in which NewKeeper got them.
func (k *Keeper) Status() []Status {
	out := make([]Status, len(k.kept))
	for i, s := range k.kept {
		out[i] = s.now()
	}
	return out
}

// observe tells of a failed attempt.
func (k *Keeper) observe(n retry.Notice) {
	if k.o.Observer == nil {
		k.o.Log.Warn(n.What+" failed", "attempt", n.Attempt, "next", n.Next.Round(time.Millisecond), "error", n.Err)
		return
	}
	k.quiet.Lock()
	defer k.quiet.Unlock()
	k.o.Observer(n)
}
