package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// bodiless reports whether a request has neither a body nor more in mind than an
// answer.
func bodiless(r *http.Request) bool {
	return (r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0) && r.Header["Upgrade"] == nil
}

// settle fills an Ask, but for the body, or says why there is none.
func (h *handler) settle(a *exchange.Ask, r *http.Request) error {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
		// The one is for proxies of another kind, the other shows what was sent,
		// our token included.
		return refusal{status: http.StatusMethodNotAllowed, text: "this method is not passed on"}
	}
	p, no := apiPath(r.URL)
	if no != nil {
		return no
	}
	if strings.ContainsFunc(r.URL.RawQuery, blank) {
		return refusal{status: http.StatusBadRequest, text: "the query holds a blank or a control character"}
	}
	header, no := singles(r.Header)
	if no != nil {
		return no
	}
	*a = exchange.Ask{Method: r.Method, Path: p, Query: r.URL.RawQuery, Header: header, Who: h.who(header)}
	if a.Namespace = namespace(header); a.Namespace == "" && !named(header) {
		a.Namespace = h.namespace
	}
	return nil
}

func blank(c rune) bool { return c <= ' ' || c == 0x7f }

// apiPath is the path as it was sent. One that is not in its shortest form is
// answered as vault agent and the server answer it, with a redirect to that form;
// where the detour is hidden behind escapes, nothing but an attempt to get past a
// guard makes sense of it.
func apiPath(u *url.URL) (string, error) {
	p := u.EscapedPath()
	if !strings.HasPrefix(p, "/v1/") {
		return "", refusal{status: http.StatusBadRequest, text: "only paths under /v1/ are passed on"}
	}
	if !strings.Contains(p, "//") && !dotted(u.Path) {
		return p, nil
	}
	if !dotted(p) && dotted(u.Path) {
		return "", refusal{status: http.StatusBadRequest, text: "the path holds . or .. in escapes"}
	}
	short := path.Clean(p)
	if strings.HasSuffix(p, "/") {
		short += "/"
	}
	if !strings.HasPrefix(short, "/v1/") {
		return "", refusal{status: http.StatusBadRequest, text: "the path leads out of /v1/"}
	}
	if u.RawQuery != "" {
		short += "?" + u.RawQuery
	}
	return "", refusal{status: http.StatusTemporaryRedirect, text: "the path has a shorter form", to: short}
}

// dotted reports whether a path has a segment of one or two dots.
func dotted(p string) bool {
	for {
		i := strings.Index(p, "/.")
		if i < 0 {
			return false
		}
		p = p[i+2:]
		rest := strings.TrimPrefix(p, ".")
		if rest == "" || rest[0] == '/' {
			return true
		}
	}
}

// singles looks at headers that decide about rights: each may be there once, and
// the header Connection must not take one away. What is for the next hop only is
// taken out of a copy where there is such a thing.
func singles(h http.Header) (http.Header, error) {
	if len(h["X-Vault-Token"]) > 1 || len(h["Authorization"]) > 1 || len(h["X-Vault-Namespace"]) > 1 {
		return nil, refusal{status: http.StatusBadRequest, text: "X-Vault-Token, X-Vault-Namespace and Authorization may be given once"}
	}
	connection := h["Connection"]
	if len(connection) == 0 || len(connection) == 1 && (connection[0] == "keep-alive" || connection[0] == "close" || connection[0] == "Upgrade") {
		return h, nil
	}
	named := connected(connection)
	for _, name := range named {
		if strings.HasPrefix(name, "X-Vault-") || strings.HasPrefix(name, "Content-") || name == "Authorization" {
			return nil, refusal{status: http.StatusBadRequest, text: "Connection names a header that must not be taken away"}
		}
	}
	return without(h, named), nil
}

// who applies the rule whose token a request carries. The header X-Vault-Token
// counts before a Bearer, as it does at the server.
func (h *handler) who(header http.Header) exchange.Who {
	if h.Lend == LendForce {
		return exchange.Who{Lent: h.Name}
	}
	own := first(header["X-Vault-Token"])
	if own == "" {
		own, _ = bearer(header)
	}
	switch {
	case own != "":
		return exchange.Who{Token: cred.Redact(own)}
	case h.Lend == LendYes:
		return exchange.Who{Lent: h.Name}
	}
	return exchange.Who{}
}

// bearer reports whether Authorization is of that kind, and the token in it.
func bearer(header http.Header) (token string, ok bool) {
	scheme, token, _ := strings.Cut(first(header["Authorization"]), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// namespace is the client's, "" or with a slash at its end. All spellings of one
// are the same; an empty header says as little as none.
func namespace(header http.Header) string {
	sent := first(header["X-Vault-Namespace"])
	ns := strings.Trim(sent, "/ ")
	switch {
	case ns == "" || ns == "root":
		return ""
	case len(sent) == len(ns)+1 && sent[len(ns)] == '/':
		return sent
	}
	return ns + "/"
}

// named reports whether the client chose a namespace, if only the root.
func named(header http.Header) bool { return first(header["X-Vault-Namespace"]) != "" }

// complete takes the body in, if it is small enough to be held, and says what else
// a request is about.
func (h *handler) complete(q *question, r *http.Request) error {
	q.held, q.upgrade, q.endless = true, upgrades(r.Header), endless(q.Path)
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		if err := h.take(q, r); err != nil {
			return err
		}
	}
	q.about = h.subjectOf(q)
	if q.about != nobody {
		if !q.held {
			return refusal{status: http.StatusRequestEntityTooLarge, text: "the body is too large for a request about a token"}
		}
		if first(q.Header["X-Vault-Wrap-Ttl"]) != "" && q.about == ours {
			return refusal{status: http.StatusForbidden, text: "an answer about a token that is lent is not wrapped: who unwraps it would get the token"}
		}
	}
	return nil
}

// take reads the body into memory; what is larger than allowed there is left to be
// read by who sends it.
func (h *handler) take(q *question, r *http.Request) error {
	q.length = r.ContentLength
	if q.length > h.MaxBuffer {
		// Who sends it looks for more behind the end; there is nothing.
		q.held, q.body = false, io.LimitReader(r.Body, q.length)
		return nil
	}
	b, whole, err := slurp(r.Body, q.length, h.MaxBuffer)
	switch {
	case err != nil:
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return err
		}
		return refusal{status: http.StatusBadRequest, text: "the body broke off"}
	case whole:
		if q.length = int64(len(b)); q.length > 0 {
			q.Body = b
		}
	default:
		q.held, q.body = false, io.MultiReader(bytes.NewReader(b), r.Body)
	}
	return nil
}

// slurp reads all of r, if that is at most so many bytes; else what was read is
// to be put before the rest. length is -1 where it is not known.
func slurp(r io.Reader, length, most int64) (b []byte, whole bool, err error) {
	if length >= 0 {
		b = make([]byte, length)
		_, err = io.ReadFull(r, b)
		return b, true, err
	}
	var buf bytes.Buffer
	_, err = buf.ReadFrom(io.LimitReader(r, most+1))
	return buf.Bytes(), int64(buf.Len()) <= most, err
}

// again yields the body once more; nil for one that can be read only once.
func (q *question) again() func() io.Reader {
	if !q.held || q.Body == nil {
		return nil
	}
	return func() io.Reader { return bytes.NewReader(q.Body) }
}

// endless reports whether an answer comes when something happens rather than at
// once, so that nobody can say it is late.
func endless(p string) bool {
	_, p, ok := strings.Cut(p, "/sys/")
	return ok && (p == "monitor" || strings.HasPrefix(p, "events/subscribe/") || strings.HasPrefix(p, "pprof/"))
}
