package vaulttest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// appRole is auth/approle.
type appRole struct{ roles map[string]*appRoleRole }

type appRoleRole struct {
	name, id      string
	bindSecretID  bool
	secretIDTTL   time.Duration
	secretIDUses  int
	boundSecretID []string
	token         tokenParams
	secretIDs     map[string]*secretID
}

type secretID struct {
	accessor string
	created  time.Time
	ttl      time.Duration
	uses     int // 0 is no limit
	meta     map[string]string
}

func newAppRole() *appRole { return &appRole{map[string]*appRoleRole{}} }

func (*appRole) open() []string { return []string{"login"} }

func (a *appRole) serve(r *request) (*response, error) {
	return routes{
		{"login", map[operation]handler{opUpdate: a.login, opRead: a.login}},
		{"role", map[operation]handler{opList: func(r *request) (*response, error) { return list(a.roles, "") }}},
		{"role/{role}", map[operation]handler{opRead: a.readRole, opUpdate: a.writeRole, opDelete: a.deleteRole}},
		{"role/{role}/role-id", map[operation]handler{opRead: a.roleID, opUpdate: a.setRoleID}},
		{"role/{role}/secret-id", map[operation]handler{opUpdate: a.newSecretID}},
		{"role/{role}/custom-secret-id", map[operation]handler{opUpdate: a.newSecretID}},
		{"role/{role}/secret-id/lookup", map[operation]handler{opUpdate: a.lookupSecretID}},
		{"role/{role}/secret-id/destroy", map[operation]handler{opUpdate: a.destroySecretID}},
	}.serve(r)
}

func (a *appRole) login(r *request) (*response, error) {
	if r.str("role_id") == "" {
		return nil, failure(http.StatusInternalServerError, "failed to determine alias name from login request")
	}
	var role *appRoleRole
	for _, x := range a.roles {
		if x.id == r.str("role_id") {
			role = x
		}
	}
	if role == nil {
		return nil, badRequest("invalid role or secret ID")
	}
	meta := map[string]string{"role_name": role.name}
	if role.bindSecretID {
		if r.str("secret_id") == "" {
			return nil, badRequest("missing secret_id")
		}
		sid := role.use(r.str("secret_id"), r.now)
		if sid == nil {
			return nil, badRequest("invalid role or secret ID")
		}
		for k, v := range sid.meta {
			meta[k] = v
		}
	}
	if !within(role.token.bound, r.http.RemoteAddr) {
		return nil, badRequest("invalid role or secret ID")
	}
	name := role.name
	again := func(*request) (*tokenParams, error) {
		if now := a.roles[name]; now != nil {
			return &now.token, nil
		}
		return nil, notRenewed(fmt.Sprintf("role %q does not exist during renewal", name))
	}
	return r.login(role.token, role.id, r.displayName(), meta, again)
}

// use takes one use of a secret id, or returns nil.
func (role *appRoleRole) use(id string, now time.Time) *secretID {
	sid := role.secretIDs[id]
	if sid == nil || sid.ttl != 0 && !now.Before(sid.created.Add(sid.ttl)) {
		return nil
	}
	if sid.uses > 0 {
		if sid.uses--; sid.uses == 0 {
			delete(role.secretIDs, id)
		}
	}
	return sid
}

// within reports whether an address is in one of the networks; no networks
// are all of them.
func within(networks []string, addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	for _, n := range networks {
		if p, bad := netip.ParsePrefix(n); bad == nil && err == nil && p.Contains(ip) {
			return true
		}
	}
	return len(networks) == 0
}

func (a *appRole) writeRole(r *request) (*response, error) {
	name := r.params["role"]
	role := a.roles[name]
	if role == nil {
		role = &appRoleRole{name: name, id: newUUID(), bindSecretID: true, secretIDs: map[string]*secretID{}}
	}
	next := *role
	var err error
	if next.token, err = r.tokenParams(role.token); err != nil {
		return nil, err
	}
	next.bindSecretID = r.boolean("bind_secret_id", role.bindSecretID)
	if r.has("secret_id_bound_cidrs") {
		next.boundSecretID = r.strs("secret_id_bound_cidrs")
	}
	if r.has("secret_id_num_uses") {
		next.secretIDUses = r.integer("secret_id_num_uses")
	}
	if r.has("secret_id_ttl") {
		if next.secretIDTTL, err = r.duration("secret_id_ttl"); err != nil {
			return nil, badRequest("%v", err)
		}
	}
	if id := r.str("role_id"); id != "" {
		next.id = id
	}
	if !next.bindSecretID && len(next.token.bound) == 0 && len(next.boundSecretID) == 0 {
		return nil, failure(http.StatusInternalServerError, multi("at least one constraint should be enabled on the role"))
	}
	a.roles[name] = &next
	return nil, nil
}

// find returns the role that a path names, or a 404.
func (a *appRole) find(r *request) (*appRoleRole, error) {
	if role := a.roles[r.params["role"]]; role != nil {
		return role, nil
	}
	if r.op == opRead {
		return nil, notFound()
	}
	return nil, failure(http.StatusNotFound, fmt.Sprintf("role %q does not exist", r.params["role"]))
}

func (a *appRole) readRole(r *request) (*response, error) {
	role, err := a.find(r)
	if err != nil {
		return nil, err
	}
	data := Map{
		"bind_secret_id": role.bindSecretID, "local_secret_ids": false, "secret_id_bound_cidrs": nil,
		"secret_id_num_uses": role.secretIDUses, "secret_id_ttl": seconds(role.secretIDTTL),
	}
	if role.boundSecretID != nil {
		data["secret_id_bound_cidrs"] = role.boundSecretID
	}
	return ok(role.token.show(data))
}

func (a *appRole) deleteRole(r *request) (*response, error) {
	delete(a.roles, r.params["role"])
	return nil, nil
}

func (a *appRole) roleID(r *request) (*response, error) {
	role, err := a.find(r)
	if err != nil {
		return nil, err
	}
	return ok(Map{"role_id": role.id})
}

func (a *appRole) setRoleID(r *request) (*response, error) {
	role, err := a.find(r)
	if err != nil {
		return nil, err
	}
	role.id = r.str("role_id")
	return nil, nil
}

func (a *appRole) newSecretID(r *request) (*response, error) {
	role, err := a.find(r)
	if err != nil {
		return nil, err
	}
	sid := &secretID{accessor: newUUID(), created: r.now, ttl: role.secretIDTTL, uses: role.secretIDUses}
	if text := r.str("metadata"); text != "" {
		if err := json.Unmarshal([]byte(text), &sid.meta); err != nil {
			return nil, badRequest("failed to parse metadata: %v", err)
		}
	}
	id := r.str("secret_id")
	if id == "" {
		id = newUUID()
	}
	role.secretIDs[id] = sid
	return &response{accessor: sid.accessor, data: Map{
		"secret_id": id, "secret_id_accessor": sid.accessor, "secret_id_num_uses": sid.uses, "secret_id_ttl": seconds(sid.ttl),
	}}, nil
}

func (a *appRole) lookupSecretID(r *request) (*response, error) {
	role, err := a.find(r)
	if err != nil {
		return nil, err
	}
	sid := role.secretIDs[r.str("secret_id")]
	if sid == nil {
		return nil, nil
	}
	meta := sid.meta
	if meta == nil {
		meta = map[string]string{}
	}
	expires := time.Time{}
	if sid.ttl != 0 {
		expires = sid.created.Add(sid.ttl)
	}
	return ok(Map{
		"cidr_list": []string{}, "creation_time": sid.created, "expiration_time": expires, "last_updated_time": sid.created,
		"metadata": meta, "secret_id_accessor": sid.accessor, "secret_id_num_uses": sid.uses,
		"secret_id_ttl": seconds(sid.ttl), "token_bound_cidrs": []string{},
	})
}

func (a *appRole) destroySecretID(r *request) (*response, error) {
	role, err := a.find(r)
	if err != nil {
		return nil, err
	}
	delete(role.secretIDs, r.str("secret_id"))
	return nil, nil
}
