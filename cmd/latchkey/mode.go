package main

import (
	"context"
	"slices"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/sink"
	"latchkey/oneshot"
)

// The mode is chosen here and nowhere else: 'once' is a one-shot and 'daemon'
// stays; 'agent' is the one or the other as exit_after_auth or its flag says.

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
	stays := make(chan *setup, 1)
	code := bounded(ctx, w, g, defaultTimeout, func(ctx context.Context) int {
		s, err := load(w, g)
		switch {
		case err != nil:
			return s.finish(ctx, err)
		case s.file.ExitAfterAuth:
			return s.finish(ctx, s.once(ctx, g))
		case g.has("timeout"):
			return s.finish(ctx, usageError{"-timeout is for a one-shot, and this configuration stays: leave it out, or set exit_after_auth"})
		}
		stays <- s
		return exitDone
	})
	select {
	case s := <-stays:
		return stay(ctx, w, g, s, nil)
	default:
		return code
	}
}

func runDaemon(ctx context.Context, w world, g given, _ []string) int {
	return stay(ctx, w, g, nil, nil)
}

const defaultTimeout = 5 * time.Minute

// once is the one-shot: what is asked, the parts, the run, the report.
func (s *setup) once(ctx context.Context, g given) error {
	revoke, err := revocation(g, s.file)
	if err != nil {
		return err
	}
	parts, kept, err := s.build(config.ModeOnce)
	if err != nil {
		return err
	}
	defer parts.Session.Close()
	defer s.close(kept)
	if err := apart(g, parts.Sinks); err != nil {
		return err
	}
	remove, err := s.pidFile()
	if err != nil {
		return err
	}
	defer remove()
	report, err := oneshot.Run(ctx, oneshot.Job{
		Session: parts.Session, Client: parts.Client, Sinks: parts.Sinks, SinkRetry: parts.SinkRetry,
		Templates: parts.Templates, Reads: parts.Reads, Store: parts.Store, Revoke: revoke, Observer: s.observe, Log: s.log,
	})
	s.console.clear()
	if err == nil {
		s.log.Info("done", "report", report)
	}
	return err
}

// apart refuses to mix log lines and tokens.
func apart(g given, sinks []sink.Sink) error {
	if g.on("combine-logs") && slices.ContainsFunc(sinks, toStdout) {
		return usageError{"-combine-logs would put log lines beside the token that a sink writes to standard output; leave one of them out"}
	}
	return nil
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
		if f.Cache != nil && f.Cache.Persist != nil {
			return 0, usageError{"-revoke-on-exit would end the token that cache.persist keeps for the next start; leave one of them out, or say -revoke-on-exit=force"}
		}
		if f.AutoAuth != nil && len(f.AutoAuth.Sinks) > 0 {
			return 0, usageError{"-revoke-on-exit would end the token that the sinks were just given; leave it out, leave the sinks out, or say -revoke-on-exit=force"}
		}
		return oneshot.RevokeSafe, nil
	}
	return oneshot.Keep, nil
}
