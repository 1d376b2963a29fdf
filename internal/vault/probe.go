package vault

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// The probes take the way to the server apart, for a person who asks why it
// cannot be reached. Each is one step; none sends a token.

// Hop returns the host and port that is dialed: the proxy's where one is used,
// else the server's. For a unix socket, network is "unix" and addr its path.
func (c *Client) Hop() (network, addr string, viaProxy bool) {
	if c.socket != "" {
		return "unix", c.socket, false
	}
	u := c.base
	if p, err := c.transport.Proxy(&http.Request{URL: c.base}); err == nil && p != nil {
		u, viaProxy = p, true
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port(u)), viaProxy
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// Resolve returns the addresses behind a host and port; an address literal is
// its own answer.
func (c *Client) Resolve(ctx context.Context, hostport string) ([]string, error) {
	if c.srv {
		hostport = located(ctx, c.base, hostport)
	}
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, err
	}
	return net.DefaultResolver.LookupHost(ctx, host)
}

// Dial opens a connection and closes it.
func (c *Client) Dial(ctx context.Context, network, addr string) error {
	conn, err := c.transport.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Handshake makes one request for the sake of its TLS connection, whose state
// it returns; nil when the server is not spoken to over TLS.
func (c *Client) Handshake(ctx context.Context) (*tls.ConnectionState, error) {
	if c.base.Scheme != "https" {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, c.base.String()+"/v1/sys/health", nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, request{op: "shake hands with", path: "sys/health"}, err)
	}
	resp.Body.Close()
	if resp.TLS == nil {
		return nil, fmt.Errorf("%s answered without TLS", c.Address())
	}
	return resp.TLS, nil
}
