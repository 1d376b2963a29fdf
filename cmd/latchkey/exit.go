package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"

	"latchkey/internal/access"
	"latchkey/internal/auth"
	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
	"latchkey/oneshot"
)

// The exit codes; the README promises them.
const (
	exitDone     = 0
	exitInternal = 1
	exitUsage    = 2
	exitLogin    = 3
	exitSecret   = 4
	exitServer   = 5
	exitWrite    = 6
	exitNotReady = 7

	// exitOfChild stands in the table for the code of the supervised process.
	exitOfChild = -1
)

const exitCodesHelp = `Exit codes:
  0  done
  1  internal error
  2  usage or configuration
  3  login refused, or no credentials to log in with
  4  a secret, key or capability is missing or denied
  5  server unreachable or sealed, or the deadline passed
  6  a sink, a template or its command could not be written or run
  7  status only: the daemon answers, and is not ready
  130, 143  stopped by SIGINT or SIGTERM before it was done
`

const daemonCodesHelp = `Exit codes:
  0  ended by SIGTERM, SIGINT or /agent/v1/quit, or the child process ended with 0
  N  the child process ended by itself with N, or by the signal N-128; it could
     not be started (126), or is not there (127)
  else those of 'latchkey once'; a second SIGINT or SIGTERM: 130, 143
`

// kind is one row of the table: which errors, which code, what to do.
type kind struct {
	is   func(error) bool
	code int
	hint string
}

// exitCoder is an error of the supervised process, which says with what a shell
// would leave in its place.
type exitCoder interface {
	error
	ExitCode() int
}

func of(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }

func as[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

func both(a, b func(error) bool) func(error) bool {
	return func(err error) bool { return a(err) && b(err) }
}

// kinds is read from the top; the first row that fits decides. What a login
// or a sink failed of comes before what failed.
var kinds = []kind{
	{as[usageError], exitUsage, ""},
	{as[config.Problems], exitUsage, ""},
	{as[*config.Problem], exitUsage, ""},
	{of(access.ErrServerSettings), exitUsage, "see the vault stanza, its flags and its environment: latchkey check"},
	{of(oneshot.ErrRevokeRefused), exitUsage, "leave -revoke-on-exit out; all else is done that could be"},
	{of(vault.ErrInsecure), exitServer, "the settings and the server do not agree on TLS: see ca_cert, tls_server_name, client_cert and the address"},
	{of(template.ErrSource), exitUsage, "correct the path, or make the file readable for this user"},
	{of(template.ErrParse), exitUsage, "correct the template; nothing was fetched and nothing was written"},
	{both(of(session.ErrLogin), of(auth.ErrCredentials)), exitLogin, "put the credential where the configuration says, or correct the path"},
	{both(of(session.ErrLogin), vault.Temporary), exitServer, "see that the server is up, unsealed and reachable from here: latchkey check -online"},
	{both(of(session.ErrLogin), of(vault.ErrNotFound)), exitLogin, "nothing is mounted there: correct mount_path or the namespace, or enable the auth method"},
	{of(session.ErrLogin), exitLogin, "the server refused the identity: see the role, the mount and the credential"},
	{both(of(sink.ErrWrite), vault.Temporary), exitServer, "the server did not wrap the token"},
	{both(of(sink.ErrWrite), of(vault.ErrDenied)), exitSecret, "wrap_ttl on a sink needs a policy that allows sys/wrapping/wrap"},
	{of(sink.ErrWrite), exitWrite, "make the path writable for this user"},
	{of(sink.ErrNotify), exitWrite, "the token is written; see the sink's command, its signal and the process that gets it"},
	{of(template.ErrWrite), exitWrite, "make the path writable for this user; what was there before is still there"},
	{of(template.ErrCommand), exitWrite, "the file is written; the command after it failed"},
	{of(child.ErrOutput), exitWrite, "make the path that exec names for its output writable for this user"},
	{as[*child.StartError], exitOfChild, "correct the command of exec, or make it executable for this user"},
	{as[exitCoder], exitOfChild, ""},
	{as[noAnswer], exitServer, ""},
	{of(template.ErrMissing), exitSecret, "the secret is there, the key is not: correct the template or the secret"},
	{vault.Temporary, exitServer, "see that the server is up, unsealed and reachable from here: latchkey check -online"},
	{of(vault.ErrDenied), exitSecret, "the token's policies do not allow this path: latchkey check -online"},
	{of(vault.ErrNotFound), exitSecret, "create the secret, or correct the path in the template"},
	{as[*vault.Error], exitSecret, "the server does not take this request: see the path and its parameters"},
	{of(errStuck), exitServer, "see what the last lines above name, and -timeout"},
	{of(context.DeadlineExceeded), exitServer, "the deadline passed: see -timeout"},
	{of(template.ErrRender), exitWrite, "the template failed while it was evaluated"},
}

// classify returns the row of one error; an error that no row knows is ours.
func classify(err error) kind {
	for _, k := range kinds {
		if k.is(err) {
			return k
		}
	}
	return kind{code: exitInternal, hint: "this is a fault of latchkey's own; please report it"}
}

var joined = reflect.TypeOf(errors.Join(errors.ErrUnsupported))

// causes takes a list of errors apart, however deep it is wrapped.
func causes(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if problems, ok := e.(config.Problems); ok {
			var all []error
			for _, p := range problems {
				all = append(all, p)
			}
			return all
		}
		if reflect.TypeOf(e) != joined {
			continue
		}
		var all []error
		for _, sub := range e.(interface{ Unwrap() []error }).Unwrap() {
			all = append(all, causes(sub)...)
		}
		return all
	}
	return []error{err}
}

// first picks the cause that decides: the one with the lowest code, which is
// the one nearest to the root of the trouble.
func first(err error) (kind, error) {
	all := causes(err)
	best, row := all[0], classify(all[0])
	for _, c := range all[1:] {
		if k := classify(c); weight(c, k) < weight(best, row) {
			best, row = c, k
		}
	}
	return row, best
}

// weight is the code, by which that of a supervised process beats all, for it is
// passed on whatever else there was; but for a token that was not revoked: that is the end of a
// story, and counts only where nothing else went wrong.
func weight(err error, k kind) int {
	if errors.Is(err, oneshot.ErrRevokeRefused) {
		return 1000
	}
	return k.code
}

// fail prints the one final line (cause, place, hint) for a fault that came
// before there was a logger, and returns the code.
func fail(w io.Writer, err error) int {
	text, code := explain(err)
	fmt.Fprintf(w, "latchkey: %s\n", text)
	return code
}

// explain is the text of the final line and the exit code.
func explain(err error) (string, int) {
	row, cause := first(err)
	text := cause.Error()
	if n := len(causes(err)); n > 1 {
		text = fmt.Sprintf("%s (and %d more)", text, n-1)
	}
	if row.hint != "" {
		text += " - " + row.hint
	}
	if exit := exitCoder(nil); row.code == exitOfChild && errors.As(cause, &exit) {
		return text, exit.ExitCode()
	}
	return text, row.code
}

// ended is the code of a run that a signal stopped, if one did.
func ended(ctx context.Context) (int, bool) {
	var i interrupted
	if errors.As(context.Cause(ctx), &i) {
		return i.code(), true
	}
	return 0, false
}
