// Package environ puts together the environment of a program that latchkey
// starts.
//
// An environment is a list of NAME=value, as the operating system has it.
// Nothing here reads the one of this process: it is handed in, so that what a
// program will see can be told, and tested, without starting it. A program
// should be given what Build makes of WithoutCredentials(parent).
package environ

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Rules say what a program gets of the environment of its parent.
type Rules struct {
	// Pristine leaves out all of it.
	Pristine bool
	// Custom is added as NAME=value, whatever the lists say.
	Custom []string
	// Allowlist and Denylist are globs of names. With an Allowlist only what
	// matches it is passed on; what the Denylist matches never is.
	Allowlist, Denylist []string
}

// Filter is what r lets through of parent, and then Custom. A name may still
// be in it twice; the later one counts.
func (r Rules) Filter(parent []string) []string {
	out := []string{}
	if !r.Pristine {
		for _, entry := range parent {
			name := Name(entry)
			if len(r.Allowlist) > 0 && !matches(name, r.Allowlist) || matches(name, r.Denylist) {
				continue
			}
			out = append(out, entry)
		}
	}
	return append(out, r.Custom...)
}

// Build is the whole environment of a program: what r lets through of parent,
// then r.Custom, then rendered. Each name is in it once, with its last value,
// and in the order of their names, so that two environments that say the same
// are equal.
func Build(parent []string, r Rules, rendered []string) []string {
	return Normal(append(r.Filter(parent), rendered...))
}

// Normal is env with each name once, with its last value, sorted by name. The
// list it is given stays as it is.
func Normal(env []string) []string {
	last := make(map[string]string, len(env))
	for _, entry := range env {
		last[fold(Name(entry))] = entry
	}
	out := make([]string, 0, len(last))
	for _, entry := range last {
		out = append(out, entry)
	}
	slices.Sort(out)
	return out
}

// Name is the part of an entry before its "=". Windows has names that begin
// with one.
func Name(entry string) string {
	if i := strings.IndexByte(entry[min(1, len(entry)):], '='); i >= 0 {
		return entry[:i+1]
	}
	return entry
}

// fold makes two spellings of one name equal: Windows knows no case there.
func fold(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

func matches(name string, globs []string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, _ := filepath.Match(fold(glob), fold(name))
		return ok
	})
}
