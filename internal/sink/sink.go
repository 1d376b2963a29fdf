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
)

// ErrWrite is the kind of every error about a sink that could not be written.
var ErrWrite = errors.New("sink not written")

// Sink is where a token goes. Name is for people: the type and the path.
type Sink interface {
	Name() string
	Write(ctx context.Context, tok cred.Token) error
}
