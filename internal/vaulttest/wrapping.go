package vaulttest

import (
	"encoding/json"
	"net/http"
	"time"
)

// wrapped is what a wrapping token holds.
type wrapped struct {
	answer       []byte
	creationPath string
	created      time.Time
	ttl          time.Duration
}

// wrapping reads the header that asks for response wrapping.
func (r *request) wrapping() error {
	h := r.http.Header.Get("X-Vault-Wrap-TTL")
	if h == "" {
		return nil
	}
	d, err := parseDuration(h)
	if err != nil {
		return badRequest("error parsing X-Vault-Wrap-TTL header: %v", err)
	}
	if d < 0 {
		return badRequest("error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative")
	}
	r.wrapTTL = d
	return nil
}

// wrap puts an answer behind a token when that was asked for. An answer
// without content, and one of a path without envelope, is not wrapped.
func (r *request) wrap(p *response) (*response, error) {
	if p == nil || r.wrapTTL == 0 || p.plain != nil || p.wrap != nil || p.status == http.StatusNotFound {
		return p, nil
	}
	answer, err := json.Marshal(p.envelope())
	if err != nil {
		return nil, err
	}
	info := r.s.newWrapping(&wrapped{answer, r.full, r.now, r.wrapTTL})
	if p.accessor != "" {
		info["wrapped_accessor"] = p.accessor
	}
	return &response{wrap: info}, nil
}

// newWrapping makes the token and says of it what wrap_info says.
func (s *Server) newWrapping(w *wrapped) Map {
	t := &token{
		typ: "service", policies: []string{"response-wrapping"}, path: w.creationPath, created: w.created,
		ttl: w.ttl, explicitMax: w.ttl, uses: 1, orphan: true, wrapped: w,
	}
	s.keep(t)
	return Map{
		"token": t.id, "accessor": t.accessor, "ttl": seconds(w.ttl),
		"creation_time": w.created, "creation_path": w.creationPath,
	}
}

func wrapData(r *request) (*response, error) {
	if r.wrapTTL == 0 {
		return nil, badRequest("endpoint requires response wrapping to be used")
	}
	return ok(r.body)
}

// wrapping finds the token that a request is about: in its body, or its own.
func (r *request) wrappingToken() (*token, error) {
	id := r.str("token")
	if id == "" {
		id = r.tokenID()
	}
	if id == "" {
		return nil, failure(http.StatusForbidden, "error validating wrapping token: token is empty")
	}
	if t := r.s.lookup(id); t != nil && t.wrapped != nil {
		return t, nil
	}
	return nil, badRequest("wrapping token is not valid or does not exist")
}

func lookupWrapped(r *request) (*response, error) {
	t, err := r.wrappingToken()
	if err != nil {
		return nil, err
	}
	w := t.wrapped
	return ok(Map{"creation_path": w.creationPath, "creation_time": w.created, "creation_ttl": seconds(w.ttl)})
}

// unwrap spends the token. One in the body needs another to speak for it.
func unwrap(r *request) (*response, error) {
	t, err := r.wrappingToken()
	if err != nil {
		return nil, err
	}
	if id := r.tokenID(); id != t.id {
		if err := r.authenticate(); err != nil {
			return nil, err
		}
	}
	r.s.revoke(t)
	return &response{plain: json.RawMessage(t.wrapped.answer)}, nil
}

func rewrap(r *request) (*response, error) {
	t, err := r.wrappingToken()
	if err != nil {
		return nil, err
	}
	r.s.revoke(t)
	w := *t.wrapped
	w.created = r.now
	return &response{wrap: r.s.newWrapping(&w)}, nil
}
