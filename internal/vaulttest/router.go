package vaulttest

import (
	"net/http"
	"strings"
)

// backend is what a mount leads to.
type backend interface {
	serve(r *request) (*response, error)
	// open lists the paths that need no token; a trailing "*" is a prefix.
	open() []string
}

// exister is a backend that tells the creation of a thing from its update.
type exister interface {
	exists(r *request) bool
}

type handler func(*request) (*response, error)

// route is one path of a backend. Segments in braces are parameters; a last
// one with dots takes the rest, slashes and all.
type route struct {
	pattern string
	ops     map[operation]handler
}

// routes is a backend's table, asked in its order.
type routes []route

func (rs routes) serve(r *request) (*response, error) {
	for _, x := range rs {
		params, ok := match(x.pattern, r.path)
		if !ok {
			continue
		}
		h := x.ops[r.op]
		if h == nil {
			return nil, failure(http.StatusMethodNotAllowed, multi("unsupported operation"))
		}
		r.params = params
		return h(r)
	}
	return nil, failure(http.StatusNotFound, multi("unsupported path"))
}

func match(pattern, path string) (map[string]string, bool) {
	params := map[string]string{}
	for {
		want, morePattern, moreWanted := strings.Cut(pattern, "/")
		if name, ok := strings.CutSuffix(want, "...}"); ok {
			params[name[1:]] = path
			return params, true
		}
		got, rest, more := strings.Cut(path, "/")
		switch {
		case strings.HasPrefix(want, "{"):
			if got == "" {
				return nil, false
			}
			params[want[1:len(want)-1]] = got
		case want != got:
			return nil, false
		}
		if !moreWanted {
			return params, !more || rest == ""
		}
		if !more {
			// "role" may be written "role/", and the other way about.
			return params, morePattern == ""
		}
		pattern, path = morePattern, rest
	}
}
