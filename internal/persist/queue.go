package persist

// place is where a record stands.
type place struct{ bucket, name string }

// change is what is to become of a record: a value, or nothing.
type change struct {
	value []byte
	gone  bool
}

// queue is what is not written yet: for each record the newest change, and the
// buckets of which all that is older goes.
type queue struct {
	changes map[place]change
	cleared map[string]bool
	// all says that everything older goes, because there was more to write than
	// is kept.
	all  bool
	size int
}

// Bounds of a queue, for the time that the disk takes nothing: what it holds then
// is held by nobody else.
const (
	mostBytes   = 64 << 20
	mostChanges = 200_000
	// perChange is what a change costs beside its name and value.
	perChange = 100
)

func (q *queue) reset() {
	*q = queue{changes: make(map[place]change), cleared: make(map[string]bool)}
}

func (q *queue) empty() bool { return len(q.changes) == 0 && len(q.cleared) == 0 && !q.all }

func (p place) cost(c change) int { return len(p.bucket) + len(p.name) + len(c.value) + perChange }

// set queues a change. When that is too much, it forgets everything and has the
// file forget everything: a record that is missing costs a question to the server,
// one that is out of date may be wrong. It reports whether it did.
func (q *queue) set(p place, c change) (overflow bool) {
	if old, ok := q.changes[p]; ok {
		q.size -= p.cost(old)
	}
	q.changes[p] = c
	q.size += p.cost(c)
	if q.size > mostBytes || len(q.changes) > mostChanges {
		q.reset()
		q.all = true
		return true
	}
	return false
}

// drop forgets a change, if there is one.
func (q *queue) drop(p place) {
	if c, ok := q.changes[p]; ok {
		delete(q.changes, p)
		q.size -= p.cost(c)
	}
}

func (q *queue) clear(bucket string) {
	for p := range q.changes {
		if p.bucket == bucket {
			q.drop(p)
		}
	}
	q.cleared[bucket] = true
}

// get is what the queue knows of a record: a change, or that the file is to be
// asked.
func (q *queue) get(p place) (c change, known bool) {
	if c, ok := q.changes[p]; ok {
		return c, true
	}
	return change{gone: true}, q.all || q.cleared[p.bucket]
}

// of is what the queue knows of a bucket.
func (q *queue) of(bucket string) queue {
	out := queue{changes: make(map[place]change), cleared: make(map[string]bool), all: q.all || q.cleared[bucket]}
	for p, c := range q.changes {
		if p.bucket == bucket {
			out.changes[p] = c
		}
	}
	return out
}

// after puts this queue behind what was taken out of it and could not be written.
func (q *queue) after(older queue) (overflow bool) {
	newer := *q
	if newer.all {
		return false
	}
	for bucket := range newer.cleared {
		older.clear(bucket)
	}
	*q = older
	for p, c := range newer.changes {
		overflow = q.set(p, c) || overflow
	}
	return overflow
}
