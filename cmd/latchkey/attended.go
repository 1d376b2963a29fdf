package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// attended runs work beside the one who waits for it. When ctx has ended and
// grace is over, work is left behind, for a read of a pipe or of a dead file
// system, and a template that never ends, can be stopped in no other way.
func attended(ctx context.Context, w world, grace func() time.Duration, work func(context.Context) int) (code int, left bool) {
	done := make(chan int, 1)
	go func() {
		code := exitInternal
		defer func() {
			if r := recover(); r != nil {
				fmt.Fprintf(w.stderr, "%s\nlatchkey: internal error: %s - this is a fault of latchkey's own; please report it with the lines above\n", debug.Stack(), panicked(r))
			}
			done <- code
		}()
		code = work(ctx)
	}()
	select {
	case code := <-done:
		return code, false
	case <-ctx.Done():
	}
	late := time.NewTimer(grace())
	defer late.Stop()
	select {
	case code := <-done:
		return code, false
	case <-late.C:
		return 0, true
	}
}

// panicked says what may be shown of a panic: a value of our own making may
// hold a secret, the runtime's words do not.
func panicked(r any) string {
	if err, ok := r.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("panic with a %T", r)
}
