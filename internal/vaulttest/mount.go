package vaulttest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// mount is a secrets engine or, below auth/, an auth method.
type mount struct {
	path, kind, description string
	accessor, uuid          string
	options                 Map
	backend                 backend
}

// kinds makes a backend by its type; engines and methods have one table each.
var engines = map[string]func(Map) backend{
	"kv": func(options Map) backend {
		if options["version"] == "2" {
			return newKV2()
		}
		return newKV1()
	},
	"pki":      func(Map) backend { return newPKI() },
	"rabbitmq": func(Map) backend { return newLeased() },
}

var methods = map[string]func() backend{
	"approle":    func() backend { return newAppRole() },
	"cert":       func() backend { return newCertAuth() },
	"jwt":        func() backend { return newJWTAuth() },
	"kubernetes": func() backend { return newKubernetes() },
	"userpass":   func() backend { return newUserpass() },
}

// builtin are the mounts that are there from the beginning.
var builtin = map[string]backend{
	"system": system{}, "cubbyhole": cubbyhole{}, "identity": identity{}, "token": tokenStore{},
}

func (s *Server) addMount(path, kind, description string, options Map) {
	b := builtin[kind]
	switch {
	case b != nil:
	case strings.HasPrefix(path, "auth/"):
		b = methods[kind]()
	default:
		b = engines[kind](options)
	}
	name := "auth_" + kind
	if !strings.HasPrefix(path, "auth/") {
		name = kind
	}
	s.mounts[path] = &mount{
		path: path, kind: kind, description: description, options: options, backend: b,
		accessor: name + "_" + newUUID()[:8], uuid: newUUID(),
	}
}

// describe is what a listing says of a mount; the preflight has the effective
// times to live, the mount's own entry the configured ones.
func (m *mount) describe(effective bool) Map {
	ttl := 0
	if effective {
		ttl = seconds(maxTTL)
	}
	config := Map{"default_lease_ttl": ttl, "max_lease_ttl": ttl, "force_no_cache": false}
	out := Map{
		"accessor": m.accessor, "config": config, "description": m.description, "external_entropy_access": false,
		"local": m.kind == "cubbyhole", "options": nil, "plugin_version": "", "running_plugin_version": "v0.0.0+builtin.vaulttest",
		"running_sha256": "", "seal_wrap": m.kind == "system", "type": m.kind, "uuid": m.uuid,
	}
	if m.options != nil {
		out["options"] = m.options
	}
	switch m.kind {
	case "system":
		config["passthrough_request_headers"] = []string{"Accept"}
	case "identity":
		config["passthrough_request_headers"] = []string{"Authorization"}
	case "cubbyhole":
	case "token":
		config["token_type"] = "default-service"
	default:
		out["deprecation_status"] = "supported"
		if strings.HasPrefix(m.path, "auth/") {
			config["token_type"] = "default-service"
		}
	}
	return out
}

// enable is sys/mounts and sys/auth.
func enable(prefix string) handler {
	return func(r *request) (*response, error) {
		kind, path := r.str("type"), prefix+strings.Trim(r.params["path"], "/")+"/"
		_, engine := engines[kind]
		_, method := methods[kind]
		if kind == "" || prefix == "" && !engine || prefix != "" && !method {
			return nil, badRequest("plugin not found in the catalog: %s", kind)
		}
		for p := range r.s.mounts {
			if strings.HasPrefix(p, path) || strings.HasPrefix(path, p) {
				return nil, badRequest("path is already in use at %s", strings.TrimPrefix(p, prefix))
			}
		}
		options, _ := r.body["options"].(map[string]any)
		r.s.addMount(path, kind, r.str("description"), options)
		return nil, nil
	}
}

func disable(prefix string) handler {
	return func(r *request) (*response, error) {
		path := prefix + strings.Trim(r.params["path"], "/") + "/"
		for _, t := range r.s.tokens {
			if t.mount != nil && t.mount == r.s.mounts[path] {
				r.s.revoke(t)
			}
		}
		delete(r.s.mounts, path)
		for id := range r.s.leases {
			if strings.HasPrefix(id, path) {
				delete(r.s.leases, id)
			}
		}
		return nil, nil
	}
}

func readMount(prefix string) handler {
	return func(r *request) (*response, error) {
		m := r.s.mounts[prefix+strings.Trim(r.params["path"], "/")+"/"]
		if m == nil {
			return nil, badRequest("No secret engine mount at %s", strings.Trim(r.params["path"], "/")+"/")
		}
		return &response{data: m.describe(false), flat: true}, nil
	}
}

func listMounts(prefix string) handler {
	return func(r *request) (*response, error) {
		data := Map{}
		for p, m := range r.s.mounts {
			if strings.HasPrefix(p, "auth/") == (prefix != "") {
				data[strings.TrimPrefix(p, prefix)] = m.describe(false)
			}
		}
		return &response{data: data, flat: true}, nil
	}
}

// preflight is sys/internal/ui/mounts/<path>: which mount a path belongs to,
// for a token that may do something there.
func preflight(r *request) (*response, error) {
	if err := r.anyToken(); err != nil {
		return nil, err
	}
	path := strings.Trim(r.params["path"], "/") + "/"
	best := ""
	for p := range r.s.mounts {
		if strings.HasPrefix(path, p) && len(p) > len(best) {
			best = p
		}
	}
	if best == "" || !r.s.reaches(r.token, best) {
		return nil, failure(http.StatusForbidden, "preflight capability check returned 403, please ensure client's policies grant access to path \""+path+"\"")
	}
	m := r.s.mounts[best]
	data := m.describe(true)
	data["path"] = strings.TrimPrefix(best, "auth/")
	r.token = nil // the answer of an open path
	return ok(data)
}

// preflightAll is sys/internal/ui/mounts.
func preflightAll(r *request) (*response, error) {
	if err := r.anyToken(); err != nil {
		return nil, err
	}
	secret, auth := Map{}, Map{}
	for _, p := range slices.Sorted(maps.Keys(r.s.mounts)) {
		if !r.s.reaches(r.token, p) && p != "identity/" && p != "sys/" {
			continue
		}
		if name, isAuth := strings.CutPrefix(p, "auth/"); isAuth {
			auth[name] = r.s.mounts[p].describe(true)
		} else {
			secret[p] = r.s.mounts[p].describe(true)
		}
	}
	r.token = nil
	return ok(Map{"secret": secret, "auth": auth})
}

// anyToken wants a token on an open path, whatever its policies.
func (r *request) anyToken() error {
	id := r.tokenID()
	if id == "" {
		return failure(http.StatusForbidden, "permission denied")
	}
	if r.token = r.s.lookup(id); r.token == nil {
		return failure(http.StatusForbidden, multi("permission denied", "invalid token"))
	}
	return nil
}
