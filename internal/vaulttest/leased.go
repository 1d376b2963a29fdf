package vaulttest

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// lease is a secret that ends. The id begins with the path it was read from.
type lease struct {
	id      string
	ttl     time.Duration
	issued  time.Time
	renewed time.Time
	token   *token
	// terms are what a renewal may give now; nil when there is none to be had.
	terms func() (ttl, limit time.Duration)
}

func (l *lease) expires() time.Time {
	if l.renewed.IsZero() {
		return l.issued.Add(l.ttl)
	}
	return l.renewed.Add(l.ttl)
}

// lease returns one that is good now, or nil; it ends with its token.
func (s *Server) lease(id string) *lease {
	l := s.leases[id]
	if l != nil && (!s.now().Before(l.expires()) || l.token != nil && s.lookup(l.token.id) != l.token) {
		delete(s.leases, id)
		return nil
	}
	return l
}

// Leases returns the ids of the leases that are good now, sorted.
func (s *Server) Leases() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id := range s.leases {
		if s.lease(id) != nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Tokens returns how many tokens are good now, wrapping tokens included and
// the root's not.
func (s *Server) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id := range s.tokens {
		if t := s.lookup(id); t != nil && !t.root() {
			n++
		}
	}
	return n
}

// newLease keeps a lease of the request's path, for the token that asks.
func (r *request) newLease(ttl time.Duration) (*lease, error) {
	if r.token.uses < 0 {
		return nil, badRequest("Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.")
	}
	l := &lease{id: r.full + "/" + randomString(24), ttl: r.token.bound(ttl, r.now), issued: r.now, token: r.token}
	r.s.leases[l.id] = l
	return l, nil
}

// bound is how long a lease of a token may be: a batch token cannot be revoked,
// so that none outlives it.
func (t *token) bound(ttl time.Duration, now time.Time) time.Duration {
	if t.typ != "batch" {
		return ttl
	}
	return min(ttl, time.Duration(roundUp(t.left(now)))*time.Second)
}

func lookupLease(r *request) (*response, error) {
	l := r.s.lease(r.str("lease_id"))
	if l == nil {
		return nil, badRequest("invalid lease")
	}
	m := Map{
		"id": l.id, "issue_time": l.issued, "expire_time": l.expires(), "last_renewal": nil,
		"renewable": l.terms != nil, "ttl": roundUp(l.expires().Sub(r.now)),
	}
	if !l.renewed.IsZero() {
		m["last_renewal"] = l.renewed
	}
	return ok(m)
}

func renewLease(r *request) (*response, error) {
	id := cmp.Or(r.str("lease_id"), r.params["lease_id"])
	if id == "" {
		return nil, badRequest("lease_id must be specified")
	}
	l := r.s.lease(id)
	if l == nil {
		return nil, badRequest("lease not found")
	}
	want, err := r.duration("increment")
	if err != nil {
		return nil, badRequest("Field validation failed: error converting input for field \"increment\": %v", err)
	}
	if l.terms == nil {
		return nil, badRequest("lease is not renewable")
	}
	ttl, limit := l.terms()
	ttl, warnings := capped(cmp.Or(want, ttl), l.issued.Add(limit).Sub(r.now))
	if ttl <= 0 {
		return nil, badRequest("past the max TTL, cannot renew")
	}
	l.renewed, l.ttl = r.now, l.token.bound(ttl, r.now)
	return &response{lease: l, warnings: warnings}, nil
}

func revokeLease(r *request) (*response, error) {
	id := cmp.Or(r.str("lease_id"), r.params["lease_id"])
	if id == "" {
		return nil, badRequest("lease_id must be specified")
	}
	delete(r.s.leases, id)
	return nil, nil
}

func revokePrefix(r *request) (*response, error) {
	for id := range r.s.leases {
		if strings.HasPrefix(id, strings.Trim(r.params["path"], "/")) {
			delete(r.s.leases, id)
		}
	}
	return nil, nil
}

// leased is the rabbitmq engine: each read makes a user with a lease. It is
// the leased engine that the real server has without a database to go with it.
// The fake takes the connection and does not call it.
type leased struct {
	ttl, max time.Duration
	roles    map[string]bool
}

func newLeased() *leased { return &leased{roles: map[string]bool{}} }

func (*leased) open() []string { return nil }

func (l *leased) serve(r *request) (*response, error) {
	return routes{
		{"config/connection", map[operation]handler{opUpdate: func(*request) (*response, error) { return nil, nil }}},
		{"config/lease", map[operation]handler{opUpdate: l.configLease}},
		{"roles/{role}", map[operation]handler{opUpdate: l.writeRole}},
		{"creds/{role}", map[operation]handler{opRead: l.creds}},
	}.serve(r)
}

func (l *leased) configLease(r *request) (*response, error) {
	var err error
	if l.ttl, err = r.duration("ttl"); err != nil {
		return nil, badRequest("%v", err)
	}
	if l.max, err = r.duration("max_ttl"); err != nil {
		return nil, badRequest("%v", err)
	}
	return nil, nil
}

func (l *leased) writeRole(r *request) (*response, error) {
	if r.str("tags") == "" && r.str("vhosts") == "" {
		return nil, badRequest("both tags and vhosts not specified")
	}
	l.roles[r.params["role"]] = true
	return nil, nil
}

func (l *leased) creds(r *request) (*response, error) {
	role := r.params["role"]
	if !l.roles[role] {
		return nil, badRequest("unknown role: %s", role)
	}
	terms := func() (ttl, limit time.Duration) { return cmp.Or(l.ttl, maxTTL), cmp.Or(l.max, maxTTL) }
	ttl, _ := terms()
	x, err := r.newLease(ttl)
	if err != nil {
		return nil, err
	}
	x.terms = terms
	display := r.token.display
	return &response{data: Map{"username": display + "-" + newUUID(), "password": randomString(36)}, lease: x}, nil
}
