package daemonmode

import (
	"context"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/lease"
	"latchkey/internal/sink"
	"latchkey/internal/template"
)

// startTokens keeps the token of each identity. It comes last of the parts that
// use one, so that they are there when the first one arrives.
func (d *daemon) startTokens(j Job) {
	for n, l := range j.Logins {
		d.g.start(actorOf("token", n, l), func(ctx context.Context) error {
			defer l.Session.Close()
			return l.Session.Keep(ctx, func(tok cred.Token) { d.newToken(n, l.Name, tok) })
		})
	}
}

// actorOf names what is done for one identity.
func actorOf(what string, n int, l Login) string {
	if n == 0 {
		return what
	}
	return what + " of " + l.Name
}

// newToken hands a token of the nth identity on to whoever uses it.
func (d *daemon) newToken(n int, name string, tok cred.Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tokens[name] = tok
	d.keepers[n].Deliver(tok)
	d.lend(name)
	if n == 0 {
		d.identify()
	}
	d.wake()
}

// identify tells the lease manager with whose eyes it sees. A wrapped login leaves
// no token to see with.
func (d *daemon) identify() {
	if len(d.job.Logins) == 0 {
		return
	}
	tok := d.tokens[d.job.Logins[0].Name]
	if d.leases != nil && !tok.Value.Empty() {
		d.leases.Use(d.job.Access.Identity())
	}
}

// startSinks keeps the sinks of each identity at its newest token.
func (d *daemon) startSinks(j Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keepers = nil
	for n, l := range j.Logins {
		k := sink.NewKeeper(l.Sinks, j.SinkKeep)
		d.keepers = append(d.keepers, k)
		if tok := d.tokens[l.Name]; !tok.Value.Empty() || tok.Wrap != nil {
			k.Deliver(tok)
		}
		d.g.start(actorOf("sinks", n, l), k.Run)
	}
}

// startLeases keeps every answer that the templates use current.
func (d *daemon) startLeases(j Job) {
	m := lease.New(j.Leases)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leases = m
	if j.Leases.Store != nil {
		m.Restore(time.Now())
	}
	d.g.start("leases", func(ctx context.Context) error { return m.Keep(ctx, d.moveTemplates) })
	if e := j.Access.Events; e != nil {
		d.g.start("events", func(ctx context.Context) error { return e.Run(ctx, m.Touch) })
	}
	d.identify()
}

// moveTemplates has the templates that used these answers rendered again.
func (d *daemon) moveTemplates(keys []string) {
	d.mu.Lock()
	w := d.watch
	d.mu.Unlock()
	if w != nil {
		w.Changed(keys...)
	}
}

// startTemplates keeps the files, and the variables of the child, as the
// templates say.
func (d *daemon) startTemplates(j Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch, d.complete = nil, j.Templates == nil
	if j.Templates == nil {
		return
	}
	w := j.Templates.Watch(d.leases, j.Watch)
	d.watch = w
	d.g.start("templates", func(ctx context.Context) error { return w.Run(ctx, d.rendered) })
}

// rendered takes what a round of templates made.
func (d *daemon) rendered(rep template.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.complete = rep.Complete
	d.equip()
	d.wake()
}

// equip gives the child its environment once there is a value for each of its
// variables.
func (d *daemon) equip() {
	if d.job.Child == nil || !d.complete {
		return
	}
	var variables map[string]cred.Redacted
	if d.watch != nil {
		variables = d.watch.Variables()
	}
	d.job.Child.Update(d.job.Environ(variables))
}

// startChild supervises the process; it starts when it has its environment.
func (d *daemon) startChild(j Job) {
	if j.Child == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.equip()
	d.g.start("child", j.Child.Run)
}

// wake has the readiness looked at again; one look serves many causes.
func (d *daemon) wake() {
	select {
	case d.moved <- struct{}{}:
	default:
	}
}
