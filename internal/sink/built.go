package sink

import (
	"context"
	"sync/atomic"
	"time"
)

// built is the sink that New returns: what writes, and all that can be asked of
// it. What its parts cannot do has the answer that needs nothing done.
type built struct {
	Sink
	// outer is what the token's bytes are given to, place where they come to
	// lie at last.
	outer Destination
	place *place
	// notice is nil when nobody is told.
	notice *notice
}

// place is a destination that remembers whether it has changed.
type place struct {
	Destination
	changed atomic.Bool
}

func (p *place) Put(ctx context.Context, data []byte) (bool, error) {
	changed, err := p.Destination.Put(ctx, data)
	if changed {
		p.changed.Store(true)
	}
	return changed, err
}

func (b *built) Check() error { return b.outer.Check() }

func (b *built) Intact() bool {
	w, ok := b.place.Destination.(Watched)
	return !ok || w.Intact()
}

func (b *built) Due() time.Time {
	if p, ok := b.Sink.(Perishable); ok {
		return p.Due()
	}
	return time.Time{}
}

func (b *built) Notify(ctx context.Context) error {
	if b.notice == nil || !b.place.changed.Swap(false) {
		return nil
	}
	err := b.notice.give(ctx)
	if err != nil {
		b.place.changed.Store(true)
	}
	return err
}
