// Package access turns a configuration into what speaks with the server: the
// client, the logins, and the proxy with its cache and guards.
//
// It is the part of the wiring that every program has. What only the large one
// carries (sinks, templates, commands, files that outlive the process) is wired
// in internal/wiring, which builds on this. Like that one it decides nothing about
// modes, dials nothing and starts nothing.
package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cache"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/meter"
	"latchkey/internal/proxy"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/vault"
)

// Options is what the parts are given from outside.
type Options struct {
	// Method finds the constructor of an auth method by name: the table of
	// the program at hand.
	Method func(name string) (auth.Constructor, error)
	// Environ is the environment, for variables that the configuration names.
	Environ []string
	// Origins tells who set what: a namespace from flag or environment beats
	// the method's own, and only a backoff that somebody set changes how
	// reads are tried again.
	Origins config.Origins
	// Preserve is for a login that only checks: methods leave credentials as
	// they are, see auth.Options, and the answer is not wrapped.
	Preserve bool
	// Attempts caps the logins that fail in a row, 0 for a number that only a run
	// without a deadline reaches, negative for none.
	Attempts int
	Observer retry.Observer
	// Meter hears what happens; nil for nobody.
	Meter meter.Meter
	Log   *slog.Logger
	// Named returns a logger for a room.
	Named func(log *slog.Logger, room string) *slog.Logger
	// Version goes into the User-Agent.
	Version string
	// Dial is vault.Config.Dial.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Handover says where an identity's token is kept for the next start; nil, or
	// what it yields being nil, for nowhere.
	Handover func(*config.AutoAuth) session.Handover
	// CacheStore keeps what is cached over a restart; nil for nowhere.
	CacheStore cache.Store
	// Brief is what is cached because a client asks for it, beside what the
	// configuration says; without a TTL nothing is.
	Brief cache.Brief
	// CacheBytes bounds a cache that is there for Brief alone; 0 is the default of
	// internal/cache.
	CacheBytes int64
	// Attempt bounds a request of our own, not one that is passed on; 0 for what the
	// configuration says.
	Attempt time.Duration
	// DialTimeout and HTTP1 are those of vault.Config.
	DialTimeout time.Duration
	HTTP1       bool
}

func (o Options) named(room string) *slog.Logger { return o.Named(o.Log, room) }

// Parts is what a configuration has to say about the server.
type Parts struct {
	// Client carries the namespace of the reads and no token.
	Client *vault.Client
	// Logins are all identities, the default one first; none without auto_auth.
	Logins []Login

	inForce atomic.Pointer[[]Login]
}

// Login is one identity.
type Login struct {
	Name    string
	Session *session.Session
	// Client is the one that it logs in with, without response wrapping.
	Client *vault.Client
	// Lend is what the proxy lends from; nil for Session, which somebody keeps.
	Lend proxy.Identity
}

// Use has these parts work with other logins than their own: those that go on
// while parts of an older configuration are replaced. The default one comes first.
func (p *Parts) Use(logins []Login) { p.inForce.Store(&logins) }

// logins are those in force.
func (p *Parts) logins() []Login { return *p.inForce.Load() }

// Default is the default login in force. There has to be one.
func (p *Parts) Default() Login { return p.logins()[0] }

// Seen tells the sessions of a request; each knows its own token.
func (p *Parts) Seen(token cred.Redacted, err error) {
	if all := p.inForce.Load(); all != nil {
		for _, i := range *all {
			i.Session.Seen(token, err)
		}
	}
}

// ErrServerSettings is the kind of an error about the vault stanza, its flags
// and its variables: an address that is none, a certificate that is not there.
var ErrServerSettings = errors.New("vault settings")

// Build makes the parts. Its error joins all that is wrong, so that a user
// mends it in one go; what it says of the configuration is *config.Problem. The
// Parts are there all the same, so that what is built on them can be judged, too;
// a login that is at fault has no Session.
func Build(f *config.File, o Options) (*Parts, error) {
	var errs []error
	p := &Parts{}
	client, err := vault.New(p.serverConfig(f, o, "templating"))
	if err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", ErrServerSettings, err))
		// The rest is still looked at, so that all faults are told at once.
		if client, err = vault.New(vault.Config{Address: "https://127.0.0.1:8200"}); err != nil {
			return nil, err
		}
	}
	p.Client = client
	logins := client
	if len(errs) == 0 { // else it would be the same fault once more
		if logins, err = p.authClient(f, o); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrServerSettings, err)
		}
	}
	for _, a := range f.Logins() {
		l, err := p.login(a, f, o, logins)
		errs = append(errs, err)
		p.Logins = append(p.Logins, l)
	}
	p.Use(p.Logins)
	return p, errors.Join(errs...)
}

// login builds the session of one identity.
func (p *Parts) login(a *config.AutoAuth, f *config.File, o Options, client *vault.Client) (Login, error) {
	m := a.Method
	log := o.named("auth")
	if a.Name != "" {
		log = log.With("identity", a.Name)
	}
	l := Login{Name: a.Known(), Client: client.Agent(agent(o.Version, "auto-auth")).In(authNamespace(m, f, o))}
	build, err := o.Method(m.Type)
	if err != nil {
		return l, At(err, m.Pos)
	}
	wrap := m.WrapTTL
	if o.Preserve {
		// Nobody would unwrap it, so it could not be looked at nor revoked.
		wrap = 0
	}
	method, err := build(auth.Options{
		Mount: m.MountPath, Config: m.Config, Client: p.serverConfig(f, o, "auto-auth"),
		Wrap: wrap, Preserve: o.Preserve, Log: log,
	})
	if err != nil {
		return l, At(err, m.Pos)
	}
	so := session.Options{
		Name: m.Type, Mount: m.MountPath, Retry: loginSchedule(m, o.Attempts), Observer: o.Observer, Log: log,
		Meter: o.Meter, Reauth: a.EnableReauthOnNewCredentials,
	}
	if o.Handover != nil {
		so.Handover = o.Handover(a)
	}
	l.Session = session.New(method, l.Client.Wrapping(wrap), so)
	return l, nil
}
