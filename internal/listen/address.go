package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/hashicorp/go-sockaddr/template"
)

// tcpAddress evaluates a go-sockaddr template ({{ GetPrivateIP }}:8200) and says
// what to listen on: host:port, and the network that belongs to it. 0.0.0.0 is
// IPv4 only, as it says; Go alone would listen on IPv6 too.
func tcpAddress(s string) (network, address string, err error) {
	if strings.Contains(s, "{{") {
		if s, err = evaluate(s); err != nil {
			return "", "", err
		}
	}
	host, port, err := net.SplitHostPort(strings.TrimSpace(s))
	if err != nil {
		var bad *net.AddrError
		if errors.As(err, &bad) {
			return "", "", fmt.Errorf("%q is no address: %s", s, bad.Err)
		}
		return "", "", err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("%q has no port: a number up to 65535", s)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	network = "tcp"
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
		network = "tcp4"
	} else if strings.ContainsAny(host, " \t\r\n/") {
		return "", "", fmt.Errorf("%q has no host", s)
	}
	return network, net.JoinHostPort(host, port), nil
}

// evaluate runs a go-sockaddr template, which must come to one address.
func evaluate(s string) (string, error) {
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
