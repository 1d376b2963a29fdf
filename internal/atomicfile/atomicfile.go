// Package atomicfile is the only place in latchkey that creates files.
//
// Write makes a file appear whole or not at all: a reader sees the old content
// or the new one, never half, and never with an owner or a mode that is not
// meant for it. Nothing else may create a file; a test of the house holds that.
package atomicfile

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Options says how a file is written.
type Options struct {
	// Mode is the exact mode, umask or not. With KeepMode the mode of a file
	// that is already there wins.
	Mode     fs.FileMode
	KeepMode bool
	// UID and GID are the owner, -1 for "as it is": that of the file already
	// there, else of this process.
	UID, GID int
	// MakeDirs creates missing parents, with DirMode as far as the umask lets it;
	// 0755 when that is 0.
	MakeDirs bool
	DirMode  fs.FileMode
	// Backup keeps what was there before as a hard link "<path>.bak".
	Backup bool
	// Compare leaves a file alone whose content, mode and owner are right.
	Compare bool
	// Volatile is for a file that ends with the machine in any case: it is not
	// synced.
	Volatile bool
}

// ErrNotRegular is returned for a target that is a directory, a device or
// anything else that must not be replaced by a file.
var ErrNotRegular = errors.New("not a regular file")

// Write puts data at path and reports whether the file changed. On any error
// what was there before is still there and no temporary file is left.
//
// Owner and mode are set while the temporary file is still empty, and the
// content is synced before the rename, so that a crash leaves the old file or
// the new one and never an empty one. The directory is not synced: which of
// the two a crash leaves does not matter to a reader, and the sync would double
// what a write costs. A symbolic link at path is followed, so that the file it
// names is replaced and not the link.
func Write(path string, data []byte, o Options) (changed bool, err error) {
	changed, err = replace(path, data, o)
	return changed, named(err, path)
}

// named has an error speak of the file that was asked for and not of the
// temporary one.
func named(err error, path string) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: "write", Path: path, Err: pe.Err}
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return &fs.PathError{Op: "write", Path: path, Err: le.Err}
	}
	return err
}

func replace(path string, data []byte, o Options) (changed bool, err error) {
	target, old, err := resolve(path)
	if err != nil {
		return false, err
	}
	o = settle(o, old)
	if o.Compare && old != nil && same(target, old, data, o) {
		return false, nil
	}
	dir := filepath.Dir(target)
	if o.MakeDirs {
		if err := os.MkdirAll(dir, o.DirMode.Perm()); err != nil {
			return false, err
		}
	}
	tmp, err := create(target)
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if err := fill(tmp, data, o); err != nil {
		return false, err
	}
	if o.Backup && old != nil {
		if err := backup(target); err != nil {
			return false, err
		}
	}
	if err := os.Rename(tmp.Name(), target); err != nil {
		return false, err
	}
	return true, nil
}

// Check reports whether Write could put a file at path, leaving nothing
// behind: it creates the temporary file with owner and mode, and removes it.
// Without MakeDirs a missing parent is an error; with it, the nearest parent
// that exists must be writable.
func Check(path string, o Options) error { return named(check(path, o), path) }

func check(path string, o Options) error {
	target, old, err := resolve(path)
	if err != nil {
		return err
	}
	o = settle(o, old)
	if o.MakeDirs {
		dir := filepath.Dir(target)
		for {
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				break
			}
			dir = filepath.Dir(dir)
		}
		target = filepath.Join(dir, filepath.Base(target))
	}
	tmp, err := create(target)
	if err != nil {
		return err
	}
	err = fill(tmp, nil, o)
	return errors.Join(err, os.Remove(tmp.Name()))
}

// resolve follows symbolic links and refuses what is not a regular file; old
// is nil when nothing is there.
func resolve(path string) (target string, old fs.FileInfo, err error) {
	if path == "" {
		return "", nil, &fs.PathError{Op: "write", Path: path, Err: fs.ErrInvalid}
	}
	target = path
	for range 40 {
		fi, err := os.Lstat(target)
		if errors.Is(err, fs.ErrNotExist) {
			return target, nil, nil
		}
		if err != nil {
			return "", nil, err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			if !fi.Mode().IsRegular() {
				return "", nil, &fs.PathError{Op: "write", Path: path, Err: ErrNotRegular}
			}
			return target, fi, nil
		}
		// A link to a pipe or a device may name it by a text that is no path,
		// as /dev/stdout does.
		if end, err := os.Stat(target); err == nil && !end.Mode().IsRegular() {
			return "", nil, &fs.PathError{Op: "write", Path: path, Err: ErrNotRegular}
		}
		link, err := os.Readlink(target)
		if err != nil {
			return "", nil, err
		}
		if !filepath.IsAbs(link) {
			link = filepath.Join(filepath.Dir(target), link)
		}
		target = link
	}
	return "", nil, &fs.PathError{Op: "write", Path: path, Err: syscall.ELOOP}
}

// settle fills in what "as it is" means.
func settle(o Options, old fs.FileInfo) Options {
	if o.DirMode == 0 {
		o.DirMode = 0o755
	}
	if old == nil {
		return o
	}
	if o.KeepMode {
		o.Mode = old.Mode().Perm()
	}
	uid, gid := owner(old)
	if o.UID < 0 {
		o.UID = uid
	}
	if o.GID < 0 {
		o.GID = gid
	}
	return o
}

func same(target string, old fs.FileInfo, data []byte, o Options) bool {
	if old.Size() != int64(len(data)) || old.Mode().Perm() != o.Mode.Perm() {
		return false
	}
	if uid, gid := owner(old); o.UID >= 0 && uid != o.UID || o.GID >= 0 && gid != o.GID {
		return false
	}
	have, err := os.ReadFile(target)
	return err == nil && bytes.Equal(have, data)
}

// create makes the temporary file beside its target, private to this user.
func create(target string) (*os.File, error) {
	return os.OpenFile(beside(target), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// beside is a name in the directory of the target that nobody has.
func beside(target string) string {
	var suffix [8]byte
	_, _ = rand.Read(suffix[:])
	// A long name leaves no room for ours: file systems end it at 255 bytes.
	base := filepath.Base(target)
	base = base[:min(len(base), 200)]
	return filepath.Join(filepath.Dir(target), "."+base+".tmp."+hex.EncodeToString(suffix[:]))
}

// fill sets owner and mode, then writes, syncs and closes.
func fill(f *os.File, data []byte, o Options) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if o.UID >= 0 || o.GID >= 0 {
		if err := chown(f, o.UID, o.GID); err != nil {
			return err
		}
	}
	// After chown, which clears the set-id bits.
	if err := f.Chmod(o.Mode.Perm()); err != nil {
		return err
	}
	if _, err := io.Copy(f, bytes.NewReader(data)); err != nil {
		return err
	}
	if o.Volatile {
		return nil
	}
	return f.Sync()
}

// backup hard-links what is there to "<target>.bak", in place of an older one.
// The link is made under another name first, so that an older backup is there
// until the new one is, and that nothing but a file is replaced.
func backup(target string) error {
	name := beside(target)
	if err := link(target, name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone by now: nothing to keep
		}
		return err
	}
	err := os.Rename(name, target+".bak")
	// Where both are links to one file already, rename leaves the first.
	_ = os.Remove(name)
	return err
}

// link is os.Link for a file that others may replace meanwhile: the system then
// answers that the one it has just found is not there any more.
func link(from, to string) error {
	for {
		err := os.Link(from, to)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, gone := os.Lstat(from); gone != nil {
			return err
		}
	}
}
