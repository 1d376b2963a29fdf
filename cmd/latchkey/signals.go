package main

import (
	"os"
	"os/signal"
)

// signals are those that do not end a daemon: it acts on them, or its child
// does.
type signals struct {
	c chan os.Signal
	// deaf hears those that are only caught so that they do not end us, and that
	// children, unlike with ignored ones, do not inherit.
	deaf chan os.Signal
}

// catchSignals begins with those that the daemon acts on. Until they are
// caught, a SIGHUP ends the process, so this comes before all else.
func catchSignals() *signals {
	s := &signals{c: make(chan os.Signal, 16), deaf: make(chan os.Signal, 1)}
	if len(acted) > 0 { // Notify takes an empty list for every signal
		signal.Notify(s.c, acted...)
		signal.Notify(s.deaf, unheard...)
	}
	return s
}

// forward adds those that mean something to a child alone, or leaves them to
// the system again when there is no child to have them.
func (s *signals) forward(child bool) {
	list := forwarded()
	switch {
	case len(list) == 0:
	case child:
		signal.Notify(s.c, list...)
	default:
		signal.Reset(list...)
	}
}

// stop leaves all of them to the system again.
func (s *signals) stop() {
	signal.Stop(s.c)
	signal.Stop(s.deaf)
}
