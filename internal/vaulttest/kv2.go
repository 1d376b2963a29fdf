package vaulttest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// kv2 is KV version 2, with what its configuration says.
type kv2 struct {
	secrets     map[string]*versioned
	max         int
	casRequired bool
	deleteAfter time.Duration
}

// versioned is one secret with its versions, the first being number 1.
type versioned struct {
	versions         map[int]*version
	current, oldest  int
	max              int
	casRequired      bool
	deleteAfter      time.Duration
	custom           map[string]string
	created, updated time.Time
	lastUpdate       string // what changed it last
}

type version struct {
	data            Map
	created         time.Time
	deleted         time.Time // may lie ahead; zero when it never is
	destroyed       bool
	operation       string
	deleteOperation string
}

func newKV2() *kv2 { return &kv2{secrets: map[string]*versioned{}} }

func (*kv2) open() []string { return nil }

func (k *kv2) exists(r *request) bool {
	params, ok := match("{kind}/{path...}", r.path)
	return ok && k.secrets[params["path"]] != nil
}

func (k *kv2) serve(r *request) (*response, error) {
	kind, ok := match("{kind}/{path...}", r.path)
	if r.op != opList && (r.path == "data" || r.path == "metadata") {
		return warned("Non-listing operations on the root of a K/V v2 mount are not supported.")
	}
	// The engine's own paths; anything else is somebody who takes it for
	// version 1.
	if ok && (kind["path"] == "" || kind["path"][len(kind["path"])-1] == '/') && r.op != opList ||
		r.op == opList && (!ok || kind["kind"] != "metadata") {
		return k.invalid(r)
	}
	table := routes{
		{"config", map[operation]handler{opRead: k.config, opUpdate: k.writeConfig}},
		{"data/{path...}", map[operation]handler{opRead: k.read, opUpdate: k.write, opPatch: k.patch, opDelete: k.deleteLatest}},
		{"metadata/{path...}", map[operation]handler{opRead: k.metadata, opList: k.list, opUpdate: k.writeMetadata, opDelete: k.forget}},
		{"delete/{path...}", map[operation]handler{opUpdate: k.change("update", func(v *version, now time.Time) { v.delete(now, "update") })}},
		{"undelete/{path...}", map[operation]handler{opUpdate: k.change("undelete", func(v *version, _ time.Time) { v.undelete() })}},
		{"destroy/{path...}", map[operation]handler{opUpdate: k.change("", func(v *version, _ time.Time) { v.destroyed, v.data = true, nil })}},
	}
	for _, x := range table {
		if _, ok := match(x.pattern, r.path); ok {
			return table.serve(r)
		}
	}
	return k.invalid(r)
}

// invalid answers as the engine does to paths that it does not have.
func (k *kv2) invalid(r *request) (*response, error) {
	verb := map[operation]string{opRead: "get", opList: "list", opUpdate: "put", opDelete: "delete"}[r.op]
	return warned("Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault CLI, use 'vault kv " + verb + "' for this operation.")
}

func warned(text string) (*response, error) {
	return &response{status: http.StatusNotFound, warnings: []string{text}}, nil
}

func (v *version) delete(now time.Time, operation string) {
	if !v.gone(now) {
		v.deleted, v.deleteOperation = now, operation
	}
}

func (v *version) undelete() {
	if !v.destroyed {
		v.deleted, v.deleteOperation = time.Time{}, ""
	}
}

// gone reports whether a version can be read no more.
func (v *version) gone(now time.Time) bool {
	return v.destroyed || !v.deleted.IsZero() && !now.Before(v.deleted)
}

// describe is the metadata that goes with a version.
func (s *versioned) describe(n int) Map {
	v := s.versions[n]
	m := Map{"created_time": v.created, "custom_metadata": orNull(s.custom), "deletion_time": "", "destroyed": v.destroyed, "version": n}
	if !v.deleted.IsZero() {
		m["deletion_time"] = v.deleted
	}
	return m
}

func (k *kv2) config(*request) (*response, error) {
	return ok(Map{"cas_required": k.casRequired, "delete_version_after": k.deleteAfter.String(), "max_versions": k.max})
}

func (k *kv2) writeConfig(r *request) (*response, error) {
	after, err := r.deleteAfter(k.deleteAfter)
	if err != nil {
		return nil, err
	}
	k.deleteAfter = after
	if r.has("max_versions") {
		k.max = r.integer("max_versions")
	}
	k.casRequired = r.boolean("cas_required", k.casRequired)
	return nil, nil
}

// deleteAfter is how long a version lives, as the body says or as it was.
func (r *request) deleteAfter(before time.Duration) (time.Duration, error) {
	if !r.has("delete_version_after") {
		return before, nil
	}
	d, err := r.duration("delete_version_after")
	if err != nil {
		return 0, badRequest("error converting input for field \"delete_version_after\": %v", err)
	}
	return d, nil
}

func (k *kv2) read(r *request) (*response, error) {
	n, err := r.version()
	if err != nil {
		return nil, err
	}
	s := k.secrets[r.params["path"]]
	if s == nil {
		return nil, notFound()
	}
	if n == 0 {
		n = s.current
	}
	v := s.versions[n]
	if v == nil {
		return nil, notFound()
	}
	if v.gone(r.now) {
		return &response{status: http.StatusNotFound, data: Map{"data": nil, "metadata": s.describe(n)}}, nil
	}
	return ok(Map{"data": v.data, "metadata": s.describe(n)})
}

// version is the one that a read's query asks for, 0 for the latest.
func (r *request) version() (int, error) {
	text := r.query.Get("version")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		return 0, badRequest("Field validation failed: error converting input for field \"version\": cannot parse '' as int: %v", err)
	}
	return int(n), nil
}

func (k *kv2) write(r *request) (*response, error) {
	raw, given := r.body["data"]
	if !given {
		return nil, badRequest("no data provided")
	}
	data, isMap := raw.(map[string]any)
	if raw != nil && !isMap {
		return nil, badRequest("error converting input for field \"data\": '' expected a map, got '%s'", jsonKind(raw))
	}
	return k.append(r, data)
}

// patch lays the body's data over the latest version; null takes a key away.
func (k *kv2) patch(r *request) (*response, error) {
	if _, given := r.body["data"]; !given {
		return nil, badRequest("no data provided")
	}
	s := k.secrets[r.params["path"]]
	if s == nil || s.versions[s.current] == nil {
		return &response{status: http.StatusNotFound, kind: "application/json", plain: ""}, nil
	}
	v := s.versions[s.current]
	if v.gone(r.now) {
		return &response{status: http.StatusNotFound, data: s.describe(s.current)}, nil
	}
	over, _ := r.body["data"].(map[string]any)
	merged, _ := mergePatch(v.data, over).(map[string]any)
	return k.append(r, merged)
}

// mergePatch is RFC 7396.
func mergePatch(to, patch any) any {
	over, isMap := patch.(map[string]any)
	if !isMap {
		return patch
	}
	out := Map{}
	if old, isMap := to.(map[string]any); isMap {
		maps.Copy(out, old)
	}
	for key, v := range over {
		if v == nil {
			delete(out, key)
			continue
		}
		out[key] = mergePatch(out[key], v)
	}
	return out
}

// append makes a new version, if check-and-set lets it.
func (k *kv2) append(r *request, data Map) (*response, error) {
	s := k.secrets[r.params["path"]]
	if s == nil {
		s = &versioned{versions: map[int]*version{}, created: r.now}
	}
	if options, isMap := r.body["options"].(map[string]any); isMap && options["cas"] != nil {
		if fmt.Sprint(options["cas"]) != strconv.Itoa(s.current) {
			return nil, badRequest("check-and-set parameter did not match the current version")
		}
	} else if s.casRequired || k.casRequired {
		return nil, badRequest("check-and-set parameter required for this call")
	}
	s.lastUpdate = "update"
	if k.secrets[r.params["path"]] == nil {
		s.lastUpdate = "create"
	}
	k.secrets[r.params["path"]] = s
	s.current++
	s.updated = r.now
	v := &version{data: asFloats(data), created: r.now, operation: s.lastUpdate}
	if after := shortest(s.deleteAfter, k.deleteAfter); after > 0 {
		v.deleted = r.now.Add(after)
	}
	s.versions[s.current] = v
	limit := cmp.Or(s.max, k.max, 10)
	if drop := s.current - limit; drop > 0 {
		delete(s.versions, drop)
		s.oldest = drop + 1
	}
	r.publish("data-write", s)
	return ok(s.describe(s.current))
}

// shortest is the smaller one of two that are not 0.
func shortest(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

func jsonKind(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case json.Number:
		return "json.Number"
	default:
		return "slice"
	}
}

// asFloats stores as the engine does, which loses the last digits of numbers
// beyond 2^53.
func asFloats(data Map) Map {
	text, err := json.Marshal(data)
	if err != nil {
		return data
	}
	var out Map
	if json.Unmarshal(text, &out) != nil {
		return data
	}
	return plainNumbers(out).(Map)
}

// plainNumbers writes a float that is a whole number without an exponent.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
		return v
	case float64:
		return json.Number(strconv.FormatFloat(v, 'f', -1, 64))
	}
	return v
}

func (k *kv2) deleteLatest(r *request) (*response, error) {
	if s := k.secrets[r.params["path"]]; s != nil {
		s.versions[s.current].delete(r.now, "delete")
		s.lastUpdate = "delete"
		r.publish("data-delete", s)
	}
	return nil, nil
}

// change does something to the versions that the body names; what it is called
// in the metadata is "" where they do not tell.
func (k *kv2) change(name string, do func(*version, time.Time)) handler {
	return func(r *request) (*response, error) {
		if len(r.strs("versions")) == 0 {
			return nil, badRequest("No version number provided")
		}
		s := k.secrets[r.params["path"]]
		if s == nil {
			return nil, nil
		}
		s.lastUpdate = cmp.Or(name, s.lastUpdate)
		for _, text := range r.strs("versions") {
			n, _ := strconv.Atoi(text)
			if v := s.versions[n]; v != nil {
				do(v, r.now)
			}
		}
		return nil, nil
	}
}

func (k *kv2) list(r *request) (*response, error) { return list(k.secrets, r.params["path"]) }

func (k *kv2) metadata(r *request) (*response, error) {
	s := k.secrets[r.params["path"]]
	if s == nil {
		return nil, notFound()
	}
	by := func(operation string) any {
		if operation == "" {
			return nil
		}
		return Map{"actor": "token", "client_id": "vaulttest", "operation": operation}
	}
	versions := Map{}
	for n, v := range s.versions {
		m := s.describe(n)
		delete(m, "version")
		delete(m, "custom_metadata")
		m["created_by"], m["deleted_by"] = by(v.operation), by(v.deleteOperation)
		versions[strconv.Itoa(n)] = m
	}
	return ok(Map{
		"cas_required": s.casRequired, "created_time": s.created, "updated_time": s.updated, "current_version": s.current,
		"oldest_version": s.oldest, "max_versions": s.max, "custom_metadata": orNull(s.custom),
		"delete_version_after": s.deleteAfter.String(), "versions": versions, "last_updated_by": by(s.lastUpdate),
	})
}

func (k *kv2) writeMetadata(r *request) (*response, error) {
	s := k.secrets[r.params["path"]]
	if s == nil {
		s = &versioned{versions: map[int]*version{}, created: r.now, updated: r.now}
	}
	after, err := r.deleteAfter(s.deleteAfter)
	if err != nil {
		return nil, err
	}
	k.secrets[r.params["path"]], s.deleteAfter = s, after
	if r.has("custom_metadata") {
		s.custom = r.texts("custom_metadata")
	}
	if r.has("max_versions") {
		s.max = r.integer("max_versions")
	}
	s.casRequired = r.boolean("cas_required", s.casRequired)
	return nil, nil
}

func (k *kv2) forget(r *request) (*response, error) {
	delete(k.secrets, r.params["path"])
	return nil, nil
}
