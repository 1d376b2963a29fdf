// Package daemonmode stays: it keeps token, files and child process right for
// as long as it runs.
//
// It arranges the rooms and decides nothing about them. Each part is an actor in
// one group: whoever ends by itself ends all, and everyone is waited for. A
// reload brings a new Job, of which only the parts that say something else are
// started again.
package daemonmode

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"latchkey/internal/cache"
	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/guard"
	"latchkey/internal/lease"
	"latchkey/internal/meter"
	"latchkey/internal/persist"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/systemd"
	"latchkey/internal/telemetry"
	"latchkey/internal/template"
)

// Job is a configuration made ready. Its parts have started nothing yet, so one
// that is not used costs nothing.
type Job struct {
	// Sections tells what a reload has to start again: for each section of the
	// configuration a digest of what it says.
	Sections map[string]string

	Access Access
	// Logins are all identities, the default one first; none without auto_auth.
	Logins   []Login
	SinkKeep sink.KeepOptions
	Leases   lease.Options
	// Templates is nil when there are none.
	Templates *template.Set
	Watch     template.WatchOptions

	// Child is nil when there is no process to supervise. Environ makes its
	// environment of the rendered variables.
	Child   *child.Supervisor
	Environ func(variables map[string]cred.Redacted) []string

	Proxy     Proxy
	Listeners []config.Listener
	// Guards are those that a listener asks for.
	Guards func(config.Listener) guard.Options
	// StatusSocket is the path of a unix socket for health and status, "" for
	// none.
	StatusSocket string
	Metrics      telemetry.Options
	// Use has the parts work with other logins than those they were made with;
	// see wiring.Parts.
	Use func([]Login)
	// Adopt puts in force what is not of this package, such as the log's level,
	// when a reload has been taken over; nil for nothing.
	Adopt func() error
}

// Access is how the default login sees the server. Its parts belong together, and
// to the logins: a reload keeps all of them or replaces all of them.
type Access struct {
	// Identity is the server as the newest token sees it; nil without auto_auth.
	Identity func() lease.Identity
	// Events tells of changed secrets, where the server does; nil for polling
	// alone.
	Events *lease.Events
}

// Login is an identity: a session, and the sinks that its token goes to.
type Login struct {
	Name    string
	Session *session.Session
	Sinks   []sink.Sink
}

// Proxy is what serves Vault's API on the listeners.
type Proxy struct {
	// Handler serves /v1/ and lends the token of this identity, "" for the default
	// one; nil when nothing is to be passed on.
	Handler func(identity string) http.Handler
	// Cache, and what keeps its leases, are nil when nothing is cached.
	Cache  *cache.Cache
	Leases *lease.Renewer
	// Events tell the cache of changed secrets; nil for not at all.
	Events *lease.Events
	// Tally is what they report to; nil with Handler.
	Tally *meter.Tally
}

// Options is what a reload does not change.
type Options struct {
	// Persist keeps tokens and leases for the next start; nil for nowhere. It is
	// for the caller to close.
	Persist *persist.File
	// Sockets are those that systemd handed over; nil for none.
	Sockets *systemd.Sockets
	// Opened is called once the listeners are open, before anything else is
	// started; its error ends the daemon. Nil for nothing.
	Opened func() error
	// Rebuild reads the configuration again; its error changes nothing.
	Rebuild func() (Job, error)
	// Signals are those that do not end the daemon.
	Signals <-chan os.Signal
	// Profile writes what SIGUSR2 asks for.
	Profile func(context.Context) error
	// Revoke ends the token when the daemon ends well.
	Revoke  bool
	Metrics *telemetry.Telemetry
	Notify  *systemd.Notifier
	Version string
	Log     *slog.Logger
	// Dump is where SIGUSR1 prints the metrics.
	Dump io.Writer
}

// How long the parts have for their end, two seconds in all. The supervised child
// has its own stop timeout beside that. A template's command that is asked to end
// has a second.
const (
	partingOfSignals = 200 * time.Millisecond
	parting          = 1300 * time.Millisecond
	revokeBudget     = 400 * time.Millisecond
)

// errQuit ends the round when somebody asked for it.
var errQuit = errors.New("asked to quit")

// daemon is what the parts share.
type daemon struct {
	o       Options
	log     *slog.Logger
	g       *group
	started time.Time
	// quit is closed once, by whoever asks first.
	quit     chan struct{}
	quitOnce sync.Once
	// moved wakes the actor that looks whether all is ready.
	moved chan struct{}

	mu  sync.Mutex
	job Job
	// keepers are those of the sinks of each identity, in the order of the job's
	// logins; tokens are the newest ones by the identity's name.
	keepers  []*sink.Keeper
	tokens   map[string]cred.Token
	leases   *lease.Manager
	watch    *template.Watch
	servers  map[string]*server
	complete bool // every template has rendered once
	up       bool // everything was in place once
	reloaded reload
}

// Run keeps everything right until ctx ends or somebody asks it to quit, which
// are no errors, or until a part ends by itself: the child, whose *child.ExitError
// comes back as it is, or a part that gave up.
func Run(ctx context.Context, j Job, o Options) error {
	d := newDaemon(ctx, j, o)
	defer d.goodbye(ctx)
	d.equipProxy(j)
	if err := d.open(j); err != nil {
		return err
	}
	if o.Opened != nil {
		if err := o.Opened(); err != nil {
			return err
		}
	}
	d.g.start("telemetry", o.Metrics.Run)
	d.startPersist()
	d.startProxy(j)
	d.startSinks(j)
	d.startLeases(j)
	d.startTemplates(j)
	d.startChild(j)
	d.startTokens(j)
	d.g.start("ready", d.announce)
	d.g.start("watchdog", d.watchdog)
	d.g.start("orphans", child.Reap)
	d.g.start("signals", d.signals)

	select {
	case <-ctx.Done():
		d.log.Info("stopping", "cause", context.Cause(ctx))
	case <-d.quit:
		d.log.Info("stopping", "cause", errQuit)
	case first := <-d.g.ended():
		d.log.Info("stopping", "cause", first.name+" ended")
		return first.err
	}
	return nil
}

func newDaemon(ctx context.Context, j Job, o Options) *daemon {
	return &daemon{
		o: o, log: o.Log, g: newGroup(ctx, o.Log), started: time.Now(),
		quit: make(chan struct{}), moved: make(chan struct{}, 1),
		job: j, servers: map[string]*server{}, tokens: map[string]cred.Token{},
	}
}

// goodbye ends the parts: first what could start others, then the child, which
// may still want its secrets and its listener, then all the rest; at last the
// token, if it is to be revoked. Why the daemon ended is what counts; what is
// left undone here is told.
func (d *daemon) goodbye(ctx context.Context) {
	d.g.close()
	d.o.Notify.Stopping()
	d.g.stopWithin("signals", partingOfSignals)
	d.g.stop("child")
	err := d.g.stopAll(parting)
	d.mu.Lock()
	logins := d.job.Logins
	d.mu.Unlock()
	if d.o.Revoke {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeBudget)
		defer cancel()
		for _, l := range logins {
			err = errors.Join(err, l.Session.Revoke(ctx))
		}
	}
	if err != nil {
		d.log.Error("not everything ended well", "error", err)
	}
}
