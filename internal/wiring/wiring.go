// Package wiring turns a configuration into parts that are ready to be used.
//
// It is the one place where the rooms meet: it maps the file's shape to theirs,
// shares one connection pool among them, and attaches names to their loggers.
// It decides nothing about modes, reads no secret, dials nothing and starts
// nothing; the caller arranges the parts.
package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/environ"
	"latchkey/internal/lease"
	"latchkey/internal/logging"
	"latchkey/internal/meter"
	"latchkey/internal/persist"
	"latchkey/internal/reader"
	"latchkey/internal/retry"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
)

// Options is what the parts are given from outside.
type Options struct {
	// Method finds the constructor of an auth method by name: the table of
	// the program at hand.
	Method func(name string) (auth.Constructor, error)
	// Environ is the environment, for templates and their commands.
	Environ []string
	// Origins tells who set what: a namespace from flag or environment beats
	// the method's own, and only a backoff that somebody set changes how
	// reads are tried again.
	Origins config.Origins
	// Preserve is for a login that only checks: methods leave credentials as
	// they are, see auth.Options, and the answer is not wrapped.
	Preserve bool
	// Stdout is for sinks that write there and for the supervised process,
	// Output for what commands print and its errors, Stdin is what it reads.
	Stdin          *os.File
	Stdout, Output io.Writer
	Observer       retry.Observer
	// Meter hears what happens; nil for nobody.
	Meter meter.Meter
	Log   *slog.Logger
	// Version goes into the User-Agent.
	Version string
	// Persist keeps tokens and leases over a restart; nil for nowhere.
	Persist *persist.File
	// Dial is vault.Config.Dial.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// seen hears of every request with a token.
	seen func(token cred.Redacted, err error)
	// attempts caps the logins that fail in a row, 0 for a number that only a run
	// without a deadline reaches, negative for none. BuildLasting sets it.
	attempts int
	// stays says that a token is kept for the next run, where the configuration
	// has a place for it. BuildLasting sets it.
	stays bool
}

// Parts is a configuration made ready.
type Parts struct {
	// Client carries the namespace of the templates and no token.
	Client *vault.Client
	// Session is nil when the configuration has no auto_auth.
	Session   *session.Session
	Sinks     []sink.Sink
	SinkRetry retry.Schedule
	// Identities are the further logins, in the order of the file.
	Identities []Identity
	// name is that of the default one.
	name string
	// Templates is nil when there are none.
	Templates *template.Set
	Reads     reader.Options
	// Store keeps the leases of the templates for the next process; nil for not at
	// all.
	Store lease.Store

	inForce atomic.Pointer[[]Identity]
}

// Identity is one login: its session, and the sinks that its token goes to.
type Identity struct {
	Name    string
	Session *session.Session
	Sinks   []sink.Sink
}

// Logins are all identities, the default one first.
func (p *Parts) Logins() []Identity {
	if p.Session == nil {
		return nil
	}
	return append([]Identity{{p.name, p.Session, p.Sinks}}, p.Identities...)
}

// Use has these parts work with other logins than their own: those that go on
// while parts of an older configuration are replaced. The default one comes first.
func (p *Parts) Use(logins []Identity) { p.inForce.Store(&logins) }

// logins are those in force.
func (p *Parts) logins() []Identity { return *p.inForce.Load() }

// seen tells the sessions of a request; each knows its own token.
func (p *Parts) seen(token cred.Redacted, err error) {
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
// mends it in one go; what it says of the configuration is *config.Problem.
func Build(f *config.File, o Options) (*Parts, error) {
	var errs []error
	p := &Parts{}
	o.seen = p.seen
	client, err := vault.New(serverConfig(f, o, "templating"))
	if err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", ErrServerSettings, err))
		// The rest is still looked at, so that all faults are told at once.
		if client, err = vault.New(vault.Config{Address: "https://127.0.0.1:8200"}); err != nil {
			return nil, err
		}
	}
	p.Client, p.SinkRetry = client, sinkSchedule
	p.Reads = reader.Options{
		Retry: readSchedule(f, o.Origins), Parallel: parallel, Observer: o.Observer, Log: logging.Named(o.Log, "reader"),
	}
	if o.Persist != nil {
		p.Store = o.Persist.Bucket("leases")
	}
	errs = append(errs, p.auth(f, o, client))
	errs = append(errs, p.templates(f, o))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.Use(p.Logins())
	return p, nil
}

// parallel bounds the reads under way. Over HTTP/1 the connections bound them
// further (max_connections_per_host); over HTTP/2 they share one.
const parallel = 64

// sinkSchedule is patient, because a reader of a sealed sink may come late,
// and bounded by the run's own deadline.
var sinkSchedule = retry.Schedule{Attempts: maxAttempts, Base: time.Second, Max: 30 * time.Second, Jitter: 0.5}

// maxAttempts caps the loops whose real bound is the deadline, for a run that
// was given none.
const maxAttempts = 100

// auth builds the logins: the default one, and the further ones by name.
func (p *Parts) auth(f *config.File, o Options, shared *vault.Client) error {
	client, err := authClient(f, o, shared)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range f.Logins() {
		i, err := login(a, f, o, client)
		errs = append(errs, err)
		if a == f.AutoAuth {
			p.name, p.Session, p.Sinks = i.Name, i.Session, i.Sinks
		} else {
			p.Identities = append(p.Identities, i)
		}
	}
	return errors.Join(errs...)
}

// login builds the session and the sinks of one identity.
func login(a *config.AutoAuth, f *config.File, o Options, client *vault.Client) (Identity, error) {
	i := Identity{Name: a.Known()}
	m := a.Method
	log := logging.Named(o.Log, "auth")
	if a.Name != "" {
		log = log.With("identity", a.Name)
	}
	client = client.Agent(agent(o.Version, "auto-auth")).In(authNamespace(m, f, o))
	build, err := o.Method(m.Type)
	if err != nil {
		return i, at(err, m.Pos)
	}
	wrap := m.WrapTTL
	if o.Preserve {
		// Nobody would unwrap it, so it could not be looked at nor revoked.
		wrap = 0
	}
	method, err := build(auth.Options{
		Mount: m.MountPath, Config: m.Config, Client: serverConfig(f, o, "auto-auth"),
		Wrap: wrap, Preserve: o.Preserve, Log: log,
	})
	errs := []error{at(err, m.Pos)}
	if err == nil {
		i.Session = session.New(method, client.Wrapping(wrap), session.Options{
			Name: m.Type, Mount: m.MountPath, Retry: loginSchedule(m, o.attempts), Observer: o.Observer, Log: log,
			Meter: o.Meter, Reauth: a.EnableReauthOnNewCredentials, Handover: kept(a, f, o),
		})
	}
	for _, s := range a.Sinks {
		built, err := sink.New(s, sink.Options{
			Client: client, LookupEnv: lookup(o.Environ), Stdout: o.Stdout,
			Environ: environ.WithoutCredentials(o.Environ), Runner: notifier{child.Runner{Output: o.Output}}, Signaller: notifier{},
		})
		if err != nil {
			errs = append(errs, at(err, s.Pos))
			continue
		}
		i.Sinks = append(i.Sinks, built)
	}
	return i, errors.Join(errs...)
}

// authClient is the shared client, so that the login's connection serves the
// reads that follow, unless the file keeps their connections apart.
func authClient(f *config.File, o Options, shared *vault.Client) (*vault.Client, error) {
	if keepAlive(f, "auto-auth") == keepAlive(f, "templating") {
		return shared, nil
	}
	return vault.New(serverConfig(f, o, "auto-auth"))
}

// authNamespace: a flag or variable wins, then the method's own, then that of
// the vault stanza.
func authNamespace(m config.Method, f *config.File, o Options) string {
	if ns := m.Namespace; ns != "" && !forced(o.Origins.Of("vault.namespace")) {
		return ns
	}
	return f.Vault.Namespace
}

// forced reports whether a value comes from a flag or the environment.
func forced(origin string) bool {
	return strings.HasPrefix(origin, "flag ") || strings.HasPrefix(origin, "env ")
}

// readNamespace: that of the vault stanza (where flags and variables have
// been laid over it already), else the method's.
func readNamespace(f *config.File) string {
	if f.Vault.Namespace == "" && f.AutoAuth != nil {
		return f.AutoAuth.Method.Namespace
	}
	return f.Vault.Namespace
}

// loginSchedule: exit_on_err means the first failure is the last.
func loginSchedule(m config.Method, attempts int) retry.Schedule {
	if attempts == 0 {
		attempts = maxAttempts
	}
	s := retry.Schedule{Attempts: attempts, Base: m.MinBackoff, Max: m.MaxBackoff, Jitter: 0.25}
	if m.ExitOnErr {
		s.Attempts = 1
	}
	return s
}

// readSchedule: the method's backoff, where somebody set it, replaces the
// default, as in vault agent.
func readSchedule(f *config.File, from config.Origins) retry.Schedule {
	s := retry.Schedule{Attempts: 1 + f.Vault.NumRetries, Base: 250 * time.Millisecond, Max: time.Minute, Jitter: 0.25}
	if from.Of("auto_auth.method.min_backoff") != "default" {
		s.Base = f.AutoAuth.Method.MinBackoff
	}
	if from.Of("auto_auth.method.max_backoff") != "default" {
		s.Max = f.AutoAuth.Method.MaxBackoff
	}
	return s
}

// serverConfig maps the vault stanza for one subsystem of the disable_* lists.
func serverConfig(f *config.File, o Options, subsystem string) vault.Config {
	v := f.Vault
	return vault.Config{
		Address: v.Address, Namespace: readNamespace(f),
		CACert: v.CACert, CACertPEM: []byte(v.CACertPEM), CAPath: v.CAPath,
		ClientCert: v.ClientCert, ClientKey: v.ClientKey,
		TLSServerName: v.TLSServerName, SkipVerify: v.TLSSkipVerify,
		Timeout: v.ClientTimeout, MaxConnsPerHost: f.TemplateConfig.MaxConnectionsPerHost,
		RateLimit: v.RateLimit, RateBurst: v.RateBurst, SRVLookup: v.SRVLookup,
		ProxyAddress: v.ProxyAddress, DisableRedirects: v.DisableRedirects,
		DisableKeepAlive: !keepAlive(f, subsystem), Headers: v.Headers,
		UserAgent: agent(o.Version, subsystem), Seen: o.seen, Dial: o.Dial,
	}
}

// keepAlive reports whether a subsystem may use a connection twice. A run that
// ends keeps nothing idle, so the two lists come to the same.
func keepAlive(f *config.File, subsystem string) bool {
	return !slices.Contains(f.DisableKeepAlives, subsystem) && !slices.Contains(f.DisableIdleConnections, subsystem)
}

func agent(version, subsystem string) string {
	return fmt.Sprintf("latchkey/%s (%s)", version, subsystem)
}

// at gives a problem without a place the place of its stanza.
func at(err error, pos config.Pos) error {
	var p *config.Problem
	if errors.As(err, &p) && p.Pos == (config.Pos{}) {
		p.Pos = pos
	}
	return err
}

// templates builds the set of those that make files and those that make
// variables.
func (p *Parts) templates(f *config.File, o Options) error {
	var specs []template.Spec
	for _, t := range f.Templates {
		specs = append(specs, spec(t))
	}
	for _, t := range f.EnvTemplates {
		s := spec(t.Template)
		s.Name, s.Variable = "env_template "+t.Name+" at "+t.Pos.String(), t.Name
		specs = append(specs, s)
	}
	if len(specs) == 0 {
		return nil
	}
	set, err := template.New(specs, template.Options{
		Env: o.Environ, Log: logging.Named(o.Log, "template"), Runner: runner{child.Runner{Output: o.Output}},
		RenewThreshold: f.TemplateConfig.LeaseRenewalThreshold,
	})
	p.Templates = set
	return err
}

func spec(t config.Template) template.Spec {
	s := template.Spec{
		Name:   "template at " + t.Pos.String(),
		Source: t.Source, Contents: t.Contents, Secret: t.Secret, Format: t.Format,
		Destination: t.Destination, CreateDestDirs: t.CreateDestDirs, Perms: t.Perms, User: t.User, Group: t.Group,
		Backup: t.Backup, ErrorOnMissingKey: t.ErrorOnMissingKey, ErrorFatal: t.ErrorFatal,
		LeftDelimiter: t.LeftDelimiter, RightDelimiter: t.RightDelimiter,
		SandboxPath: t.SandboxPath, FunctionDenylist: t.FunctionDenylist,
	}
	if w := t.Wait; w != nil {
		s.Wait = &template.Wait{Min: w.Min, Max: w.Max}
	}
	if e := t.Exec; e != nil {
		s.Exec = &template.Exec{
			Command: e.Command, Timeout: e.Timeout, KillSignal: e.KillSignal, KillTimeout: e.KillTimeout, Splay: e.Splay,
			Env: environ.Rules(e.Env),
		}
	}
	return s
}
