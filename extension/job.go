package extension

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"latchkey/internal/access"
	"latchkey/internal/auth"
	"latchkey/internal/cache"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/environ"
	"latchkey/internal/guard"
	"latchkey/internal/lambdaenv"
	"latchkey/internal/lease"
	"latchkey/internal/retry"
	"latchkey/internal/secretfile"
	"latchkey/internal/session"
)

// World is what a program finds itself in.
type World struct {
	// Path is that of the program's file.
	Path    string
	Environ []string
	Method  func(name string) (auth.Constructor, error)
	Version string
	Log     *slog.Logger
}

// DialTimeout bounds each of the steps to a connection. The time for a start is
// short, and a network that swallows packets is to be told by name within it.
const DialTimeout = 3 * time.Second

// Access is what the parts that speak with the server are built with.
func (w World) Access(s *lambdaenv.Settings) access.Options {
	return access.Options{
		Method: w.Method, Environ: w.Environ, Origins: s.Origins, Attempts: -1, Log: w.Log, Named: Named, Version: w.Version,
		Observer: w.Observe, Attempt: s.Attempt, DialTimeout: DialTimeout, HTTP1: true, Brief: cache.Brief{TTL: s.CacheTTL, Every: s.CacheEvery}, CacheBytes: s.CacheBytes,
	}
}

// Observe tells of what did not work, and how long it will be left alone; whether it is
// tried again is for the budget to say.
func (w World) Observe(n retry.Notice) {
	w.Log.Warn("it did not work", "what", n.What, "attempt", n.Attempt, "next_not_before", n.Next.Round(time.Millisecond), "error", n.Err)
}

// Prepare makes a Job of what an environment says. What is wrong with that is the
// Job's Fault, for only who is registered may report it.
func Prepare(w World, s *lambdaenv.Settings, wrong error) Job {
	j := Begin(w, s, wrong)
	if j.Fault != nil {
		return j
	}
	p, err := access.Build(s.File, w.Access(s))
	if err == nil {
		err = j.Arrange(w, s, p, Extra{})
	}
	j.Fault = lambdaenv.Called(err)
	return j
}

// Begin is a Job with nothing to do yet: Arrange says what.
func Begin(w World, s *lambdaenv.Settings, wrong error) Job {
	j := Job{API: w.variable("AWS_LAMBDA_RUNTIME_API"), Name: filepath.Base(w.Path), Log: w.Log, Budget: defaultBudget, Fault: wrong, gate: newGate()}
	if wrong != nil {
		return j
	}
	j.Budget, j.FailOpen = s.InitBudget, s.FailOpen
	j.Awake = s.InitType == lambdaenv.ManagedInstances
	j.Deferred = s.InitType == lambdaenv.SnapStart && !s.InitLogin
	return j
}

// defaultBudget is that of a start whose settings could not be read.
const defaultBudget = 8 * time.Second

// Extra is what only a program that reads configuration files has.
type Extra struct {
	// Works are in place before the function's own code runs, after the logins.
	Works []Work
	// Changed hears of each new token, with the name of its identity.
	Changed func(identity string, t cred.Token)
	// Variables are what templates of variables came to, when Works are done.
	Variables func() map[string]cred.Redacted
	// Reference evaluates a key of a reference that is a template; see ref.Options.
	Reference func(text string, data map[string]any) (string, error)
	// Open is Job.Open.
	Open func(l config.Listener, name string, log *slog.Logger) (Opened, error)
}

// Arrange fills in what is kept right and what is served. The parts lend from then
// on what the extension keeps.
func (j *Job) Arrange(w World, s *lambdaenv.Settings, p *access.Parts, x Extra) error {
	for _, text := range s.Warnings {
		j.Log.Warn(text)
	}
	k := &keeping{extra: x.Changed}
	var logins []Work
	for i := range p.Logins {
		l := &p.Logins[i]
		pulled := l.Session.Pull(session.PullOptions{Grace: s.Grace, Changed: func(t cred.Token) { k.changed(l.Name, t) }})
		l.Lend = lender{pulled, j.gate}
		if i == 0 {
			k.name, k.lend = l.Name, pulled
		}
		logins = append(logins, pulled)
	}
	p.Use(p.Logins)

	early := x.Works
	files, err := k.secretFiles(w, s, p)
	if err != nil {
		return err
	}
	if files != nil {
		early = append(early, files)
	}
	env, err := j.environment(w, s, p, k, x)
	if err != nil {
		return err
	}
	if env != nil {
		early = append(early, env)
	}
	if len(early) > 0 {
		j.Early = append(logins, early...)
	} else {
		j.Late = logins
	}
	if s.Proxy {
		if err := j.proxy(w, s, p, k, x); err != nil {
			return err
		}
	}
	j.Revoke, j.Close = k.parting(s, p)
	j.Ready = func(log *slog.Logger) { log.Info("ready", k.inPlace(s)...) }
	return nil
}

// keeping is what the works share: the login that all of them use, and who wants
// to hear of its tokens.
type keeping struct {
	name  string
	lend  *session.Pulled // nil without a login
	cache *cache.Cache
	files *secretfile.Files
	extra func(identity string, t cred.Token)
}

// changed tells of a new token.
func (k *keeping) changed(identity string, t cred.Token) {
	if k.cache != nil {
		k.cache.Adopt(identity, t)
	}
	if k.files != nil && identity == k.name {
		k.files.Use(t)
	}
	if k.extra != nil {
		k.extra(identity, t)
	}
}

// secretFiles are VAULT_SECRET_PATH and its kin; nil for none.
func (k *keeping) secretFiles(w World, s *lambdaenv.Settings, p *access.Parts) (Work, error) {
	if len(s.Secrets) == 0 {
		return nil, nil
	}
	specs := make([]secretfile.Spec, 0, len(s.Secrets))
	for _, x := range s.Secrets {
		specs = append(specs, secretfile.Spec{
			Name: x.Name, Path: x.Path, File: x.File, Mode: s.FileMode, DirMode: s.DirMode, From: x.Variable,
		})
	}
	files, err := secretfile.New(specs, secretfile.Options{
		Client: p.Client, Identity: k.lend, Refresh: s.Refresh, Retry: access.ReadSchedule(s.File, s.Origins),
		Observer: w.Observe, Log: Named(w.Log, "files"),
	})
	if err != nil {
		return nil, err
	}
	k.files = files
	return files, nil
}

// proxy is what is served, and the works that keep its cache.
func (j *Job) proxy(w World, s *lambdaenv.Settings, p *access.Parts, k *keeping, x Extra) error {
	o := w.Access(s)
	served, err := p.Proxied(s.File, o)
	if err != nil || served.Handler == nil {
		return err
	}
	j.Listeners, j.Open = s.File.Listeners, x.Open
	j.Guards = func(l config.Listener) guard.Options { return access.Guards(l, s.File, o) }
	j.Proxy = served.Handler
	if served.Leases != nil {
		j.Late = append(j.Late, cachedLeases{served.Leases})
	}
	if c := served.Cache; c != nil {
		k.cache = c
		j.Clear = c.ClearHandler()
		j.Late = append(j.Late, c)
	}
	return nil
}

// cachedLeases is the work of keeping the leases that the cache has.
type cachedLeases struct{ *lease.Renewer }

// Name implements Work.
func (cachedLeases) Name() string { return "cached leases" }

// parting is how things are let go of.
func (k *keeping) parting(s *lambdaenv.Settings, p *access.Parts) (revoke func(context.Context) error, end func()) {
	if s.Revoke {
		revoke = func(ctx context.Context) error {
			var errs []error
			for _, l := range p.Logins {
				errs = append(errs, l.Session.Revoke(ctx))
			}
			return errors.Join(errs...)
		}
	}
	return revoke, func() {
		for _, l := range p.Logins {
			_ = l.Session.Close()
		}
		_ = p.Client.Close()
	}
}

// inPlace says where the function finds what it asked for.
func (k *keeping) inPlace(s *lambdaenv.Settings) []any {
	var said []any
	for _, x := range s.Secrets {
		said = append(said, x.Variable, x.File)
	}
	if s.Proxy {
		for _, l := range s.File.Listeners {
			said = append(said, "proxy", l.Address)
		}
	}
	return said
}

// variable is the value of one, "" when it is not set.
func (w World) variable(name string) string {
	value, _ := environ.Lookup(w.Environ)(name)
	return value
}
