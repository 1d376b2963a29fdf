package vaulttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// operation is what a request wants of a path.
type operation string

const (
	opRead   operation = "read"
	opList   operation = "list"
	opUpdate operation = "update"
	opDelete operation = "delete"
	opPatch  operation = "patch"
)

// request is one request on its way through the fake.
type request struct {
	s *Server
	// op and path are what is wanted; full has the mount before the path.
	op   operation
	full string
	path string
	// mount is where the path leads; token is nil on a path without login.
	mount *mount
	token *token
	body  Map
	query url.Values
	http  *http.Request
	// params are the named segments of the route.
	params map[string]string
	// wrapTTL is the response wrapping that was asked for.
	wrapTTL time.Duration
	now     time.Time
}

// api answers as the server; it holds the lock for a whole request.
type api struct{ s *Server }

// ServeHTTP answers one request.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	if clean := path.Clean(r.URL.Path); strings.Contains(r.URL.Path, "//") || strings.Contains(r.URL.Path, "/.") {
		http.Redirect(w, r, clean, http.StatusTemporaryRedirect)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		http.Redirect(w, r, "/ui/", http.StatusTemporaryRedirect)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if ns := r.Header.Get("X-Vault-Namespace"); ns != "" {
		// The free server has no namespaces and takes every one for the root.
		w.Header().Set("X-Vault-Namespace", ns)
	}
	resp, err := a.answer(r, name)
	switch {
	case err != nil:
		fail(w, err)
	case resp != nil && resp.stream != nil:
		resp.stream.serve(w, r)
	case resp != nil && resp.flow != nil:
		resp.flow(w, r)
	default:
		resp.write(w)
	}
}

func (a *api) answer(r *http.Request, name string) (*response, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	req := &request{s: a.s, full: name, http: r, query: r.URL.Query(), now: a.s.now()}
	if err := req.method(); err != nil {
		return nil, err
	}
	if err := req.parse(); err != nil {
		return nil, err
	}
	if resp, err, ours := req.unsealed(); ours {
		return resp, err
	}
	if a.s.sealed {
		return nil, failure(http.StatusServiceUnavailable, "Vault is sealed")
	}
	if err := req.wrapping(); err != nil {
		return nil, err
	}
	if req.op == opUpdate && strings.HasSuffix(name, "/") {
		return nil, failure(http.StatusBadRequest, "cannot write to a path ending in '/'")
	}
	resp, err := req.serve()
	if err != nil {
		return nil, err
	}
	return req.wrap(resp)
}

// method finds the operation; PUT and POST are one.
func (r *request) method() error {
	switch r.http.Method {
	case http.MethodGet:
		r.op = opRead
		if r.query.Get("list") == "true" {
			r.op = opList
		}
	case "LIST":
		r.op = opList
	case http.MethodPut, http.MethodPost:
		r.op = opUpdate
	case http.MethodDelete:
		r.op = opDelete
	case http.MethodPatch:
		r.op = opPatch
		switch ct := r.http.Header.Get("Content-Type"); ct {
		case "application/merge-patch+json":
		case "":
			return failure(http.StatusBadRequest, "mime: no media type")
		default:
			return failure(http.StatusUnsupportedMediaType, "PATCH requires Content-Type of application/merge-patch+json, provided "+ct)
		}
	default:
		return failure(http.StatusMethodNotAllowed)
	}
	return nil
}

// parse reads the body; a body that is no object is refused in the server's
// own, uneven words.
func (r *request) parse() error {
	if r.full == snapshotPath {
		return nil // a stream of bytes, for who serves it
	}
	data, err := io.ReadAll(r.http.Body)
	if err != nil {
		return failure(http.StatusBadRequest, "error reading body")
	}
	text := strings.TrimSpace(string(data))
	if text == "" || r.op != opUpdate && r.op != opPatch {
		return nil
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	err = dec.Decode(&r.body)
	if err == nil {
		err = trailing(dec, text)
	}
	var syntax *json.SyntaxError
	open := text[0] == '{' || text[0] == '['
	switch {
	case err == nil:
		return nil
	case open && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)):
		return failure(http.StatusInternalServerError, "malformed JSON, unclosed containers")
	case open && errors.As(err, &syntax):
		return failure(http.StatusInternalServerError, err.Error())
	default:
		return failure(http.StatusBadRequest, "error parsing JSON: failed to parse JSON input: "+err.Error())
	}
}

// trailing is the error about what follows the value.
func trailing(dec *json.Decoder, text string) error {
	if _, err := dec.Token(); errors.Is(err, io.EOF) {
		return nil
	}
	var v any
	return json.Unmarshal([]byte(text), &v)
}

// serve checks the token and the policy, and calls the mount.
func (r *request) serve() (*response, error) {
	r.route()
	if !r.open() {
		if err := r.authenticate(); err != nil {
			return nil, err
		}
	}
	if r.mount == nil {
		return nil, failure(http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", r.full))
	}
	resp, err := r.mount.backend.serve(r)
	if err != nil {
		return nil, err
	}
	if resp != nil {
		resp.mountType = r.mount.kind
		if r.token == nil || resp.status == http.StatusNotFound {
			resp.mountType = ""
		}
	}
	return resp, nil
}

// route finds the mount with the longest path.
func (r *request) route() {
	name := r.full
	if r.op == opList && !strings.HasSuffix(name, "/") {
		name += "/"
		r.full = name
	}
	best := ""
	for p := range r.s.mounts {
		if len(p) > len(best) && (strings.HasPrefix(name, p) || name+"/" == p) {
			best = p
		}
	}
	if best == "" {
		return
	}
	r.mount = r.s.mounts[best]
	r.path = strings.TrimPrefix(name, best)
	if name+"/" == best {
		r.path = ""
	}
}

// open reports whether the path needs no token.
func (r *request) open() bool {
	if r.mount == nil {
		return false
	}
	for _, p := range r.mount.backend.open() {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(r.path, prefix) || p == r.path {
			return true
		}
	}
	return false
}

// authenticate finds the token, counts its use, and asks the policies.
func (r *request) authenticate() error {
	id := r.tokenID()
	if id == "" {
		return failure(http.StatusForbidden, "permission denied")
	}
	t := r.s.lookup(id)
	if t == nil {
		return failure(http.StatusForbidden, multi("permission denied", "invalid token"))
	}
	r.token = t
	if t.uses > 0 {
		if t.uses--; t.uses == 0 {
			// The last use: the token is good for this request only.
			t.uses = -1
			defer r.s.revoke(t)
		}
	}
	if !r.allowed() {
		return failure(http.StatusForbidden, multi("permission denied"))
	}
	return nil
}

// tokenID is the token of the request, from either header.
func (r *request) tokenID() string {
	if id := r.http.Header.Get("X-Vault-Token"); id != "" {
		return id
	}
	id, _ := strings.CutPrefix(r.http.Header.Get("Authorization"), "Bearer ")
	if id == r.http.Header.Get("Authorization") {
		return ""
	}
	return id
}
