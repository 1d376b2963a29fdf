// Package onecore has the Go runtime begin with one processor, for a program whose
// start is counted in milliseconds of CPU. Each further one costs stacks, pages and
// threads that look for work, a tenth of a start, and what a small function is
// granted is a fraction of one.
//
// It is imported for that alone, and imports nothing but the runtime, so that it is
// initialised before nearly all else. Set GOMAXPROCS anew when the start is over.
package onecore

import "runtime"

func init() { runtime.GOMAXPROCS(1) }
