package persist

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"latchkey/internal/retry"
)

const (
	// delay is how long a change waits for others to be written along.
	delay = 200 * time.Millisecond
	// lookAtKey is how often the key material is looked at.
	lookAtKey = 10 * time.Second
	// Bounds of a transaction.
	mostTogether  = 2000
	bytesTogether = 4 << 20
)

// repeat is when to write again what could not be written.
var repeat = retry.Schedule{Base: time.Second, Max: time.Minute, Jitter: 0.25}

// Run writes what is queued, and seals the data key anew when the key material is
// another, until ctx ends, and returns the cause. What is queued then, Close
// writes. A disk that takes nothing is told once, and once when it does again.
func (f *File) Run(ctx context.Context) error {
	look := time.Now().Add(lookAtKey)
	var resume time.Time
	var disk, key trouble
	for {
		at := look
		if due := later(f.soon(), resume); !due.IsZero() && due.Before(at) {
			at = due
		}
		woken := retry.Until(ctx, at, f.wake)
		now := time.Now()
		switch woken {
		case retry.Ended:
			return context.Cause(ctx)
		case retry.SetBack:
			// Nobody knows by the clock when anything is due.
			look, resume = now, time.Time{}
			f.hurry()
		}
		if !now.Before(look) {
			look = now.Add(lookAtKey)
			key.note(f.o.Log, f.rewrap(), "the kept answers cannot be sealed with the key as it is now, and a restart will not be able to use them", "they are sealed with the key as it is now")
		}
		if due := later(f.soon(), resume); due.IsZero() || now.Before(due) {
			continue
		}
		err := f.Flush()
		disk.note(f.o.Log, err, "answers cannot be kept on disk, and are in memory alone", "answers are kept on disk again")
		if resume = (time.Time{}); err != nil {
			resume = now.Add(repeat.Wait(disk.times))
		}
	}
}

// soon is when the queue is to be written, zero for never.
func (f *File) soon() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.due
}

// hurry makes what is queued due now.
func (f *File) hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.due.IsZero() {
		f.due = time.Now()
	}
}

// settle has what is queued written now, and waits until that was tried, but not
// longer than most. It does not write by itself: a disk that hangs holds up Run.
func (f *File) settle(most time.Duration) {
	f.mu.Lock()
	done := f.settling
	if !f.queue.empty() {
		if f.settled == nil {
			f.settled = make(chan struct{})
		}
		done, f.due = f.settled, time.Now()
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	f.mu.Unlock()
	if done == nil {
		return
	}
	bound := time.NewTimer(most)
	defer bound.Stop()
	select {
	case <-done:
	case <-bound.C:
	}
}

// later is the later of a moment and a bound, zero for no moment.
func later(at, bound time.Time) time.Time {
	if !at.IsZero() && at.Before(bound) {
		return bound
	}
	return at
}

// Flush writes what is queued now. After an error it stays queued.
func (f *File) Flush() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.closed {
		return ErrClosed
	}
	return f.write()
}

// write is Flush with disk held.
func (f *File) write() error {
	f.mu.Lock()
	q := f.queue
	f.queue.reset()
	f.due = time.Time{}
	done := f.settled
	if f.settled = nil; done == nil {
		done = make(chan struct{})
	}
	f.settling = done
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.settling = nil
		f.mu.Unlock()
		close(done)
	}()
	if q.empty() {
		return nil
	}
	err := f.commit(&q)
	if errors.Is(err, ErrDamaged) {
		f.lose(err)
		err = f.commit(&q)
	}
	if err == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overflowed(f.queue.after(q))
	f.postpone()
	return err
}

// postpone sets when the queue is to be written. mu is held.
func (f *File) postpone() {
	if f.due.IsZero() {
		f.due = time.Now().Add(delay)
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// overflowed tells that a queue forgot everything.
func (f *File) overflowed(yes bool) {
	if yes {
		f.o.Log.Error("more is to be kept than the disk takes: all of it is forgotten there, and kept anew as it comes")
	}
}

// commit writes changes, in several transactions where there are many, and takes
// out of q what is written. disk is held.
func (f *File) commit(q *queue) error {
	if f.db == nil {
		material, err := f.o.key()
		if err == nil {
			err = f.use(material)
		}
		if err != nil {
			return err
		}
	}
	todo := make([]place, 0, len(q.changes))
	for p := range q.changes {
		todo = append(todo, p)
	}
	for {
		n, size := 0, 0
		for n < len(todo) && n < mostTogether && size < bytesTogether {
			size += todo[n].cost(q.changes[todo[n]])
			n++
		}
		err := guarded(func() error {
			return f.db.Update(func(tx *bbolt.Tx) error { return f.apply(tx, q, todo[:n]) })
		})
		if err != nil {
			return err
		}
		q.cleared, q.all = make(map[string]bool), false
		for _, p := range todo[:n] {
			q.drop(p)
		}
		if todo = todo[n:]; len(todo) == 0 {
			return nil
		}
	}
}

// sealed is a change as it goes to the file.
type sealed struct {
	bucket    string
	at, value []byte // value nil for gone
}

func (f *File) apply(tx *bbolt.Tx, q *queue, part []place) error {
	if err := wipe(tx, q); err != nil {
		return err
	}
	out := make([]sealed, len(part))
	for i, p := range part {
		c := q.changes[p]
		out[i].bucket = p.bucket
		if c.gone {
			out[i].at = f.sealer.name(p.bucket, p.name)
			continue
		}
		var err error
		if out[i].at, out[i].value, err = f.sealer.seal(p.bucket, p.name, c.value); err != nil {
			return err
		}
	}
	slices.SortFunc(out, func(a, b sealed) int {
		return cmp.Or(cmp.Compare(a.bucket, b.bucket), bytes.Compare(a.at, b.at))
	})
	for _, s := range out {
		b, err := tx.CreateBucketIfNotExists([]byte(s.bucket))
		if err != nil {
			return err
		}
		if s.value == nil {
			err = b.Delete(s.at)
		} else {
			err = b.Put(s.at, s.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wipe removes the buckets that were cleared.
func wipe(tx *bbolt.Tx, q *queue) error {
	var gone [][]byte
	err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if (q.all || q.cleared[string(name)]) && !bytes.Equal(name, headBucket) {
			gone = append(gone, slices.Clone(name))
		}
		return nil
	})
	for _, name := range gone {
		err = errors.Join(err, tx.DeleteBucket(name))
	}
	return err
}

// lose gives up a database whose file somebody changed while it was in use, and
// begins another. It may not even let itself be closed: its locks may be held by
// the call that broke off. disk is held.
func (f *File) lose(err error) {
	f.db = nil
	as, moved := setAside(f.o.Path)
	f.o.Log.Error("the file of kept answers was changed while it was in use: what was in it is lost", "path", f.o.Path, "set_aside", as, "error", errors.Join(err, moved))
}

// rewrap seals the data key anew when the key material is another.
func (f *File) rewrap() error {
	material, err := f.o.key()
	if err != nil {
		return err
	}
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.db == nil || sha256.Sum256(material) == f.material {
		return nil
	}
	if err := f.wrap(f.db, f.sealer.data, material); err != nil {
		return err
	}
	f.material = sha256.Sum256(material)
	f.o.Log.Info("the key of the kept answers is another: the file is sealed with that")
	return nil
}
