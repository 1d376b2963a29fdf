package access

import (
	"context"
	"net/http"
	"slices"
	"time"

	"latchkey/internal/cache"
	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/environ"
	"latchkey/internal/guard"
	"latchkey/internal/health"
	"latchkey/internal/lease"
	"latchkey/internal/meter"
	"latchkey/internal/proxy"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// Proxied is what a configuration says to who serves the API on a listener.
type Proxied struct {
	// Handler serves /v1/ and lends the token of the identity with this name,
	// where the configuration lends one; "" is the default one. It is nil when
	// nothing is to be passed on. Call it after Parts.Use.
	Handler func(identity string) http.Handler
	// Cache is nil when nothing is cached, Leases when no leases are.
	Cache  *cache.Cache
	Leases *lease.Renewer
	// Events tell the cache of changed secrets; nil for not at all.
	Events *lease.Events
	// Tally is what they report to; it passes on while its Run runs.
	Tally *meter.Tally
}

// Proxied makes the proxy, and the cache if there is to be one.
func (p *Parts) Proxied(f *config.File, o Options) (Proxied, error) {
	if !slices.ContainsFunc(f.Listeners, func(l config.Listener) bool { return l.Role != health.MetricsOnly }) {
		return Proxied{}, nil
	}
	c := p.serverConfig(f, o, "proxying")
	c.MaxConnsPerHost, c.MaxIdle = 0, idleUpstream
	client, err := vault.New(c)
	if err != nil {
		return Proxied{}, err
	}
	x := Proxied{Tally: meter.NewTally(o.Meter, "proxy.success", "proxy.client_error", "proxy.error")}
	o.Meter = x.Tally
	enforce, when := f.Consistency()
	lend := proxy.Lend(f.Lending())
	po := proxy.Options{
		Client: client, Lend: lend, Ours: p.ours, Seen: p.Seen, Retry: proxySchedule(f), Consistency: proxy.Consistency{Enforce: enforce == "always", When: when},
		States: new(proxy.States), Version: o.Version, Log: o.named("proxy"), Meter: o.Meter,
	}
	if f.Cache != nil || o.Brief.TTL > 0 {
		x.cache(p, f, o, client)
		po.Cache = x.Cache
	}
	x.Handler = func(identity string) http.Handler {
		o := po
		o.Lend = proxy.LendNo
		for _, i := range p.logins() {
			if identity == "" || identity == i.Name {
				o.Name, o.Identity, o.Lend = i.Name, i.Session, lend
				if i.Lend != nil {
					o.Identity = i.Lend
				}
				break
			}
		}
		return proxy.Handler(o)
	}
	return x, nil
}

// idleUpstream is how many connections to the server may wait for the next
// request. Fewer would be opened and closed all the time under load.
const idleUpstream = 256

// proxySchedule is that of vault agent's proxy: the wait grows by a second or so
// with each attempt.
func proxySchedule(f *config.File) retry.Schedule {
	return retry.Schedule{Attempts: 1 + f.Vault.NumRetries, Base: time.Second, Max: 30 * time.Second, Jitter: 0.25}
}

// ours reports whether a token is one of ours, in either of its spellings.
func (p *Parts) ours(token cred.Redacted) bool {
	token = token.Short()
	for _, i := range p.logins() {
		if i.Session.State().Token.Value.Short().Equal(token) {
			return true
		}
	}
	return false
}

// lent is the token that an identity has now, zero for none.
func (p *Parts) lent(name string) cred.Token {
	for _, i := range p.logins() {
		if i.Name == name {
			return i.Session.State().Token
		}
	}
	return cred.Token{}
}

// cache makes the cache and what keeps its leases alive.
func (x *Proxied) cache(p *Parts, f *config.File, o Options, client *vault.Client) {
	co := cache.Options{
		Brief: o.Brief, Lent: p.lent, Server: server{client.Agent(agent(o.Version, "caching"))}, Log: o.named("cache"), Meter: o.Meter,
	}
	c := f.Cache
	if c == nil {
		co.MaxBytes = o.CacheBytes
		x.Cache = cache.New(co)
		return
	}
	x.Leases = lease.NewRenewer(lease.Options{
		Threshold: f.TemplateConfig.LeaseRenewalThreshold, Backoff: ReadSchedule(f, o.Origins), Parallel: Parallel,
		Log: o.named("cache"), Meter: o.Meter,
	})
	co.MaxEntries, co.MaxBytes, co.KeyHeaders, co.Leases = c.MaxEntries, c.MaxSize, c.KeyHeaders, renewals{x.Leases}
	co.Static = cache.Static{
		TTL: c.StaticTTL, Stale: c.StaticStale, Capabilities: c.StaticCapabilityInterval, Pessimistic: c.StaticCapabilityPessimistic,
	}
	if o.CacheStore != nil {
		co.Store = o.CacheStore
	}
	x.Cache = cache.New(co)
}

// server is how the cache asks for itself, with the tokens of its clients.
type server struct{ client *vault.Client }

func (s server) as(token cred.Redacted, namespace string) *vault.Client {
	return s.client.As(token).In(namespace)
}

func (s server) Lookup(ctx context.Context, token cred.Redacted, namespace string) (cred.Token, error) {
	return s.as(token, namespace).LookupSelf(ctx)
}

func (s server) RenewToken(ctx context.Context, token cred.Redacted, namespace string) (cred.Lease, error) {
	return s.as(token, namespace).RenewSelf(ctx, 0)
}

func (s server) RenewLease(ctx context.Context, token cred.Redacted, namespace, id string, increment time.Duration) (cred.Lease, error) {
	return s.as(token, namespace).RenewLease(ctx, id, increment)
}

func (s server) Capabilities(ctx context.Context, token cred.Redacted, namespace string, paths []string) (map[string][]string, error) {
	return s.as(token, namespace).Capabilities(ctx, paths)
}

func (s server) Metadata(ctx context.Context, token cred.Redacted, namespace, path string) (*cred.Secret, error) {
	return s.as(token, namespace).Read(ctx, path, nil)
}

func (s server) Mount(ctx context.Context, token cred.Redacted, namespace, path string) (vault.Mount, error) {
	return s.as(token, namespace).Mount(ctx, path)
}

// renewals lets the cache have leases kept without knowing the room that does.
type renewals struct{ *lease.Renewer }

func (r renewals) Hold(h cache.Held) { r.Renewer.Hold(lease.Held(h)) }

// Guards are those of a listener. The token that callers have to show comes out of
// the environment here, for nobody else reads that.
func Guards(l config.Listener, f *config.File, o Options) guard.Options {
	token, _ := environ.Lookup(o.Environ)(l.CallerTokenEnv)
	g := guard.For(l, cred.Redact(token))
	g.Namespace, g.Log, g.Meter = ReadNamespace(f), o.named("guard"), o.Meter
	return g
}
