package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/daemonmode"
	"latchkey/internal/child"
	"latchkey/internal/config"
	"latchkey/internal/logging"
	"latchkey/internal/persist"
	"latchkey/internal/systemd"
	"latchkey/internal/telemetry"
	"latchkey/internal/wiring"
)

// lastResort is how long a daemon may take for its end. What it does there has
// shorter times of its own; this one is for what hangs where no time reaches.
const lastResort = 1900 * time.Millisecond

// errUndone is the kind of the error of a daemon that was left behind.
var errUndone = errors.New("something did not end in time and was left behind: a file system that does not answer, or a template without end")

// staying is a daemon from the first reading of its configuration to its last
// word.
type staying struct {
	g       given
	s       *setup
	signals *signals
	metrics *telemetry.Telemetry
	// persist is nil when nothing is kept for the next start. It is opened once.
	persist *persist.File
	// up is told when the configuration has been found sound.
	up func(*signals)
	// childEnd is what the supervised process has for its own end, added to
	// lastResort.
	childEnd atomic.Int64

	mu sync.Mutex
	// removePID is nil until there is a pid file.
	removePID func()
}

// stay is the daemon. A setup that has been loaded is not loaded again, for a
// configuration may come out of a pipe.
func stay(ctx context.Context, w world, g given, s *setup, up func(*signals)) int {
	d := &staying{g: g, s: s, signals: catchSignals(), up: up}
	defer d.signals.stop()
	if s == nil {
		w.width = nil
		d.s = newSetup(w, g)
	}
	// The live line is for a wait that ends with the run.
	d.s.console.width = nil
	code, left := attended(ctx, w, d.grace, d.run)
	if !left {
		return code
	}
	child.KillAll()
	d.removePIDFile()
	// A setup of its own: the one left behind may hold a lock. And what hangs may
	// be standard error itself, when nobody reads it.
	return briefly(func() int { return told(ctx, newSetup(w, g), errUndone) })
}

// lastWord is how long the last word may take.
const lastWord = 50 * time.Millisecond

// briefly waits for the last word, but not for ever.
func briefly(say func() int) int {
	said := make(chan int, 1)
	go func() { said <- say() }()
	late := time.NewTimer(lastWord)
	defer late.Stop()
	select {
	case code := <-said:
		return code
	case <-late.C:
		return exitDone
	}
}

func (d *staying) grace() time.Duration { return lastResort + time.Duration(d.childEnd.Load()) }

// told is the last word of a daemon that somebody ended. It ended well: what was
// left undone on the way is said, and does not change the code.
func told(ctx context.Context, s *setup, err error) int {
	if err != nil {
		_, cause := first(err)
		s.lastWords(err, fmt.Sprintf("%v; left undone: %v", context.Cause(ctx), cause), exitDone)
	}
	return s.finish(ctx, nil)
}

func (d *staying) run(ctx context.Context) int {
	err := d.serve(ctx)
	if ctx.Err() != nil {
		return told(ctx, d.s, err)
	}
	return d.s.finish(ctx, err)
}

// serve reads, builds and runs.
func (d *staying) serve(ctx context.Context) error {
	s := d.s
	modest(s.w.lookup)
	frugal(s.w.lookup)
	if s.file == nil {
		if err := s.read(d.g); err != nil {
			return err
		}
		if err := s.logger(d.g, logFileOf(s.file)); err != nil {
			return err
		}
	}
	var err error
	if d.metrics, err = telemetry.New(metricsOf(s)); err != nil {
		return err
	}
	job, err := d.job(s)
	if err != nil {
		return err
	}
	defer d.removePIDFile()
	defer func() { s.close(d.persist) }()
	sockets, err := s.sockets()
	if err != nil {
		return err
	}
	defer sockets.Close()
	d.attend(s.file)
	if d.up != nil {
		d.up(d.signals)
	}
	return daemonmode.Run(ctx, job, daemonmode.Options{
		// After the listeners: a second daemon that finds them taken must leave
		// the first one's file alone.
		Opened:  d.writePIDFile,
		Persist: d.persist, Sockets: sockets,
		Rebuild: d.rebuild, Signals: d.signals.c,
		Profile: func(ctx context.Context) error { return profile(ctx, s.log) },
		Revoke:  d.g.has("revoke-on-exit"), Metrics: d.metrics, Notify: systemd.New(logging.Named(s.log, "systemd")),
		Version: version, Log: s.log, Dump: s.w.stderr,
	})
}

// sockets are those that systemd handed over. The variables are about this process
// alone; its children do not get them (systemd.Private).
func (s *setup) sockets() (*systemd.Sockets, error) {
	var v [3]string
	for i, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		v[i], _ = s.w.lookup(name)
	}
	inherited, err := systemd.Inherit(os.Getpid(), v[0], v[1], v[2])
	if err != nil {
		return nil, &config.Problem{Key: "LISTEN_FDS", Text: err.Error(), Hint: "systemd sets it; a shell should not"}
	}
	return inherited, nil
}

// attend has this room do what a configuration says.
func (d *staying) attend(f *config.File) {
	d.signals.forward(f.Exec != nil)
	// Never less than before: a reload may still wait for the process of the
	// configuration that it replaces.
	if f.Exec != nil && d.childEnd.Load() < int64(f.Exec.RestartKillTimeout) {
		d.childEnd.Store(int64(f.Exec.RestartKillTimeout))
	}
}

// job makes the parts of a configuration, of the first one or of one that is
// read again.
func (d *staying) job(s *setup) (daemonmode.Job, error) {
	err := s.check(config.ModeDaemon)
	s.warn(telemetry.Warnings(s.file.Telemetry))
	if err == nil {
		err = revocable(d.g, s.file)
	}
	if err != nil {
		return daemonmode.Job{}, err
	}
	o := s.parts(false)
	o.Meter = d.metrics
	// What systemd says to this process is not said to its children.
	o.Environ = slices.DeleteFunc(slices.Clone(o.Environ), systemd.Private)
	if s == d.s {
		if d.persist, err = s.persist(o); err != nil {
			return daemonmode.Job{}, err
		}
	}
	o.Persist = d.keeps(s.file)
	l, err := wiring.BuildLasting(s.file, o)
	s.warn(s.loaded.LateWarnings())
	if err == nil {
		err = apart(d.g, l.Sinks)
	}
	if err != nil {
		return daemonmode.Job{}, err
	}
	var logins []daemonmode.Login
	for _, i := range l.Logins() {
		logins = append(logins, daemonmode.Login(i))
	}
	return daemonmode.Job{
		Sections: l.Sections,
		Access:   daemonmode.Access{Identity: l.Identity, Events: l.Events},
		Logins:   logins, SinkKeep: l.SinkKeep, Leases: l.Leases, Templates: l.Templates, Watch: l.Watch,
		Proxy: daemonmode.Proxy(l.Proxy), Guards: l.Guards,
		Child: l.Child, Environ: l.Environ, Listeners: s.file.Listeners, StatusSocket: s.file.StatusSocket,
		Metrics: metricsOf(s), Use: func(logins []daemonmode.Login) {
			var use []wiring.Identity
			for _, i := range logins {
				use = append(use, wiring.Identity(i))
			}
			l.Use(use)
		},
	}, nil
}

// metricsOf is what a configuration says of the metrics. A host's name that
// cannot be had is one label less.
func metricsOf(s *setup) telemetry.Options {
	host, _ := os.Hostname()
	return telemetry.Options{
		Config: s.file.Telemetry, Host: host, Cluster: s.file.ClusterName, Version: version, Log: logging.Named(s.log, "telemetry"),
	}
}

// rebuild is what SIGHUP asks for. The flags and the environment are those of
// the start, and still win over the files. Until all is sound, nothing changes.
func (d *staying) rebuild() (daemonmode.Job, error) {
	s := d.s
	next := &setup{w: s.w, console: s.console, log: s.log, json: s.json}
	if err := next.read(d.g); err != nil {
		return daemonmode.Job{}, err
	}
	job, err := d.job(next)
	if err != nil {
		return daemonmode.Job{}, err
	}
	job.Adopt = func() error {
		d.attend(next.file)
		if keptOtherwise(s.file, next.file) {
			s.log.Warn("cache.persist is read at the start only, and so is the server that it is for: the file that was opened then stays in use, or none, until the next one; for another server, none")
		}
		return s.relog(next.file)
	}
	return job, nil
}

// revocable refuses at once a -revoke-on-exit that could only be refused, or do
// harm, at the end. That the sinks' token ends with the daemon is what was asked
// for.
func revocable(g given, f *config.File) error {
	if !g.has("revoke-on-exit") {
		return nil
	}
	force := g["revoke-on-exit"] == "force"
	switch {
	case f.AutoAuth == nil:
		return usageError{"-revoke-on-exit: there is no auto_auth, and so no token to revoke"}
	case f.Cache != nil && f.Cache.Persist != nil && !force:
		return usageError{"-revoke-on-exit would end the tokens that cache.persist keeps for the next start; leave one of them out, or say -revoke-on-exit=force"}
	}
	for _, a := range f.Logins() {
		switch {
		case a.Method.WrapTTL > 0:
			return usageError{"-revoke-on-exit: the login wraps the token (wrap_ttl), and only who unwraps it can revoke it"}
		case a.Handover != nil:
			return usageError{"-revoke-on-exit would end the token that handover keeps for the next start; leave one of them out"}
		case a.Method.Type == "token_file" && !force:
			return usageError{"-revoke-on-exit would end a token that was there before, and that others may use; leave it out, or say -revoke-on-exit=force"}
		}
	}
	return nil
}

func (d *staying) writePIDFile() error {
	remove, err := d.s.pidFile()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removePID = remove
	return nil
}

// removePIDFile removes it once, whoever is first.
func (d *staying) removePIDFile() {
	d.mu.Lock()
	remove := d.removePID
	d.removePID = nil
	d.mu.Unlock()
	if remove != nil {
		remove()
	}
}
