package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/logging"
	"latchkey/internal/methods"
	"latchkey/internal/retry"
	"latchkey/internal/wiring"
)

// setup is what every command that has a configuration starts from.
type setup struct {
	w       world
	loaded  *config.Loaded
	file    *config.File
	origins config.Origins
	console *console
	log     *slog.Logger
	logFile io.Closer
	json    bool
}

// load reads the configuration and lays environment and flags over it. The
// setup is returned with an error too, for it knows how to say it.
func load(w world, g given) (*setup, error) {
	s := &setup{w: w, console: newConsole(w.stderr, w.width), json: wantsJSON(w, g)}
	var err error
	s.loaded, err = config.Load(config.ConfigPaths(g.list("config"), w.lookup), config.Options{Lenient: g.on("lenient"), Env: w.lookup})
	if err != nil {
		return s, err
	}
	// The flags that say something to the command are passed over there.
	s.file, s.origins, err = s.loaded.Resolve(config.Flags(g), w.lookup)
	if err != nil {
		return s, err
	}
	return s, s.logger(g)
}

// wantsJSON looks where the configuration will look, for faults that come
// before it is read.
func wantsJSON(w world, g given) bool {
	for _, look := range []func() (string, bool){
		func() (string, bool) { v, ok := g["log-format"]; return v, ok },
		func() (string, bool) { return w.lookup("BAO_LOG_FORMAT") },
		func() (string, bool) { return w.lookup("VAULT_LOG_FORMAT") },
	} {
		if v, ok := look(); ok {
			return strings.EqualFold(v, "json")
		}
	}
	return false
}

func inert(name string) bool {
	for _, o := range agentOptions {
		if o.name == name {
			return o.inert
		}
	}
	return false
}

// logger builds the log as the configuration wants it.
func (s *setup) logger(g given) error {
	level, err := logging.ParseLevel(s.file.LogLevel)
	if err != nil {
		return &config.Problem{Key: "log_level", Text: err.Error()}
	}
	format, err := logging.ParseFormat(s.file.LogFormat)
	if err != nil {
		return &config.Problem{Key: "log_format", Text: err.Error()}
	}
	s.json = format == logging.JSON
	out := io.Writer(s.console)
	if g.on("combine-logs") {
		out = s.w.stdout
	}
	log, closer, err := logging.New(logging.Options{
		Level: level, Format: format, Stderr: out, File: s.file.LogFile,
		RotateDuration: s.file.LogRotateDuration, RotateBytes: s.file.LogRotateBytes, RotateMaxFiles: s.file.LogRotateMaxFiles,
	})
	if err != nil {
		return &config.Problem{Key: "log_file", Text: err.Error(), Hint: "make it writable for this user, or name another"}
	}
	s.log, s.logFile = logging.Named(log, "latchkey"), closer
	for name := range g {
		if inert(name) {
			s.log.Warn("flag has no effect, as in vault agent", "flag", "-"+name)
		}
	}
	return nil
}

// warn logs what the configuration has that does not stop the run.
func (s *setup) warn(list []config.Warning) {
	for _, w := range list {
		s.log.Warn(w.String())
	}
}

// build checks the configuration for a mode and makes the parts.
func (s *setup) build(m config.Mode) (*wiring.Parts, error) {
	s.warn(s.loaded.Warnings)
	warnings, err := config.Check(s.file, m)
	s.warn(warnings)
	if err != nil {
		return nil, err
	}
	parts, err := wiring.Build(s.file, s.parts(false))
	s.warn(s.loaded.LateWarnings())
	return parts, err
}

// parts is what the parts are given; preserve is for a login that only checks.
func (s *setup) parts(preserve bool) wiring.Options {
	return wiring.Options{
		Method: methods.Lookup, Environ: s.w.environ, Origins: s.origins,
		Preserve: preserve, Stdout: s.w.stdout, Output: s.w.stderr, Observer: s.observe, Log: s.log, Version: version,
	}
}

// observe tells of a failed attempt: on a terminal as the live line; as a log
// line where there is no terminal, or a log file that must not miss it.
func (s *setup) observe(n retry.Notice) {
	if s.console.live() {
		s.console.waiting(n)
		if s.file.LogFile == "" {
			return
		}
	}
	s.log.Warn("waiting to try again", "what", n.What, "attempt", n.Attempt, "next", n.Next.Round(time.Millisecond), "error", n.Err)
}

// finish says the last word: one line with cause, place and hint, and before
// it, where there are several causes, each of them.
func (s *setup) finish(ctx context.Context, err error) int {
	s.console.clear()
	defer func() {
		if s.logFile != nil {
			_ = s.logFile.Close()
		}
	}()
	if err == nil {
		return exitDone
	}
	text, code := explain(err)
	if c, ok := ended(ctx); ok {
		text, code = fmt.Sprintf("%v; last: %s", context.Cause(ctx), text), c
	}
	if s.json {
		s.sayJSON(err, text, code)
		return code
	}
	all := causes(err)
	for _, c := range all {
		var p *config.Problem
		switch {
		case errors.As(c, &p) && p.Source != "":
			fmt.Fprintln(s.w.stderr, p.Detail())
		case len(all) > 1:
			fmt.Fprintf(s.w.stderr, "latchkey: - %v\n", c)
		}
	}
	fmt.Fprintf(s.w.stderr, "latchkey: %s\n", text)
	return code
}

// sayJSON keeps the last word parseable for who reads JSON lines.
func (s *setup) sayJSON(err error, text string, code int) {
	log := s.log
	if log == nil {
		plain, _, e := logging.New(logging.Options{Format: logging.JSON, Stderr: s.w.stderr})
		if e != nil {
			fmt.Fprintf(s.w.stderr, "latchkey: %s\n", text)
			return
		}
		log = logging.Named(plain, "latchkey")
	}
	if all := causes(err); len(all) > 1 {
		for _, c := range all {
			log.Error(c.Error())
		}
	}
	log.Error(text, "exit_code", code)
}
