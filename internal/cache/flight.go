package cache

import (
	"context"
	"sync"
	"sync/atomic"

	"latchkey/internal/exchange"
)

// flight is one request to the server that others wait for, because they ask the
// same.
type flight struct {
	done   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	mark   mark
	// sent is greater than the number of all who came before the request went.
	sent uint64
	// waiting is guarded by the lock of flights.
	waiting int
	// out is set before done is closed.
	out outcome
}

// outcome is how a request to the server ended.
type outcome struct {
	ans *exchange.Answer
	err error
	// hit is what those who waited get: it is kept, and as good for them. Nil
	// when nothing was kept.
	hit *exchange.Answer
	// share says that ans and err may go to those who asked before the request
	// was sent, too: they see what they would have seen.
	share bool
}

// flights are the requests under way.
type flights struct {
	mu   sync.Mutex
	m    map[Key]*flight
	tick uint64
}

func (s *flights) init() { s.m = map[Key]*flight{} }

// arrive gives a number to somebody who asks; later ones are greater.
func (s *flights) arrive() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick++
	return s.tick
}

// join takes part in the request under way, or begins one, which the caller then
// leads. One that a write overtook since takes nobody along any more.
func (s *flights) join(ctx context.Context, k Key, m mark) (f *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.m[k]; f != nil && f.mark.stands() {
		f.waiting++
		return f, false
	}
	s.tick++
	f = &flight{done: make(chan struct{}), mark: m, sent: s.tick, waiting: 1}
	// It is everybody's, and ends when the last of them hangs up.
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.m[k] = f
	return f, true
}

// leave is for somebody who waits no more. The last one ends the request.
func (s *flights) leave(k Key, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting > 0 {
		return
	}
	s.forget(k, f)
	f.cancel()
}

// land hands the outcome to all who wait.
func (s *flights) land(k Key, f *flight, out outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.out = out
	s.forget(k, f)
	f.waiting = 1 // whoever reads a stream to its end; the others go their way
	close(f.done)
}

func (s *flights) forget(k Key, f *flight) {
	if s.m[k] == f {
		delete(s.m, k)
	}
}

// loners are the paths whose answers concern one request alone, so that nobody
// waits for another's. It holds as many as fit, and forgets one for the other.
type loners [1024]atomic.Uint64

func (l *loners) slot(path uint64) *atomic.Uint64 { return &l[path%uint64(len(l))] }

func (l *loners) has(path uint64) bool { return l.slot(path).Load() == path }

func (l *loners) add(path uint64) { l.slot(path).Store(path) }

func (l *loners) remove(path uint64) {
	if l.has(path) {
		l.slot(path).Store(0)
	}
}
