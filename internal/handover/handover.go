// Package handover keeps a token in an encrypted file, for the next run to go on
// with: a restart then needs no login, and a secret_id that could be used only
// once need not be delivered again.
//
// It is worth what its key is worth. The key must not lie beside the file: take
// it from a place that the file's reader has no access to, such as a systemd
// credential or a TPM-backed secret. A file that cannot be opened is an error
// with its reason, and never a reason to stop: log in instead.
package handover

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"latchkey/internal/atomicfile"
	"latchkey/internal/cred"
)

// The kinds of error, for errors.Is.
var (
	// ErrKey: there is no key, or it is too short to protect anything.
	ErrKey = errors.New("no usable key")
	// ErrForeign: the file was not written by this package, or by a later version.
	ErrForeign = errors.New("not a handover file of this version")
	// ErrSealed: the file does not open with this key.
	ErrSealed = errors.New("it was changed, or written with another key or for another configuration")
)

// Options says where the token is kept.
type Options struct {
	// Path is the file; its folder must exist.
	Path string
	// Key returns the key material, at least 16 bytes of it. It is called at
	// each use and never kept.
	Key func() ([]byte, error)
	// Bind is what the token is good for, such as a digest of the server's
	// address and the method. A file written for something else does not open.
	Bind string
}

// File is a token in a file. It is not safe for concurrent use.
type File struct{ o Options }

// New returns a file; it reads and writes nothing.
func New(o Options) *File { return &File{o} }

// Load returns the token, empty and nil when there is no file. An error says
// why there is none to be had: ErrKey, ErrForeign, ErrSealed or the system's.
func (f *File) Load() (cred.Redacted, error) {
	tok, err := f.load()
	if err != nil {
		return cred.Redacted{}, fmt.Errorf("read handover file %s: %w", f.o.Path, err)
	}
	return tok, nil
}

func (f *File) load() (cred.Redacted, error) {
	data, err := slurp(f.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return cred.Redacted{}, nil
	}
	if err != nil {
		return cred.Redacted{}, bare(err)
	}
	key, err := f.key()
	if err != nil {
		return cred.Redacted{}, err
	}
	return open(data, key, f.o.Bind)
}

// Save writes the token in place of what was there, readable by its owner only.
func (f *File) Save(tok cred.Token) error {
	err := f.save(tok.Value)
	if err != nil {
		return fmt.Errorf("write handover file %s: %w", f.o.Path, err)
	}
	return nil
}

func (f *File) save(tok cred.Redacted) error {
	if tok.Empty() {
		return errors.New("there is no token to keep")
	}
	key, err := f.key()
	if err != nil {
		return err
	}
	data, err := seal(tok, key, f.o.Bind)
	if err != nil {
		return err
	}
	_, err = atomicfile.Write(f.o.Path, data, atomicfile.Options{Mode: 0o600, UID: -1, GID: -1})
	return bare(err)
}

// Forget removes the file. That it is not there is no error.
func (f *File) Forget() error {
	if err := os.Remove(f.o.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove handover file %s: %w", f.o.Path, bare(err))
	}
	return nil
}

// leastKey is the least key material, in bytes.
const leastKey = 16

func (f *File) key() ([]byte, error) {
	key, err := f.o.Key()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	case len(key) < leastKey:
		return nil, fmt.Errorf("%w: it has %d bytes, and needs at least %d", ErrKey, len(key), leastKey)
	}
	return key, nil
}

// bare takes the path off an error that will be given it by its room.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// maxFile bounds what is read: a path that names the wrong file must not fill
// the memory.
const maxFile = 64 << 10

func slurp(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%w: it is larger than 64 KiB", ErrForeign)
	}
	return data, err
}
