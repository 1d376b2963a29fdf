package config

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Flags are the flags that the user gave, by name without dash. A switch
// given without a value is "true"; -header given several times is joined by
// line breaks.
type Flags map[string]string

// Origins tells where each effective value comes from, by the key's dotted
// path: "flag -address", "env BAO_ADDR", "file agent.hcl:3". What is not in it
// is the default. The key "token" is there when the environment holds one.
type Origins map[string]string

// Of is the origin of a key, "default" when nobody set it.
func (o Origins) Of(path string) string {
	if s, ok := o[path]; ok {
		return s
	}
	return "default"
}

// ConfigPaths is what to load: the paths given as flags, else that of
// BAO_AGENT_CONFIG_PATH, else none.
func ConfigPaths(flagPaths []string, env Env) []string {
	if len(flagPaths) > 0 {
		return flagPaths
	}
	if p, ok := env.get("BAO_AGENT_CONFIG_PATH"); ok && p != "" {
		return []string{p}
	}
	return nil
}

// resolver lays the environment and the flags over one File.
type resolver struct {
	f       *File
	env     Env
	flags   Flags
	origins Origins
	// agree makes a variable that says something else than the file a problem.
	agree bool
	probs Problems
}

// Resolve lays the environment and the flags over what the files say: a flag
// beats BAO_*, that beats VAULT_*, that beats the file, that beats the
// default. A variable that is set but empty counts as not set, and
// VAULT_AGENT_ADDR is not looked at: it could point us at ourselves. The
// Loaded keeps what it holds.
//
// The error is Problems that name the variable, the flag or the place in the
// file.
func (l *Loaded) Resolve(flags Flags, env Env) (*File, Origins, error) {
	return l.resolve(&resolver{env: env, flags: flags})
}

// Reconcile is Resolve where nothing wins: what the files and the environment both
// say, they have to say alike.
func (l *Loaded) Reconcile(env Env) (*File, Origins, error) {
	return l.resolve(&resolver{env: env, agree: true})
}

func (l *Loaded) resolve(r *resolver) (*File, Origins, error) {
	f := *l.File
	r.f, r.origins = &f, Origins{}
	for path, pos := range f.where.set {
		r.origins[path] = f.origin(path, pos)
	}
	r.stanza(&topStanza, "", &f)
	r.stanza(&vaultStanza, "vault", &f.Vault)
	r.retries()
	r.settle()
	for _, prefix := range prefixes {
		if v, _ := r.env.get(prefix + "TOKEN"); v != "" {
			r.origins["token"] = "env " + prefix + "TOKEN"
			break
		}
	}
	if err := r.probs.err(); err != nil {
		return nil, nil, err
	}
	return &f, r.origins, nil
}

// origin is where a key comes from that some source sets.
func (f *File) origin(path string, pos Pos) string {
	src := f.where.sources[pos.File]
	if src == nil || src.called == nil {
		return fmt.Sprintf("file %s:%d", pos.File, pos.Line)
	}
	return "env " + cmp.Or(src.called(path), pos.File)
}

// prefixes of environment variables, the one that wins first.
var prefixes = []string{"BAO_", "VAULT_"}

func (r *resolver) stanza(st *stanza, path string, v any) {
	for i := range st.keys {
		if k := &st.keys[i]; k.sub == nil && k.ignored == "" {
			r.key(k, join(path, k.name), k.at(v))
		}
	}
}

// key sets one value from the strongest source there is.
func (r *resolver) key(k *key, path string, at any) {
	name, val := "", ""
	if v, ok := r.flags[k.flag]; ok && k.flag != "" {
		name, val = "flag -"+k.flag, v
	} else if v, variable := r.lookup(k); v != "" {
		name, val = "env "+variable, v
	} else {
		return
	}
	n := text(val)
	_, short, _ := strings.Cut(name, " ")
	from, inFile := strings.CutPrefix(r.origins[path], "file ")
	var was any
	if inFile = inFile && r.agree; inFile {
		was = reflect.ValueOf(at).Elem().Interface()
	}
	if bad := assign(at, k.typ, k.name, n); bad != nil {
		r.probs = append(r.probs, &Problem{Key: short, Text: bad.text, Hint: bad.hint})
		return
	}
	if inFile {
		if !reflect.DeepEqual(was, reflect.ValueOf(at).Elem().Interface()) {
			r.probs = append(r.probs, &Problem{Key: short, Text: "is not what " + path + " says in " + from, Hint: "leave one of the two out"})
		}
		return
	}
	r.origins[path] = name
}

// lookup finds the variable of a row that wins.
func (r *resolver) lookup(k *key) (val, name string) {
	if k.env == "" {
		return "", ""
	}
	for _, prefix := range prefixes {
		for _, n := range append([]string{k.env}, k.envOld...) {
			if v, _ := r.env.get(prefix + n); v != "" {
				return v, prefix + n
			}
		}
	}
	return "", ""
}

// retries settles num_retries, whose 0 means different things: in a file the
// default, in the environment none.
func (r *resolver) retries() {
	const path = "vault.retry.num_retries"
	k := find(retryStanza.keys, "num_retries")
	r.key(k, path, &r.f.Vault.NumRetries)
	fromEnv := strings.HasPrefix(r.origins[path], "env ")
	switch n := &r.f.Vault.NumRetries; {
	case *n < 0:
		*n = 0
	case *n == 0 && !fromEnv:
		_ = assign(n, k.typ, k.name, text(k.def))
	}
}

// settle checks and normalises the values that now hold.
func (r *resolver) settle() {
	f := r.f
	f.Vault.Namespace = strings.Trim(strings.TrimSpace(f.Vault.Namespace), "/")
	f.Vault.Address = normalAddress(strings.TrimSpace(f.Vault.Address))
	if hint := badAddress(f.Vault.Address); hint != "" {
		r.problem("vault.address", "is not a URL that can be reached", hint)
	}
	f.Listeners = slices.Clone(f.Listeners)
	for i := range f.Listeners {
		if f.Listeners[i].Type == "tcp" {
			f.Listeners[i].Address = cmp.Or(f.Listeners[i].Address, "127.0.0.1:8200")
			f.Listeners[i].Address = normalAddress(f.Listeners[i].Address)
		}
	}
	if l, ok := logLevels[strings.ToLower(strings.TrimSpace(f.LogLevel))]; ok {
		f.LogLevel = l
	} else {
		r.problem("log_level", "must be trace, debug, info, warn or error", Closest(f.LogLevel, slices.Sorted(maps.Keys(logLevels))))
	}
	if f.LogFormat = strings.ToLower(strings.TrimSpace(f.LogFormat)); f.LogFormat != "standard" && f.LogFormat != "json" {
		r.problem("log_format", "must be standard or json", Closest(f.LogFormat, []string{"standard", "json"}))
	}
	if strings.ContainsAny(filepath.Base(f.LogFile), "*?[") {
		r.problem("log_file", "may not hold the characters * ? [", "old log files are found by a pattern made from the name")
	}
	if f.LogRotateBytes < 0 {
		r.problem("log_rotate_bytes", "must not be negative", "0 is no limit")
	}
	if f.LogRotateMaxFiles < -1 {
		r.problem("log_rotate_max_files", "must be -1, 0 or more", "-1 keeps no old file, 0 keeps all")
	}
	f.DisableIdleConnections = r.subsystems("disable_idle_connections", f.DisableIdleConnections)
	f.DisableKeepAlives = r.subsystems("disable_keep_alives", f.DisableKeepAlives)
}

var logLevels = map[string]string{
	"trace": "trace", "debug": "debug", "info": "info", "notice": "info",
	"warn": "warn", "warning": "warn", "error": "error", "err": "error",
}

// subsystems checks the names and drops empty ones.
func (r *resolver) subsystems(path string, list []string) []string {
	var out []string
	for _, s := range list {
		s = strings.TrimSpace(s)
		switch {
		case s == "":
		case !slices.Contains(subsystems, s):
			r.problem(path, fmt.Sprintf("does not know %q", s), "known are "+strings.Join(subsystems, ", "))
		default:
			out = append(out, s)
		}
	}
	return out
}

// problem is about a value wherever it came from: the variable and the flag
// are named, the file is shown.
func (r *resolver) problem(path, text, hint string) {
	origin := r.origins[path]
	if kind, name, _ := strings.Cut(origin, " "); kind == "env" || kind == "flag" {
		r.probs = append(r.probs, &Problem{Key: name, Text: text, Hint: hint})
		return
	}
	r.probs = append(r.probs, r.f.problem(path, text, hint))
}

// badAddress says what is wrong with a server's address, "" when nothing is.
func badAddress(s string) string {
	u, err := url.Parse(s)
	switch {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return ""
	case err == nil && u.Scheme == "unix" && u.Path+u.Host != "":
		return ""
	}
	return "for example https://vault.example.com:8200"
}

// normalAddress writes the IPv6 address in a URL, in host:port or alone as RFC
// 5952 has it; everything else stays as it is.
func normalAddress(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String()
	}
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		scheme, rest = "", s
	} else {
		scheme += "://"
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	userinfo := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, authority = authority[:i+1], authority[i+1:]
	}
	host, port, err := net.SplitHostPort(authority)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]"), ""
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Is6() {
		return s
	}
	authority = "[" + a.String() + "]"
	if port != "" {
		authority = net.JoinHostPort(a.String(), port)
	}
	return scheme + userinfo + authority + path
}

// problem is about a key by its dotted path; when the file does not set it,
// about the block around it.
func (f *File) problem(path, text, hint string) *Problem {
	p := &Problem{Key: path, Text: text, Hint: hint}
	if f.where == nil {
		return p
	}
	for at := path; at != ""; {
		if pos, ok := f.where.set[at]; ok {
			p.Pos = pos
			if src := f.where.sources[pos.File]; src != nil {
				p.Source = src.lineNumber(pos.Line)
				src.rename(p)
			}
			break
		}
		i := strings.LastIndexByte(at, '.')
		at = at[:max(i, 0)]
	}
	if p.Pos == (Pos{}) && len(f.Sources) == 1 {
		p.Pos.File = f.Sources[0]
	}
	return p
}

func (s *source) lineNumber(n int) string {
	s.lineOf(0)
	if n < 1 || n > len(s.starts) {
		return ""
	}
	return s.line(s.starts[n-1])
}
