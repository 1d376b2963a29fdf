// Package persist keeps what a process knows in one sealed file, for the next
// process to go on with: cached answers, leases, tokens.
//
// Open the file, take Buckets of it, run Run beside. Nothing that a Bucket does
// waits for the disk: what is put is queued, is there for who reads at once, and
// is written with all else at most 200 ms later. A disk that is full is told once
// and stops nobody. A file that is damaged, or is sealed with another key, is set
// aside under another name and a new one begun: it is never trusted and never
// repaired.
//
// # What it protects, and what it does not
//
// Names and values are sealed with AES-256-GCM by a random key that is made with
// the file. That key stands in the file, sealed with a key derived (HKDF-SHA256)
// from what Options.Key gives, so the file is worth what that is worth.
//
//   - Who has the file alone learns how many records there are, how large each is,
//     in which bucket and, from several copies, when they changed. He cannot read a
//     record, make one, change one, or move one to another name or bucket. He can
//     remove records, and he can put an older copy of the whole file in place of
//     the newer one: the next process then believes what was true then, until the
//     ends that stand in it, or until the server is asked. Clear and Delete do not
//     wipe: what was sealed stays in free pages until they are used again.
//   - Who has the file and the key material has everything: every token, every
//     credential that was alive when it was written. There is no forward secrecy;
//     key material that was replaced still opens older copies of the file.
//   - Who is root, or may read this process's memory, needs neither.
//
// With the key of persist "kubernetes", the service account's token, the file is
// only as secret as the pod: whoever can run something in the pod, or mount its
// volumes on the node, has both. It protects a volume that is looked at later or
// elsewhere (a disk that was not wiped, a backup, a snapshot), because that token
// is not in it and expires. A key file beside the file protects nothing.
package persist

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// The kinds of error, for errors.Is.
var (
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("another process uses it")
	// ErrKey: there is no key, or it is too short to protect anything.
	ErrKey = errors.New("no usable key")
	// ErrSetAside: what was there could not be used and now stands beside, under
	// the name that the error tells; Open returns a usable, empty File along with
	// it. It is ErrDamaged or ErrForeign as well.
	ErrSetAside = errors.New("set aside")
	// ErrDamaged: the file is not as it was written.
	ErrDamaged = errors.New("the file is damaged")
	// ErrForeign: it was sealed with another key, for something else, or by
	// another version.
	ErrForeign = errors.New("the file was sealed with another key, or for another server")
	// ErrClosed: the File was closed.
	ErrClosed = errors.New("the file is closed")
)

// leastKey is the least key material, in bytes.
const leastKey = 16

// Options says where the file is, and what opens it.
type Options struct {
	// Path is the file; its folder must exist.
	Path string
	// Key returns the key material as it is now, at least 16 bytes of it: the
	// content of a key file, a token. It is called by Open and every now and then
	// by Run, which seals the data key anew when it is another, and is not kept.
	Key func() ([]byte, error)
	// Bind is what the records are good for, such as the server's address: a
	// file that was written for something else is foreign.
	Bind string
	Log  *slog.Logger

	// unsynced is for tests of what is no matter of the disk: nobody waits for
	// it.
	unsynced bool
}

// key is the key material, good or an ErrKey.
func (o *Options) key() ([]byte, error) {
	key, err := o.Key()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	case len(key) < leastKey:
		return nil, fmt.Errorf("%w: it has %d bytes, and needs at least %d", ErrKey, len(key), leastKey)
	}
	return key, nil
}

// File is an open file. It is safe for concurrent use. Within a process too, a
// path can be open only once.
type File struct {
	o    Options
	wake chan struct{}

	// disk is held by who writes, and by who changes db. db is nil where the file
	// was lost and no other could be begun yet; closed is for good.
	disk     sync.Mutex
	db       *bbolt.DB
	closed   bool
	sealer   *sealer
	material [32]byte // a digest of the key material that wraps the data key

	// mu guards what is queued; it is held for moments only, and taken after
	// disk.
	mu    sync.Mutex
	queue queue
	// due is when the queue is to be written, zero for nothing queued.
	due time.Time
	// settled is closed when what is queued now was written, or was tried to be; nil
	// while nobody waits for it. settling is that of what is being written.
	settled, settling chan struct{}
}

// Open opens the file, or begins one where there is none, with mode 0600. Who
// waits for another process's lock waits a second. With an ErrSetAside comes a File
// that can be used: whoever gets it decides whether that is worth a warning or the
// end, and nothing is logged here. All other errors come alone: ErrLocked, ErrKey,
// or the system's.
func Open(o Options) (*File, error) {
	f := &File{o: o, wake: make(chan struct{}, 1)}
	f.queue.reset()
	err := f.open()
	if err != nil {
		err = fmt.Errorf("open %s: %w", o.Path, err)
	}
	if f.db == nil {
		return nil, err
	}
	return f, err
}

// Close writes what is queued and closes the file. It may be called again.
func (f *File) Close() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.closed {
		return nil
	}
	err := f.write()
	return errors.Join(err, f.shut())
}

// shut ends all use of the file. disk is held.
func (f *File) shut() error {
	f.closed = true
	f.mu.Lock()
	f.queue.reset()
	f.mu.Unlock()
	db := f.db
	if f.db = nil; db == nil {
		return nil
	}
	return guarded(db.Close)
}
