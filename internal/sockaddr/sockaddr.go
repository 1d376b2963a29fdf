// Package sockaddr finds addresses of this machine by a template in go-sockaddr's
// language.
//
// It stands apart from internal/listen, so that a program that listens on localhost
// alone does not carry a template engine.
package sockaddr

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/hashicorp/go-sockaddr/template"
)

// Evaluate runs a template such as {{ GetPrivateIP }}:8200, which must come to one
// address.
func Evaluate(s string) (string, error) {
	out, err := template.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q is no template of an address: %w", s, err)
	}
	out = strings.TrimSpace(out)
	switch {
	case out == "", strings.HasPrefix(out, ":"):
		return "", fmt.Errorf("%q finds no address on this machine", s)
	case len(strings.Fields(out)) > 1:
		return "", fmt.Errorf("%q finds several addresses: %s", s, out)
	}
	return bracketed(out), nil
}

// bracketed puts an IPv6 address that a template found into the brackets that a
// port behind it needs.
func bracketed(s string) string {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasPrefix(s, "[") {
		return s
	}
	if a, err := netip.ParseAddr(s[:i]); err == nil && a.Is6() {
		return net.JoinHostPort(s[:i], s[i+1:])
	}
	return s
}
