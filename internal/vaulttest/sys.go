package vaulttest

import (
	"net/http"
	"slices"
	"strings"
)

// system is sys/.
type system struct{}

func (system) open() []string {
	return []string{"wrapping/lookup", "internal/ui/mounts", "internal/ui/mounts/*", "wrapping/unwrap"}
}

func (system) serve(r *request) (*response, error) {
	return routes{
		{"mounts", map[operation]handler{opRead: listMounts("")}},
		{"mounts/{path...}", map[operation]handler{opRead: readMount(""), opUpdate: enable(""), opDelete: disable("")}},
		{"auth", map[operation]handler{opRead: listMounts("auth/")}},
		{"auth/{path...}", map[operation]handler{opRead: readMount("auth/"), opUpdate: enable("auth/"), opDelete: disable("auth/")}},
		{"policies/acl", map[operation]handler{opList: listPolicies}},
		{"policies/acl/{name}", map[operation]handler{opRead: readPolicy, opUpdate: writePolicy, opDelete: deletePolicy}},
		{"capabilities-self", map[operation]handler{opUpdate: capabilitiesSelf}},
		{"capabilities", map[operation]handler{opUpdate: capabilitiesOf}},
		{"internal/ui/mounts", map[operation]handler{opRead: preflightAll}},
		{"internal/ui/mounts/{path...}", map[operation]handler{opRead: preflight}},
		{"wrapping/wrap", map[operation]handler{opUpdate: wrapData}},
		{"wrapping/lookup", map[operation]handler{opRead: lookupWrapped, opUpdate: lookupWrapped}},
		{"wrapping/unwrap", map[operation]handler{opUpdate: unwrap}},
		{"wrapping/rewrap", map[operation]handler{opUpdate: rewrap}},
		{"leases/lookup", map[operation]handler{opUpdate: lookupLease}},
		{"leases/renew", map[operation]handler{opUpdate: renewLease}},
		{"leases/renew/{lease_id...}", map[operation]handler{opUpdate: renewLease}},
		{"leases/revoke", map[operation]handler{opUpdate: revokeLease}},
		{"leases/revoke/{lease_id...}", map[operation]handler{opUpdate: revokeLease}},
		{"leases/revoke-force/{path...}", map[operation]handler{opUpdate: revokePrefix}},
		{"leases/revoke-prefix/{path...}", map[operation]handler{opUpdate: revokePrefix}},
		{"namespaces", map[operation]handler{opRead: enterprise, opList: enterprise}},
		{"namespaces/{path...}", map[operation]handler{opRead: enterprise, opUpdate: enterprise, opDelete: enterprise}},
		{"seal", map[operation]handler{opUpdate: seal}},
		{"storage/raft/snapshot", map[operation]handler{opRead: readSnapshot, opUpdate: writeSnapshot}},
		{"events/subscribe/{kind...}", map[operation]handler{opRead: subscribe, opUpdate: subscribe, opList: subscribe, opDelete: subscribe}},
	}.serve(r)
}

func enterprise(*request) (*response, error) {
	return nil, failure(http.StatusNotFound, "enterprise-only feature")
}

func seal(r *request) (*response, error) {
	r.s.sealed = true
	r.s.endStreams()
	return nil, nil
}

// unsealed answers what a server answers sealed or not, without a token; ours
// is false for everything else.
func (r *request) unsealed() (resp *response, err error, ours bool) {
	only := func(op operation, plain Map, status int) (*response, error, bool) {
		if r.op != op {
			return nil, failure(http.StatusMethodNotAllowed), true
		}
		return &response{plain: plain, status: status}, nil, true
	}
	switch r.full {
	case "sys/health":
		status := 0
		if r.s.sealed {
			status = http.StatusServiceUnavailable
		}
		return only(opRead, r.s.health(), status)
	case "sys/seal-status":
		return only(opRead, r.s.sealStatus(), 0)
	case "sys/init":
		return only(opRead, Map{"initialized": true}, 0)
	case "sys/leader":
		return only(opRead, Map{
			"active_time": "0001-01-01T00:00:00Z", "ha_enabled": false, "is_self": false, "leader_address": "",
			"leader_cluster_address": "", "performance_standby": false, "performance_standby_last_remote_wal": 0,
		}, 0)
	case "sys/unseal":
		if r.op != opUpdate {
			return only(opUpdate, nil, 0)
		}
		if len(r.str("key")) < 32 {
			return nil, badRequest("invalid key: key is shorter than minimum 16 bytes"), true
		}
		if r.str("key") != r.s.UnsealKey {
			return nil, badRequest("unable to retrieve stored keys: invalid key: failed to decrypt keys from storage"), true
		}
		r.s.sealed = false
		return only(opUpdate, r.s.sealStatus(), 0)
	}
	return nil, nil, false
}

// release is what the fake calls itself: the version whose answers it has.
const releaseVersion = "1.21.0"

func (s *Server) health() Map {
	m := Map{
		"initialized": true, "sealed": s.sealed, "standby": s.sealed, "performance_standby": false,
		"replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "server_time_utc": s.now().Unix(),
		"version": releaseVersion, "enterprise": false, "cluster_name": "vaulttest", "cluster_id": "vaulttest",
		"echo_duration_ms": 0, "clock_skew_ms": 0, "replication_primary_canary_age_ms": 0,
	}
	if s.sealed {
		m["replication_performance_mode"], m["replication_dr_mode"] = "unknown", "unknown"
		delete(m, "cluster_name")
		delete(m, "cluster_id")
	}
	return m
}

func (s *Server) sealStatus() Map {
	m := Map{
		"type": "shamir", "initialized": true, "sealed": s.sealed, "t": 1, "n": 1, "progress": 0, "nonce": "",
		"version": releaseVersion, "build_date": "2025-01-01T00:00:00Z", "migration": false, "recovery_seal": false,
		"storage_type": "inmem", "cluster_name": "vaulttest", "cluster_id": "vaulttest",
	}
	if s.sealed {
		delete(m, "cluster_name")
		delete(m, "cluster_id")
	}
	return m
}

func listPolicies(r *request) (*response, error) {
	keys := []string{"root"}
	for name := range r.s.policies {
		keys = append(keys, name)
	}
	slices.Sort(keys)
	return ok(Map{"keys": keys})
}

func readPolicy(r *request) (*response, error) {
	text, known := r.s.policyText[r.params["name"]]
	if !known {
		return nil, notFound()
	}
	return ok(Map{"name": r.params["name"], "policy": text})
}

func writePolicy(r *request) (*response, error) {
	name := r.params["name"]
	if name == "root" {
		return nil, badRequest("cannot update %q policy", name)
	}
	return nil, r.s.setPolicy(name, r.str("policy"))
}

func deletePolicy(r *request) (*response, error) {
	name := r.params["name"]
	if name == "root" || name == "default" {
		return nil, badRequest("cannot delete %q policy", name)
	}
	delete(r.s.policies, name)
	delete(r.s.policyText, name)
	return nil, nil
}

func capabilitiesSelf(r *request) (*response, error) { return r.tellCapabilities(r.token) }

func capabilitiesOf(r *request) (*response, error) {
	t := r.s.lookup(r.str("token"))
	if t == nil {
		return nil, badRequest("%s", multi("invalid token"))
	}
	return r.tellCapabilities(t)
}

func (r *request) tellCapabilities(t *token) (*response, error) {
	paths := r.strs("paths")
	if p := r.str("path"); p != "" && len(paths) == 0 {
		paths = strings.Split(p, ",")
	}
	if len(paths) == 0 {
		return nil, badRequest("paths must be supplied")
	}
	data := Map{}
	for _, p := range paths {
		data[p] = r.s.capabilities(t, p)
	}
	if len(paths) == 1 {
		data["capabilities"] = data[paths[0]]
	}
	return &response{data: data, flat: true}, nil
}
