// Package secretfile keeps secrets as files of JSON, in the shape in which
// vault-lambda-extension writes them.
//
// A path of the API becomes a file: the server's answer, request id, lease and all,
// as its own client for Go would print it. Nothing runs in the background: the one
// who calls Tend says how far ahead to look, and finds every file right until then,
// or an error that says which is not.
package secretfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"latchkey/internal/cred"
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
	// Retry is for what may mend itself while a file is not there or not good any
	// more; as long as it is good, it is tried once.
	Retry retry.Schedule
	// Observer and Log may be nil.
	Observer retry.Observer
	Log      *slog.Logger
}

// Files are the files. They are safe for concurrent use.
type Files struct {
	o Options
	// turn is held by who tends.
	turn chan struct{}

	mu    sync.Mutex
	files []*file
	// token is the one in use, as far as it was told; empty when it was not.
	token cred.Redacted
}

// New checks the specs; it reads and writes nothing.
func New(specs []Spec, o Options) (*Files, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Files{o: o, turn: make(chan struct{}, 1)}
	taken := map[string]string{}
	for _, s := range specs {
		s.Mode, s.DirMode = cmp.Or(s.Mode, 0o600), cmp.Or(s.DirMode, 0o700)
		s.From = cmp.Or(s.From, s.Name, s.Path)
		place := filepath.Clean(s.File)
		switch other, twice := taken[place]; {
		case s.Path == "":
			return nil, fmt.Errorf("%s: names no secret", s.From)
		case s.File == "":
			return nil, fmt.Errorf("%s: names no file", s.From)
		case twice:
			return nil, fmt.Errorf("%s: its file is that of %s too: %s", s.From, other, place)
		}
		taken[place] = s.From
		f.files = append(f.files, &file{Spec: s})
	}
	return f, nil
}

// Name is what messages call it.
func (f *Files) Name() string { return "files" }

// Due is when there is next something to do: in the past before all was read once,
// zero for never. It asks nobody.
func (f *Files) Due() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first time.Time
	now := cred.Wall(time.Now())
	for _, x := range f.files {
		if at := x.next(now); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// Use tells of a new token. An answer with a lease ends with the token that asked for
// it, so that one of another token is due at once.
func (f *Files) Use(t cred.Token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.token = t.Value
	for _, x := range f.files {
		x.bound(f.token)
	}
}

// parallel bounds the reads under way.
const parallel = 16

// Tend reads what is due, in parallel, and writes what changed. An answer with a
// lease is read anew already when that would be due before by, once half of it is
// over; one without waits for its own moment. A call while another is under way
// waits for that one first.
//
// A file that is still good stays when its secret cannot be read or written, and that
// is logged once. The error names each secret whose file is not there or not good any
// more. What failed is not tried again at once by the next call.
func (f *Files) Tend(ctx context.Context, by time.Time) error {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return fmt.Errorf("wait for the files: %w", context.Cause(ctx))
	}
	due := f.due(time.Now(), by)
	room := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, x := range due {
		if i == len(due)-1 {
			f.tend(ctx, x) // mostly the only one, and this goroutine has its stack
			break
		}
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			f.tend(ctx, x)
		})
	}
	wg.Wait()
	return f.missing(time.Now())
}

// due are the files that have to be looked after.
func (f *Files) due(now, by time.Time) []*file {
	f.mu.Lock()
	defer f.mu.Unlock()
	var due []*file
	for _, x := range f.files {
		if x.dueBy(cred.Wall(now), cred.Wall(by)) {
			due = append(due, x)
		}
	}
	return due
}

// missing says what is not in place.
func (f *Files) missing(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, x := range f.files {
		if x.err != nil && !x.good(cred.Wall(now)) {
			errs = append(errs, x.err)
		}
	}
	return errors.Join(errs...)
}
