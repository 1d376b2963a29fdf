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
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"latchkey/internal/access"
	"latchkey/internal/auth"
	"latchkey/internal/child"
	"latchkey/internal/config"
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
	// Attempt is access.Options.Attempt; DialTimeout, HTTP1 and Dial are those of
	// vault.Config.
	Attempt     time.Duration
	DialTimeout time.Duration
	HTTP1       bool
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)

	// attempts caps the logins that fail in a row, 0 for a number that only a run
	// without a deadline reaches, negative for none. BuildKept sets it.
	attempts int
	// stays says that a token is kept for the next run, where the configuration
	// has a place for it. BuildKept sets it.
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

	// Access is what these parts are built on.
	Access *access.Parts
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
func (p *Parts) Use(logins []Identity) {
	in := make([]access.Login, 0, len(logins))
	for _, l := range logins {
		in = append(in, access.Login{Name: l.Name, Session: l.Session})
	}
	p.Access.Use(in)
}

// Build makes the parts. Its error joins all that is wrong, so that a user
// mends it in one go; what it says of the configuration is *config.Problem.
func Build(f *config.File, o Options) (*Parts, error) {
	ao := o.access(f)
	a, err := access.Build(f, ao)
	if a == nil {
		return nil, err
	}
	p := &Parts{Client: a.Client, SinkRetry: sinkSchedule, Access: a}
	p.Reads = reader.Options{
		Retry: access.ReadSchedule(f, o.Origins), Parallel: access.Parallel, Observer: o.Observer, Log: logging.Named(o.Log, "reader"),
	}
	if o.Persist != nil {
		p.Store = o.Persist.Bucket("leases")
	}
	if err := errors.Join(err, p.identities(f, o), p.templates(f, o)); err != nil {
		return nil, err
	}
	return p, nil
}

// access is what of the options the logins and the proxy want to know.
func (o Options) access(f *config.File) access.Options {
	ao := access.Options{
		Method: o.Method, Environ: o.Environ, Origins: o.Origins, Preserve: o.Preserve, Attempts: o.attempts,
		Observer: o.Observer, Meter: o.Meter, Log: o.Log, Named: logging.Named, Version: o.Version, Dial: o.Dial, Attempt: o.Attempt, DialTimeout: o.DialTimeout, HTTP1: o.HTTP1,
		Handover: func(a *config.AutoAuth) session.Handover { return kept(a, f, o) },
	}
	if o.Persist != nil {
		ao.CacheStore = o.Persist.Bucket("cache")
	}
	return ao
}

// sinkSchedule is patient, because a reader of a sealed sink may come late,
// and bounded by the run's own deadline.
var sinkSchedule = retry.Schedule{Attempts: access.MaxAttempts, Base: time.Second, Max: 30 * time.Second, Jitter: 0.5}

// identities gives the logins their sinks.
func (p *Parts) identities(f *config.File, o Options) error {
	var errs []error
	for n, a := range f.Logins() {
		l := p.Access.Logins[n]
		i := Identity{Name: l.Name, Session: l.Session}
		for _, s := range a.Sinks {
			built, err := sink.New(s, sink.Options{
				Client: l.Client, LookupEnv: environ.Lookup(o.Environ), Stdout: o.Stdout,
				Environ: environ.WithoutCredentials(o.Environ), Runner: notifier{child.Runner{Output: o.Output}}, Signaller: notifier{},
			})
			if err != nil {
				errs = append(errs, access.At(err, s.Pos))
				continue
			}
			i.Sinks = append(i.Sinks, built)
		}
		if a == f.AutoAuth {
			p.name, p.Session, p.Sinks = i.Name, i.Session, i.Sinks
		} else {
			p.Identities = append(p.Identities, i)
		}
	}
	return errors.Join(errs...)
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
