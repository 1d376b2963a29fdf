package template

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// runCommands runs what the changed templates name. Two templates that name
// the same command, with the same environment and timeout, share one run.
func (u *run) runCommands(ctx context.Context) {
	outcome := map[string]error{}
	for _, j := range u.jobs {
		exec := j.t.spec.Exec
		if j.err != nil || !j.result.Changed || exec == nil || len(exec.Command) == 0 {
			continue
		}
		c := Command{
			Argv:        exec.Command,
			Env:         exec.environ(u.set.opts.Env),
			Timeout:     exec.Timeout,
			KillSignal:  exec.KillSignal,
			KillTimeout: exec.KillTimeout,
		}
		key := fmt.Sprintf("%q %q %d", c.Argv, c.Env, c.Timeout)
		err, ran := outcome[key]
		if !ran {
			err = u.runCommand(ctx, c)
			outcome[key] = err
		}
		j.result.Command = program(c.Argv)
		if err != nil {
			j.err = j.t.fail(ErrCommand, err)
		}
	}
}

func (u *run) runCommand(ctx context.Context, c Command) error {
	if u.set.opts.Runner == nil {
		return errors.New("commands cannot be run here")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return u.set.opts.Runner.Run(ctx, c)
}

// program is what a message may show of a command: not its arguments, for one
// may be a password.
func program(argv []string) string {
	if f := strings.Fields(argv[0]); len(argv) == 1 && len(f) > 0 {
		return f[0]
	}
	return argv[0]
}

// environ filters the environment of this process for a command.
func (e *Exec) environ(env []string) []string {
	out := []string{}
	if !e.Pristine {
		for _, entry := range env {
			name, _, _ := strings.Cut(entry, "=")
			if len(e.Allowlist) > 0 && !matches(name, e.Allowlist) || matches(name, e.Denylist) {
				continue
			}
			out = append(out, entry)
		}
	}
	return append(out, e.Custom...)
}

func matches(name string, globs []string) bool {
	for _, g := range globs {
		if ok, _ := filepath.Match(g, name); ok {
			return true
		}
	}
	return false
}
