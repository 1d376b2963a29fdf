// Package template renders templates to files.
//
// The engine that evaluates a template is hidden here; the loop around it is
// ours: a pass records every read that is missing, the missing ones are
// fetched together through the Reader, and the next pass uses them, until
// nothing is missing. One bad template disturbs no other, and no local fault
// (a template that does not parse, a disk that is full) reads a secret again,
// because a second read may mint a second lease.
//
// Use it in three steps: New parses everything and reports every template that
// is at fault, Requests and Plan.CheckWritable tell beforehand what a run would
// ask for and whether it could write, Render does the work once. A Set keeps no
// state between two Renders and is safe for one Render at a time. Who stays uses
// Watch in its place: it renders again whatever has another input, each template
// by itself, with the same run for a few templates that Render is for all.
//
// No error of this package holds a value of a secret; see scrub.go when adding
// one that quotes what a template said while it was evaluated.
package template

import (
	"context"
	"errors"
	"time"

	"latchkey/internal/cred"
)

// The kinds of this room's errors.
var (
	// ErrParse: the template itself is at fault: its text, its source or its
	// options. Every error of New is this, except a user or group that this
	// machine does not know, which is ErrWrite.
	ErrParse = errors.New("template does not parse")
	// ErrSource: the file that holds the template cannot be read.
	ErrSource = errors.New("template source cannot be read")
	// ErrMissing: a key that the template names is not in the secret, or a
	// Consul key or Nomad variable that it needs does not exist.
	ErrMissing = errors.New("missing key")
	// ErrRender: the template failed while it was evaluated.
	ErrRender = errors.New("template not rendered")
	// ErrWrite: the file could not be written.
	ErrWrite = errors.New("template not written")
	// ErrCommand: the command after the file failed.
	ErrCommand = errors.New("template command failed")
)

// Request, Result and Op are the nouns that all readers share; see cred.
type (
	Request = cred.Request
	Result  = cred.Result
	Op      = cred.Op
)

// The operations a template can ask for.
const (
	OpRead  = cred.OpRead
	OpWrite = cred.OpWrite
	OpList  = cred.OpList
)

// Reader answers requests. ReadAll returns one Result for each Request, in
// their order, and waits for all of them; it fetches what it can in parallel
// and answers a request it has answered before from memory. How often a
// failed read is tried again is the Reader's affair.
//
// A read of a secret that does not exist or is deleted is an error. A list of a
// folder that does not exist is not: it is a Secret without keys, because that
// is what templates written for Vault Agent expect. A write that the server
// answers with nothing is an empty Secret.
type Reader interface {
	ReadAll(ctx context.Context, reqs []Request) []Result
}

// Streamer is implemented by a Reader that can hand over each answer as it
// arrives, so that a template is written while others still wait for theirs.
// each is called once for every request, with its index, never twice at a time;
// ReadEach returns after the last call.
type Streamer interface {
	ReadEach(ctx context.Context, reqs []Request, each func(i int, res Result))
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
