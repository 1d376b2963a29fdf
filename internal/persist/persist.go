// Package persist keeps what a process knows in one sealed file, for the next
// process to go on with.
package persist

import (
	"context"
	"errors"
	"log/slog"

	"latchkey/internal/cred"
)

// The kinds of error, for errors.Is.
var (
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("another process uses it")
	// ErrKey: there is no key, or it is too short to protect anything.
	ErrKey = errors.New("no usable key")
	// ErrSetAside: what was there could not be used and now stands beside under
	// another name; Open returns a usable, empty File along with it.
	ErrSetAside = errors.New("what was there could not be used, and was set aside")
)

// Options says where the file is, and what opens it.
type Options struct {
	// Path is the file; its folder must exist.
	Path string
	// Key returns the key material as it is now, at least 16 bytes of it.
	Key func() ([]byte, error)
	// Bind is what the records are good for, such as the server's address. A
	// file that was written for something else is set aside.
	Bind string
	Log  *slog.Logger
}

// File is an open file. It is safe for concurrent use.
type File struct{ o Options }

// Open opens the file, or begins one.
func Open(o Options) (*File, error) { return &File{o}, nil }

// Bucket is a part of the file with names of its own.
type Bucket struct {
	f    *File
	name string
}

// Bucket returns the part with this name, which need not be there yet.
func (f *File) Bucket(name string) Bucket { return Bucket{f, name} }

// Put has a value written soon, in place of what was there. It keeps value.
func (b Bucket) Put(key string, value []byte) {}

// Delete has a value removed soon.
func (b Bucket) Delete(key string) {}

// Each calls f with all that is there, what is not written yet included, in no
// order.
func (b Bucket) Each(f func(key string, value []byte)) {}

// Clear has everything in the bucket removed soon.
func (b Bucket) Clear() {}

// Run writes what is queued until ctx ends, and returns the cause.
func (f *File) Run(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Flush writes what is queued now.
func (f *File) Flush() error { return nil }

// Close flushes and closes.
func (f *File) Close() error { return nil }

// Remove closes and removes the file.
func (f *File) Remove() error { return nil }

// Handover is one token in a File, in the shape of session.Handover.
type Handover struct {
	f    *File
	name string
}

// Handover returns the place of the token with this name, such as the name of an
// identity with a digest of its login: a token that was got by another login is
// not found.
func (f *File) Handover(name string) Handover { return Handover{f, name} }

// Load returns the token of an earlier run, empty and nil when there is none.
func (h Handover) Load() (cred.Redacted, error) { return cred.Redacted{}, nil }

// Save takes the place of what was saved before.
func (h Handover) Save(tok cred.Token) error { return nil }

// Forget removes it.
func (h Handover) Forget() error { return nil }
