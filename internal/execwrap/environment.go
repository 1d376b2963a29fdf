package execwrap

import (
	"slices"
	"strings"

	"latchkey/internal/envwire"
	"latchkey/internal/ref/grammar"
)

// own is what goes whatever the answer says, and without one.
var own = []string{"AWS_LAMBDA_EXEC_WRAPPER", "LATCHKEY_*"}

// build is env without what has to go and with what a sets, byte for byte and each
// name once. left are the names in it that still hold a reference: nobody resolved
// them, and a reference is no password.
func build(env []string, a envwire.Answer) (next, left []string) {
	set := make(map[string]bool, len(a.Set))
	for _, p := range a.Set {
		set[p.Name] = true
	}
	next = make([]string, 0, len(env)+len(a.Set))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if set[name] || envwire.Matches(own, name) || envwire.Matches(a.Unset, name) {
			continue
		}
		if parts, err := grammar.Parse(name, value); len(parts) > 0 || err != nil {
			left = append(left, name)
		}
		next = append(next, entry)
	}
	for _, p := range a.Set {
		next = append(next, p.Name+"="+p.Value)
	}
	return next, left
}

// without is env without the names.
func without(env, names []string) []string {
	out := make([]string, 0, len(env))
	for _, entry := range env {
		if name, _, _ := strings.Cut(entry, "="); !slices.Contains(names, name) {
			out = append(out, entry)
		}
	}
	return out
}

// lookup is the value of a name in env, "" where it is not there.
func lookup(env []string, name string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
