//go:build !linux

package child

import "context"

// Reap takes the exit status of processes whose parents have ended, where that
// is ours to do: not on this system. It blocks until ctx ends and returns its
// cause.
func Reap(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
