package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/listen"
	"latchkey/internal/logging"
	"latchkey/internal/sockaddr"
	"latchkey/internal/wiring"
	"latchkey/oneshot"
)

// checkTimeout bounds -online when -timeout does not.
const checkTimeout = time.Minute

func runCheck(ctx context.Context, w world, g given, _ []string) int {
	format := g["format"]
	if format == "" {
		format = "text"
	}
	if format != "text" && format != "json" {
		return fail(w.stderr, usageError{fmt.Sprintf("-format=%s: there is text and json", format)})
	}
	return bounded(ctx, w, g, checkTimeout, func(ctx context.Context) int { return check(ctx, w, g, format) })
}

func check(ctx context.Context, w world, g given, format string) int {
	v := &verdict{OK: true, Problems: []finding{}, Warnings: []finding{}}
	s := newSetup(w, g)
	err := s.read(g)
	if err == nil {
		// Without the log file: what is checked leaves nothing behind.
		err = s.logger(g, logging.Options{})
	}
	if err == nil {
		if bad := logging.CheckPath(s.file.LogFile); bad != nil {
			err = logFileProblem(bad)
		}
	}
	if err == nil {
		err = v.offline(s, g, format)
	}
	if err == nil && g.on("online") {
		err = v.online(ctx)
	}
	v.failed(err)
	if c, ok := ended(ctx); ok {
		v.OK, v.ExitCode = false, c
	}
	s.finish(ctx, nil)
	if format == "json" {
		enc := json.NewEncoder(w.stdout)
		enc.SetIndent("", "  ")
		_ = enc.Encode(v)
		return v.ExitCode
	}
	v.print(w, s)
	return v.ExitCode
}

// offline judges the configuration by itself. What is at fault only on this
// machine (a source, a certificate or a user that is not here) is a warning:
// the file may be meant for another.
func (v *verdict) offline(s *setup, g given, format string) error {
	_, err := config.Check(s.file, config.ModeCheck)
	mode, as := config.ModeDaemon, "as a daemon: "
	if s.file.ExitAfterAuth {
		mode, as = config.ModeOnce, "as a one-shot: "
	}
	warnings, problems := config.Check(s.file, mode)
	if err == nil {
		v.warn(as, problems)
	}
	if err == nil {
		var built, local error
		v.parts, built = wiring.Build(s.file, s.parts(true))
		if mode == config.ModeDaemon {
			built = errors.Join(built, listeners(s.file))
		}
		err, local = split(built)
		if local = errors.Join(local, keys(s)); !g.on("online") {
			v.warn("here: ", local)
		} else {
			err = errors.Join(err, local)
		}
	}
	for _, list := range [][]config.Warning{s.loaded.Warnings, warnings, s.loaded.LateWarnings()} {
		for _, w := range list {
			p := config.Problem(w)
			v.Warnings = append(v.Warnings, found(&p))
		}
	}
	v.inEffect(s)
	if g.on("print") {
		err = errors.Join(err, v.printed(s, format))
	}
	return err
}

// listeners says what a daemon would find wrong when it opens its listeners.
func listeners(f *config.File) error {
	var errs []error
	for i, l := range f.Listeners {
		errs = append(errs, listen.Check(l, listen.Options{Name: fmt.Sprintf("listener[%d]", i), Evaluate: sockaddr.Evaluate}))
	}
	return errors.Join(errs...)
}

// keys says which secrets the configuration has others keep for it, and are not
// here.
func keys(s *setup) error {
	var errs []error
	missing := func(pos config.Pos, key, text string) {
		errs = append(errs, &config.Problem{Pos: pos, Key: key, Text: text})
	}
	if o, ok := wiring.Persist(s.file, s.parts(true)); ok {
		if _, err := o.Key(); err != nil {
			missing(s.file.Cache.Persist.Pos, "cache.persist", "has no key: "+err.Error())
		}
	}
	for i, l := range s.file.Listeners {
		at := fmt.Sprintf("listener[%d].", i)
		if l.CallerTokenEnv != "" {
			if v, _ := s.w.lookup(l.CallerTokenEnv); v == "" {
				missing(l.Pos, at+"caller_token_env", "names "+l.CallerTokenEnv+", which is empty or not set")
			}
		}
		if l.CallerTokenFile != "" {
			if _, err := os.Stat(l.CallerTokenFile); err != nil {
				missing(l.Pos, at+"caller_token_file", "cannot be read: "+err.Error())
			}
		}
	}
	return errors.Join(errs...)
}

// split tells faults of the configuration from those of this machine.
func split(err error) (fault, local error) {
	if err == nil {
		return nil, nil
	}
	var faults, locals []error
	for _, c := range causes(err) {
		if errors.Is(c, fs.ErrNotExist) || errors.Is(c, fs.ErrPermission) ||
			as[user.UnknownUserError](c) || as[user.UnknownGroupError](c) {
			locals = append(locals, c)
			continue
		}
		faults = append(faults, c)
	}
	return errors.Join(faults...), errors.Join(locals...)
}

// inEffect lists where the address, the namespace and the token come from.
func (v *verdict) inEffect(s *setup) {
	add := func(name, value, key string) {
		v.InEffect = append(v.InEffect, setting{name, value, s.origins.Of(key)})
	}
	namespace := s.file.Vault.Namespace
	if namespace == "" {
		namespace = "(root)"
	}
	add("address", withoutPassword(s.file.Vault.Address), "vault.address")
	add("namespace", namespace, "vault.namespace")
	if a := s.file.AutoAuth; a != nil {
		v.InEffect = append(v.InEffect, setting{"token", "by " + a.Method.Type + " at " + a.Method.MountPath, "auto_auth at " + a.Pos.String()})
		if ns := a.Method.Namespace; ns != "" {
			add("login namespace", ns, "auto_auth.method.namespace")
		}
	}
	if from := s.origins["token"]; from != "" {
		v.InEffect = append(v.InEffect, setting{"token (not used: auto_auth logs in)", "[hidden]", from})
	}
}

// withoutPassword shows a URL; what is none may be anything.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "[hidden]"
	}
	return u.Redacted()
}

// printed keeps the effective configuration, for -print.
func (v *verdict) printed(s *setup, format string) error {
	var b strings.Builder
	if err := s.file.Effective(&b, s.origins, format); err != nil {
		return err
	}
	if v.effective = b.String(); format == "json" {
		v.Config = []byte(v.effective)
	}
	return nil
}

// online goes the way of a run against the server.
func (v *verdict) online(ctx context.Context) error {
	parts := v.parts
	if parts.Session != nil {
		defer parts.Session.Close()
	}
	all := oneshot.Online{
		Session: parts.Session, Client: parts.Client, Sinks: parts.Sinks, Templates: parts.Templates, Reads: parts.Reads,
	}
	errs := []error{all.Run(ctx, func(st oneshot.Step) { v.proved(st, st.Name) })}
	for _, i := range parts.Identities {
		defer i.Session.Close()
		if errs[0] != nil {
			continue
		}
		// The way to the server has been proved; what is left is this login's own.
		one := oneshot.Online{Session: i.Session, Client: parts.Client, Sinks: i.Sinks, Reads: parts.Reads}
		errs = append(errs, one.Run(ctx, func(st oneshot.Step) {
			if st.Err != nil || slices.Contains([]string{"login", "token", "revoke"}, st.Name) {
				v.proved(st, st.Name+" "+i.Name)
			}
		}))
	}
	return errors.Join(errs...)
}

// proved keeps a step that was taken.
func (v *verdict) proved(st oneshot.Step, name string) {
	out := step{Name: name, OK: st.Err == nil, Detail: st.Detail, Millis: float64(st.Took.Microseconds()) / 1000}
	if st.Err != nil {
		out.Detail, out.Error = "", st.Err.Error()
	}
	v.Steps = append(v.Steps, out)
}
