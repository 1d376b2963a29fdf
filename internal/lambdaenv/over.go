package lambdaenv

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/config"
)

// asked is what the environment asks of a configuration.
type asked struct {
	env   map[string]string
	login login
	// listener are the keys of a listener, by those of a file, and by are the
	// variables that say so.
	listener map[string]any
	by       map[string]string
}

// listenerKeys are the variables of the listener. What the value of a list is stands
// with commas between its parts.
var listenerKeys = []struct {
	name, key string
	list      bool
}{
	{name: "LATCHKEY_REQUIRE_REQUEST_HEADER", key: "require_request_header"},
	{name: "LATCHKEY_GUARD", key: "guard"},
	{name: "LATCHKEY_CALLER_TOKEN_FILE", key: "caller_token_file"},
	{name: "LATCHKEY_CALLER_TOKEN_ENV", key: "caller_token_env"},
	{name: "LATCHKEY_ALLOW_PATHS", key: "allow_paths", list: true},
	{name: "LATCHKEY_READ_ONLY", key: "read_only"},
	{name: "LATCHKEY_MAX_CONNECTIONS", key: "max_connections"},
	{name: "LATCHKEY_MAX_HEADER_SIZE", key: "max_header_size"},
	{name: "LATCHKEY_MAX_BODY_SIZE", key: "max_body_size"},
	{name: "LATCHKEY_REQUEST_TIMEOUT", key: "request_timeout"},
}

const (
	listenVariable = "LATCHKEY_LISTEN"
	usualListen    = "127.0.0.1:8200"
	// usualConnections leaves half of the 1,024 descriptors of a process to what goes
	// on to the server: without, no connection could be opened to it any more.
	usualConnections = 512
	// leastAttempt is enough for most servers, however short the start is to be.
	leastAttempt = 3 * time.Second
	// usualBackoff is shorter than elsewhere: a function that cannot log in is of no use.
	usualBackoff = 30 * time.Second
)

// ask collects it.
func (r *reader) ask() *asked {
	a := &asked{env: r.env, login: r.login(), listener: map[string]any{"type": "tcp", "tls_disable": true, "max_connections": usualConnections}, by: map[string]string{}}
	for _, k := range listenerKeys {
		v := r.env[k.name]
		switch {
		case v == "":
			continue
		case k.list:
			a.listener[k.key] = list(v)
		default:
			a.listener[k.key] = v
		}
		a.by[k.key] = k.name
	}
	r.s.Listen = r.listen(a)
	return a
}

// listen settles where the proxy listens, in the keys of a listener and as text.
func (r *reader) listen(a *asked) string {
	v := r.env[listenVariable]
	if v == "" {
		a.listener["address"] = usualListen
		return usualListen
	}
	a.by["address"] = listenVariable
	v = strings.TrimPrefix(v, "unix://")
	if strings.HasPrefix(v, "/") {
		a.listener["type"], a.listener["address"], a.listener["socket_mode"] = "unix", v, "0600"
		return v
	}
	if _, err := strconv.ParseUint(v, 10, 16); err == nil {
		v = "127.0.0.1:" + v
	}
	host, port, err := net.SplitHostPort(v)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
		r.refuse(listenVariable, "must be a port, host:port, or the path of a unix socket", "for example 127.0.0.1:8200")
	} else if n == 9001 {
		r.refuse(listenVariable, "is a port of Lambda itself", "choose another")
	}
	a.listener["address"] = v
	return v
}

// source is what takes the place of a file's name where a key has no variable.
const source = "environment"

// Over resolves a configuration that was loaded from LATCHKEY_CONFIG together with
// the environment, sets File, Origins and Warnings, and returns the file. What only
// the environment says is added to what the file says; what both say, and not the
// same, is a problem. l is changed.
//
// The error is config.Problems.
func (s *Settings) Over(l *config.Loaded) (*config.File, error) {
	o := &over{s: s, a: s.ask}
	address, addressed := o.address(l)
	values := o.values(l.File)
	if err := l.Add(source, values, o.called); err != nil {
		o.add(err)
	}
	f, origins, err := l.Reconcile(func(name string) (string, bool) { return o.lookup(name, address) })
	o.add(err)
	if err == nil {
		if origins.Of("vault.address") == "env VAULT_ADDR" {
			origins["vault.address"] = "env " + address
		}
		o.settle(f, origins, addressed)
		warnings, err := config.Check(f, config.ModeExtension)
		o.add(err)
		for _, w := range warnings {
			rename((*config.Problem)(&w), address)
			s.Warnings = append(s.Warnings, w.String())
		}
	}
	for _, p := range o.probs {
		rename(p, address)
	}
	if len(o.probs) > 0 {
		return nil, o.probs
	}
	s.File, s.Origins = f, origins
	return f, nil
}

// rename has a problem speak of the variable where nothing else says the key.
func rename(p *config.Problem, address string) {
	if name := config.Variable(p.Key); name != "" && p.Pos.File == "" {
		p.Key = name
	}
	if p.Key == "VAULT_ADDR" && address != "" {
		p.Key = address
	}
}

// Called has the problems in an error, of parts that were built from what the
// environment said, speak of variables. They are changed in place: what wraps one with
// a text of its own has said it already.
func Called(err error) error {
	switch x := err.(type) {
	case *config.Problem:
		if x.Pos.File == source {
			x.Pos = config.Pos{}
			if x.Key == "auto_auth.method.type" {
				x.Key = "LATCHKEY_AUTH_METHOD"
			}
		}
	case interface{ Unwrap() []error }:
		for _, one := range x.Unwrap() {
			_ = Called(one)
		}
	case interface{ Unwrap() error }:
		_ = Called(x.Unwrap())
	}
	return err
}

// over lays an environment over a configuration.
type over struct {
	reader // for refuse and add
	s      *Settings
	a      *asked
}

// address is the variable whose address holds, "" for that of the file: where the
// file names a server, VAULT_ADDR may name the proxy, for the function. addressed is
// whether there is one at all.
func (o *over) address(l *config.Loaded) (variable string, addressed bool) {
	inFile := l.Sets("vault.address")
	for _, name := range []string{"VLE_VAULT_ADDR", "BAO_ADDR", "VAULT_ADDR"} {
		v := o.a.env[name]
		if v == "" {
			continue
		}
		if o.ownDoor(v, l.File.Listeners) {
			if inFile && name != "VLE_VAULT_ADDR" {
				return "", true
			}
			o.refuse(name, "is the address of the extension's own proxy", "set VLE_VAULT_ADDR to the URL of the server")
		}
		return name, true
	}
	return "", inFile
}

// ownDoor says whether a URL leads to a listener of ours.
func (o *over) ownDoor(address string, listeners []config.Listener) bool {
	for i := range listeners {
		if sameDoor(address, cmp.Or(listeners[i].Address, usualListen)) {
			return true
		}
	}
	return len(listeners) == 0 && o.s.Proxy && sameDoor(address, o.s.Listen)
}

// sameDoor says whether a URL leads to where the proxy listens.
func sameDoor(address, listen string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	if u.Scheme == "unix" || strings.HasPrefix(listen, "/") {
		return u.Scheme == "unix" && u.Path == listen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	theirs := u.Port()
	if theirs == "" {
		theirs = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return theirs == port && (strings.EqualFold(u.Hostname(), host) || here(u.Hostname()) && here(host))
}

// here says whether a host is this machine: loopback, or all addresses.
func here(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && (a.Unmap().IsLoopback() || a.IsUnspecified())
}

// lookup is the environment as the configuration sees it: the address is that which
// was found to hold, the log is settled already, and there are fewer retries than
// elsewhere, because a function is waited for.
func (o *over) lookup(name, address string) (string, bool) {
	switch name {
	case "VAULT_ADDR", "BAO_ADDR":
		if address == "" || name == "BAO_ADDR" && address != name {
			return "", false
		}
		return o.a.env[address], true
	case "VAULT_LOG_LEVEL", "BAO_LOG_LEVEL", "VAULT_LOG_FORMAT", "BAO_LOG_FORMAT", "VAULT_TOKEN", "BAO_TOKEN":
		return "", false
	}
	v, ok := o.a.env[name]
	return v, ok
}

// values is what the environment adds, as a file would say it.
func (o *over) values(f *config.File) map[string]any {
	values := map[string]any{}
	if f.AutoAuth == nil {
		o.a.login.complete(o.refuse)
		values["auto_auth"] = map[string]any{"method": o.a.login.method}
	} else if o.a.login.said {
		o.twice(o.a.login.by, "an auto_auth")
	}
	switch {
	case len(f.Listeners) > 0:
		o.twice(o.a.by, "a listener")
		if !o.s.Proxy {
			o.s.Warnings = append(o.s.Warnings, "VAULT_RUN_MODE is file, so the listener of the configuration is not opened")
		}
	case o.s.Proxy:
		values["listener"] = o.a.listener
		if f.APIProxy == nil && (f.Cache == nil || f.Cache.UseAutoAuthToken == config.AutoAuthTokenNo) {
			values["api_proxy"] = map[string]any{"use_auto_auth_token": true}
		}
	}
	return values
}

// twice refuses variables for what the configuration has.
func (o *over) twice(by map[string]string, what string) {
	for _, name := range slices.Sorted(maps.Values(by)) {
		if name != "AWS_REGION" {
			o.refuse(name, "is set, and the configuration has "+what, "leave one of the two out")
		}
	}
}

// settle looks at what now holds.
func (o *over) settle(f *config.File, origins config.Origins, addressed bool) {
	s := o.s
	if !addressed {
		o.refuse("VAULT_ADDR", "is required", "the URL of the server; VLE_VAULT_ADDR where VAULT_ADDR names the proxy, for the function")
	}
	if origins.Of("vault.retry.num_retries") == "default" {
		f.Vault.NumRetries = 2
	}
	if origins.Of("template_config.max_connections_per_host") == "default" {
		// A function asks for little at a time, and a pool with a bound costs a start more
		// than all its requests.
		f.TemplateConfig.MaxConnectionsPerHost = 0
	}
	if f.Vault.ClientTimeout >= s.InitBudget {
		// What accepts a connection and says nothing is left in time for another try.
		s.Attempt = max(s.InitBudget*3/8, leastAttempt)
	}
	for _, a := range f.Logins() {
		if origins.Of("auto_auth.method.max_backoff") == "default" {
			a.Method.MaxBackoff = usualBackoff
		}
	}
	if f.Vault.TLSSkipVerify {
		s.Warnings = append(s.Warnings, "THE SERVER'S CERTIFICATE IS NOT VERIFIED ("+origins.Of("vault.tls_skip_verify")+"): whoever is between the function and the server gets the token and every secret")
	}
	if strings.HasPrefix(origins.Of("log_level"), "file ") && !s.levelSaid {
		s.LogLevel = levelOf(f.LogLevel)
	}
	if strings.HasPrefix(origins.Of("log_format"), "file ") && !s.formatSaid {
		s.LogJSON = f.LogFormat == "json"
	}
	if len(f.Listeners) > 0 {
		s.Listen = f.Listeners[0].Address
	}
	o.collisions(f)
}

// collisions refuses a secret whose file is that of a template.
func (o *over) collisions(f *config.File) {
	for _, secret := range o.s.Secrets {
		for i := range f.Templates {
			if f.Templates[i].Destination == secret.File {
				o.refuse(secret.fileVariable(), "is the destination of template["+strconv.Itoa(i)+"] too", "give each its own")
			}
		}
	}
}

// called is what the user calls a key of what was added.
func (o *over) called(path string) string {
	if below, ok := strings.CutPrefix(path, "auto_auth.method."); ok {
		return o.a.login.called(below)
	}
	if below, ok := strings.CutPrefix(path, "listener[0]."); ok {
		if name := o.a.by[below]; name != "" {
			return name
		}
		for _, k := range listenerKeys {
			if k.key == below {
				return k.name
			}
		}
	}
	if path == "listener[0]" || path == "listener[0].address" {
		return listenVariable
	}
	return config.Variable(path)
}
