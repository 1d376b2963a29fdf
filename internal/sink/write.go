package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// WriteAll writes the token to every sink, all at once, and waits for them:
// none delays another. Each is tried again by the schedule as long as its
// failure may mend itself and ctx goes on. Who waits for news of a sink is told
// once it is written. The error joins the failures; each names its sink and is
// ErrWrite, or ErrNotify for one that was written, and its cause. The observer
// hears of one failed attempt at a time.
func WriteAll(ctx context.Context, sinks []Sink, tok cred.Token, s retry.Schedule, seen retry.Observer) error {
	var mu sync.Mutex
	quiet := seen
	if seen != nil {
		quiet = func(n retry.Notice) {
			mu.Lock()
			defer mu.Unlock()
			seen(n)
		}
	}
	errs := make([]error, len(sinks))
	var wg sync.WaitGroup
	for i, sink := range sinks {
		wg.Go(func() {
			err := retry.Do(ctx, s, "write sink "+sink.Name(), quiet, func(ctx context.Context) error { return sink.Write(ctx, tok) })
			if err != nil {
				errs[i] = fmt.Errorf("%w: %s: %w", ErrWrite, sink.Name(), err)
				return
			}
			errs[i] = notify(ctx, sink)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// notify tells of new content, if the sink has somebody to tell.
func notify(ctx context.Context, sink Sink) error {
	n, ok := sink.(Notifier)
	if !ok {
		return nil
	}
	if err := n.Notify(ctx); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNotify, sink.Name(), err)
	}
	return nil
}
