package template

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
)

// runCommands runs what the changed templates name. Two templates that name
// the same command, with the same environment and timeout, share one run.
func (u *run) runCommands(ctx context.Context) {
	outcome := map[commandKey]error{}
	for _, j := range u.jobs {
		exec := j.t.spec.Exec
		if j.err != nil || !j.result.Changed || exec == nil || len(exec.Command) == 0 {
			continue
		}
		c := exec.command(u.set.opts.Env)
		key := c.key()
		err, ran := outcome[key]
		if !ran {
			err = u.set.runCommand(ctx, c)
			outcome[key] = err
		}
		j.result.Command = program(c.Argv)
		if err != nil {
			j.err = j.t.fail(ErrCommand, err)
		}
	}
}

// command is what a template's exec stands for.
func (e *Exec) command(env []string) Command {
	return Command{
		Argv:        e.Command,
		Env:         e.Env.Filter(env),
		Timeout:     e.Timeout,
		KillSignal:  e.KillSignal,
		KillTimeout: e.KillTimeout,
	}
}

// commandKey is the same for commands that share one run. It is a digest, since
// an environment may be long and hold secrets.
type commandKey [sha256.Size]byte

func (c Command) key() commandKey {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %d", c.Argv, c.Env, c.Timeout))
}

func (s *Set) runCommand(ctx context.Context, c Command) error {
	if s.opts.Runner == nil {
		return errors.New("commands cannot be run here")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.opts.Runner.Run(ctx, c)
}

// program is what a message may show of a command: not its arguments, for one
// may be a password.
func program(argv []string) string {
	if f := strings.Fields(argv[0]); len(argv) == 1 && len(f) > 0 {
		return f[0]
	}
	return argv[0]
}
