package vaulttest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxTTL is the system's longest time to live, and the one that a token or a
// lease has when nothing else is said.
const maxTTL = 768 * time.Hour

// token is a token as the store knows it. Batch tokens are kept too, since
// nobody can tell.
type token struct {
	id, accessor string
	typ          string // service, batch
	policies     []string
	path         string // what made it
	display      string
	meta         map[string]string
	entity       string
	created      time.Time
	renewed      time.Time // zero before the first renewal
	ttl          time.Duration
	// creation is the ttl at first; max and explicitMax end it for good.
	creation, max, explicitMax, period time.Duration
	uses, granted                      int // uses left; 0 is no limit, -1 the last one is being used
	renewable, orphan                  bool
	// mount made it and goes with it; renewal is what its method says to a
	// renewal. Both are nil for a token that no login made.
	mount     *mount
	renewal   renewal
	parent    *token
	cubbyhole map[string]Map
	wrapped   *wrapped
}

// keep gives a token what is missing and stores it.
func (s *Server) keep(t *token) {
	if t.id == "" {
		prefix := "hvs."
		if t.typ == "batch" {
			prefix = "hvb."
		}
		t.id = prefix + randomString(90)
	}
	if t.typ != "batch" {
		t.accessor = randomString(24)
		s.accessors[t.accessor] = t
	}
	t.creation, t.granted = t.ttl, t.uses
	t.cubbyhole = map[string]Map{}
	s.tokens[t.id] = t
}

func (t *token) start() time.Time {
	if t.renewed.IsZero() {
		return t.created
	}
	return t.renewed
}

// expires is the zero time for a token without end.
func (t *token) expires() time.Time {
	if t.ttl == 0 {
		return time.Time{}
	}
	return t.start().Add(t.ttl)
}

func (t *token) left(now time.Time) time.Duration {
	if t.ttl == 0 {
		return 0
	}
	return max(0, t.expires().Sub(now))
}

// lookup returns a token that is good now, or nil.
func (s *Server) lookup(id string) *token {
	t := s.tokens[id]
	if t == nil {
		return nil
	}
	if t.ttl != 0 && !s.now().Before(t.expires()) {
		s.revoke(t)
		return nil
	}
	if t.parent != nil && s.tokens[t.parent.id] != t.parent {
		return nil
	}
	return t
}

// revoke ends a token, its children and its leases.
func (s *Server) revoke(t *token) {
	if s.tokens[t.id] != t {
		return
	}
	delete(s.tokens, t.id)
	delete(s.accessors, t.accessor)
	for _, child := range s.tokens {
		if child.parent == t {
			s.revoke(child)
		}
	}
	for id, l := range s.leases {
		if l.token == t {
			delete(s.leases, id)
		}
	}
}

// capTo gives the time to live that a token gets when it wants this one, and
// says so when that is less.
func (t *token) capTo(want time.Duration, now time.Time) (time.Duration, []string) {
	limit := maxTTL
	if t.max > 0 {
		limit = min(limit, t.max)
	}
	if t.explicitMax > 0 {
		limit = min(limit, t.explicitMax)
	}
	if t.period > 0 {
		if t.explicitMax == 0 {
			return t.period, nil
		}
		want = t.period
	}
	return capped(want, t.created.Add(limit).Sub(now))
}

// capped is want, or what is left, in whole seconds, with a warning.
func capped(want, left time.Duration) (time.Duration, []string) {
	left = left.Round(time.Second)
	if want <= left {
		return want, nil
	}
	return left, []string{`TTL of "` + short(want) + `" exceeded the effective max_ttl of "` +
		short(left) + `"; TTL value is capped accordingly`}
}

// grant is the auth block of an answer.
func (t *token) grant(now time.Time) Map {
	return Map{
		"client_token": t.id, "accessor": t.accessor, "policies": t.policies, "token_policies": t.policies,
		"metadata": orNull(t.meta), "lease_duration": roundUp(t.left(now)), "renewable": t.renewable, "entity_id": t.entity,
		"token_type": t.typ, "orphan": t.orphan, "mfa_requirement": nil, "num_uses": t.granted,
	}
}

// roundUp is whole seconds; what has just been granted is not a second less.
func roundUp(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func orNull(m map[string]string) any {
	if m == nil {
		return nil
	}
	return m
}

// describe is what a lookup says.
func (t *token) describe(now time.Time) Map {
	m := Map{
		"id": t.id, "accessor": t.accessor, "policies": t.policies, "path": t.path, "meta": orNull(t.meta),
		"display_name": t.display, "num_uses": t.uses, "orphan": t.orphan, "creation_time": t.created.Unix(),
		"creation_ttl": seconds(t.creation), "ttl": seconds(t.left(now)), "explicit_max_ttl": seconds(t.explicitMax),
		"entity_id": t.entity, "type": t.typ, "renewable": t.renewable, "issue_time": t.created, "expire_time": nil,
	}
	if t.ttl != 0 {
		m["expire_time"] = t.expires()
	}
	if t.period != 0 {
		m["period"] = seconds(t.period)
	}
	if !t.renewed.IsZero() {
		m["last_renewal"], m["last_renewal_time"] = t.renewed, t.renewed.Unix()
	}
	return m
}

// tokenParams are the token_… fields that every auth method's role has.
type tokenParams struct {
	policies                         []string
	ttl, maxTTL, explicitMax, period time.Duration
	uses                             int
	typ                              string
	noDefault                        bool
	bound                            []string
}

// tokenParams reads the fields over those of an existing role.
func (r *request) tokenParams(p tokenParams) (tokenParams, error) {
	if r.has("token_policies") {
		p.policies = r.strs("token_policies")
	}
	for key, to := range map[string]*time.Duration{
		"token_ttl": &p.ttl, "token_max_ttl": &p.maxTTL, "token_explicit_max_ttl": &p.explicitMax, "token_period": &p.period,
	} {
		if !r.has(key) {
			continue
		}
		d, err := r.duration(key)
		if err != nil {
			return p, badRequest("Field validation failed: error converting input for field %q: %v", key, err)
		}
		*to = d
	}
	if r.has("token_num_uses") {
		p.uses = r.integer("token_num_uses")
	}
	if r.has("token_type") {
		p.typ = r.str("token_type")
	}
	if r.has("token_bound_cidrs") {
		p.bound = r.strs("token_bound_cidrs")
	}
	p.noDefault = r.boolean("token_no_default_policy", p.noDefault)
	if p.maxTTL > 0 && p.ttl > p.maxTTL {
		return p, badRequest("'token_ttl' cannot be greater than 'token_max_ttl'")
	}
	return p, nil
}

// show adds the fields to what a role's read answers.
func (p tokenParams) show(m Map) Map {
	typ := p.typ
	if typ == "" {
		typ = "default"
	}
	maps.Copy(m, Map{
		"token_bound_cidrs": orEmpty(p.bound), "token_explicit_max_ttl": seconds(p.explicitMax), "token_max_ttl": seconds(p.maxTTL),
		"token_no_default_policy": p.noDefault, "token_num_uses": p.uses, "token_period": seconds(p.period),
		"token_policies": orEmpty(p.policies), "token_ttl": seconds(p.ttl), "token_type": typ,
	})
	return m
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// renewal is asked, at each renewal of a token, for what holds now: its method
// looks at the role again. Without any, the renewal is answered with nothing.
type renewal func(r *request) (*tokenParams, error)

func notRenewed(why string) error {
	return failure(http.StatusInternalServerError, multi("failed to renew entry: "+why))
}

// samePolicies gives what it is given, unless the policies are no longer those
// that a token was made with.
func (p *tokenParams) samePolicies(then []string) (*tokenParams, error) {
	if !slices.Equal(withDefault(then, p.noDefault), withDefault(p.policies, p.noDefault)) {
		return nil, notRenewed("policies have changed, not renewing")
	}
	return p, nil
}

// login makes the token of a successful login and answers with it.
func (r *request) login(p tokenParams, alias, display string, meta map[string]string, again renewal) (*response, error) {
	t := &token{
		typ: "service", policies: withDefault(p.policies, p.noDefault), path: r.full, display: display,
		meta: meta, created: r.now, max: p.maxTTL, explicitMax: p.explicitMax, period: p.period,
		uses: p.uses, renewable: true, orphan: true, entity: r.s.entityOf(r.mount, alias),
		mount: r.mount, renewal: again,
	}
	if p.typ == "batch" {
		t.typ, t.renewable = "batch", false
	}
	want := p.ttl
	if want == 0 {
		want = maxTTL
	}
	var warnings []string
	t.ttl, warnings = t.capTo(want, r.now)
	r.s.keep(t)
	return &response{auth: t.grant(r.now), warnings: warnings, accessor: t.accessor}, nil
}

// displayName of a login is the mount's path, and what the method adds to it.
func (r *request) displayName(more ...string) string {
	mount := strings.TrimSuffix(strings.TrimPrefix(r.mount.path, "auth/"), "/")
	return strings.Join(append([]string{strings.ReplaceAll(mount, "/", "-")}, more...), "-")
}

func (s *Server) entityOf(m *mount, alias string) string {
	key := m.accessor + "\x00" + alias
	if s.entities[key] == "" {
		s.entities[key] = newUUID()
	}
	return s.entities[key]
}

// withDefault sorts policies and adds "default" unless told not to.
func withDefault(policies []string, not bool) []string {
	out := slices.Clone(policies)
	if !not && !slices.Contains(out, "root") {
		out = append(out, "default")
	}
	slices.Sort(out)
	return slices.Compact(orEmpty(out))
}
