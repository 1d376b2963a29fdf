package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// tcpAddress has a template ({{ GetPrivateIP }}:8200) evaluated and says what to
// listen on: host:port, and the network that belongs to it. 0.0.0.0 is
// IPv4 only, as it says; Go alone would listen on IPv6 too.
func tcpAddress(s string, evaluate func(string) (string, error)) (network, address string, err error) {
	if strings.Contains(s, "{{") {
		if evaluate == nil {
			return "", "", errors.New("this program takes no template for an address")
		}
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
