package vault

import (
	"context"
	"net/url"
	"time"

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
	Timeout          time.Duration
	MaxConnsPerHost  int
	RateLimit        float64
	RateBurst        int
	SRVLookup        bool
	ProxyAddress     string
	DisableRedirects bool
	DisableKeepAlive bool
	Headers          map[string]string
	// UserAgent is the product part; Agent sets what is sent.
	UserAgent string
}

// Client talks to one server with one identity. It is immutable and safe for
// concurrent use.
type Client struct{}

// New checks the configuration and reads the TLS files; it dials nothing.
func New(cfg Config) (*Client, error) { panic("being written") }

// As returns a view with this token; the empty one sends none.
func (c *Client) As(token cred.Redacted) *Client { panic("being written") }

// In returns a view with this namespace.
func (c *Client) In(namespace string) *Client { panic("being written") }

// Wrapping returns a view that asks for response wrapping; 0 for none.
func (c *Client) Wrapping(ttl time.Duration) *Client { panic("being written") }

// Agent returns a view with this User-Agent.
func (c *Client) Agent(userAgent string) *Client { panic("being written") }

// Token returns the token of this view.
func (c *Client) Token() cred.Redacted { panic("being written") }

// Namespace returns the namespace of this view, "" for the root.
func (c *Client) Namespace() string { panic("being written") }

// Login sends body to path (PUT, without /v1/) and returns the token, or with
// Wrapping a Token that holds only Wrap. An answer without either is
// ErrNoToken.
func (c *Client) Login(ctx context.Context, path string, body map[string]any) (cred.Token, error) {
	panic("being written")
}

// Read gets path; a 404 is ErrNotFound. The path's KV version is the caller's
// affair: see Mount.
func (c *Client) Read(ctx context.Context, path string, query url.Values) (*cred.Secret, error) {
	panic("being written")
}

// List lists path. The names are in Data["keys"].
func (c *Client) List(ctx context.Context, path string) (*cred.Secret, error) { panic("being written") }

// Write puts body to path. A server that answers without content yields an
// empty Secret.
func (c *Client) Write(ctx context.Context, path string, body map[string]any) (*cred.Secret, error) {
	panic("being written")
}

// LookupSelf asks the server about the view's token.
func (c *Client) LookupSelf(ctx context.Context) (cred.Token, error) { panic("being written") }

// RenewSelf extends the view's token; increment 0 leaves the choice to the server.
func (c *Client) RenewSelf(ctx context.Context, increment time.Duration) (cred.Token, error) {
	panic("being written")
}

// RevokeSelf ends the view's token and every lease it made.
func (c *Client) RevokeSelf(ctx context.Context) error { panic("being written") }

// LookupWrapping returns what is known of a wrapping token without spending it.
func (c *Client) LookupWrapping(ctx context.Context, wrapping cred.Redacted) (cred.WrapInfo, error) {
	panic("being written")
}

// Unwrap spends a wrapping token and returns what it held.
func (c *Client) Unwrap(ctx context.Context, wrapping cred.Redacted) (*cred.Secret, error) {
	panic("being written")
}

// Wrap has the server wrap body for ttl, using the view's token.
func (c *Client) Wrap(ctx context.Context, ttl time.Duration, body map[string]any) (cred.WrapInfo, error) {
	panic("being written")
}
