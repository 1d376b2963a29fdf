// Package methods is the table of auth methods: one map from the name in the
// configuration to the constructor, a smaller one for the Lambda extension, and one of
// the names that are known but not built yet. To add a method, write its file in
// internal/auth and its line here; whoever runs the program can read this table
// instead of looking for a registration.
package methods

import (
	"maps"
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"latchkey/internal/auth"
	"latchkey/internal/auth/aws"
	"latchkey/internal/config"
	"latchkey/internal/environ"
)

// Table is a program's auth methods, by the name that a configuration gives them.
type Table map[string]auth.Constructor

// All is every method there is, given the environment in which their clouds are
// looked for.
func All(env []string) Table {
	amazon := aws.Settings{Environ: environ.Lookup(env)}
	amazon.Credentials = aws.Chain(amazon)
	return Table{
		"approle":          auth.AppRole,
		"aws":              aws.New(amazon),
		"aws_web_identity": aws.WebIdentity(amazon),
		"cert":             auth.Cert,
		"jwt":              auth.JWT,
		"kubernetes":       auth.Kubernetes,
		"token_file":       auth.TokenFile,
		"userpass":         auth.UserPass,
	}
}

// Lambda is the methods of the small extension: what a function has an identity
// for.
func Lambda(env []string) Table {
	amazon := aws.Settings{Environ: environ.Lookup(env)}
	amazon.Credentials = aws.FromLambda(amazon)
	return Table{
		"approle":          auth.AppRole,
		"aws":              aws.New(amazon),
		"aws_web_identity": aws.WebIdentity(amazon),
		"cert":             auth.Cert,
		"jwt":              auth.JWT,
	}
}

// larger lists what the small extension leaves out.
var larger = []string{"kubernetes", "token_file", "userpass"}

// later lists what vault agent can do and latchkey cannot yet, so that naming
// one is not answered as if it were a misspelling.
var later = []string{"alicloud", "azure", "cf", "gcp", "kerberos", "ldap", "oci", "pcf"}

// Lookup finds the constructor of a method. Its error is a *config.Problem
// without a position, for the caller to fill in; it says whether the method is
// one of a larger program, yet to come or unknown, and what was probably meant.
func (t Table) Lookup(name string) (auth.Constructor, error) {
	if c, ok := t[name]; ok {
		return c, nil
	}
	p := &config.Problem{Key: "auto_auth.method.type", Hint: "there is " + t.names()}
	switch {
	case name == "":
		p.Text = "the auth method has no type"
		p.Hint = `write it as a label, method "approle" { ... }, or as an attribute, type = "approle"`
	case slices.Contains(larger, name):
		p.Text = "auth method \"" + name + "\" is not in this small program"
		p.Hint = "the full extension has it; here " + p.Hint
	case slices.Contains(later, name):
		p.Text = "auth method \"" + name + "\" is not built yet in this version"
	default:
		p.Text = "unknown auth method \"" + name + "\""
		if near := t.nearest(name); near != "" {
			p.Hint = "did you mean \"" + near + "\"?"
		}
	}
	return nil, p
}

func (t Table) names() string { return strings.Join(slices.Sorted(maps.Keys(t)), ", ") }

// nearest returns the name that is at most a third of its letters away, or "".
func (t Table) nearest(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	best, least := "", 1000
	for _, known := range slices.Concat(slices.Sorted(maps.Keys(t)), larger, later) {
		if d := levenshtein.Distance(name, known, nil); d < least {
			best, least = known, d
		}
	}
	if least > max(1, len(best)/3) {
		return ""
	}
	return best
}
