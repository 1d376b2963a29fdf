// Package sink delivers a token: to a file, to standard output, wrapped by the
// server, sealed for a reader's public key, or several of these.
//
// A Sink writes the token it is given, whole or not at all. Wrapping and
// sealing go around a sink, not into it. A mode that ends calls WriteAll: every
// sink is tried, none waits for another, and the failures come back together. A
// mode that stays has a Keeper, which writes each new token and puts right what
// others do to a sink meanwhile.
// To add a sink, write its file and add its line to the table; see
// docs/adding-a-sink.md.
package sink

import (
	"context"
	"errors"
	"time"

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

// Watched is implemented by a Sink or a Destination whose content others can
// change or take away. Intact reports whether it still is what was last written;
// it looks at the place, sends nothing, and is not called while a write is under
// way. Before the first write there is nothing to lose, and it is true.
type Watched interface{ Intact() bool }

// Perishable is implemented by a Sink whose content goes bad by itself. Due is
// the moment of the wall clock at which it should be written again, the zero
// time for never.
type Perishable interface{ Due() time.Time }

// Notifier is implemented by a Sink that tells somebody of new content. Notify
// does so if the content changed since it last succeeded, and else does nothing.
// An error changes nothing about what is written; the next call tries again. It
// may run while Write does, but not twice at a time.
type Notifier interface {
	Notify(ctx context.Context) error
}

// Destination is a place for bytes: what a sink type is, and what sealing goes
// around. Put replaces what is there, whole or not at all, as far as the place
// can, and reports whether that changed anything; it may be called many times,
// but not concurrently.
type Destination interface {
	Name() string
	Put(ctx context.Context, data []byte) (changed bool, err error)
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
	_, err = p.Put(ctx, data)
	return err
}
