package vaulttest

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// acl is a policy: what may be done, by path pattern.
type acl map[string][]string

// defaultPolicy is what every token gets unless it says otherwise.
const defaultPolicy = `
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
path "sys/tools/hash" { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }
path "sys/control-group/request" { capabilities = ["update"] }
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }
`

// wrappingPolicy is all that a wrapping token may do.
var wrappingPolicy = acl{"cubbyhole/response": {"create", "read"}, "sys/wrapping/unwrap": {"update"}}

var (
	pathRule = regexp.MustCompile(`(?s)path\s+"([^"]*)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*,?\s*\}`)
	comment  = regexp.MustCompile(`(?m)^\s*(#|//).*$`)
	caps     = []string{"create", "read", "update", "delete", "list", "sudo", "deny", "patch", "subscribe", "recover"}
)

// parsePolicy reads path blocks with capabilities and nothing else, in HCL or
// JSON; what it cannot read it refuses, where the server may have accepted it.
func parsePolicy(text string) (acl, error) {
	out := acl{}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		var doc struct {
			Path map[string]struct{ Capabilities []string }
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil {
			return nil, badRequest("failed to parse policy: %v", err)
		}
		for p, rule := range doc.Path {
			out[p] = rule.Capabilities
		}
		return out, out.check()
	}
	text = comment.ReplaceAllString(text, "")
	for _, m := range pathRule.FindAllStringSubmatch(text, -1) {
		for c := range strings.SplitSeq(m[2], ",") {
			if c = strings.Trim(strings.TrimSpace(c), `"`); c != "" {
				out[m[1]] = append(out[m[1]], c)
			}
		}
	}
	if rest := strings.TrimSpace(pathRule.ReplaceAllString(text, "")); rest != "" {
		if rest == "path {" {
			return nil, badRequest("failed to parse policy: At 1:8: object expected closing RBRACE got: EOF")
		}
		return nil, badRequest("failed to parse policy: vaulttest does not understand %q", rest)
	}
	return out, out.check()
}

func (a acl) check() error {
	for p, cs := range a {
		for _, c := range cs {
			if !slices.Contains(caps, c) {
				return badRequest("failed to parse policy: path %q: invalid capability %q", p, c)
			}
		}
	}
	return nil
}

func (s *Server) setPolicy(name, text string) error {
	a, err := parsePolicy(text)
	if err != nil {
		return err
	}
	s.policies[name], s.policyText[name] = a, text
	return nil
}

// rules are all that a token's policies say, by pattern.
func (s *Server) rules(t *token) acl {
	if t.wrapped != nil {
		return wrappingPolicy
	}
	out := acl{}
	for _, name := range t.policies {
		for p, cs := range s.policies[name] {
			out[p] = append(out[p], cs...)
		}
	}
	return out
}

func (t *token) root() bool { return slices.Contains(t.policies, "root") }

// capabilities of a token on a path: of the pattern that fits it best, sorted;
// "deny" wins, and is what remains when nothing fits.
func (s *Server) capabilities(t *token, path string) []string {
	if t.root() {
		return []string{"root"}
	}
	path = strings.TrimPrefix(path, "/")
	rules := s.rules(t)
	best, found := "", false
	for p := range rules {
		if fits(p, path) && (!found || compare(p, best) > 0) {
			best, found = p, true
		}
	}
	cs := slices.Clone(rules[best])
	slices.Sort(cs)
	cs = slices.Compact(cs)
	if !found || len(cs) == 0 || slices.Contains(cs, "deny") {
		return []string{"deny"}
	}
	return cs
}

// fits reports whether a pattern covers a path.
func fits(pattern, path string) bool {
	prefix, glob := strings.CutSuffix(pattern, "*")
	want, have := strings.Split(prefix, "/"), strings.Split(path, "/")
	for i, w := range want {
		last := i == len(want)-1
		switch {
		case i >= len(have):
			return false
		case last && glob:
			return strings.HasPrefix(have[i], w) || w == "+"
		case w != "+" && w != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// compare is the documented order of patterns: positive when a is preferred.
func compare(a, b string) int {
	first := func(p string) int {
		if i := strings.IndexAny(p, "+*"); i >= 0 {
			return i
		}
		return len(p) + 1<<20
	}
	glob := func(p string) int {
		if strings.HasSuffix(p, "*") {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(first(a), first(b)),
		cmp.Compare(glob(b), glob(a)),
		cmp.Compare(strings.Count(b, "+"), strings.Count(a, "+")),
		cmp.Compare(len(a), len(b)),
		strings.Compare(a, b),
	)
}

// allowed asks the policies about this request.
func (r *request) allowed() bool {
	have := r.s.capabilities(r.token, r.full)
	if r.op == opList && slices.Equal(have, []string{"deny"}) {
		have = r.s.capabilities(r.token, strings.TrimSuffix(r.full, "/"))
	}
	if slices.Contains(have, "root") {
		return true
	}
	need := string(r.op)
	if e, ok := r.backend().(exister); ok && r.op == opUpdate && !e.exists(r) {
		need = "create"
	}
	return slices.Contains(have, need) && (!sudo(r.full) || slices.Contains(have, "sudo"))
}

func (r *request) backend() backend {
	if r.mount == nil {
		return nil
	}
	return r.mount.backend
}

// sudoPaths need that capability too; those with a slash at their end are
// prefixes.
var sudoPaths = []string{
	"auth/token/accessors/", "auth/token/revoke-orphan", "sys/auth/", "sys/leases/lookup/",
	"sys/leases/revoke-force/", "sys/leases/revoke-prefix/", "sys/raw/", "sys/rotate", "sys/seal",
}

func sudo(path string) bool {
	return slices.ContainsFunc(sudoPaths, func(p string) bool {
		return p == path || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
	})
}

// reaches reports whether a token may do anything below a mount.
func (s *Server) reaches(t *token, mountPath string) bool {
	if t.root() {
		return true
	}
	for p, cs := range s.rules(t) {
		if slices.Contains(cs, "deny") || len(cs) == 0 {
			continue
		}
		prefix, glob := strings.CutSuffix(p, "*")
		if strings.HasPrefix(p, mountPath) || glob && strings.HasPrefix(mountPath, prefix) || plusReaches(prefix, mountPath) {
			return true
		}
	}
	return false
}

// plusReaches compares segment by segment, "+" standing for any.
func plusReaches(pattern, mountPath string) bool {
	if !strings.Contains(pattern, "+") {
		return false
	}
	want, have := strings.Split(pattern, "/"), strings.Split(strings.TrimSuffix(mountPath, "/"), "/")
	if len(want) <= len(have) {
		return false
	}
	for i, h := range have {
		if want[i] != "+" && want[i] != h {
			return false
		}
	}
	return true
}
