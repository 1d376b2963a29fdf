package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Mode is what a configuration is checked for.
type Mode int

const (
	// ModeCheck judges the files as such, as vault agent would.
	ModeCheck Mode = iota
	// ModeOnce is a run that writes everything once and exits.
	ModeOnce
	// ModeDaemon stays.
	ModeDaemon
	// ModeExtension stays beside a function: it has files and variables of its own,
	// which the environment asks for, and starts no process.
	ModeExtension
)

// checker collects what the rules find.
type checker struct {
	f     *File
	mode  Mode
	warns []Warning
	probs Problems
}

// Check applies the rules that look at more than one key: first those between
// blocks, then those within each. f is best one that Resolve returned. Beside
// Vault Agent's rules it names what cannot work in the given mode, and warns of
// what is not used there. The error is Problems.
func Check(f *File, m Mode) (warnings []Warning, err error) {
	c := &checker{f: f, mode: m}
	c.between()
	c.tls()
	for _, a := range f.Logins() {
		c.method(a)
		c.handover(a)
		c.sinks(a)
		c.wrapped(a)
	}
	c.lent()
	c.consistency()
	c.templates()
	c.envTemplates()
	c.exec()
	c.listeners()
	c.cache()
	c.telemetry()
	c.rest()
	switch m {
	case ModeOnce:
		c.once()
	case ModeDaemon:
		c.staying()
	case ModeExtension:
		c.staying()
		c.beside()
	}
	slices.SortStableFunc(c.warns, func(a, b Warning) int { return a.Pos.compare(b.Pos) })
	return c.warns, c.probs.err()
}

func (c *checker) problem(path, text, hint string) {
	c.probs = append(c.probs, c.f.problem(path, text, hint))
}

func (c *checker) warn(path, text, hint string) {
	c.warns = append(c.warns, Warning(*c.f.problem(path, text, hint)))
}

// between is the table of Vault Agent's rules between blocks.
func (c *checker) between() {
	f := c.f
	aa := f.AutoAuth
	cacheLends, proxyLends := f.lends()
	authPath := autoAuthKey
	if aa != nil {
		authPath = aa.path()
	}
	lender := "api_proxy.use_auto_auth_token"
	if cacheLends {
		lender = "cache.use_auto_auth_token"
	}
	wraps := aa != nil && aa.Method.WrapTTL > 0
	bothDiffer := func(def string, cache, proxy string) bool {
		return cache != def && cache != "" && proxy != def && proxy != ""
	}
	rules := []struct {
		broken           bool
		path, text, hint string
	}{
		{aa == nil && c.mode == ModeOnce, "auto_auth",
			"is missing, and a one-shot has nothing to do without it", `add auto_auth { method "approle" { ... } }`},
		{aa == nil && f.Cache == nil && len(f.Listeners) == 0 && c.mode != ModeOnce && c.mode != ModeExtension, "",
			"there is no auto_auth, no cache and no listener: nothing to do", `add auto_auth { method "approle" { ... } }`},
		{f.Cache != nil && len(f.Listeners)+len(f.Templates)+len(f.EnvTemplates) == 0, "cache",
			"needs a listener, a template or an env_template", "without one nothing would use the cache"},
		{f.APIProxy != nil && len(f.Listeners) == 0, "api_proxy",
			"needs a listener", `add listener "tcp" { ... }`},
		{cacheLends && len(f.Listeners) == 0 && f.APIProxy == nil, "cache.use_auto_auth_token",
			"needs a listener", `add listener "tcp" { ... }`},
		{(cacheLends || proxyLends) && aa == nil, lender,
			"is on, but there is no auto_auth", ""},
		{(cacheLends || proxyLends) && wraps, lender,
			wrappedLent, "remove wrap_ttl from the method"},
		{cacheLends && proxyLends || c.isSet("cache.use_auto_auth_token") && c.isSet("api_proxy.use_auto_auth_token"), "cache.use_auto_auth_token",
			"is set in cache and in api_proxy", "keep the one in api_proxy"},
		{f.Cache != nil && f.APIProxy != nil && bothDiffer("never", f.Cache.EnforceConsistency, f.APIProxy.EnforceConsistency),
			"cache.enforce_consistency", "is set in cache and in api_proxy", "keep the one in api_proxy"},
		{f.Cache != nil && f.APIProxy != nil && bothDiffer("fail", f.Cache.WhenInconsistent, f.APIProxy.WhenInconsistent),
			"cache.when_inconsistent", "is set in cache and in api_proxy", "keep the one in api_proxy"},
		{aa != nil && len(aa.Sinks)+len(f.Templates)+len(f.EnvTemplates) == 0 && !cacheLends && !proxyLends && !wraps && c.mode != ModeExtension, authPath,
			"needs a sink, a template, an env_template, or use_auto_auth_token in api_proxy", noTaker},
		{wraps && len(f.Templates)+len(f.EnvTemplates) > 0, authPath + ".method.wrap_ttl",
			"leaves no token to read the templates' secrets with", "set wrap_ttl on the sink instead"},
		{f.Exec != nil && len(f.EnvTemplates) == 0, "exec",
			"needs at least one env_template", "to run a command after a file changed, put exec into its template"},
		{f.Exec == nil && len(f.EnvTemplates) > 0 && c.mode != ModeExtension, "env_template[0]",
			"needs exec, the process that gets the variables", `add exec { command = ["..."] }`},
	}
	for _, r := range rules {
		if r.broken {
			c.problem(r.path, r.text, r.hint)
		}
	}
}

// isSet says whether a file sets the key.
func (c *checker) isSet(path string) bool {
	if c.f.where == nil {
		return false
	}
	_, ok := c.f.where.set[path]
	return ok
}

func (c *checker) tls() {
	v := c.f.Vault
	if (v.ClientCert == "") != (v.ClientKey == "") {
		have, miss := "vault.client_cert", "client_key"
		if v.ClientCert == "" {
			have, miss = "vault.client_key", "client_cert"
		}
		c.problem(have, "needs "+miss+" too", "")
	}
	if v.CACert != "" && v.CAPath != "" {
		c.warn("vault.ca_path", "is not used: ca_cert wins over it", "")
	}
}

func (c *checker) method(a *AutoAuth) {
	m, at := a.Method, a.path()+".method."
	if m.MinBackoff > m.MaxBackoff {
		c.problem(at+"min_backoff", "must not be greater than max_backoff",
			fmt.Sprintf("min_backoff is %v, max_backoff is %v", m.MinBackoff, m.MaxBackoff))
	}
	if m.MountPath != "" && !strings.HasPrefix(m.MountPath, "auth/") {
		c.warn(at+"mount_path", "is used as it stands, and mounts of auth methods begin with auth/",
			"write \"auth/"+m.MountPath+"\"")
	}
}

func (c *checker) sinks(a *AutoAuth) {
	for i, s := range a.Sinks {
		at := fmt.Sprintf("%s.sink[%d].", a.path(), i)
		switch {
		case s.DHType != "" && s.DHPath == "":
			c.problem(at+"dh_type", "needs dh_path, the file with the reader's public key", "")
		case s.DHType == "" && s.DHPath != "":
			c.problem(at+"dh_path", "needs dh_type", `write dh_type = "curve25519"`)
		case s.DHType == "" && s.DeriveKey:
			c.problem(at+"derive_key", "makes no sense without dh_type", "")
		case s.DHType == "" && s.AAD != "":
			c.problem(at+"aad", "makes no sense without dh_type", "")
		case s.DHType == "" && s.AADEnvVar != "":
			c.warn(at+"aad_env_var", "has no effect without dh_type", "")
		}
		if s.AAD != "" && s.AADEnvVar != "" {
			c.warn(at+"aad", "is not used: aad_env_var wins over it", "")
		}
		c.signal(at+"signal", s.Signal)
		switch {
		case s.Signal != "" && s.SignalPIDFile == "":
			c.problem(at+"signal", "needs signal_pid_file, the file with the id of the process", "")
		case s.Signal == "" && s.SignalPIDFile != "":
			c.problem(at+"signal_pid_file", "needs signal", `write signal = "SIGHUP"`)
		case len(s.Command) == 0 && c.isSet(at+"command_timeout"):
			c.warn(at+"command_timeout", "has no effect without command", "")
		}
	}
}

// sinkFiles names the sinks by the files they write.
func (c *checker) sinkFiles() map[string]string {
	files := map[string]string{}
	for _, a := range c.f.Logins() {
		for i, s := range a.Sinks {
			if s.Config.n == nil {
				continue
			}
			if e := s.Config.n.get("path"); e != nil {
				if path, bad := asString(e.val); bad == nil {
					files[filepath.Clean(path)] = fmt.Sprintf("%s.sink[%d]", a.path(), i)
				}
			}
		}
	}
	return files
}

func (c *checker) templates() {
	seen := map[string]int{}
	sinks := c.sinkFiles()
	for i := range c.f.Templates {
		t := &c.f.Templates[i]
		at := fmt.Sprintf("template[%d]", i)
		given := c.oneSource(at, t)
		if given == 1 && t.Secret == "" && t.Format != "" {
			c.problem(at+".format", "belongs to secret", "a template's format is what it writes")
		}
		if t.Destination == "" {
			c.problem(at+".destination", "is required", "")
		} else if j, dup := seen[t.Destination]; dup {
			c.warn(at+".destination", fmt.Sprintf("is that of template[%d] too; the last one written stays", j), "")
		} else {
			seen[t.Destination] = i
		}
		if sink, dup := sinks[filepath.Clean(t.Destination)]; dup && t.Destination != "" {
			c.warn(at+".destination", "is the file of "+sink+" too; one takes the other's place", "give each its own")
		}
		if w := t.Wait; w != nil && w.Max < w.Min {
			c.problem(at+".wait", "its max is less than its min", fmt.Sprintf("min is %v, max is %v", w.Min, w.Max))
		}
		if e := t.Exec; e != nil {
			c.signal(at+".exec.kill_signal", e.KillSignal)
			c.signal(at+".exec.reload_signal", e.ReloadSignal)
		}
	}
}

// oneSource checks that a template comes from one place.
func (c *checker) oneSource(at string, t *Template) (given int) {
	for _, s := range []string{t.Source, t.Contents, t.Secret} {
		if s != "" {
			given++
		}
	}
	const hint = "write exactly one of source, contents and secret"
	switch {
	case given == 0:
		c.problem(at, "has no source", hint)
	case given > 1:
		c.problem(at, "has more than one source", hint)
	}
	return given
}

func (c *checker) envTemplates() {
	seen := map[string]bool{}
	for i := range c.f.EnvTemplates {
		t := &c.f.EnvTemplates[i]
		at := fmt.Sprintf("env_template[%d]", i)
		switch {
		case t.Name == "" || strings.ContainsAny(t.Name, "=\x00"):
			c.problem(at, "its label must be the name of a variable", `write env_template "NAME" {`)
		case seen[t.Name]:
			c.problem(at, fmt.Sprintf("the variable %s is set by two env_templates", t.Name), "")
		}
		seen[t.Name] = true
		switch {
		case t.Source == "" && t.Contents == "":
			c.problem(at, "has no source", "write exactly one of source and contents")
		case t.Source != "" && t.Contents != "":
			c.problem(at, "has more than one source", "write exactly one of source and contents")
		}
	}
}

func (c *checker) exec() {
	e := c.f.Exec
	if e == nil {
		return
	}
	if len(e.Command) == 0 {
		c.problem("exec.command", "is required", "")
	}
	c.signal("exec.restart_stop_signal", e.RestartStopSignal)
	const changes = "exec.restart_on_secret_changes"
	name, signal := strings.CutPrefix(e.RestartOnSecretChanges, "signal:")
	switch {
	case signal && name == "":
		c.problem(changes, "names no signal", "for example signal:SIGHUP")
	case signal:
		c.signal(changes, name)
	case e.RestartOnSecretChanges != "always" && e.RestartOnSecretChanges != "never":
		hint := Closest(e.RestartOnSecretChanges, []string{"always", "never"})
		c.problem(changes, "must be always, never, or signal: and a signal's name", hint)
	}
}

func (c *checker) signal(path, name string) {
	if name == "" || slices.Contains(signals, strings.TrimPrefix(strings.ToUpper(name), "SIG")) {
		return
	}
	c.problem(path, "is not the name of a signal", "for example SIGTERM, SIGINT or SIGHUP")
}

var signals = []string{"ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
	"NULL", "PIPE", "PROF", "QUIT", "SEGV", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG",
	"USR1", "USR2", "WINCH", "XCPU", "XFSZ"}

func (c *checker) rest() {
	if t := c.f.TemplateConfig.LeaseRenewalThreshold; c.f.where != nil && (t <= 0 || t > 1) {
		c.warn("template_config.lease_renewal_threshold", "should lie between 0 and 1", "the default is 0.90")
	}
	if c.f.TemplateConfig.MaxConnectionsPerHost < 0 {
		c.problem("template_config.max_connections_per_host", "must not be negative", "")
	}
}

// once says what a one-shot does without.
func (c *checker) once() {
	const unused = "is not used by a one-shot"
	f := c.f
	if f.Exec != nil {
		c.problem("exec", "a one-shot starts no process", "it belongs to an agent that stays; leave exec out, or exit_after_auth")
	}
	for i := range f.EnvTemplates {
		if f.Exec == nil {
			c.problem(fmt.Sprintf("env_template[%d]", i), "a one-shot starts no process that could get it", "use template and a file")
		}
	}
	for i := range f.Listeners {
		c.warn(fmt.Sprintf("listener[%d]", i), unused, "nothing is served")
	}
	for i := range f.Templates {
		if f.Templates[i].Wait != nil {
			c.warn(fmt.Sprintf("template[%d].wait", i), unused, "files are written at once")
		}
		if e := f.Templates[i].Exec; e != nil && e.ReloadSignal != "" {
			c.warn(fmt.Sprintf("template[%d].exec.reload_signal", i), unused, "a command runs once and ends")
		}
		if e := f.Templates[i].Exec; e != nil && e.Splay > 0 {
			c.warn(fmt.Sprintf("template[%d].exec.splay", i), unused, "no signal is spread out over time")
		}
	}
	for _, a := range f.Identities {
		c.problem(a.path(), "a one-shot logs in once, and to one identity", "several are for a mode that stays; leave out all but one, or exit_after_auth")
	}
	keys := []string{"api_proxy", "telemetry", "status_socket", "template_config.static_secret_render_interval", "template_config.static_secret_events"}
	if f.AutoAuth != nil {
		keys = append(keys, f.AutoAuth.path()+".enable_reauth_on_new_credentials", f.AutoAuth.path()+".handover")
	}
	if f.Cache != nil && f.Cache.Persist == nil { // which keeps the leases for who comes after us
		keys = append(keys, "cache")
	}
	for _, key := range keys {
		if c.isSet(key) {
			c.warn(key, unused, "")
		}
	}
}
