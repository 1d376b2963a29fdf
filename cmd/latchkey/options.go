package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// option is one flag: what is parsed, shown by -h and completed by shells
// comes from this table alone.
type option struct {
	name string
	// arg names the value; "" makes the flag a switch.
	arg string
	// env is the variable that says the same, without its VAULT_ or BAO_.
	env string
	doc string
	// values are what a shell may offer; "file" and "dir" ask it for paths.
	values []string
	// many allows repetition; the values are joined by newlines.
	many bool
	// optional lets a valued flag stand alone, then meaning "true".
	optional bool
	// inert flags are taken because vault agent takes them, and do as
	// little here as there; saying one is answered with a warning.
	inert bool
}

var (
	configOptions = []option{
		{name: "config", arg: "PATH", many: true, values: []string{"file"}, doc: "configuration file or directory (*.hcl, *.json); may be repeated, later ones win"},
		{name: "lenient", doc: "unknown keys are warnings, not errors"},
	}
	logOptions = []option{
		{name: "log-level", arg: "LEVEL", env: "LOG_LEVEL", values: []string{"trace", "debug", "info", "warn", "error"}, doc: "trace, debug, info, warn or error (default info)"},
		{name: "log-format", arg: "FORMAT", env: "LOG_FORMAT", values: []string{"standard", "json"}, doc: "standard or json (default standard)"},
		{name: "log-file", arg: "PATH", values: []string{"file"}, doc: "write logs to this file too"},
		{name: "log-rotate-bytes", arg: "N", doc: "start a new log file after N bytes"},
		{name: "log-rotate-duration", arg: "DUR", doc: "start a new log file after this time (default 24h)"},
		{name: "log-rotate-max-files", arg: "N", doc: "old log files to keep: 0 all, -1 none (default 0)"},
	}
	serverOptions = []option{
		{name: "address", arg: "URL", env: "ADDR", doc: "address of the server (default https://127.0.0.1:8200)"},
		{name: "namespace", arg: "NS", env: "NAMESPACE", doc: "namespace of every request"},
		{name: "ns", arg: "NS", doc: "short for -namespace"},
		{name: "ca-cert", arg: "FILE", env: "CACERT", values: []string{"file"}, doc: "PEM file with the CA of the server's certificate"},
		{name: "ca-path", arg: "DIR", env: "CAPATH", values: []string{"dir"}, doc: "directory of such files"},
		{name: "client-cert", arg: "FILE", env: "CLIENT_CERT", values: []string{"file"}, doc: "certificate for TLS client authentication"},
		{name: "client-key", arg: "FILE", env: "CLIENT_KEY", values: []string{"file"}, doc: "key of that certificate"},
		{name: "tls-server-name", arg: "NAME", env: "TLS_SERVER_NAME", doc: "name to ask for and verify (SNI)"},
		{name: "tls-skip-verify", env: "SKIP_VERIFY", doc: "do not verify the server's certificate"},
		{name: "disable-redirects", env: "DISABLE_REDIRECTS", doc: "do not follow a redirect to the active node"},
		{name: "header", arg: "NAME=VALUE", many: true, doc: "extra header of every request; may be repeated"},
	}
	runOptions = []option{
		{name: "timeout", arg: "DUR", doc: "give up after this time in all, as a one-shot; 0 never (default 5m)"},
		{name: "revoke-on-exit", arg: "force", optional: true, values: []string{"true", "force"}, doc: "revoke the token at the end; refused where that would kill a token or a lease just handed over, or a token that was there before, unless =force"},
	}
	daemonOptions = []option{
		{name: "revoke-on-exit", arg: "force", optional: true, values: []string{"true", "force"}, doc: "revoke the token at the end, which ends what the sinks hold; refused for a token that was there before, unless =force"},
	}
	statusOptions = []option{
		configOptions[0],
		{name: "socket", arg: "PATH", values: []string{"file"}, doc: "status_socket of the daemon"},
		{name: "address", arg: "URL", doc: "listener of the daemon: http://, https:// or unix://"},
		{name: "format", arg: "FORMAT", values: []string{"table", "json"}, doc: "table or json (default table)"},
		{name: "timeout", arg: "DUR", doc: "give up after this time (default 5s)"},
	}
	serviceOptions = []option{
		{name: serviceOption, arg: "NAME", doc: "name of the service (default latchkey)"},
	}
	agentOptions = []option{
		{name: "exit-after-auth", doc: "be a one-shot; beats the file either way"},
		{name: "combine-logs", doc: "write logs to standard output"},
		{name: "test-verify-only", doc: "validate and exit, like 'latchkey check'"},
		{name: "disable-gated-logs", inert: true, doc: "accepted: logs are never held back here"},
		{name: "agent-address", arg: "URL", inert: true, doc: "accepted and ignored, as by vault agent"},
		{name: "wrap-ttl", arg: "DUR", inert: true, doc: "accepted and ignored, as by vault agent; see wrap_ttl in the file"},
		{name: "mfa", arg: "CRED", many: true, inert: true, doc: "accepted and ignored, as by vault agent"},
		{name: "policy-override", inert: true, doc: "accepted and ignored, as by vault agent"},
		{name: "output-curl-string", inert: true, doc: "accepted and ignored, as by vault agent"},
		{name: "output-policy", inert: true, doc: "accepted and ignored, as by vault agent"},
	}
	checkOptions = []option{
		{name: "format", arg: "FORMAT", values: []string{"text", "json"}, doc: "text or json (default text)"},
		{name: "print", doc: "print the effective configuration, secrets hidden"},
		{name: "online", doc: "then prove each step against the server, reading no secret, and revoke the token"},
		{name: "timeout", arg: "DUR", doc: "give up on -online after this time (default 1m)"},
		{name: "exit-after-auth", doc: "check as a one-shot; beats the file either way"},
	}
)

// given holds the flags that were on the command line.
type given map[string]string

func (g given) on(name string) bool { return g[name] == "true" }

func (g given) has(name string) bool { _, ok := g[name]; return ok }

// list returns the values of a repeated flag.
func (g given) list(name string) []string {
	if !g.has(name) {
		return nil
	}
	return strings.Split(g[name], "\n")
}

// duration reads a flag that is a time with a unit or whole seconds.
func (g given) duration(name string, def time.Duration) (time.Duration, error) {
	v, ok := g[name]
	if !ok {
		return def, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		d, err = time.ParseDuration(v + "s")
	}
	if err != nil || d < 0 {
		return 0, usageError{fmt.Sprintf("-%s=%s is no time; write 30s, 5m or 0", name, v)}
	}
	return d, nil
}

// usageError is a fault on the command line.
type usageError struct{ text string }

func (u usageError) Error() string { return u.text }

// value adapts an option to package flag.
type value struct {
	o option
	g given
}

func (v value) String() string   { return "" }
func (v value) IsBoolFlag() bool { return v.o.arg == "" || v.o.optional }

func (v value) Set(s string) error {
	if v.o.arg == "" && s != "true" && s != "false" {
		return errors.New("is a switch: true or false")
	}
	if len(v.o.values) > 0 && v.o.optional && !slices.Contains(v.o.values, s) {
		return fmt.Errorf("must be one of %s", strings.Join(v.o.values, ", "))
	}
	if old, ok := v.g[v.o.name]; ok && v.o.many {
		s = old + "\n" + s
	}
	v.g[v.o.name] = s
	return nil
}

// errHelp asks for the usage text.
var errHelp = errors.New("help wanted")

// parse reads the flags of a command, and before them its verb, if it has verbs.
// There are no other arguments.
func parse(c *command, args []string) (given, []string, error) {
	g := make(given)
	var verb []string
	if len(c.verbs) > 0 && len(args) > 0 && slices.Contains(c.verbs, args[0]) {
		verb, args = args[:1], args[1:]
	}
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, o := range c.options() {
		fs.Var(value{o, g}, o.name, o.doc)
	}
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil, nil, errHelp
	case err != nil:
		return nil, nil, usageError{err.Error() + "; see 'latchkey " + c.name + " -h'"}
	case len(c.verbs) > 0 && verb == nil:
		return nil, nil, usageError{fmt.Sprintf("say what: latchkey %s %s", c.name, strings.Join(c.verbs, "|"))}
	case fs.NArg() > 0:
		return nil, nil, usageError{fmt.Sprintf("unexpected argument %q; see 'latchkey %s -h'", fs.Arg(0), c.name)}
	}
	if v, ok := g["ns"]; ok {
		g["namespace"] = v
		delete(g, "ns")
	}
	return g, verb, nil
}
