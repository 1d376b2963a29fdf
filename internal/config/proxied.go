package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What is wrong with an identity, whichever it is.
const (
	wrappedLent = "cannot be on when the method's login is wrapped"
	noTaker     = "without one nobody would get the token"
)

// lends says where use_auto_auth_token is on: in cache, its older home, or in
// api_proxy.
func (f *File) lends() (cache, proxy bool) {
	return f.Cache != nil && f.Cache.UseAutoAuthToken != AutoAuthTokenNo,
		f.APIProxy != nil && f.APIProxy.UseAutoAuthToken != AutoAuthTokenNo
}

// Lending is whether a token is lent: what api_proxy says, and without one what
// cache does.
func (f *File) Lending() AutoAuthToken {
	switch {
	case f.APIProxy != nil:
		return f.APIProxy.UseAutoAuthToken
	case f.Cache != nil:
		return f.Cache.UseAutoAuthToken
	}
	return AutoAuthTokenNo
}

// Consistency is what is done about servers that lag behind: of the two keys in
// api_proxy and in cache, whichever is not the default.
func (f *File) Consistency() (enforce, when string) {
	enforce, when = "never", "fail"
	take := func(e, w string) {
		if e != "" && e != "never" {
			enforce = e
		}
		if w != "" && w != "fail" {
			when = w
		}
	}
	if f.Cache != nil {
		take(f.Cache.EnforceConsistency, f.Cache.WhenInconsistent)
	}
	if f.APIProxy != nil {
		take(f.APIProxy.EnforceConsistency, f.APIProxy.WhenInconsistent)
	}
	return enforce, when
}

// wrapped checks a login whose answer is wrapped.
func (c *checker) wrapped(a *AutoAuth) {
	if a.Method.WrapTTL == 0 {
		return
	}
	switch {
	case len(a.Sinks) != 1:
		c.problem(a.path()+".method.wrap_ttl", "needs exactly one sink: a wrapped token can be opened once", fmt.Sprintf("there are %d", len(a.Sinks)))
	case a.Sinks[0].WrapTTL > 0:
		c.problem(a.path()+".sink[0].wrap_ttl", "is set on the method and on the sink", "keep one of them")
	}
}

// lent checks which listener lends which identity.
func (c *checker) lent() {
	f := c.f
	if inCache, inProxy := f.lends(); inCache && !inProxy && f.APIProxy != nil {
		c.warn("cache.use_auto_auth_token", "has no effect: there is an api_proxy, and it lends nothing", "set it in api_proxy")
	}
	taken := map[string]bool{}
	for i := range f.Listeners {
		name, at := f.Listeners[i].AutoAuth, fmt.Sprintf("listener[%d].auto_auth", i)
		if name == "" {
			continue
		}
		taken[name] = true
		switch a := f.identity(name); {
		case a == nil:
			c.problem(at, fmt.Sprintf("there is no auto_auth of the name %q", name), Closest(name, f.identityNames()))
		case f.Lending() == AutoAuthTokenNo:
			c.problem(at, "lends nothing: use_auto_auth_token is off", "add api_proxy { use_auto_auth_token = true }")
		case a != f.AutoAuth && a.Method.WrapTTL > 0:
			c.problem(at, wrappedLent, "remove wrap_ttl from the method of "+a.path())
		}
	}
	for _, a := range f.Identities {
		if len(a.Sinks) == 0 && !taken[a.Name] {
			c.problem(a.path(), "needs a sink, or a listener that names it", noTaker)
		}
	}
}

// identity is the login that a listener calls so, nil when there is none.
func (f *File) identity(name string) *AutoAuth {
	for _, a := range f.Logins() {
		if a.Known() == name {
			return a
		}
	}
	return nil
}

func (f *File) identityNames() (names []string) {
	for _, a := range f.Logins() {
		names = append(names, a.Known())
	}
	return names
}

// consistency warns of a remedy for a fault that cannot come up.
func (c *checker) consistency() {
	if enforce, when := c.f.Consistency(); enforce == "always" || when != "forward" {
		return
	}
	for _, at := range []string{"cache.when_inconsistent", "api_proxy.when_inconsistent"} {
		if c.isSet(at) {
			c.warn(at, "has no effect without enforce_consistency", `write enforce_consistency = "always"`)
		}
	}
}

// cache checks what is cached, and where it is kept.
func (c *checker) cache() {
	k := c.f.Cache
	if k == nil {
		return
	}
	if c.f.where != nil && k.MaxEntries < 1 {
		c.problem("cache.max_entries", "must be 1 or more", "leave cache out to cache nothing")
	}
	if c.f.where != nil && k.MaxSize < 1 {
		c.problem("cache.max_size", "must be 1 or more", "leave cache out to cache nothing")
	}
	for _, name := range k.KeyHeaders {
		if !isHeaderName(name) {
			c.problem("cache.key_headers", "holds what is no name of a header", `for example ["X-Tenant"]`)
			break
		}
	}
	if k.StaticTTL == 0 {
		for _, key := range []string{"static_stale", "static_events",
			"static_secret_token_capability_refresh_interval", "static_secret_token_capability_refresh_behavior"} {
			if c.isSet("cache." + key) {
				c.warn("cache."+key, "has no effect without static_ttl: static secrets are not cached", `static_ttl = "5m" caches them for five minutes`)
			}
		}
	}
	if k.StaticEvents && c.f.AutoAuth == nil {
		c.warn("cache.static_events", "has no effect without auto_auth: nothing else gets a token to listen with", "")
	}
	if k.Persist != nil {
		c.persist(k.Persist)
	}
}

func isHeaderName(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// persist checks where the cache is kept, and with which key.
func (c *checker) persist(p *Persist) {
	const at = "cache.persist"
	if p.Path == "" {
		c.problem(at+".path", "is required", "")
	} else if info, err := os.Stat(p.Path); err == nil && !info.IsDir() {
		c.problem(at+".path", "is not a directory", "")
	}
	if p.Type != "file" {
		for _, key := range []string{"key_file", "key_env"} {
			if c.isSet(at + "." + key) {
				c.problem(at+"."+key, "is for type file", `the key of type kubernetes is the service account's token; write persist "file" to use another`)
			}
		}
		return
	}
	switch {
	case p.KeyFile == "" && p.KeyEnv == "":
		c.problem(at, "has no key", "write key_file or key_env; the key must not lie beside the file that it opens")
	case p.KeyFile != "" && p.KeyEnv != "":
		c.problem(at, "has two keys", "write key_file or key_env, not both")
	case p.KeyEnv != "" && !isVariableName(p.KeyEnv):
		c.problem(at+".key_env", "is not the name of a variable", "it names the variable that holds the key; the key itself does not belong here")
	case p.KeyFile != "" && p.Path != "" && filepath.Dir(filepath.Clean(p.KeyFile)) == filepath.Clean(p.Path):
		c.problem(at+".key_file", "lies in the directory of the file that it opens", "whoever takes the one takes the other; put the key elsewhere")
	}
	if c.isSet(at + ".service_account_token_file") {
		c.warn(at+".service_account_token_file", "has no effect: it is for type kubernetes", "")
	}
}
