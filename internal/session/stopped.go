package session

import (
	"sync"
	"time"
)

// pulse notices when a process stands still: from one look at the wall clock to the
// next there is more time than even a busy machine makes of it. Nothing else tells;
// whether the other clock goes on in a frozen process differs from place to place,
// and that something took long says nothing.
type pulse struct {
	last  time.Time
	still bool
}

// every is how often to look.
const every = 250 * time.Millisecond

func (p *pulse) beat(now time.Time) {
	p.still = p.still || !p.last.IsZero() && now.Sub(p.last) >= every+time.Second
	p.last = now
}

// stopped runs f and reports whether the process was frozen meanwhile.
func stopped(f func()) bool {
	var p pulse
	p.beat(wall())
	var looking sync.WaitGroup
	done := make(chan struct{})
	looking.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				p.beat(wall())
			case <-done:
				return
			}
		}
	})
	f()
	close(done)
	looking.Wait()
	p.beat(wall())
	return p.still
}
