// Package secretfile keeps secrets as files of JSON, in the shape in which
// vault-lambda-extension writes them.
//
// A path of the API becomes a file: the server's answer, request id, lease and all,
// as its own client for Go would print it. Nothing runs in the background: the one
// who calls Tend says how far ahead to look, and finds every file right until then,
// or an error that says which is not.
package secretfile

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Identity lends the token to read with.
type Identity interface {
	// Token waits for one until ctx ends.
	Token(ctx context.Context) (cred.Redacted, error)
	// Replace says that the server does not know bad any more, and waits for
	// another.
	Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error)
}

// Spec is one secret and its file.
type Spec struct {
	// Name is for messages, and may be empty.
	Name string
	// Path is an API path as Client.Read takes it.
	Path string
	// File is where it goes.
	File string
	// Mode and DirMode are the file's, and that of directories that have to be
	// made; 0600 and 0700 when 0.
	Mode, DirMode fs.FileMode
	// From is the variable or the key that asks for it, for messages.
	From string
}

// Options are what all files share.
type Options struct {
	Client   *vault.Client
	Identity Identity
	// Refresh is how often an answer without an end is read again, 0 for never.
	Refresh time.Duration
	// Retry is for what may mend itself while a file is not in place; as long as
	// one is, it is tried once.
	Retry retry.Schedule
	// Observer, Log and Meter may be nil.
	Observer retry.Observer
	Log      *slog.Logger
	Meter    meter.Meter
}

// Files are the files. They are safe for concurrent use.
type Files struct {
	specs []Spec
	o     Options
}

// New checks the specs; it reads and writes nothing.
func New(specs []Spec, o Options) (*Files, error) {
	return &Files{specs, o}, nil
}

// Name is what messages call it.
func (f *Files) Name() string { return "files" }

// Due is when there is next something to do: long past before all was read once,
// zero for never. It asks nobody.
func (f *Files) Due() time.Time { return time.Time{} }

// Use tells of a new token. What has a lease ended with the one before it, or will,
// and is due at once.
func (f *Files) Use(t cred.Token) {}

// Tend reads what is due, in parallel, and writes what changed. Answers with a lease
// are read anew already when they would end before by; of a short lease, half is
// waited for first.
//
// A file that is still good stays when its secret cannot be read, and this is
// logged once. The error names each secret whose file is not there or not good any
// more.
func (f *Files) Tend(ctx context.Context, by time.Time) error { return errors.New("not yet") }
