// Package guard decides who may ask a listener at all, before anything is looked
// up, forwarded or answered with a token that is lent.
//
// The dangers are a program on this machine that fetches addresses it was given
// (SSRF), a page in a browser on this machine (DNS rebinding, requests to
// localhost), a proxy that was put before the listener by mistake, and another
// user of the machine. Each guard is a small handler around the next one:
//
//	Strict         refuses what browsers and proxies send: 403
//	RequireHeader  wants the header X-Vault-Request: true: 412
//	Peers          wants a process of certain users, on a unix socket: 403
//	Token          wants a token of our own in X-Latchkey-Token: 403
//	ReadOnly       wants GET, HEAD or LIST: 405
//	AllowPaths     wants a path on the list: 403
//
// They are asked in this order, and after the limit of connections, which is the
// listener's. Every guard holds for every endpoint, our own under /agent/v1/
// included, with one exception: health, ready, status and metrics need not be on
// the list of paths. So a probe shows the header and the token that everybody
// shows, and read_only refuses to clear the cache and to quit.
//
// A refusal is JSON, {"errors": ["the reason, and what to do"]}. It says neither
// what was expected nor what was sent. Each is counted as guard.refused, labelled
// with its reason, and logged at most once a minute for each reason.
package guard

import (
	"log/slog"
	"net/http"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/meter"
)

// Options say which guards stand. The zero value is none.
type Options struct {
	// RequireHeader wants exactly one header X-Vault-Request, and it "true": the
	// libraries for Vault send it, and nobody can be made to by an address alone.
	RequireHeader bool
	// Strict refuses what browsers and proxies send, and a Host that is not of
	// this machine; strict.go has the list.
	Strict bool
	// Unix says that the listener is a unix socket: it has no name that could be
	// rebound, so that Strict takes any Host, and it has Peers.
	Unix bool
	// Token gives the token that callers have to show; nil asks for none. It is
	// called for each request, by any number of goroutines. An error, or an
	// empty token, lets nobody in: 503. See Fixed and File.
	Token func() (cred.Redacted, error)
	// AllowPaths are the paths that are served; none means all. The rule is that
	// of paths in Vault's policies; path.go has it in full.
	AllowPaths []string
	// Namespace is the one that requests without a namespace go to. With
	// AllowPaths set, a request may name no other: the patterns would mean
	// something else there.
	Namespace string
	// ReadOnly refuses all methods but GET, HEAD and LIST. A GET may still change
	// something at the server: it makes dynamic credentials.
	ReadOnly bool
	// Peers are the processes that are served, by what the kernel says of them
	// when they connect: "user:NAME", "uid:N", "group:NAME", "gid:N"; none means
	// all. Names are looked up when the Handler is made.
	Peers []string
	// Peer says who sent a request; false where nobody knows. Peers needs it.
	Peer func(*http.Request) (Peer, bool)

	// Name and Pos are where a problem is, as listen.Options has the name:
	// "listener[0]". Empty: "listener".
	Name string
	Pos  config.Pos
	// Log is told of refusals; nil: nobody.
	Log *slog.Logger
	// Meter counts them; nil: nobody.
	Meter meter.Meter
}

// Peer is a process at the other end of a unix socket, as it was when it
// connected.
type Peer struct {
	UID, GID uint32
	// PID is 0 where the system does not tell.
	PID int32
	// Groups are the supplementary groups; nil where the system does not tell.
	Groups []uint32
}

// For is what a listener block asks for. token is the value of the variable that
// caller_token_env names, which the caller has looked up; it is not used where
// the block names none. What it leaves to the caller: Namespace, Peer, Log, Meter,
// and Name.
func For(l config.Listener, token cred.Redacted) Options {
	o := Options{
		RequireHeader: l.RequireRequestHeader,
		Strict:        l.Guard,
		Unix:          l.Type == "unix",
		AllowPaths:    l.AllowPaths,
		ReadOnly:      l.ReadOnly,
		Peers:         l.AllowPeers,
		Pos:           l.Pos,
	}
	switch {
	case l.CallerTokenFile != "":
		o.Token = File(l.CallerTokenFile)
	case l.CallerTokenEnv != "":
		o.Token = Fixed(token)
	}
	return o
}

// Handler puts the guards before next. Where none stands it is next itself. An
// error is a *config.Problem, or several joined.
func Handler(next http.Handler, o Options) (http.Handler, error) {
	paths, err := o.paths()
	if err != nil {
		return nil, err
	}
	peers, err := o.peers()
	if err != nil {
		return nil, err
	}
	d := newDoor(o)
	if o.Token != nil {
		switch token, err := o.Token(); {
		case err != nil: // it may still be written, by us even
			d.log.Warn("the token that callers have to show cannot be read: until it can, nobody is let in", "listener", o.name(), "error", err)
		case token.Empty():
			return nil, o.problem("caller_token_env", "names a variable that is empty or not set", "set it, to at least 16 characters that nobody guesses, or leave the key out")
		}
	}
	// From the innermost to the first that is asked.
	if len(o.AllowPaths) > 0 {
		next = &pathGuard{d, paths, namespaceOf(o.Namespace), next}
	}
	if o.ReadOnly {
		next = &methodGuard{d, next}
	}
	if o.Token != nil {
		next = &tokenGuard{d, o.Token, next}
	}
	if len(o.Peers) > 0 {
		next = &peerGuard{d, peers, o.Peer, next}
	}
	if o.RequireHeader {
		next = &headerGuard{d, next}
	}
	if o.Strict {
		next = &strictGuard{d, o.Unix, next}
	}
	return next, nil
}

func (o Options) name() string {
	if o.Name == "" {
		return "listener"
	}
	return o.Name
}

// problem is one in the listener's block.
func (o Options) problem(key, text, hint string) error {
	return &config.Problem{Pos: o.Pos, Key: o.name() + "." + key, Text: text, Hint: hint}
}
