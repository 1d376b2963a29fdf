// Package auth turns an identity that the place already has into a token: one
// small file per method.
//
// A Method finishes its own exchange with the server, so that no caller has
// to know what a method sends. Constructors decode their block strictly and
// read nothing else: files are read at each Login, because they rotate. To
// add a method, write its file, then add its line to internal/methods; see
// docs/adding-an-auth-method.md.
package auth

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

// ErrCredentials is the kind of every error about the identity at hand: a
// file that is not there, is empty, or does not hold what it should. It may
// mend itself (a file may still appear), so it is not permanent.
var ErrCredentials = errors.New("no usable credentials")

// ErrWouldSpend is returned by a method that cannot log in without using its
// credential up, when Options.Preserve forbids that. What can be told without
// it has been checked.
var ErrWouldSpend = errors.New("logging in would use the credential up")

// Method logs in once.
//
// The client that Login receives carries the method's namespace and response
// wrapping, and no token. An answer without a token is an error, never an
// empty Token. An error that no repetition mends (a refused login) is the
// client's *vault.Error or is marked with retry.Permanent; anything else may
// be tried again. Login may be called many times, but not concurrently.
type Method interface {
	Login(ctx context.Context, c *vault.Client) (cred.Token, error)
}

// Bound is implemented by a Method whose tokens the server renews only over a
// connection like that of the login.
type Bound interface {
	// Reach returns the client to renew with, made of the one that Login
	// receives, and what to call when it is not used any more. Like Login, it is
	// not called concurrently.
	Reach(c *vault.Client) (own *vault.Client, done func(), err error)
}

// Closer is implemented by a Method that holds resources.
type Closer interface{ Close() error }

// Options is what every constructor is given.
type Options struct {
	// Mount is the method's mount_path, without a trailing slash, with "auth/".
	Mount string
	// Config is the method's config block, to be decoded by the constructor.
	Config config.Block
	// Client is the vault stanza as resolved, for methods that need a
	// client of their own (cert).
	Client vault.Config
	// Wrap is the method's wrap_ttl, 0 for none. The client that Login
	// receives asks for it already; only a method that builds its own client
	// or makes no login request has to look here.
	Wrap time.Duration
	// Preserve leaves credentials as they are, for a login that only checks:
	// no file is removed and no wrapping token spent; see ErrWouldSpend. Of a
	// secret_id with limited uses such a login takes one all the same.
	Preserve bool
	// Log may be nil.
	Log *slog.Logger
}

func (o Options) logger() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// Constructor builds a method; its error is a *config.Problem wherever the
// block is at fault.
type Constructor func(Options) (Method, error)
