// Package template renders templates to files.
//
// The engine that evaluates a template is hidden here; the loop around it is
// ours: a pass records every read that is missing, the missing ones are
// fetched together through the Reader, and the next pass uses them, until
// nothing is missing. One bad template disturbs no other, and no local fault
// (a template that does not parse, a disk that is full) reads a secret again,
// because a second read may mint a second lease.
package template

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/cred"
)

// The kinds of this room's errors.
var (
	// ErrParse: the template itself is at fault.
	ErrParse = errors.New("template does not parse")
	// ErrMissing: a key that the template names is not in the secret.
	ErrMissing = errors.New("missing key")
	// ErrRender: the template failed while it was evaluated.
	ErrRender = errors.New("template not rendered")
	// ErrWrite: the file could not be written.
	ErrWrite = errors.New("template not written")
	// ErrCommand: the command after the file failed.
	ErrCommand = errors.New("template command failed")
)

// Op is the kind of a Request.
type Op int

// The operations a template can ask for.
const (
	OpRead  Op = iota // secret "path"; KV version 2 is found out by the Reader
	OpWrite           // secret "path" "k=v", pkiCert
	OpList            // secrets "path"
)

// Request is one thing a template needs from the server. Two requests with
// the same Key are the same request and are answered once per run.
type Request struct {
	Op Op
	// Path is as the template has it, without surrounding slashes, without
	// the query.
	Path string
	// Query is the encoded query of a read, "version=2" for instance.
	Query string
	// Body is what a write sends.
	Body map[string]any
}

// Reader answers requests. ReadAll returns one Result for each Request, in
// their order, and waits for all of them; it fetches what it can in parallel
// and answers a request it has answered before from memory. How often a
// failed read is tried again is the Reader's affair.
type Reader interface {
	ReadAll(ctx context.Context, reqs []Request) []Result
}

// Result is the answer to a Request: a secret or an error, never both and
// never neither.
type Result struct {
	Secret *cred.Secret
	Err    error
}

// Runner runs the command of a template; internal/child satisfies it.
type Runner interface {
	Run(ctx context.Context, c Command) error
}

// Command is what runs after a file changed.
type Command struct {
	// Argv has one element for a line that a shell splits when it holds
	// spaces, more for a program and its arguments as they stand.
	Argv []string
	// Env is the whole environment of the command, as NAME=value.
	Env []string
	// Timeout ends it; KillSignal is sent first ("" for SIGINT), then
	// SIGKILL after KillTimeout.
	Timeout     time.Duration
	KillSignal  string
	KillTimeout time.Duration
}
