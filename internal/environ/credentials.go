package environ

import (
	"slices"
	"strings"
)

// prefixes of the variables that latchkey reads.
var prefixes = []string{"VAULT_", "BAO_"}

// secret are the variables, without their prefix, that hold a credential of
// latchkey's own: its token, the headers of its requests (a proxy in front of
// the server may want a key there), the answers to a second factor.
//
// What says where the server is and whom to trust is not among them: a program
// may talk to the same server, with a token of its own. Nor are paths, such as
// CLIENT_KEY: a file keeps its own secret.
var secret = []string{"TOKEN", "HEADERS", "MFA"}

// proxies hold a credential only when the address has a user in it.
var proxies = []string{"PROXY_ADDR", "HTTP_PROXY"}

// Credentials are the names of the variables that hold latchkey's own
// credentials.
func Credentials() []string { return prefixed(secret) }

func prefixed(names []string) []string {
	var out []string
	for _, p := range prefixes {
		for _, n := range names {
			out = append(out, p+n)
		}
	}
	return out
}

// WithoutCredentials is env without latchkey's own credentials: the variables
// of Credentials, those of an HTTP proxy where the address holds a user, and
// those named by extra, such as the one that a key was read from. A program
// that is started does not need them, and whoever can look at it could take
// them.
func WithoutCredentials(env []string, extra ...string) []string {
	drop := map[string]bool{}
	for _, name := range slices.Concat(Credentials(), extra) {
		drop[fold(name)] = true
	}
	ifUser := map[string]bool{}
	for _, name := range prefixed(proxies) {
		ifUser[fold(name)] = true
	}
	out := make([]string, 0, len(env))
	for _, entry := range env {
		name := fold(Name(entry))
		if drop[name] || ifUser[name] && strings.Contains(entry, "@") {
			continue
		}
		out = append(out, entry)
	}
	return out
}
