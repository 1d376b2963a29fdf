package proxy

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// subject is whom an answer is about.
type subject uint8

const (
	nobody  subject = iota
	someone         // a token, and as far as the request says not one of ours
	ours            // a token of ours
)

// tokenCalls are the calls whose answer is about a token that exists already.
var tokenCalls = []string{"lookup", "lookup-self", "renew", "renew-self", "lookup-accessor", "renew-accessor"}

// subjectOf reads from a request whom its answer will be about. The server takes a
// call's path decoded, behind any namespace and with any number of slashes, and
// where it names no token it means the one that the request was made with. How the
// server reads a body that is neither clearly JSON nor clearly a form, nobody knows
// but the server: so of a request that is made with a token of ours the answer is
// ours, unless it shows the very token that was named.
func (h *handler) subjectOf(q *question) subject {
	p := q.Path
	if !strings.Contains(p, "token") && !strings.Contains(p, "%") {
		return nobody
	}
	if decoded, err := url.PathUnescape(p); err == nil {
		p = decoded
	}
	_, p, ok := strings.Cut(path.Clean(p), "/auth/token/")
	if !ok {
		return nobody
	}
	call, rest, _ := strings.Cut(p, "/")
	if !contains(tokenCalls, call) {
		return nobody
	}
	mine := q.Who.Lent != "" || h.isOurs(q.Who.Token)
	named := strings.Trim(rest, "/")
	if strings.HasSuffix(call, "-self") {
		named = ""
	} else if !strings.HasSuffix(call, "-accessor") {
		for _, t := range []string{named, tokenIn(q.Query), tokenOf(q.Body)} {
			if t != "" && h.isOurs(cred.Redact(t)) {
				return ours
			}
		}
		if named == "" {
			// A read has its fields in the query, a write in the body.
			if named = tokenOf(q.Body); exchange.Reads(q.Method) {
				named = tokenIn(q.Query)
			}
		}
	} else {
		return someone
	}
	if mine {
		q.named = cred.Redact(named)
		return ours
	}
	return someone
}

// stores are the engines in which a secret may have any path.
var stores = []string{"kv", "generic", "cubbyhole"}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func (h *handler) isOurs(token cred.Redacted) bool {
	return !token.Empty() && h.Ours != nil && h.Ours(token)
}

func tokenIn(query string) string {
	v, _ := url.ParseQuery(query) // the rest is there in spite of an error
	return strings.TrimSpace(v.Get("token"))
}

// tokenOf reads the token of a body: the server takes JSON, and forms, which begin
// with anything but a brace.
func tokenOf(body []byte) string {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return ""
	}
	if body[0] != '{' {
		return tokenIn(string(body))
	}
	var fields map[string]json.RawMessage
	var token string
	if json.Unmarshal(body, &fields) != nil || json.Unmarshal(fields["token"], &token) != nil {
		return ""
	}
	return strings.TrimSpace(token)
}

// strip takes a token of ours, and its accessor, out of an answer about it. What
// cannot be looked into is not handed on.
func (h *handler) strip(q *question, r *reply) error {
	if r.StatusCode >= 300 {
		return nil
	}
	if !r.held {
		return refusal{status: http.StatusBadGateway, text: "an answer about a token is too large to be looked into"}
	}
	if len(bytes.TrimSpace(r.body)) == 0 {
		return nil
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(r.body, &all) != nil {
		if q.about == ours {
			return refusal{status: http.StatusBadGateway, text: "an answer about a token is no JSON"}
		}
		return nil
	}
	var kind string
	if json.Unmarshal(all["mount_type"], &kind) == nil && contains(stores, kind) {
		return nil // a secret whose path looks like the call
	}
	var data, auth, wrap map[string]json.RawMessage
	for name, into := range map[string]*map[string]json.RawMessage{"data": &data, "auth": &auth, "wrap_info": &wrap} {
		_ = json.Unmarshal(all[name], into) // absent, null, or of another shape: nothing to take out
	}
	if !h.holdsOurs(data, "id") && !h.holdsOurs(auth, "client_token") && (q.about != ours || q.names(data["id"]) || q.names(auth["client_token"])) {
		return nil
	}
	if len(wrap) > 0 {
		return refusal{status: http.StatusForbidden, text: "the answer about a token that is lent was wrapped; who unwraps it would get the token"}
	}
	if data != nil {
		delete(data, "id")
		delete(data, "accessor")
		all["data"], _ = json.Marshal(data)
	}
	if auth != nil {
		auth["client_token"], auth["accessor"] = json.RawMessage(`""`), json.RawMessage(`""`)
		all["auth"], _ = json.Marshal(auth)
	}
	body, err := json.Marshal(all)
	if err != nil {
		return refusal{status: http.StatusBadGateway, text: "an answer about a token is no JSON"}
	}
	r.body = append(body, '\n')
	r.ContentLength = int64(len(r.body))
	r.Header = maps.Clone(r.Header)
	delete(r.Header, "Content-Length")
	return nil
}

// holdsOurs reports whether a field is a token of ours.
func (h *handler) holdsOurs(fields map[string]json.RawMessage, name string) bool {
	var value string
	return json.Unmarshal(fields[name], &value) == nil && h.isOurs(cred.Redact(value))
}

// names reports whether a field is the token that the request named.
func (q *question) names(field json.RawMessage) bool {
	var value string
	return !q.named.Empty() && json.Unmarshal(field, &value) == nil && cred.Redact(value).Short().Equal(q.named.Short())
}

// hidden stands in a log line for a token that was part of a path.
const hidden = "redacted"

// shown is a path for a log line, in one line: a token in it is left out. p is
// decoded, so that no escape hides one.
func shown(p string) string {
	for _, call := range []string{"/lookup/", "/renew/", "/revoke/", "/revoke-orphan/"} {
		if head, _, ok := strings.Cut(p, "/auth/token"+call); ok {
			p = head + "/auth/token" + call + hidden
		}
	}
	segments := strings.Split(p, "/")
	for i, s := range segments {
		kind, rest, ok := strings.Cut(s, ".")
		switch {
		case !ok || len(rest) < 20:
		case kind == "hvs", kind == "hvb", kind == "hvr", kind == "s", kind == "b", kind == "r":
			segments[i] = hidden
		}
	}
	return (&url.URL{Path: strings.Join(segments, "/")}).EscapedPath()
}
