// Package sink delivers a token: to a file, to standard output, wrapped by the
// server, sealed for a reader's public key, or several of these.
//
// A Sink writes the token it is given, whole or not at all. Wrapping and
// sealing go around a sink, not into it. WriteAll is what a mode calls: every
// sink is tried, none waits for another, and the failures come back together.
// To add a sink, write its file and add its line to the table; see
// docs/adding-a-sink.md.
package sink

import (
	"context"
	"errors"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

// ErrWrite is the kind of every error about a sink that could not be written.
var ErrWrite = errors.New("sink not written")

// Sink is where a token goes. Name is for people: the type and the path.
//
// An error that no repetition mends, such as a missing directory, is marked
// with retry.Permanent or is the server's refusal; anything else may be tried
// again.
type Sink interface {
	Name() string
	Write(ctx context.Context, tok cred.Token) error
}

// Checker is implemented by a Sink that can tell beforehand whether it could
// be written. Check sends nothing and leaves nothing behind. Every sink that
// New returns has it.
type Checker interface{ Check() error }

// Destination is a place for bytes: what a sink type is, and what sealing goes
// around. Put replaces what is there, whole or not at all, as far as the place
// can; it may be called many times, but not concurrently.
type Destination interface {
	Name() string
	Put(ctx context.Context, data []byte) error
	Check() error
}

// plain is the sink that a Destination makes: the token as its readers
// expect it.
type plain struct{ Destination }

func (p plain) Write(ctx context.Context, tok cred.Token) error {
	data, err := encode(tok)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return retry.Permanent(errors.New("there is no token to write"))
	}
	return p.Put(ctx, data)
}
