package guard

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pathGuard is the listener's key allow_paths. The rule is that of a path in one
// of Vault's policies:
//
//	secret/data/app/db    this path
//	secret/data/app/*     everything that begins with secret/data/app/
//	secret/+/app/*        + stands for one whole part, and never for none
//
// * has a meaning at the end only. Patterns are about the API below /v1/, as
// Vault understands it after taking the path apart; one that begins with a slash
// is the whole path: /agent/v1/cache-clear and /agent/v1/quit have to be listed to
// be reachable, health, ready, status and metrics (under /agent/v1/ too) need not.
//
// A namespace is part of a path: ns1/secret/data/app/*. The header
// X-Vault-Namespace may only repeat the namespace that the proxy uses anyway.
//
// A path that two readers could take for two is refused, however it would match:
// one with an encoded slash, with dot segments, two slashes in a row, and with
// what is left of a second encoding (%), backslashes, ; ? # and control
// characters. A slash at the end counts for a list only, where it is as if
// there.
type pathGuard struct {
	*door
	allowed   patterns
	namespace string
	next      http.Handler
}

// telling are the endpoints that only tell how we are.
var telling = map[string]bool{
	"/agent/v1/health": true, "/agent/v1/ready": true, "/agent/v1/status": true, "/agent/v1/metrics": true,
}

func (g *pathGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if telling[r.URL.Path] && r.URL.RawPath == "" {
		g.next.ServeHTTP(w, r)
		return
	}
	if ns := r.Header["X-Vault-Namespace"]; len(ns) > 1 || len(ns) == 1 && namespaceOf(ns[0]) != g.namespace {
		g.refuse(w, r, noPath, http.StatusForbidden,
			"this listener serves some paths only, and none in another namespace by X-Vault-Namespace: write the namespace into the path, before the mount")
		return
	}
	path, why := canonical(r.URL)
	if why != "" {
		g.refuse(w, r, noPath, http.StatusForbidden, "this listener serves some paths only, and none that "+why+": write it plainly")
		return
	}
	if !g.allowed.match(path, lists(r)) {
		g.refuse(w, r, noPath, http.StatusForbidden, "this listener serves some paths only, and this is none of them; allow_paths has the list")
		return
	}
	g.next.ServeHTTP(w, r)
}

// namespaceOf takes off the slash at either end.
func namespaceOf(s string) string {
	return strings.TrimSuffix(strings.TrimPrefix(s, "/"), "/")
}

// canonical gives the path as the server will understand it, or says what about
// it could be understood in two ways.
func canonical(u *url.URL) (path, why string) {
	if u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return "", "is no path"
	}
	if s := strings.ToLower(u.RawPath); strings.Contains(s, "%2f") {
		return "", "has an encoded slash"
	}
	return u.Path, plain(u.Path)
}

// plain says what stands in the way of a path having one meaning, or "".
func plain(path string) string {
	if !utf8.ValidString(path) {
		return "is no UTF-8"
	}
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ' || c == 0x7f:
			return "has a control character"
		case c == '%', c == '\\', c == ';', c == '?', c == '#':
			return "has " + strconv.QuoteRune(rune(c)) + " in it"
		}
	}
	rest := strings.TrimPrefix(path, "/")
	for {
		part, after, more := strings.Cut(rest, "/")
		switch {
		case part == "." || part == "..":
			return "has dot segments"
		case part == "" && more:
			return "has two slashes in a row"
		case !more:
			return ""
		}
		rest = after
	}
}

// lists reports whether a request asks for a list, as Vault decides it: by the
// method, or by list=true.
func lists(r *http.Request) bool {
	switch {
	case r.Method == "LIST":
		return true
	case r.Method != http.MethodGet, !strings.Contains(r.URL.RawQuery, "list="):
		return false
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(q["list"]) != 1 {
		return false
	}
	yes, err := strconv.ParseBool(q["list"][0])
	return err == nil && yes
}

// patterns are a list of paths, each a whole one: /v1/secret/data/app/*.
type patterns []pattern

type pattern struct {
	parts []string // between slashes; "+" is any
	// open says that the last part is how a longer path may begin.
	open bool
}

// paths reads AllowPaths.
func (o Options) paths() (patterns, error) {
	var all patterns
	var errs []error
	for _, s := range o.AllowPaths {
		p, text, hint := parse(s)
		if text != "" {
			errs = append(errs, o.problem("allow_paths", strconv.Quote(s)+" "+text, hint))
		}
		all = append(all, p)
	}
	return all, errors.Join(errs...)
}

// parse reads a pattern, or says what is wrong with it.
func parse(s string) (p pattern, text, hint string) {
	path := s
	switch {
	case s == "":
		return p, "is no path", "leave it out"
	case strings.HasPrefix(s, "v1/"):
		return p, "begins with v1/", "paths are those below /v1/: leave it out, or write the slash before it"
	case !strings.HasPrefix(s, "/"):
		path = "/v1/" + s
	}
	if why := plain(path); why != "" {
		return p, why, "write it as the server understands it, not encoded"
	}
	path, p.open = strings.CutSuffix(path, "*")
	switch {
	case strings.Contains(path, "*"):
		return p, "has a * before its end", "+ stands for one part of a path; * stands at the end, for all that follows"
	case p.open && strings.HasSuffix(path, "/+"):
		return p, "ends in +*", "+ stands for one part of a path, * for all that follows: one of them"
	case !p.open:
		path = strings.TrimSuffix(path, "/")
	}
	p.parts = strings.Split(strings.TrimPrefix(path, "/"), "/")
	return p, "", ""
}

// match reports whether a canonical path is on the list. A list may be asked for
// with a slash at the end and without; for all else it does not count.
func (ps patterns) match(path string, list bool) bool {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	for _, p := range ps {
		if p.match(path) || list && p.match(path+"/") {
			return true
		}
	}
	return false
}

func (p pattern) match(path string) bool {
	last := len(p.parts) - 1
	for i, want := range p.parts {
		if i == last && p.open {
			return strings.HasPrefix(path, want)
		}
		part, rest, more := strings.Cut(path, "/")
		if part != want && (want != "+" || part == "") || more != (i < last) {
			return false
		}
		path = rest
	}
	return true
}
