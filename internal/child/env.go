package child

import (
	"path"
	"runtime"
	"slices"
	"strings"
)

// Env builds a command's environment from base, entries being NAME=value.
//
// It removes first: with pristine all of base goes; else, when allow is not
// empty, what no pattern of it matches; and always what a pattern of deny
// matches. Then it adds custom, whose entries win over base, the last one of a
// name over those before it. Patterns match names and know *, ? and [...]; one
// that is malformed matches only a name that is the same text. Nothing given
// is changed.
func Env(base []string, pristine bool, custom, allow, deny []string) []string {
	var out []string
	if !pristine {
		for _, entry := range base {
			name := nameOf(entry)
			if len(allow) > 0 && !matchAny(allow, name) || matchAny(deny, name) {
				continue
			}
			out = append(out, entry)
		}
	}
	out = append(out, custom...)
	seen := make(map[string]bool, len(out))
	slices.Reverse(out)
	out = slices.DeleteFunc(out, func(entry string) bool {
		name := fold(nameOf(entry))
		twice := seen[name]
		seen[name] = true
		return twice
	})
	slices.Reverse(out)
	return out
}

// nameOf returns what stands before the "="; Windows has names that begin
// with one.
func nameOf(entry string) string {
	if i := strings.IndexByte(entry[min(1, len(entry)):], '='); i >= 0 {
		return entry[:i+1]
	}
	return entry
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(fold(p), fold(name))
		return ok || err != nil && fold(p) == fold(name)
	})
}

// fold makes names that the system takes for the same compare equal.
func fold(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}
