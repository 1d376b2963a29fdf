package main

import "os"

// Windows knows no signals but those that end a process.
var acted, unheard []os.Signal

func forwarded() []os.Signal { return nil }

// put is a signal that comes by another way; one too many is lost, as signals
// are.
func (s *signals) put(sig os.Signal) {
	select {
	case s.c <- sig:
	default:
	}
}
