// Package methods is the table of auth methods: one map from the name in the
// configuration to the constructor, and one of the names that are known but
// not built yet. To add a method, write its file in internal/auth and its line
// here; whoever runs the program can read this table instead of looking for a
// registration.
package methods

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"latchkey/internal/auth"
	"latchkey/internal/config"
)

// All is every method of the program, by the name a configuration gives it.
var All = map[string]auth.Constructor{
	"approle":    auth.AppRole,
	"cert":       auth.Cert,
	"jwt":        auth.JWT,
	"kubernetes": auth.Kubernetes,
	"token_file": auth.TokenFile,
	"userpass":   auth.UserPass,
}

// later lists what vault agent can do and latchkey cannot yet, so that naming
// one is not answered as if it were a misspelling.
var later = map[string]bool{
	"alicloud": true,
	"aws":      true,
	"azure":    true,
	"cf":       true,
	"gcp":      true,
	"kerberos": true,
	"ldap":     true,
	"oci":      true,
	"pcf":      true,
}

// Lookup finds the constructor of a method. Its error is a *config.Problem
// without a position, for the caller to fill in; it says whether the method is
// yet to come or unknown, and what was probably meant.
func Lookup(name string) (auth.Constructor, error) {
	if c, ok := All[name]; ok {
		return c, nil
	}
	p := &config.Problem{Key: "auto_auth.method.type"}
	switch {
	case name == "":
		p.Text = "the auth method has no type"
		p.Hint = `write it as a label, method "approle" { ... }, or as an attribute, type = "approle"`
	case later[name]:
		p.Text = fmt.Sprintf("auth method %q is not built yet in this version", name)
		p.Hint = "there is " + names()
	default:
		p.Text = fmt.Sprintf("unknown auth method %q", name)
		p.Hint = "there is " + names()
		if near := nearest(name); near != "" {
			p.Hint = fmt.Sprintf("did you mean %q?", near)
		}
	}
	return nil, p
}

func names() string { return strings.Join(slices.Sorted(maps.Keys(All)), ", ") }

// nearest returns the name that is at most a third of its letters away, or "".
func nearest(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	best, least := "", 1000
	for _, known := range slices.Concat(slices.Sorted(maps.Keys(All)), slices.Sorted(maps.Keys(later))) {
		if d := levenshtein.Distance(name, known, nil); d < least {
			best, least = known, d
		}
	}
	if least > max(1, len(best)/3) {
		return ""
	}
	return best
}
