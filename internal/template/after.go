package template

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// command is a program that runs after files changed, for all templates that
// name it. It is under the Watch's mu.
type command struct {
	exec *Exec
	// asked are the templates that changed since it was last started, at is when
	// it starts for them, zero when there are none.
	asked []*watched
	at    time.Time
	// held is whether it waits for other templates of a round.
	held     bool
	running  bool
	failures int
}

const (
	// patience is how long a command waits at most for other templates of the
	// round that name it too: one of them may wait for an answer that never comes.
	patience = 5 * time.Second
	// programs is how many commands run at a time.
	programs = 16
)

// ask has the command run for a template, when hold is set after others.
func (c *command) ask(st *watched, at time.Time, hold bool) {
	if !c.asks(st) {
		c.asked = append(c.asked, st)
	}
	if hold {
		c.held = true
		c.at = earlier(c.at, at.Add(patience))
		return
	}
	c.at = earlier(c.at, at.Add(c.splay()))
}

// release ends the wait for others.
func (c *command) release(at time.Time) {
	if c.held {
		c.held = false
		c.at = earlier(c.at, at.Add(c.splay()))
	}
}

func (c *command) splay() time.Duration {
	if c.exec.Splay <= 0 {
		return 0
	}
	return rand.N(c.exec.Splay)
}

func (c *command) asks(st *watched) bool { return slices.Contains(c.asked, st) }

// mayStart is whether a command waits for nothing but its time.
func (w *Watch) mayStart(c *command) bool {
	return !c.running && !c.at.IsZero() && w.running < programs
}

// due is whether its time has come, or comes by by and nothing but a splay is
// waited for.
func (c *command) due(at, by time.Time) bool {
	return !c.at.After(at) || !c.held && c.failures == 0 && !c.at.After(by)
}

// launch takes those that a command runs for; mu is held.
func (w *Watch) launch(c *command) (users []*watched) {
	users = c.asked
	c.asked, c.at, c.held, c.running = nil, time.Time{}, false, true
	w.running++
	return users
}

// command runs a command to its end. One that fails is tried again by itself; no
// file is written and nothing is read for that.
func (w *Watch) command(ctx context.Context, c *command, users []*watched) {
	cmd := c.exec.command(w.set.opts.Env)
	err := w.set.runCommand(ctx, cmd)
	name := program(cmd.Argv)
	w.mu.Lock()
	c.running = false
	w.running--
	at := now()
	if err != nil && ctx.Err() != nil {
		// It was broken off, and is still owed to them.
		for _, st := range users {
			c.ask(st, at, false)
		}
		c.at = at
		w.mu.Unlock()
		return
	}
	c.failures++
	next := at.Add(w.wait(c.failures, err))
	if err == nil {
		c.failures = 0
	} else {
		c.at = earlier(c.at, next)
	}
	for _, st := range users {
		o := st.outcome()
		o.Command, st.commandErr = name, nil
		if err != nil {
			st.commandErr = st.t.fail(ErrCommand, err)
			o.Err, st.errAt = st.commandErr, at
			if !c.asks(st) {
				c.asked = append(c.asked, st)
			}
		}
		w.news = append(w.news, o)
	}
	failures, at0 := c.failures, c.at
	w.poke()
	w.mu.Unlock()
	if err != nil {
		w.opts.Meter.Count("template.command.failure", 1)
		w.set.opts.Log.Error("template command failed; the file is written", "error", users[0].t.fail(ErrCommand, err),
			"templates", len(users), "failures", failures, "next_at", at0)
		return
	}
	w.set.opts.Log.Info("template command ended", "command", name, "templates", len(users))
}
