package lease

import (
	"time"

	"latchkey/internal/cred"
)

// entry is one answer that is kept.
type entry struct {
	key string
	req cred.Request

	// has says that held is good to be given; without it, the server said that
	// nothing is there, and is asked now and then.
	has bool
	content
	// granted is what the lease was at first.
	granted time.Duration
	// blind says that the version cannot be had without reading the data.
	blind bool

	act action
	due time.Time
	// index is the place in the queue, away while somebody works on it.
	index int
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

// away is the index of an entry that is not in the queue.
const away = -1

// good reports whether the answer may be given at now.
func (e *entry) good(now time.Time) bool { return e.has && !e.term.over(now) }

// queue is a heap of entries, the soonest due first; see container/heap.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is heap's.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop is heap's.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = away
	return e
}
