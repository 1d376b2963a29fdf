package wiring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"

	"latchkey/internal/access"
	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/environ"
	"latchkey/internal/guard"
	"latchkey/internal/lease"
	"latchkey/internal/logging"
	"latchkey/internal/reader"
	"latchkey/internal/retry"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
)

// Kept is what a configuration says to a mode that stays, beside its Parts.
type Kept struct {
	*Parts
	SinkKeep sink.KeepOptions
	Leases   lease.Options
	Watch    template.WatchOptions
}

// Identity is the server as the session's newest token sees it.
func (k *Kept) Identity() lease.Identity { return k.identity() }

// BuildKept makes the parts of a mode that stays. Its error is that of Build.
func BuildKept(f *config.File, o Options) (*Kept, error) {
	// However long an outage is, somebody may end it.
	o.attempts = -1
	o.stays = true
	p, err := Build(f, o)
	if err != nil {
		return nil, err
	}
	k := &Kept{
		Parts: p,
		SinkKeep: sink.KeepOptions{
			Retry: p.SinkRetry, Every: lookAtSinks, Observer: o.Observer, Log: logging.Named(o.Log, "sink"), Meter: o.Meter,
		},
		Leases: lease.Options{
			StaticInterval: f.TemplateConfig.StaticSecretRenderInterval, Threshold: f.TemplateConfig.LeaseRenewalThreshold,
			Backoff: access.ReadSchedule(f, o.Origins), Parallel: access.Parallel, Log: logging.Named(o.Log, "lease"), Meter: o.Meter,
		},
		Watch: template.WatchOptions{
			Retry: access.ReadSchedule(f, o.Origins), ExitOnRetryFailure: f.TemplateConfig.ExitOnRetryFailure, Meter: o.Meter,
		},
	}
	k.Leases.Store = p.Store
	return k, nil
}

// Lasting is what a configuration says to a daemon: it listens, starts a process, and
// has its configuration read again.
type Lasting struct {
	*Kept
	// Sections is a digest of what each section says, the content of certificates
	// and template sources included.
	Sections map[string]string
	// Events are nil unless the configuration asks for them and has a login.
	Events *lease.Events
	Proxy  access.Proxied
	// Guards are those that a listener asks for.
	Guards func(config.Listener) guard.Options
	// Child is nil when there is no process to supervise.
	Child *child.Supervisor
	// Environ is the environment of the child, with these variables.
	Environ func(variables map[string]cred.Redacted) []string
}

// BuildLasting makes the parts of a daemon. Its error is that of Build.
func BuildLasting(f *config.File, o Options) (*Lasting, error) {
	k, err := BuildKept(f, o)
	if err != nil {
		return nil, err
	}
	l := &Lasting{Kept: k, Sections: map[string]string{}}
	if l.Proxy, err = k.Access.Proxied(f, o.access(f)); err != nil {
		return nil, err
	}
	if c := f.Cache; l.Proxy.Cache != nil && c != nil && c.StaticEvents && k.Session != nil {
		l.Proxy.Events = lease.NewEvents(subscriber{k.Access}, logging.Named(o.Log, "cache"))
	}
	l.Guards = func(lis config.Listener) guard.Options { return access.Guards(lis, f, o.access(f)) }
	for _, s := range config.Sections() {
		l.Sections[s] = f.Digest(s)
	}
	l.Sections["vault"] += contents(append(filesIn(f.Vault.CAPath), f.Vault.CACert, f.Vault.ClientCert, f.Vault.ClientKey)...)
	var sources []string
	for _, t := range f.Templates {
		sources = append(sources, t.Source)
	}
	for _, t := range f.EnvTemplates {
		sources = append(sources, t.Source)
	}
	l.Sections["templates"] += contents(sources...)
	if f.TemplateConfig.StaticSecretEvents && k.Session != nil {
		l.Events = lease.NewEvents(subscriber{k.Access}, logging.Named(o.Log, "lease"))
	}
	return l, l.supervise(f, o)
}

// supervise makes the process that gets the variables.
func (l *Lasting) supervise(f *config.File, o Options) error {
	e := f.Exec
	if e == nil {
		return nil
	}
	s, err := child.NewSupervisor(child.SupervisorOptions{
		Command: e.Command, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Output,
		StdoutFile: e.ChildProcessStdout, StderrFile: e.ChildProcessStderr,
		StopSignal: e.RestartStopSignal, StopTimeout: e.RestartKillTimeout, Restart: e.RestartOnSecretChanges,
		Delay: e.RestartDelay, Log: logging.Named(o.Log, "child"), Meter: o.Meter,
	})
	if err != nil {
		return access.At(err, e.Pos)
	}
	l.Child = s
	parent := o.Environ
	if !e.PassCredentials {
		parent = environ.WithoutCredentials(parent, secretNames(f)...)
	}
	rules := environ.Rules(e.Env)
	l.Environ = func(variables map[string]cred.Redacted) []string {
		var rendered []string
		for name, value := range variables {
			rendered = append(rendered, name+"="+value.Reveal())
		}
		return environ.Build(parent, rules, rendered)
	}
	return nil
}

// secretNames are the variables that a configuration names as holding a secret
// for latchkey itself.
func secretNames(f *config.File) []string {
	var names []string
	for _, a := range f.Logins() {
		if a.Handover != nil && a.Handover.KeyEnv != "" {
			names = append(names, a.Handover.KeyEnv)
		}
		for _, s := range a.Sinks {
			if s.AADEnvVar != "" {
				names = append(names, s.AADEnvVar)
			}
		}
	}
	if f.Cache != nil && f.Cache.Persist != nil && f.Cache.Persist.KeyEnv != "" {
		names = append(names, f.Cache.Persist.KeyEnv)
	}
	for _, l := range f.Listeners {
		if l.CallerTokenEnv != "" {
			names = append(names, l.CallerTokenEnv)
		}
	}
	return names
}

// lookAtSinks is how often a sink's file is looked at.
const lookAtSinks = 2 * time.Second

// contents is a digest of the files that a section names, so that a certificate
// or a template that was replaced in place is a change too.
func contents(paths ...string) string {
	h := sha256.New()
	for _, path := range paths {
		if path == "" {
			continue
		}
		// What cannot be read is told by whoever needs it.
		data, _ := os.ReadFile(path)
		sum := sha256.Sum256(data)
		_, _ = h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// filesIn lists a folder of certificates, none where it cannot be read.
func filesIn(dir string) []string {
	entries, _ := os.ReadDir(dir)
	paths := make([]string, 0, len(entries))
	for _, e := range entries {
		paths = append(paths, filepath.Join(dir, e.Name()))
	}
	return paths
}

// identity is the server as one token sees it.
type identity struct {
	reads    *reader.Reader
	client   *vault.Client
	accessor string
}

// identity looks with the token that the session has now. What fails is tried
// again by the lease manager and the templates, who know what else is due.
func (p *Parts) identity() lease.Identity {
	tok := p.Session.State().Token
	c := p.Client.As(tok.Value)
	o := p.Reads
	o.Retry, o.Fleeting = retry.Schedule{}, true
	return identity{reader.New(c, o), c, tok.Accessor}
}

// Accessor implements lease.Owner.
func (i identity) Accessor() string { return i.accessor }

func (i identity) ReadEach(ctx context.Context, reqs []cred.Request, each func(int, cred.Result)) {
	i.reads.ReadEach(ctx, reqs, each)
}

func (i identity) Version(ctx context.Context, req cred.Request) (string, bool, error) {
	return i.reads.Version(ctx, req)
}

func (i identity) Renew(ctx context.Context, id string, increment time.Duration) (cred.Lease, error) {
	return i.client.RenewLease(ctx, id, increment)
}

// subscriber asks for events with the token that the default login has at the time.
type subscriber struct{ *access.Parts }

func (s subscriber) Subscribe(ctx context.Context, kind string, each func(vault.Event)) error {
	return s.Default().Session.Client(s.Client).Subscribe(ctx, kind, each)
}
