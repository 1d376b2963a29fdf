package main

import (
	"context"
	"slices"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/sink"
	"latchkey/oneshot"
)

// The mode is chosen here and nowhere else: 'once' is a one-shot, 'agent' is
// one when exit_after_auth or its flag says so.

func runOnce(ctx context.Context, w world, g given, _ []string) int {
	return bounded(ctx, w, g, defaultTimeout, func(ctx context.Context) int {
		s, err := load(w, g)
		if err != nil {
			return s.finish(ctx, err)
		}
		return s.finish(ctx, s.once(ctx, g))
	})
}

func runAgent(ctx context.Context, w world, g given, _ []string) int {
	if g.on("test-verify-only") {
		return runCheck(ctx, w, g, nil)
	}
	return bounded(ctx, w, g, defaultTimeout, func(ctx context.Context) int {
		s, err := load(w, g)
		switch {
		case err != nil:
			return s.finish(ctx, err)
		case s.file.ExitAfterAuth:
			return s.finish(ctx, s.once(ctx, g))
		}
		return s.finish(ctx, usageError{"this version cannot stay yet: set exit_after_auth or -exit-after-auth, or use 'latchkey once'"})
	})
}

const defaultTimeout = 5 * time.Minute

// once is the one-shot: what is asked, the parts, the run, the report.
func (s *setup) once(ctx context.Context, g given) error {
	revoke, err := revocation(g, s.file)
	if err != nil {
		return err
	}
	parts, err := s.build(config.ModeOnce)
	if err != nil {
		return err
	}
	defer parts.Session.Close()
	if g.on("combine-logs") && slices.ContainsFunc(parts.Sinks, toStdout) {
		return usageError{"-combine-logs would put log lines beside the token that a sink writes to standard output; leave one of them out"}
	}
	remove, err := s.pidFile()
	if err != nil {
		return err
	}
	defer remove()
	report, err := oneshot.Run(ctx, oneshot.Job{
		Session: parts.Session, Client: parts.Client, Sinks: parts.Sinks, SinkRetry: parts.SinkRetry,
		Templates: parts.Templates, Reads: parts.Reads, Revoke: revoke, Observer: s.observe, Log: s.log,
	})
	s.console.clear()
	if err == nil {
		s.log.Info("done", "report", report)
	}
	return err
}

// toStdout reports whether a sink writes where -combine-logs does.
func toStdout(s sink.Sink) bool {
	return slices.Contains([]string{"stdout", "file /dev/stdout", "file /dev/fd/1", "file /proc/self/fd/1"}, s.Name())
}

// revocation reads -revoke-on-exit and refuses at once what could only be
// refused later.
func revocation(g given, f *config.File) (oneshot.Revoke, error) {
	switch g["revoke-on-exit"] {
	case "force":
		return oneshot.RevokeForce, nil
	case "true":
		if f.AutoAuth != nil && len(f.AutoAuth.Sinks) > 0 {
			return 0, usageError{"-revoke-on-exit would end the token that the sinks were just given; leave it out, leave the sinks out, or say -revoke-on-exit=force"}
		}
		return oneshot.RevokeSafe, nil
	}
	return oneshot.Keep, nil
}
