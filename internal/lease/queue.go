package lease

import (
	"container/heap"
	"time"

	"latchkey/internal/cred"
)

// entry is one answer that is kept.
type entry struct {
	slot
	key string
	req cred.Request

	// has says that held is good to be given; without it, the server said that
	// nothing is there, and is asked now and then.
	has bool
	content
	// granted is what the lease was at first.
	granted time.Duration
	// owner is the accessor of the token that asked for it, "" for nobody knows.
	owner string
	// restored says that it is of an earlier process, and there was no Use since;
	// unproven, that no renewal has shown yet that the server still knows it. It
	// is not given to anybody until then.
	restored, unproven bool
	// saved says that the store has it.
	saved bool
	// blind says that the version cannot be had without reading the data.
	blind bool

	act action
	// failures counts those since the last success, err is the last.
	failures int
	err      error
	errAt    time.Time
	// stale counts the answers in a row that were over as they arrived.
	stale uint8
	// told is what was said loudly of its end.
	told toldOf
	// touched says that it is to be looked at again because of an event that came
	// while somebody worked on it.
	touched bool
}

type toldOf uint8

const (
	toldNothing toldOf = iota
	toldLate
	toldOver
)

// good reports whether the answer may be given at now.
func (e *entry) good(now time.Time) bool { return e.has && !e.unproven && !e.term.over(now) }

// slot is what a queue has to know of what it holds.
type slot struct {
	due time.Time
	// index is the place in the queue, away while somebody works on it.
	index int
}

// away is the index of what is not in the queue.
const away = -1

func (s *slot) place() *slot { return s }

// queue is a heap, the soonest due first; see container/heap.
type queue[E interface{ place() *slot }] []E

func (q queue[E]) Len() int           { return len(q) }
func (q queue[E]) Less(i, j int) bool { return q[i].place().due.Before(q[j].place().due) }

func (q queue[E]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place().index, q[j].place().index = i, j
}

// Push is heap's.
func (q *queue[E]) Push(x any) {
	e := x.(E)
	e.place().index = len(*q)
	*q = append(*q, e)
}

// Pop is heap's.
func (q *queue[E]) Pop() any {
	last := len(*q) - 1
	e, none := (*q)[last], *new(E)
	(*q)[last] = none
	*q = (*q)[:last]
	e.place().index = away
	return e
}

// put brings what is in the queue to where it belongs, and what is not into it.
func (q *queue[E]) put(e E) {
	if i := e.place().index; i != away {
		heap.Fix(q, i)
	} else {
		heap.Push(q, e)
	}
}

// take removes what is in the queue.
func (q *queue[E]) take(e E) {
	if i := e.place().index; i != away {
		heap.Remove(q, i)
	}
}
