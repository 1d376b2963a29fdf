package vault

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"latchkey/internal/cred"
)

// Config is where the server is and how to reach it.
type Config struct {
	// Address is a URL: https://host:8200, http://..., unix:///path; a path
	// prefix is kept.
	Address       string
	Namespace     string
	CACert        string
	CACertPEM     []byte
	CAPath        string
	ClientCert    string
	ClientKey     string
	TLSServerName string
	SkipVerify    bool
	// Timeout bounds one request, 60s when 0.
	Timeout time.Duration
	// MaxConnsPerHost bounds the connections to one server; 0 is no bound.
	MaxConnsPerHost int
	// MaxIdle is how many connections to one server are kept open while nobody
	// needs them; MaxConnsPerHost when 0, and at least 2.
	MaxIdle int
	// RateLimit is in requests per second, 0 for none.
	RateLimit        float64
	RateBurst        int
	SRVLookup        bool
	ProxyAddress     string
	DisableRedirects bool
	DisableKeepAlive bool
	Headers          map[string]string
	// UserAgent is the product part; Agent sets what is sent.
	UserAgent string
	// HTTP1 has a server that is spoken to over TLS asked by HTTP/1.1, one request at
	// a time on a connection. It starts sooner; who asks much at a time wants HTTP/2.
	HTTP1 bool
	// DialTimeout bounds the way to a connection, and then its TLS handshake; 30s and
	// 10s when 0.
	DialTimeout time.Duration
	// Dial opens the connections, nil for the network's own way: a test that
	// simulates time brings one that stays in memory.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Seen, unless nil, is told of every request that carried a token: which
	// token, and how it ended, nil for a success. It is called from the
	// goroutine of the request, so it must not block.
	Seen func(token cred.Redacted, err error)
}

// Client talks to one server with one identity. It is immutable and safe for
// concurrent use.
type Client struct {
	*core
	token     cred.Redacted
	namespace string
	wrap      time.Duration
	agent     string
}

// core is what all views of a client share.
type core struct {
	base *url.URL
	// socket is the path of a unix socket, else empty.
	socket string
	// srv is whether the server's name may be that of an SRV record.
	srv              bool
	http             *http.Client
	transport        *http.Transport
	limiter          *rate.Limiter
	headers          http.Header
	timeout          time.Duration
	disableRedirects bool
	seen             func(token cred.Redacted, err error)
	// wired makes, once, what Forward sends by where it can; it yields nil where it
	// cannot.
	wired func() *wire
}

// New checks the configuration and reads the TLS files; it dials nothing.
// Its error names the setting at fault.
func New(cfg Config) (*Client, error) {
	if strings.ContainsFunc(cfg.Namespace, isControl) {
		return nil, fmt.Errorf("namespace %q holds a control character", cfg.Namespace)
	}
	co, err := newCore(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{core: co, namespace: cleanNamespace(cfg.Namespace), agent: cfg.UserAgent}, nil
}

// Close drops idle connections. The client stays usable.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	if w := c.wired(); w != nil {
		w.closeIdle()
	}
	return nil
}

// As returns a view with this token; the empty one sends none.
func (c *Client) As(token cred.Redacted) *Client {
	v := *c
	v.token = token
	return &v
}

// In returns a view with this namespace.
func (c *Client) In(namespace string) *Client {
	v := *c
	v.namespace = cleanNamespace(namespace)
	return &v
}

// Wrapping returns a view that asks for response wrapping; 0 for none.
func (c *Client) Wrapping(ttl time.Duration) *Client {
	v := *c
	v.wrap = ttl
	return &v
}

// Agent returns a view with this User-Agent.
func (c *Client) Agent(userAgent string) *Client {
	v := *c
	v.agent = userAgent
	return &v
}

// Namespace returns the namespace of this view, "" for the root.
func (c *Client) Namespace() string { return c.namespace }

// Address returns the server's URL without credentials.
func (c *Client) Address() string {
	if c.socket != "" {
		return "unix://" + c.socket
	}
	return c.base.Redacted()
}

// Login sends body to path (PUT, without /v1/) and returns the token, or with
// Wrapping a Token that holds only Wrap. An answer without either is
// ErrNoToken.
func (c *Client) Login(ctx context.Context, path string, body map[string]any) (cred.Token, error) {
	return c.login(ctx, request{op: "login", method: http.MethodPut, path: path, body: body})
}

// login is Login for every call whose answer must hold a token.
func (c *Client) login(ctx context.Context, r request) (cred.Token, error) {
	s, err := c.secret(ctx, r)
	if err != nil {
		return cred.Token{}, err
	}
	switch {
	case c.wrap > 0 && s.Wrap != nil && !s.Wrap.Token.Empty():
		return cred.Token{Wrap: s.Wrap, Namespace: c.namespace}, nil
	case c.wrap == 0 && s.Auth != nil && !s.Auth.Value.Empty():
		s.Auth.Namespace = c.namespace
		return *s.Auth, nil
	case c.wrap > 0:
		return cred.Token{}, r.fail(ErrNoToken, "wrapping was asked for, and the answer holds no wrapping token")
	}
	return cred.Token{}, r.fail(ErrNoToken, "the answer holds no token")
}

// Read gets path; a 404 is ErrNotFound. The path's KV version is the caller's
// affair: see Mount.
func (c *Client) Read(ctx context.Context, path string, query url.Values) (*cred.Secret, error) {
	return c.secret(ctx, request{op: "read", method: http.MethodGet, path: path, query: query})
}

// List lists path. The names are in Data["keys"].
func (c *Client) List(ctx context.Context, path string) (*cred.Secret, error) {
	return c.secret(ctx, request{op: "list", method: http.MethodGet, path: path, query: url.Values{"list": {"true"}}})
}

// Write puts body to path. A server that answers without content yields an
// empty Secret.
func (c *Client) Write(ctx context.Context, path string, body map[string]any) (*cred.Secret, error) {
	return c.secret(ctx, request{op: "write", method: http.MethodPut, path: path, body: body})
}

// LookupSelf asks the server about the view's token.
func (c *Client) LookupSelf(ctx context.Context) (cred.Token, error) {
	r := request{op: "lookup", method: http.MethodGet, path: "auth/token/lookup-self"}
	s, err := c.Wrapping(0).secret(ctx, r)
	if err != nil {
		return cred.Token{}, err
	}
	tok, ok := tokenFromLookup(s, c.token, c.namespace)
	if !ok {
		return cred.Token{}, r.fail(ErrNoToken, "the answer holds no token")
	}
	return tok, nil
}

// RevokeSelf ends the view's token and every lease it made.
func (c *Client) RevokeSelf(ctx context.Context) error {
	_, err := c.Wrapping(0).secret(ctx, request{op: "revoke", method: http.MethodPut, path: "auth/token/revoke-self"})
	return err
}

// LookupWrapping returns what is known of a wrapping token without spending it.
func (c *Client) LookupWrapping(ctx context.Context, wrapping cred.Redacted) (cred.WrapInfo, error) {
	r := request{
		op: "look up wrapping token", method: http.MethodPut, path: "sys/wrapping/lookup",
		body: map[string]any{"token": wrapping.Reveal()},
	}
	s, err := c.As(cred.Redacted{}).Wrapping(0).secret(ctx, r)
	if err != nil {
		return cred.WrapInfo{}, err
	}
	path, ok := s.Data["creation_path"].(string)
	if !ok {
		return cred.WrapInfo{}, r.fail(ErrServer, "the answer names no creation_path")
	}
	created, _ := s.Data["creation_time"].(string)
	at, _ := time.Parse(time.RFC3339Nano, created)
	return cred.WrapInfo{
		Token: wrapping, CreationPath: path, CreationTime: at, TTL: durationOf(s.Data["creation_ttl"]),
	}, nil
}

// Unwrap spends a wrapping token and returns what it held.
func (c *Client) Unwrap(ctx context.Context, wrapping cred.Redacted) (*cred.Secret, error) {
	// The wrapping token authenticates the request itself, so that nobody
	// needs a token of their own to unwrap.
	return c.As(wrapping).Wrapping(0).secret(ctx, request{op: "unwrap", method: http.MethodPut, path: "sys/wrapping/unwrap"})
}

// Wrap has the server wrap body for ttl, using the view's token.
func (c *Client) Wrap(ctx context.Context, ttl time.Duration, body map[string]any) (cred.WrapInfo, error) {
	r := request{op: "wrap", method: http.MethodPut, path: "sys/wrapping/wrap", body: body}
	s, err := c.Wrapping(ttl).secret(ctx, r)
	if err != nil {
		return cred.WrapInfo{}, err
	}
	if s.Wrap == nil || s.Wrap.Token.Empty() {
		return cred.WrapInfo{}, r.fail(ErrServer, "the answer holds no wrapping token")
	}
	return *s.Wrap, nil
}

// Mount is what the server says of the engine behind a path.
type Mount struct {
	// Path ends with a slash, and is relative to the request's namespace.
	Path string
	Type string
	// KV2 is true for a version 2 key-value engine.
	KV2 bool
}

// Mount asks which engine serves path. Any token may ask for the paths that
// its policies mention.
func (c *Client) Mount(ctx context.Context, path string) (Mount, error) {
	s, err := c.Wrapping(0).secret(ctx, request{op: "find mount of", method: http.MethodGet, path: "sys/internal/ui/mounts/" + path})
	if err != nil {
		return Mount{}, err
	}
	m := Mount{}
	m.Path, _ = s.Data["path"].(string)
	m.Type, _ = s.Data["type"].(string)
	if options, ok := s.Data["options"].(map[string]any); ok {
		m.KV2 = options["version"] == "2" && m.Type == "kv"
	}
	return m, nil
}

// Capabilities returns what the view's token may do on each path: "read",
// "create", "deny" and so on.
func (c *Client) Capabilities(ctx context.Context, paths []string) (map[string][]string, error) {
	s, err := c.Wrapping(0).secret(ctx, request{
		op: "ask capabilities", method: http.MethodPut, path: "sys/capabilities-self",
		body: map[string]any{"paths": paths},
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(paths))
	for _, p := range paths {
		out[p] = stringsOf(s.Data[p])
	}
	return out, nil
}

// Health is the server's state.
type Health struct {
	Initialized, Sealed, Standby bool
	Version                      string
	ClusterName                  string
}

// Health asks for the server's state; a sealed or standby server is an answer,
// not an error.
func (c *Client) Health(ctx context.Context) (Health, error) {
	// The endpoint is not namespaced and needs no token; the statuses are
	// asked to be 200, so that they are not mistaken for failures.
	query := url.Values{
		"standbyok": {"true"}, "perfstandbyok": {"true"}, "sealedcode": {"200"}, "uninitcode": {"200"},
		"drsecondarycode": {"200"}, "performancestandbycode": {"200"},
	}
	var h struct {
		Initialized, Sealed, Standby bool
		Version                      string
		ClusterName                  string `json:"cluster_name"`
	}
	r := request{op: "ask health", method: http.MethodGet, path: "sys/health", query: query}
	err := c.As(cred.Redacted{}).In("").Wrapping(0).do(ctx, r, &h)
	return Health(h), err
}
