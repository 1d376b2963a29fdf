package daemonmode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"latchkey/internal/cred"
)

// reload is how the last one went.
type reload struct {
	at  time.Time
	err error
}

// signals acts on the signals that do not end the daemon. With a child, those
// that mean something of its own to it are the child's.
func (d *daemon) signals(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case sig := <-d.o.Signals:
			d.signal(ctx, sig)
		}
	}
}

func (d *daemon) signal(ctx context.Context, sig os.Signal) {
	if sig == syscall.SIGHUP {
		d.reload(ctx)
		return
	}
	d.mu.Lock()
	c := d.job.Child
	d.mu.Unlock()
	if c != nil {
		c.Signal(sig)
		return
	}
	switch sig {
	case usr1:
		if err := d.o.Metrics.Dump(d.o.Dump); err != nil {
			d.log.Warn("metrics not dumped", "error", err)
		}
	case usr2:
		if err := d.o.Profile(ctx); err != nil {
			d.log.Warn("profiles not written", "error", err)
		}
	}
}

// reload reads the configuration again and starts again what it says otherwise.
// One that is wrong changes nothing.
func (d *daemon) reload(ctx context.Context) {
	if d.isUp() {
		d.o.Notify.Reloading()
		defer d.o.Notify.Ready()
	}
	next, err := d.o.Rebuild()
	if err == nil {
		err = d.apply(ctx, next)
	}
	d.mu.Lock()
	d.reloaded = reload{time.Now(), err}
	d.mu.Unlock()
	d.wake()
	switch {
	case errors.Is(err, errInPart):
		d.log.Error("configuration reloaded in part", "error", err)
	case err != nil:
		d.log.Error("configuration not reloaded, what was in force stays", "error", err)
	}
}

// apply puts a job in the place of the one in force. Another login has to succeed
// first: until then the old token is the better one.
func (d *daemon) apply(ctx context.Context, next Job) error {
	d.mu.Lock()
	old := d.job
	d.mu.Unlock()
	changed := func(sections ...string) bool {
		return slices.ContainsFunc(sections, func(s string) bool { return old.Sections[s] != next.Sections[s] })
	}
	login := changed("vault", "auth") || (old.Access.Events == nil) != (next.Access.Events == nil)
	passing := login || changed("proxy") || (old.Proxy.Handler == nil) != (next.Proxy.Handler == nil)
	next.keep(old, login, passing, changed("exec"))
	leases := login || old.Leases.StaticInterval != next.Leases.StaticInterval || old.Leases.Threshold != next.Leases.Threshold
	steps := d.steps(changed, login, leases, passing)
	var tokens map[string]cred.Token
	if login {
		var err error
		if tokens, err = firstTokens(ctx, next.Logins); err != nil {
			return err
		}
	}
	again, err := d.reopen(next)
	if err != nil {
		if login {
			err = errors.Join(err, letGo(ctx, next.Logins))
		}
		return err
	}
	rest := d.adoptRest(next, changed("telemetry"))
	for _, s := range slices.Backward(steps) {
		if s.again {
			again = append(again, s.name)
			for _, p := range slices.Backward(s.actors) {
				d.g.stop(p)
			}
		}
	}
	d.adopt(next, login, tokens)
	for _, s := range steps {
		if s.again {
			s.start(next)
		}
	}
	if len(again) == 0 {
		again = append(again, "nothing")
	}
	slices.Sort(again)
	d.log.Info("configuration reloaded", "started_again", strings.Join(again, ", "))
	if changed("pid_file") {
		d.log.Warn("pid_file is read at the start only: what the file says of it now is used after the next one")
	}
	return rest
}

// keep has a job go on with the parts of the one in force that are to stay.
func (j *Job) keep(old Job, login, passing, exec bool) {
	if !login {
		j.Access = old.Access
		// The same sections mean the same identities in the same order.
		for n := range j.Logins {
			j.Logins[n].Session = old.Logins[n].Session
		}
	}
	if !passing {
		j.Proxy = old.Proxy
	}
	if !exec {
		j.Child = old.Child
	}
}

// step is one part of the daemon that a reload may have to start again.
type step struct {
	name  string
	again bool
	// actors are those that it consists of.
	actors []string
	start  func(Job)
}

// steps lists the parts. What uses another stands below it: it starts after it
// and ends before.
func (d *daemon) steps(changed func(...string) bool, login, leases, passing bool) []step {
	return []step{
		{"sinks", login || changed("sinks"), d.actorsOf("sinks"), d.startSinks},
		{"leases", leases, []string{"leases", "events"}, d.startLeases},
		{"templates", leases || changed("templates"), []string{"templates"}, d.startTemplates},
		{"proxy", passing, []string{"proxy", "cache", "cached leases", "cache events"}, d.passAnew},
		{"child", changed("exec"), []string{"child"}, d.startChild},
		{"token", login, d.actorsOf("token"), d.startTokens},
	}
}

// actorsOf names what is done of a kind for the identities in force.
func (d *daemon) actorsOf(what string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for n, l := range d.job.Logins {
		names = append(names, actorOf(what, n, l))
	}
	return names
}

// adoptRest puts in force what needs no part to be started again.
func (d *daemon) adoptRest(next Job, metrics bool) error {
	var errs []error
	if metrics {
		errs = append(errs, d.o.Metrics.Reload(next.Metrics))
	}
	if next.Adopt != nil {
		errs = append(errs, next.Adopt())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", errInPart, err)
	}
	return nil
}

// errInPart is the kind of the error of a reload of which something was taken
// over.
var errInPart = errors.New("all but this was taken over")

// adopt makes a job the one in force. With other logins, the tokens of those
// before are nobody's any more.
func (d *daemon) adopt(next Job, login bool, tokens map[string]cred.Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.job = next
	if login {
		d.tokens = tokens
	} else {
		next.Use(next.Logins)
	}
}

// How long a reload may take to log in, and to let a token go that it does not
// use after all.
const (
	patienceForLogin = 10 * time.Second
	patienceForEnd   = time.Second
)

// firstTokens logs in the sessions that Keep will go on with: all or none.
func firstTokens(ctx context.Context, logins []Login) (map[string]cred.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, patienceForLogin)
	defer cancel()
	tokens := map[string]cred.Token{}
	for n, l := range logins {
		tok, err := l.Session.Login(ctx)
		if err != nil {
			err = errors.Join(err, l.Session.Close())
			return nil, errors.Join(err, letGo(context.WithoutCancel(ctx), logins[:n]))
		}
		tokens[l.Name] = tok
	}
	return tokens, nil
}

// letGo ends sessions that were logged in for a reload that failed.
func letGo(ctx context.Context, logins []Login) error {
	ctx, cancel := context.WithTimeout(ctx, patienceForEnd)
	defer cancel()
	var errs []error
	for _, l := range logins {
		errs = append(errs, l.Session.Revoke(ctx), l.Session.Close())
	}
	return errors.Join(errs...)
}
