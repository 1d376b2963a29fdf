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
	"os"
	"sync"
	"time"

	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/lease"
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

	Access   Access
	Sinks    []sink.Sink
	SinkKeep sink.KeepOptions
	Leases   lease.Options
	// Templates is nil when there are none.
	Templates *template.Set
	Watch     template.WatchOptions

	// Child is nil when there is no process to supervise. Environ makes its
	// environment of the rendered variables.
	Child   *child.Supervisor
	Environ func(variables map[string]cred.Redacted) []string

	Listeners []config.Listener
	// StatusSocket is the path of a unix socket for health and status, "" for
	// none.
	StatusSocket string
	Metrics      telemetry.Options
	// ReportTo has a session hear of the requests that the parts make; see
	// wiring.Parts.
	ReportTo func(*session.Session)
	// Adopt puts in force what is not of this package, such as the log's level,
	// when a reload has been taken over; nil for nothing.
	Adopt func() error
}

// Access is how one login sees the server. Its parts belong together: a reload
// keeps all of them or replaces all of them.
type Access struct {
	// Session is nil when the configuration has no auto_auth.
	Session *session.Session
	// Identity is the server as the session's newest token sees it.
	Identity func() lease.Identity
	// Events tells of changed secrets, where the server does; nil for polling
	// alone.
	Events *lease.Events
}

// Options is what a reload does not change.
type Options struct {
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

	mu       sync.Mutex
	job      Job
	token    cred.Token
	sinks    *sink.Keeper
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
	if err := d.open(j); err != nil {
		return err
	}
	if o.Opened != nil {
		if err := o.Opened(); err != nil {
			return err
		}
	}
	d.g.start("telemetry", o.Metrics.Run)
	d.startSinks(j)
	d.startLeases(j)
	d.startTemplates(j)
	d.startChild(j)
	d.startToken(j)
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
		job: j, servers: map[string]*server{},
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
	s := d.job.Access.Session
	d.mu.Unlock()
	if d.o.Revoke && s != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeBudget)
		defer cancel()
		err = errors.Join(err, s.Revoke(ctx))
	}
	if err != nil {
		d.log.Error("not everything ended well", "error", err)
	}
}
