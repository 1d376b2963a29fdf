package cache

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// maxClear bounds the body of a request to clear, in bytes.
const maxClear = 1 << 20

// ClearHandler serves POST and PUT /agent/v1/cache-clear: it drops what the body
// names, and has done so when it answers. What is dropped is not revoked, only not
// given out and not renewed any more. The tokens of our identities stay what they
// are.
//
// The body is {"type", "value", "namespace"}. By type, value is:
//
//	request_path    the beginning of a path, such as /v1/database/creds; it is
//	                one in namespace, root when that is missing
//	token           a token: what was made with it, and its own answer
//	token_accessor  the same by its accessor
//	lease           a lease id, all of it
//	all             nothing
//
// The answer is 200 without a body, whether or not there was anything; also to
// other methods, which do nothing. A body that makes no sense is 400, a missing
// value 500, one beyond a mebibyte 413, each with errors as JSON.
func (c *Cache) ClearHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost && r.Method != http.MethodPut {
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxClear))
		if err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				exchange.Refuse(w, http.StatusRequestEntityTooLarge, "the body is too large")
				return
			}
			exchange.Refuse(w, http.StatusBadRequest, "failed to read the body")
			return
		}
		what, status, reason := parseClear(body)
		if status != http.StatusOK {
			exchange.Refuse(w, status, reason)
			return
		}
		n := c.clear(what)
		c.forgotten()
		c.o.Log.Info("cache cleared", "type", what.Type, "entries", n)
	})
}

// clearing is what a request to clear asks for.
type clearing struct {
	Type      string `json:"type"`
	Value     string `json:"value"`
	Namespace string `json:"namespace"`
}

// parseClear reads a request to clear. Where it makes no sense, it says what status
// to answer with, and why; the reason does not repeat what was sent.
func parseClear(body []byte) (what clearing, status int, reason string) {
	err := json.NewDecoder(strings.NewReader(string(body))).Decode(&what)
	var shape *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return what, http.StatusBadRequest, "failed to parse JSON input: empty JSON provided"
	case errors.As(err, &shape) && shape.Field == "":
		return what, http.StatusBadRequest, "failed to parse JSON input: not an object"
	case errors.As(err, &shape):
		return what, http.StatusBadRequest, "failed to parse JSON input: " + shape.Field + " is not a string"
	case err != nil:
		return what, http.StatusBadRequest, "failed to parse JSON input: " + err.Error()
	}
	missing := ""
	switch what.Type {
	case "":
		return what, http.StatusBadRequest, "failed to parse clear input: no type provided"
	case "request_path":
		missing = "request path"
	case "token":
		missing = "token"
	case "token_accessor":
		missing = "token accessor"
	case "lease":
		missing = "lease"
	case "all":
		return what, http.StatusOK, ""
	default:
		return what, http.StatusBadRequest, "failed to clear cache: invalid type provided"
	}
	if what.Value == "" {
		return what, http.StatusInternalServerError, "failed to clear cache: " + missing + " not provided"
	}
	return what, http.StatusOK, ""
}

// clear drops what is asked for, and returns how many entries went.
func (c *Cache) clear(what clearing) int {
	f := &c.family
	f.lock()
	defer f.unlock()
	switch what.Type {
	case "token":
		return f.tokenOver(cred.Redact(what.Value), false)
	case "token_accessor":
		if m := f.byAccessor[what.Value]; m != nil {
			return f.tokenOver(m.secret, false)
		}
		return 0
	case "lease":
		f.note(event{what: endOfLease, text: what.Value})
		return f.end(f.byLease[what.Value]) + f.c.unlease()
	case "request_path":
		return f.clearPath(spaceNamed(what.Namespace), what.Value)
	}
	return f.clearAll()
}

// clearPath drops what was asked at paths that begin with prefix, a text such as
// /v1/database/cre.
func (f *family) clearPath(space, prefix string) int {
	const api = "/v1/"
	if !strings.HasPrefix(prefix, "/") {
		prefix = "/" + prefix
	}
	rest, ok := strings.CutPrefix(prefix, api)
	if !ok {
		if !strings.HasPrefix(api, prefix) {
			return 0
		}
		rest = ""
	}
	full := space + rest
	f.note(event{what: endOfPrefix, text: full})
	n := 0
	for _, m := range f.paths.under(full, nil) {
		n += f.end(m)
	}
	n += f.c.evictPaths(space, rest)
	f.drainEnded()
	return n
}

// clearAll drops everything but our own tokens.
func (f *family) clearAll() int {
	f.note(event{what: endOfAll})
	n := 0
	for _, m := range f.roots() {
		n += f.end(m)
	}
	clear(f.refused)
	n += f.c.evictAll()
	f.drainEnded()
	if f.c.o.Store != nil {
		f.c.o.Store.Clear()
		for _, m := range f.lent {
			f.save(m)
		}
	}
	return n
}
