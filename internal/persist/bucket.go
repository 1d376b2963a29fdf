package persist

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Bucket is a part of a File with names of its own. It is safe for concurrent use.
// But for Each and Settle, nothing that it does waits for the disk.
type Bucket struct {
	f    *File
	name string
}

// Bucket returns the part with this name, which need not be there yet. The name is
// a word of the program: it stands in the file as it is. "head" is taken.
func (f *File) Bucket(name string) Bucket { return Bucket{f, name} }

// Put has a value written soon, in place of what was there. The value must not be
// changed any more.
func (b Bucket) Put(key string, value []byte) { b.set(key, change{value: value}) }

// Delete has a value removed soon. That there is none is nothing.
func (b Bucket) Delete(key string) { b.set(key, change{gone: true}) }

func (b Bucket) set(key string, c change) {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.f.overflowed(b.f.queue.set(place{b.name, key}, c))
	b.f.postpone()
}

// mostSettling is how long somebody waits for a disk, at most.
const mostSettling = time.Second

// Settle waits until what was changed so far is written, so that a process that is
// killed afterwards does not leave what was deleted. While Run does not run, or the
// disk takes nothing, it waits a second; what is wrong then, Run tells.
func (b Bucket) Settle() { b.f.settle(mostSettling) }

// Clear has everything in the bucket removed soon.
func (b Bucket) Clear() {
	b.f.mu.Lock()
	defer b.f.mu.Unlock()
	b.f.queue.clear(b.name)
	b.f.postpone()
}

// Each calls each with all that is there, what is not written yet included, in no
// order. What was changed by somebody else is left out, told in the log and
// removed. What is put meanwhile may come or not. It waits for the disk, and each
// may call whatever it likes.
func (b Bucket) Each(each func(key string, value []byte)) {
	f := b.f
	f.disk.Lock()
	f.mu.Lock()
	fresh := f.queue.of(b.name)
	f.mu.Unlock()
	f.disk.Unlock()
	for p, c := range fresh.changes {
		if !c.gone {
			each(p.name, c.value)
		}
	}
	var bad [][]byte
	for at := []byte(nil); !fresh.all; {
		part, more, sealer, err := b.read(at)
		if err != nil {
			f.o.Log.Error("the kept answers cannot be read", "error", err)
			break
		}
		for _, r := range part {
			name, value, err := sealer.open(b.name, r.at, r.value)
			if err != nil {
				bad = append(bad, r.at)
			} else if _, known := fresh.get(place{b.name, name}); !known {
				each(name, value)
			}
		}
		if !more {
			break
		}
		last := part[len(part)-1].at
		if at != nil && bytes.Compare(last, at) <= 0 {
			// A bit that was flipped in a key leads back to where we were.
			f.o.Log.Error("the kept answers cannot all be read", "error", "they are not in order")
			break
		}
		at = last
	}
	b.discard(bad)
}

// read returns some records that come after at, as they stand in the file, whether
// there are more, and what opens them.
func (b Bucket) read(at []byte) (part []sealed, more bool, s *sealer, err error) {
	b.f.disk.Lock()
	defer b.f.disk.Unlock()
	size := 0
	err = b.f.view(func(tx *bbolt.Tx) error {
		in := tx.Bucket([]byte(b.name))
		if in == nil {
			return nil
		}
		c := in.Cursor()
		k, v := c.First()
		if at != nil {
			if k, v = c.Seek(at); bytes.Equal(k, at) {
				k, v = c.Next()
			}
		}
		for ; k != nil && len(part) < mostTogether && size < bytesTogether; k, v = c.Next() {
			part = append(part, sealed{at: slices.Clone(k), value: slices.Clone(v)})
			size += len(v)
		}
		more = k != nil
		return nil
	})
	return part, more, b.f.sealer, err
}

// discard removes records that do not open.
func (b Bucket) discard(bad [][]byte) {
	if len(bad) == 0 {
		return
	}
	f := b.f
	f.disk.Lock()
	defer f.disk.Unlock()
	var err error
	if f.db != nil {
		err = guarded(func() error {
			return f.db.Update(func(tx *bbolt.Tx) error {
				in := tx.Bucket([]byte(b.name))
				if in == nil {
					return nil
				}
				var err error
				for _, at := range bad {
					err = errors.Join(err, in.Delete(at))
				}
				return err
			})
		})
	}
	f.o.Log.Warn("kept answers that somebody changed are not used, and removed", "bucket", b.name, "records", len(bad), "error", err)
}

// get returns one record, and whether there is one. Its errors are errSealed,
// ErrClosed or the system's.
func (b Bucket) get(key string) (value []byte, ok bool, err error) {
	f := b.f
	f.disk.Lock()
	defer f.disk.Unlock()
	f.mu.Lock()
	c, known := f.queue.get(place{b.name, key})
	f.mu.Unlock()
	if known {
		return c.value, !c.gone, nil
	}
	at := f.sealer.name(b.name, key)
	var raw []byte
	err = f.view(func(tx *bbolt.Tx) error {
		if in := tx.Bucket([]byte(b.name)); in != nil {
			raw = slices.Clone(in.Get(at))
		}
		return nil
	})
	if err != nil || raw == nil {
		return nil, false, err
	}
	_, value, err = f.sealer.open(b.name, at, raw)
	return value, err == nil, err
}

// view reads from the file. One that was lost holds nothing. disk is held.
func (f *File) view(do func(tx *bbolt.Tx) error) error {
	switch {
	case f.closed:
		return ErrClosed
	case f.db == nil:
		return nil
	}
	err := guarded(func() error { return f.db.View(do) })
	if errors.Is(err, ErrDamaged) {
		f.lose(err)
		return nil
	}
	return err
}
