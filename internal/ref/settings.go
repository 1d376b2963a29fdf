package ref

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"latchkey/internal/ref/grammar"
)

// The variables that say how to resolve, without VAULT_ or BAO_; the latter wins.
const (
	setFromPath    = "ENV_FROM_PATH"
	setIgnore      = "IGNORE_MISSING_SECRETS"
	setPassthrough = "ENV_PASSTHROUGH"
	setTransitKey  = "TRANSIT_KEY_ID"
	setTransitPath = "TRANSIT_PATH"
	setTransitSize = "TRANSIT_BATCH_SIZE"
)

var settingNames = [...]string{setFromPath, setIgnore, setPassthrough, setTransitKey, setTransitPath, setTransitSize}

// Settings are the variables that Find reads itself. They are of no use to the
// program that is started.
func Settings() []string {
	var names []string
	for _, prefix := range [...]string{"VAULT_", "BAO_"} {
		for _, s := range settingNames {
			names = append(names, prefix+s)
		}
	}
	return names
}

// setting is asked of each variable of an environment, and makes nothing.
func setting(name string) bool {
	rest, ok := strings.CutPrefix(name, "VAULT_")
	if !ok {
		if rest, ok = strings.CutPrefix(name, "BAO_"); !ok {
			return false
		}
	}
	return slices.Contains(settingNames[:], rest)
}

// settings reads them; env holds those that are set.
func (p *Plan) settings(env map[string]string) error {
	// get returns a setting and the name it came by.
	get := func(s string) (value, name string) {
		for _, prefix := range [...]string{"BAO_", "VAULT_"} {
			if v := strings.TrimSpace(env[prefix+s]); v != "" {
				return v, prefix + s
			}
		}
		return "", "VAULT_" + s
	}
	var errs []error
	refuse := func(name, why string) { errs = append(errs, &Error{Variable: name, Cause: errors.New(why)}) }

	if v, name := get(setIgnore); v != "" {
		b, err := strconv.ParseBool(v)
		if err != nil {
			refuse(name, strconv.Quote(v)+" is neither true nor false")
		}
		p.ignore = b
	}
	if v, name := get(setFromPath); v != "" {
		for _, s := range list(v) {
			path, version, _ := strings.Cut(s, "#")
			// Any key will do: what is looked at are the path and the version.
			parts, err := grammar.Parse(name, "vault:"+path+"#*#"+version)
			if err != nil {
				refuse(name, strconv.Quote(s)+": "+err.Error())
				continue
			}
			r, _ := request(parts[0])
			p.from = append(p.from, source{name, r})
		}
	}
	v, _ := get(setPassthrough)
	p.keep = list(v)

	p.transit = transit{path: "transit", size: 25}
	p.transit.key, _ = get(setTransitKey)
	if v, name := get(setTransitPath); v != "" {
		if p.transit.path = strings.Trim(v, "/"); p.transit.path == "" {
			refuse(name, strconv.Quote(v)+" is no path")
		}
	}
	if v, name := get(setTransitSize); v != "" {
		n, err := strconv.Atoi(v)
		switch {
		case err != nil || n < 0:
			refuse(name, strconv.Quote(v)+" is no number of values")
		case n > 0:
			p.transit.size = n
		}
	}
	return errors.Join(errs...)
}

// list takes a comma-separated setting apart.
func list(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// reserved are names that an answer of a server never sets by VAULT_ENV_FROM_PATH:
// each decides what code a program runs, and whoever may write a secret would decide
// that. A variable that says so itself ("PATH=vault:...#PATH") may.
var reserved = []string{
	"PATH", "IFS", "ENV", "HOME", "SHELL", "LD_*", "DYLD_*", "GCONV_PATH", "GLIBC_TUNABLES",
	"BASH_ENV", "BASH_FUNC_*", "SHELLOPTS", "BASHOPTS", "PS4", "PROMPT_COMMAND",
	"NODE_OPTIONS", "NODE_PATH", "NODE_TLS_REJECT_UNAUTHORIZED",
	"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONBREAKPOINT", "PYTHONINSPECT", "PYTHONUSERBASE",
	"PERL5LIB", "PERL5OPT", "PERL5DB", "PERLLIB", "RUBYOPT", "RUBYLIB", "GEM_HOME", "GEM_PATH", "BUNDLE_GEMFILE",
	"PHPRC", "PHP_INI_SCAN_DIR", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH",
	"DOTNET_STARTUP_HOOKS", "DOTNET_ADDITIONAL_DEPS", "DOTNET_SHARED_STORE", "CORECLR_*", "COR_*", "OPENSSL_CONF",
	"LATCHKEY_*",
}
