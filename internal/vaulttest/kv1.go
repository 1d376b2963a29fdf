package vaulttest

import (
	"net/http"
	"slices"
	"strings"
)

// kv1 is KV version 1.
type kv1 struct{ data map[string]Map }

func newKV1() *kv1 { return &kv1{map[string]Map{}} }

func (*kv1) open() []string { return nil }

func (k *kv1) exists(r *request) bool { return k.data[r.path] != nil }

func (k *kv1) serve(r *request) (*response, error) {
	return keyValue(r, k.data, func(data Map) *response {
		p := &response{data: data, leaseTTL: seconds(maxTTL)}
		if text, isText := data["ttl"].(string); isText {
			if d, err := parseDuration(text); err == nil {
				p.leaseTTL = seconds(d)
			}
		}
		return p
	})
}

// keyValue is what KV version 1 and the cubbyhole have in common.
func keyValue(r *request, data map[string]Map, read func(Map) *response) (*response, error) {
	switch r.op {
	case opRead:
		if v := data[r.path]; v != nil {
			return read(v), nil
		}
		return nil, notFound()
	case opList:
		return list(data, r.path)
	case opUpdate:
		if len(r.body) == 0 {
			return nil, badRequest("missing data fields")
		}
		data[r.path] = r.body
		return nil, nil
	case opDelete:
		delete(data, r.path)
		return nil, nil
	}
	return nil, failure(http.StatusMethodNotAllowed, multi("unsupported operation"))
}

// list answers with what is directly below a path, folders with their slash.
func list[T any](data map[string]T, path string) (*response, error) {
	var keys []string
	for name := range data {
		rest, below := strings.CutPrefix(name, path)
		if !below || rest == "" {
			continue
		}
		if folder, _, deep := strings.Cut(rest, "/"); deep {
			rest = folder + "/"
		}
		keys = append(keys, rest)
	}
	if keys == nil {
		return nil, notFound()
	}
	slices.Sort(keys)
	return ok(Map{"keys": slices.Compact(keys)})
}

// cubbyhole is each token's own little store.
type cubbyhole struct{}

func (cubbyhole) open() []string         { return nil }
func (cubbyhole) exists(r *request) bool { return r.token.cubbyhole[r.path] != nil }

func (cubbyhole) serve(r *request) (*response, error) {
	return keyValue(r, r.token.cubbyhole, func(data Map) *response { return &response{data: data} })
}

// identity is there to be seen in listings; the fake has nothing in it.
type identity struct{}

func (identity) open() []string { return nil }

func (identity) serve(r *request) (*response, error) { return routes{}.serve(r) }
