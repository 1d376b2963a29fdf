package persist

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"latchkey/internal/retry"
)

const (
	// patience is how long Open waits for another process to let go of the file.
	patience = time.Second
	// largest is what a file may grow to, in bytes.
	largest = 1 << 30
	// beside follows the name of a file that was set aside; of those, relics are
	// kept.
	beside = ".set-aside-"
	relics = 3
)

// The one bucket that is not the caller's, and what stands in it.
var (
	headBucket = []byte("head")
	headKey    = []byte("key")
)

// open opens what is there, or sets it aside and begins another.
func (f *File) open() error {
	material, err := f.o.key()
	if err != nil {
		return err
	}
	err = f.use(material)
	var r *rejected
	if !errors.As(err, &r) {
		return err
	}
	if again := f.use(material); again != nil {
		return again
	}
	return err
}

// rejected is a file that was set aside, and why.
type rejected struct {
	as  string
	err error
}

func (r *rejected) Error() string {
	return fmt.Sprintf("%v as %s: %v", ErrSetAside, filepath.Base(r.as), r.err)
}

func (r *rejected) Unwrap() []error { return []error{ErrSetAside, r.err} }

// reject sets aside what cannot be used, while it is still locked where the system
// allows it: another process could have begun with it else.
func (f *File) reject(err error, shut func() error) error {
	if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
		return errors.Join(err, shut())
	}
	as, moved := setAside(f.o.Path)
	// It is not needed any more, whatever that says.
	_ = shut()
	if moved != nil {
		as, moved = setAside(f.o.Path)
	}
	if moved != nil {
		return fmt.Errorf("%w; and it cannot be set aside: %w", err, moved)
	}
	return &rejected{as, err}
}

// use opens the file at the path: with a lock, after a look at every page.
func (f *File) use(material []byte) error {
	file, err := lay(f.o.Path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size() > 0 {
		err = verify(file, info.Size())
	}
	if err != nil {
		return f.reject(err, file.Close)
	}
	var db *bbolt.DB
	err = guarded(func() (err error) {
		db, err = bbolt.Open(f.o.Path, 0o600, &bbolt.Options{
			Timeout: patience, FreelistType: bbolt.FreelistMapType, MaxSize: largest, NoStatistics: true,
			NoSync: f.o.unsynced, NoGrowSync: f.o.unsynced,
			OpenFile: func(string, int, os.FileMode) (*os.File, error) { return file, nil },
		})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return ErrLocked
	case err != nil:
		return f.reject(err, func() error { return letGo(file) })
	}
	if err := f.unlock(db, material); err != nil {
		return f.reject(err, func() error { return guarded(db.Close) })
	}
	f.db, f.material = db, sha256.Sum256(material)
	return nil
}

// lay opens the file, or creates it, and locks it.
func lay(path string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			return nil, errors.New("it is no file")
		}
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, bare(err)
		}
		err = flock(ctx, file)
		if err == nil {
			// A umask takes away, and somebody may have given.
			err = file.Chmod(0o600)
		}
		if err != nil {
			return nil, errors.Join(bare(err), file.Close())
		}
		// Who had the lock may have set it aside meanwhile, or removed it.
		here, err := file.Stat()
		there, err2 := os.Stat(path)
		if err == nil && err2 == nil && os.SameFile(here, there) {
			return file, nil
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ErrLocked
		}
	}
}

// again is how often to try to get a lock.
const again = 50 * time.Millisecond

// flock waits for the lock of a file as long as ctx says.
func flock(ctx context.Context, file *os.File) error {
	for {
		free, err := tryLock(file)
		if free || err != nil {
			return err
		}
		if retry.Until(ctx, time.Now().Add(again), nil) == retry.Ended {
			return ErrLocked
		}
	}
}

// letGo closes a file that bbolt may have closed.
func letGo(file *os.File) error {
	if err := file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// unlock finds the data key of a database, or makes one for an empty one.
func (f *File) unlock(db *bbolt.DB, material []byte) error {
	var head []byte
	empty := true
	err := guarded(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			first, _ := tx.Cursor().First()
			empty = first == nil
			if b := tx.Bucket(headBucket); b != nil {
				head = slices.Clone(b.Get(headKey))
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	var data []byte
	if empty {
		data = salt(keySize)
		err = f.wrap(db, data, material)
	} else {
		data, err = unwrap(head, material, f.o.Bind)
	}
	if err != nil {
		return err
	}
	f.sealer, err = newSealer(data)
	return err
}

// wrap writes the data key, sealed with key material.
func (f *File) wrap(db *bbolt.DB, data, material []byte) error {
	wrapped, err := wrap(data, material, f.o.Bind)
	if err != nil {
		return err
	}
	return guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(headBucket)
			if err != nil {
				return err
			}
			return b.Put(headKey, wrapped)
		})
	})
}

// guarded does something with a database whose file somebody may have changed
// under us: a fault in its map becomes an ErrDamaged and not the end of the
// process. After one the database may not even let itself be closed.
func guarded(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damage("while it was used: %v", p)
		}
	}()
	return do()
}

// setAside renames what cannot be used, for somebody to look at, and returns the
// new name. Of several, the newest are kept.
func setAside(path string) (string, error) {
	aside := path + beside + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := os.Rename(path, aside); err != nil {
		return "", bare(err)
	}
	// In the order of their names, which is that of time.
	entries, _ := os.ReadDir(filepath.Dir(path))
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return !strings.HasPrefix(e.Name(), filepath.Base(path)+beside)
	})
	for _, e := range entries[:max(len(entries)-relics, 0)] {
		// What cannot be removed is in nobody's way.
		_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
	}
	return aside, nil
}

// bare takes the path off an error that is given it by who returns it.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.Err
	}
	return err
}
