package vaulttest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// tokenStore is auth/token.
type tokenStore struct{}

func (tokenStore) open() []string { return nil }

func (tokenStore) serve(r *request) (*response, error) {
	return routes{
		{"lookup-self", map[operation]handler{opRead: lookupSelf, opUpdate: lookupSelf}},
		{"lookup", map[operation]handler{opRead: lookupToken, opUpdate: lookupToken}},
		{"lookup-accessor", map[operation]handler{opUpdate: lookupAccessor}},
		{"renew-self", map[operation]handler{opUpdate: renewSelf}},
		{"renew", map[operation]handler{opUpdate: renewToken}},
		{"revoke-self", map[operation]handler{opUpdate: revokeSelf}},
		{"revoke", map[operation]handler{opUpdate: revokeToken}},
		{"revoke-orphan", map[operation]handler{opUpdate: revokeOrphan}},
		{"revoke-accessor", map[operation]handler{opUpdate: revokeAccessor}},
		{"create", map[operation]handler{opUpdate: createToken}},
		{"create-orphan", map[operation]handler{opUpdate: createToken}},
	}.serve(r)
}

func lookupSelf(r *request) (*response, error) { return ok(r.token.describe(r.now)) }

func lookupToken(r *request) (*response, error) {
	id := r.str("token")
	if id == "" {
		id = r.token.id
	}
	t := r.s.lookup(id)
	if t == nil {
		return nil, failure(http.StatusForbidden, "bad token")
	}
	return ok(t.describe(r.now))
}

func lookupAccessor(r *request) (*response, error) {
	t := r.s.accessors[r.str("accessor")]
	if t == nil || r.s.lookup(t.id) == nil {
		return nil, badRequest("%s", multi("invalid accessor"))
	}
	m := t.describe(r.now)
	m["id"] = ""
	return ok(m)
}

func renewSelf(r *request) (*response, error) { return renew(r, r.token) }

func renewToken(r *request) (*response, error) {
	t := r.s.lookup(r.str("token"))
	if t == nil {
		return nil, badRequest("token not found")
	}
	return renew(r, t)
}

func renew(r *request, t *token) (*response, error) {
	increment, err := r.duration("increment")
	switch {
	case err != nil:
		return nil, badRequest("Field validation failed: error converting input for field \"increment\": %v", err)
	case t.typ == "batch":
		return nil, badRequest("batch tokens cannot be renewed")
	case !t.renewable:
		return nil, badRequest("lease is not renewable")
	}
	ttl := t.ttl // as it was granted last
	if t.renewal != nil {
		p, err := t.renewal(r)
		if p == nil {
			return nil, err
		}
		t.max, t.period = p.maxTTL, p.period
		if ttl = p.ttl; ttl == 0 {
			ttl = maxTTL
		}
	}
	if increment != 0 {
		ttl = increment
	}
	ttl, warnings := t.capTo(ttl, r.now)
	if ttl <= 0 {
		return nil, failure(http.StatusInternalServerError, multi("past the max TTL, cannot renew"))
	}
	t.renewed, t.ttl = r.now, ttl
	return &response{auth: t.grant(r.now), warnings: warnings}, nil
}

func revokeSelf(r *request) (*response, error) {
	if r.token.typ == "batch" {
		return nil, badRequest("batch tokens cannot be revoked")
	}
	r.s.revoke(r.token)
	return nil, nil
}

func revokeToken(r *request) (*response, error) {
	if t := r.s.lookup(r.str("token")); t != nil {
		if t.typ == "batch" {
			return nil, badRequest("batch tokens cannot be revoked")
		}
		r.s.revoke(t)
	}
	return nil, nil
}

func revokeOrphan(r *request) (*response, error) {
	t := r.s.lookup(r.str("token"))
	if t == nil {
		return nil, badRequest("token to revoke not found")
	}
	for _, child := range r.s.tokens {
		if child.parent == t {
			child.parent, child.orphan = nil, true
		}
	}
	r.s.revoke(t)
	return nil, nil
}

func revokeAccessor(r *request) (*response, error) {
	t := r.s.accessors[r.str("accessor")]
	if t == nil {
		return &response{warnings: []string{"No token found with this accessor"}}, nil
	}
	r.s.revoke(t)
	return nil, nil
}

var createFields = []string{
	"id", "role_name", "policies", "meta", "no_parent", "no_default_policy", "renewable", "lease", "ttl", "type",
	"explicit_max_ttl", "display_name", "num_uses", "period", "entity_alias",
}

func createToken(r *request) (*response, error) {
	t, warnings, err := r.newToken()
	if err != nil {
		return nil, err
	}
	orphan := strings.HasSuffix(r.path, "orphan") || r.boolean("no_parent", false)
	if orphan {
		t.orphan = true
	} else {
		t.parent = r.token
	}
	for _, p := range t.policies {
		if _, known := r.s.policies[p]; !known && p != "root" {
			warnings = append(warnings, fmt.Sprintf("Policy %q does not exist", p))
		}
	}
	var strange []string
	for k := range r.body {
		if !slices.Contains(createFields, k) {
			strange = append(strange, k)
		}
	}
	if strange != nil {
		slices.Sort(strange)
		warnings = append(warnings, fmt.Sprintf("Endpoint ignored these unrecognized parameters: %v", strange))
	}
	r.s.keep(t)
	return &response{auth: t.grant(r.now), warnings: warnings, accessor: t.accessor}, nil
}

// newToken reads the fields of a token to be made.
func (r *request) newToken() (*token, []string, error) {
	t := &token{
		typ: "service", path: r.full, display: "token", created: r.now,
		meta: r.texts("meta"), uses: r.integer("num_uses"), renewable: r.boolean("renewable", true),
	}
	if name := r.str("display_name"); name != "" {
		t.display = "token-" + name
	}
	var want time.Duration
	for key, to := range map[string]*time.Duration{"ttl": &want, "explicit_max_ttl": &t.explicitMax, "period": &t.period} {
		d, err := r.duration(key)
		if err != nil {
			return nil, nil, badRequest("%v", err)
		}
		*to = d
	}
	switch typ := r.str("type"); typ {
	case "", "service", "default":
	case "batch":
		if t.uses != 0 {
			return nil, nil, badRequest(`batch tokens cannot have "num_uses" set`)
		}
		t.typ, t.renewable = "batch", false
	default:
		return nil, nil, badRequest("invalid 'token_type' value")
	}
	var warnings []string
	if id := r.str("id"); id != "" {
		if r.s.lookup(id) != nil {
			return nil, nil, badRequest("cannot create a token with a duplicate ID")
		}
		t.id = id
		warnings = append(warnings, "Supplying a custom ID for the token uses the weaker SHA1 hashing instead of the more secure SHA2-256 HMAC for token obfuscation. SHA1 hashed tokens on the wire leads to less secure lookups.")
	}
	if err := r.choosePolicies(t); err != nil {
		return nil, nil, err
	}
	if t.root() {
		t.renewable = false
		return t, warnings, nil
	}
	if want == 0 && t.period == 0 {
		want = maxTTL
	}
	ttl, more := t.capTo(want, r.now)
	t.ttl = ttl
	return t, append(warnings, more...), nil
}

// choosePolicies takes the parent's when none are named, and refuses more than
// the parent has.
func (r *request) choosePolicies(t *token) error {
	named := r.strs("policies")
	if len(named) == 0 {
		t.policies = r.token.policies
		return nil
	}
	t.policies = withDefault(named, r.boolean("no_default_policy", false))
	if slices.Contains(t.policies, "root") {
		t.policies = []string{"root"}
	}
	if r.token.root() || slices.Contains(r.s.capabilities(r.token, r.full), "sudo") && !t.root() {
		return nil
	}
	for _, p := range t.policies {
		if !slices.Contains(r.token.policies, p) && p != "default" {
			return badRequest("child policies must be subset of parent")
		}
	}
	return nil
}
