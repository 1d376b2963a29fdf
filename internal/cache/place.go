package cache

import (
	"hash/maphash"
	"net/url"
	"path"
	"strings"

	"latchkey/internal/exchange"
)

// placeOf says what a request is about. Unlike a key it decodes all escapes and
// cleans the path: what a write might have changed had better be too much.
func placeOf(a *exchange.Ask) place {
	p := strings.TrimPrefix(a.Path, prefix)
	if strings.IndexByte(p, '%') >= 0 {
		if plain, err := url.PathUnescape(p); err == nil {
			p = plain
		}
	}
	if strings.Contains(p, "//") || strings.Contains(p, "./") || strings.HasSuffix(p, ".") || strings.HasPrefix(p, "/") {
		slash := strings.HasSuffix(p, "/")
		if p = strings.TrimPrefix(path.Clean("/"+p), "/"); slash && p != "" {
			p += "/"
		}
	}
	return place{namespace: spaceNamed(a.Namespace), path: p}
}

// spaceNamed is a namespace as places have it, however it is spelled.
func spaceNamed(name string) string {
	if name = trimNamespace(name); name == "" {
		return ""
	}
	return name + "/"
}

// full is the path as seen from the root namespace.
func (p place) full() string { return p.namespace + p.path }

// marker says whether a path segment only says what is done with the secret of a
// version 2 key-value engine that the rest of the path names. It may as well be
// part of a name: then two secrets are taken for one, and one of them is read
// from the server once too often.
func marker(segment string) bool {
	switch segment {
	case "data", "metadata", "delete", "undelete", "destroy", "subkeys":
		return true
	}
	return false
}

// lastName takes the last segment that is no marker off a path.
func lastName(path string) (rest, name string) {
	for path != "" {
		path = strings.TrimSuffix(path, "/")
		cut := strings.LastIndexByte(path, '/')
		if name = path[cut+1:]; !marker(name) && name != "" {
			return path[:max(cut, 0)], name
		}
		path = path[:max(cut, 0)]
	}
	return "", ""
}

// plainly is a path without its markers, with a slash at its end.
func plainly(path string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(path, "/") {
		if part != "" && !marker(part) {
			b.WriteString(part)
			b.WriteByte('/')
		}
	}
	return b.String()
}

// within says whether all names of part are the last ones of path, markers apart.
func within(path, part string) bool {
	for {
		var a, b string
		if part, b = lastName(part); b == "" {
			return true
		}
		if path, a = lastName(path); a != b {
			return false
		}
	}
}

var seed = maphash.MakeSeed()

// tail is a number for the last two names of a path: the same for a secret in
// whatever namespace, and for everything that is done with it.
func tail(path string) uint64 {
	rest, last := lastName(path)
	_, before := lastName(rest)
	return maphash.String(seed, last) ^ maphash.String(seed, before)*31
}

// asksForMore says whether a GET is a list or a help text in disguise.
func asksForMore(query string) bool {
	for query != "" {
		var one string
		one, query, _ = strings.Cut(query, "&")
		name, _, _ := strings.Cut(one, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		switch name {
		case "list", "scan", "help":
			return true
		}
	}
	return false
}

// upheaval says whether a write at a path may change what stands at many others.
func upheaval(path string) bool {
	_, what, ok := strings.Cut("/"+path, "/sys/")
	if !ok {
		return false
	}
	area, _, _ := strings.Cut(what, "/")
	switch area {
	case "mounts", "remount", "namespaces", "raw", "storage", "replication", "seal", "unseal", "plugins":
		return true
	}
	return false
}

// policies says whether a write at a path may change what somebody may do.
func policies(path string) bool {
	path = "/" + path
	if strings.Contains(path, "/sys/polic") || strings.Contains(path, "/sys/control-group") {
		return true
	}
	_, what, ok := strings.Cut(path, "/identity/")
	return ok && (strings.HasPrefix(what, "entity") || strings.HasPrefix(what, "group") || strings.HasPrefix(what, "persona") || strings.HasPrefix(what, "alias"))
}
