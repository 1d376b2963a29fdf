package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// staying says what cannot work, or is not there, in a mode that stays.
func (c *checker) staying() {
	f := c.f
	if f.AutoAuth == nil {
		const text, hint = "needs auto_auth: nothing else gets a token to read with", `add auto_auth { method "approle" { ... } }`
		switch {
		case len(f.Templates) > 0:
			c.problem("template[0]", text, hint)
		case len(f.EnvTemplates) > 0:
			c.problem("env_template[0]", text, hint)
		}
	}
	for i, l := range f.Listeners {
		if l.Type == "unix" && f.StatusSocket != "" && filepath.Clean(l.Address) == filepath.Clean(f.StatusSocket) {
			c.problem("status_socket", fmt.Sprintf("is the address of listener[%d] too", i), "that listener serves the same; leave one of them out")
		}
		if l.ProxyEnableQuit && !l.EnableQuit {
			c.warn(fmt.Sprintf("listener[%d].proxy_api", i), "is for vault proxy: nothing can ask to quit here", "agent_api { enable_quit = true } turns /agent/v1/quit on")
		}
	}
	if f.ExitAfterAuth {
		c.warn("exit_after_auth", "is not used: this mode stays", "latchkey agent does as it says, latchkey once ends in any case")
	}
	for i := range f.Templates {
		if e := f.Templates[i].Exec; e != nil && e.ReloadSignal != "" {
			c.warn(fmt.Sprintf("template[%d].exec.reload_signal", i), "is not used: the command of a template runs to its end, and once more when the file changed meanwhile",
				"a process that takes a signal belongs into the exec stanza, with restart_on_secret_changes")
		}
	}
	for _, a := range f.Logins() {
		if a.Method.WrapTTL == 0 {
			continue
		}
		c.warn(a.path()+".method.wrap_ttl", "leaves nothing to renew: the next login comes with new credentials, and not before",
			"wrap_ttl on the sink wraps a token that is kept alive")
		if a.Handover != nil {
			c.warn(a.path()+".handover", "has no effect: a wrapped login leaves no token to keep", "")
		}
	}
}

// beside says what makes no sense beside a function: the platform starts it, and
// there is nothing that would hand a token over or a socket in.
func (c *checker) beside() {
	f := c.f
	if f.Exec != nil {
		c.problem("exec", "the platform starts the function, and nothing else is started here", "latchkey-exec gives it the variables of env_template")
	}
	for i, l := range f.Listeners {
		at := fmt.Sprintf("listener[%d]", i)
		if strings.HasPrefix(l.Address, systemdPrefix) {
			c.problem(at+".address", "there is no systemd that would hand a socket over", "")
		}
		if l.Role == "metrics_only" {
			c.problem(at+".role", "there are no metrics beside a function, and nothing else may be served here", "leave this listener out")
		}
		if l.EnableQuit {
			c.warn(at+".agent_api", unusedBeside, "Lambda ends it")
		}
	}
	if f.AutoAuth != nil && f.AutoAuth.Method.WrapTTL > 0 {
		c.problem(f.AutoAuth.path()+".method.wrap_ttl", "leaves no token to read secrets with", "set wrap_ttl on the sink instead")
	}
	for _, u := range uselessBeside {
		if c.isSet(u.key) {
			c.warn(u.key, unusedBeside, u.hint)
		}
	}
}

const unusedBeside = "is not used by an extension"

// uselessBeside is what needs a process that is not frozen, or one that outlives its
// files.
var uselessBeside = []struct{ key, hint string }{
	{"pid_file", ""},
	{"status_socket", ""},
	{"log_file", "Lambda takes the log from standard error"},
	{"log_rotate_duration", ""},
	{"log_rotate_bytes", ""},
	{"log_rotate_max_files", ""},
	{"telemetry", "a process that is frozen sends no measurements"},
	{"cache.persist", "/tmp outlives no environment"},
	{"cache.static_events", "no connection outlives a freeze; static_ttl says how old an answer may be"},
	{"template_config.static_secret_events", "no connection outlives a freeze; static_secret_render_interval says how old a secret may be"},
	{"template_config.exit_on_retry_failure", "what was rendered stays; LATCHKEY_FAIL says what becomes of a start that fails"},
}

// isVariableName reports whether s could be the name of a variable, and is not
// as long as a key would be.
func isVariableName(s string) bool {
	return len(s) < 64 && s != "" && (s[0] < '0' || s[0] > '9') &&
		strings.Trim(s, "_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// handover checks where the token is kept for the next start.
func (c *checker) handover(a *AutoAuth) {
	if a.Handover == nil {
		return
	}
	at, h := a.path()+".handover", a.Handover
	switch {
	case h.KeyFile == "" && h.KeyEnv == "":
		c.problem(at, "has no key", "write key_file or key_env; the key must not lie beside the file that it opens")
	case h.KeyFile != "" && h.KeyEnv != "":
		c.problem(at, "has two keys", "write key_file or key_env, not both")
	case h.KeyEnv != "" && !isVariableName(h.KeyEnv):
		c.problem(at+".key_env", "is not the name of a variable", "it names the variable that holds the key; the key itself does not belong here")
	case h.Path != "" && filepath.Clean(h.Path) == filepath.Clean(h.KeyFile):
		c.problem(at+".path", "is the file of the key too", "give each its own")
	}
	if h.Path == "" {
		c.problem(at+".path", "is required", "")
		return
	}
	if sink, dup := c.sinkFiles()[filepath.Clean(h.Path)]; dup {
		c.problem(at+".path", "is the file of "+sink+" too", "give each its own")
	}
}

// telemetry checks what can be known without an exporter. Its addresses may
// hold passwords, so they are not repeated.
func (c *checker) telemetry() {
	if c.f.Telemetry == nil || c.f.Telemetry.OTLP.Endpoint == "" {
		return
	}
	u, err := url.Parse(c.f.Telemetry.OTLP.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		c.problem("telemetry.otlp_endpoint", "is no URL", "http(s)://host:port; 4318 is the usual port for OTLP over HTTP")
	}
}
