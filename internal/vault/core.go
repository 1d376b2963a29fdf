package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const defaultTimeout = 60 * time.Second

// newCore builds the connections. The SDK's own client is not used: it reads the
// environment again, keeps one mutable identity, and costs every start a
// millisecond. Certificates mean what they mean to it; a test compares.
func newCore(cfg Config) (*core, error) {
	base, socket, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	proxy := proxyFromEnvironment
	if cfg.ProxyAddress != "" {
		u, err := url.Parse(cfg.ProxyAddress)
		if err != nil || u.Host == "" {
			// The parser's own words quote the URL and a password in it.
			return nil, errors.New("proxy address is not of the form http://host:port")
		}
		proxy = http.ProxyURL(u)
	}
	t := &http.Transport{
		Proxy:                 proxy,
		DialContext:           dialer(base, socket, cfg),
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxConnsPerHost:       cfg.MaxConnsPerHost,
		MaxIdleConnsPerHost:   idle(cfg),
		DisableKeepAlives:     cfg.DisableKeepAlive,
		DisableCompression:    true,
		// HTTP/2 is spoken over TLS alone; setting it up costs a start.
		ForceAttemptHTTP2: base.Scheme == "https" && !cfg.HTTP1,
	}
	if cfg.Dial != nil {
		t.DialContext = cfg.Dial
	}
	if cfg.DialTimeout > 0 {
		t.TLSHandshakeTimeout = cfg.DialTimeout
	}
	for key, path := range map[string]string{
		"ca_cert": cfg.CACert, "ca_path": cfg.CAPath, "client_cert": cfg.ClientCert, "client_key": cfg.ClientKey,
	} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if err := secure(t.TLSClientConfig, cfg); err != nil {
		return nil, fmt.Errorf("TLS settings: %w", err)
	}
	co := &core{
		base:      base,
		socket:    socket,
		srv:       cfg.SRVLookup,
		transport: t,
		http: &http.Client{
			Transport: newPool(t),
			// Redirects are followed by do, which knows what may go along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		headers:          make(http.Header),
		timeout:          cfg.Timeout,
		disableRedirects: cfg.DisableRedirects,
		seen:             cfg.Seen,
	}
	// Whether there is a proxy is in the environment, which no constructor reads.
	co.wired = sync.OnceValue(func() *wire { return newWire(co) })
	if co.timeout <= 0 {
		co.timeout = defaultTimeout
	}
	if cfg.RateLimit > 0 {
		co.limiter = rate.NewLimiter(rate.Limit(cfg.RateLimit), max(cfg.RateBurst, 1))
	}
	for k, v := range cfg.Headers {
		if strings.ContainsFunc(k, notInName) || k == "" || strings.ContainsFunc(v, isControl) {
			return nil, fmt.Errorf("header %q cannot be sent: a name is letters, digits and dashes, a value has no control characters", k)
		}
		co.headers.Set(k, v)
	}
	return co, nil
}

// idle is how many connections are kept.
func idle(cfg Config) int {
	if cfg.MaxIdle > 0 {
		return max(cfg.MaxIdle, 2)
	}
	return max(cfg.MaxConnsPerHost, 2)
}

// parseAddress accepts what VAULT_ADDR accepts. For a unix socket the URL is
// the one requests are made with, and socket is the path.
func parseAddress(address string) (base *url.URL, socket string, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if path == "" {
			return nil, "", errors.New("address: unix:// names no socket")
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, path, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		if u != nil {
			address = u.Redacted()
		} else if at := strings.LastIndexByte(address, '@'); at >= 0 {
			address = "…" + address[at:] // what stands before may be a password
		}
		return nil, "", fmt.Errorf("address %q is not of the form https://host:port", address)
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, "", fmt.Errorf("address %q: there is no port %s", u.Redacted(), u.Port())
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), strings.TrimSuffix(u.RawPath, "/")
	u.RawQuery, u.Fragment = "", ""
	return u, "", nil
}

func dialer(base *url.URL, socket string, cfg Config) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 30 * time.Second}
	if d.Timeout <= 0 {
		d.Timeout = 30 * time.Second
	}
	switch {
	case socket != "":
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", socket) }
	case cfg.SRVLookup:
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, located(ctx, base, addr))
		}
	}
	return d.DialContext
}

// located looks the server's name up as an SRV record where the address gives
// no port, as the SDK does; what has no such record stands as it is.
func located(ctx context.Context, base *url.URL, addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	if base.Port() != "" || host != base.Hostname() {
		return addr
	}
	_, found, err := net.DefaultResolver.LookupSRV(ctx, "http", "tcp", host)
	if err != nil || len(found) == 0 {
		return addr
	}
	return net.JoinHostPort(strings.TrimSuffix(found[0].Target, "."), strconv.Itoa(int(found[0].Port)))
}

// proxyFromEnvironment is net/http's, but for its error, which quotes a URL that
// it cannot read with the password in it.
func proxyFromEnvironment(r *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(r)
	if err != nil {
		return nil, errors.New("the proxy that HTTPS_PROXY or HTTP_PROXY names is not of the form http://host:port")
	}
	return u, nil
}

// isControl tells what no header may hold, nor a token.
func isControl(c rune) bool { return c < 0x20 || c == 0x7f }

// notInName tells what no header's name holds. Letters, which nearly all of it is
// made of, are looked at first.
func notInName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// cleanNamespace yields "" or a path that ends with one slash and has none in
// front; "root" is the root namespace's name in the server's messages.
func cleanNamespace(ns string) string {
	ns = strings.Trim(ns, "/ ")
	if ns == "" || ns == "root" {
		return ""
	}
	return ns + "/"
}
