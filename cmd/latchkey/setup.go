package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/hcl"
	"latchkey/internal/logging"
	"latchkey/internal/loglevel"
	"latchkey/internal/methods"
	"latchkey/internal/persist"
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
	// level is that of log, which a reload may change.
	level   slog.LevelVar
	logFile *logging.Output
	json    bool
}

func newSetup(w world, g given) *setup {
	return &setup{w: w, console: newConsole(w.stderr, w.width), json: wantsJSON(w, g)}
}

// load reads the configuration and lays environment and flags over it. The
// setup is returned with an error too, for it knows how to say it.
func load(w world, g given) (*setup, error) {
	s := newSetup(w, g)
	if err := s.read(g); err != nil {
		return s, err
	}
	return s, s.logger(g, logFileOf(s.file))
}

// read reads the configuration, for the first time or again.
func (s *setup) read(g given) (err error) {
	s.loaded, err = config.Load(config.ConfigPaths(g.list("config"), s.w.lookup), config.Options{Lenient: g.on("lenient"), Env: s.w.lookup, Lex: hcl.Lex})
	if err != nil {
		return err
	}
	// The flags that say something to the command are passed over there.
	s.file, s.origins, err = s.loaded.Resolve(config.Flags(g), s.w.lookup)
	return err
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
func (s *setup) logger(g given, o logging.Options) error {
	level, err := loglevel.Parse(s.file.LogLevel)
	if err != nil {
		return &config.Problem{Key: "log_level", Text: err.Error()}
	}
	s.level.Set(level)
	format, err := logging.ParseFormat(s.file.LogFormat)
	if err != nil {
		return &config.Problem{Key: "log_format", Text: err.Error()}
	}
	s.json = format == logging.JSON
	o.Level, o.Format, o.Stderr = &s.level, format, s.console
	if g.on("combine-logs") {
		o.Stderr = s.w.stdout
	}
	build := s.w.logger
	if build == nil {
		build = logging.New
	}
	log, out, err := build(o)
	if err != nil {
		return logFileProblem(err)
	}
	s.log, s.logFile = logging.Named(log, "latchkey"), out
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

// relog has the log go on as a configuration that was reloaded says.
func (s *setup) relog(f *config.File) error {
	level, err := loglevel.Parse(f.LogLevel)
	if err != nil {
		return &config.Problem{Key: "log_level", Text: err.Error()}
	}
	if err := s.logFile.Reopen(logFileOf(f)); err != nil {
		return logFileProblem(err)
	}
	s.level.Set(level)
	if f.LogFormat != s.file.LogFormat {
		s.log.Warn("log_format is read at the start only: what the file says of it now is used after the next one")
	}
	return nil
}

func logFileOf(f *config.File) logging.Options {
	return logging.Options{
		File: f.LogFile, RotateDuration: f.LogRotateDuration, RotateBytes: f.LogRotateBytes, RotateMaxFiles: f.LogRotateMaxFiles,
	}
}

func logFileProblem(err error) error {
	return &config.Problem{Key: "log_file", Text: err.Error(), Hint: "make it writable for this user, or name another"}
}

// check judges the configuration for a mode, and logs its warnings.
func (s *setup) check(m config.Mode) error {
	s.warn(s.loaded.Warnings)
	warnings, err := config.Check(s.file, m)
	s.warn(warnings)
	return err
}

// build checks the configuration for a mode and makes the parts, and with them
// the file that they keep things in, nil for none, to be closed by close.
func (s *setup) build(m config.Mode) (*wiring.Parts, *persist.File, error) {
	if err := s.check(m); err != nil {
		return nil, nil, err
	}
	o := s.parts(false)
	var err error
	if o.Persist, err = s.persist(o); err != nil {
		return nil, nil, err
	}
	parts, err := wiring.Build(s.file, o)
	s.warn(s.loaded.LateWarnings())
	if err != nil {
		s.close(o.Persist)
	}
	return parts, o.Persist, err
}

// parts is what the parts are given; preserve is for a login that only checks.
func (s *setup) parts(preserve bool) wiring.Options {
	return wiring.Options{
		Method: methods.All(s.w.environ).Lookup, Environ: s.w.environ, Origins: s.origins,
		Preserve: preserve, Stdin: s.w.stdin, Stdout: s.w.stdout, Output: s.w.stderr, Observer: s.observe, Log: s.log, Version: version,
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
	s.lastWords(err, text, code)
	return code
}

// lastWords prints what finish has to say.
func (s *setup) lastWords(err error, text string, code int) {
	if s.json {
		s.sayJSON(err, text, code)
		return
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
