package access

import (
	"errors"
	"slices"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// MaxAttempts caps the loops whose real bound is the deadline, for a run that
// was given none.
const MaxAttempts = 100

// Parallel bounds the reads under way. Over HTTP/1 the connections bound them
// further (max_connections_per_host); over HTTP/2 they share one.
const Parallel = 64

// authClient is the shared client, so that the login's connection serves the
// reads that follow, unless the file keeps their connections apart.
func (p *Parts) authClient(f *config.File, o Options) (*vault.Client, error) {
	if keepAlive(f, "auto-auth") == keepAlive(f, "templating") {
		return p.Client, nil
	}
	return vault.New(p.serverConfig(f, o, "auto-auth"))
}

// authNamespace: a flag or variable wins, one about the method before one about all
// requests; then the method's own, then that of the vault stanza.
func authNamespace(m config.Method, f *config.File, o Options) string {
	if ns := m.Namespace; ns != "" && (!forced(o.Origins.Of("vault.namespace")) || forced(o.Origins.Of("auto_auth.method.namespace"))) {
		return ns
	}
	return f.Vault.Namespace
}

// forced reports whether a value comes from a flag or the environment.
func forced(origin string) bool {
	return strings.HasPrefix(origin, "flag ") || strings.HasPrefix(origin, "env ")
}

// ReadNamespace: that of the vault stanza (where flags and variables have
// been laid over it already), else the method's.
func ReadNamespace(f *config.File) string {
	if f.Vault.Namespace == "" && f.AutoAuth != nil {
		return f.AutoAuth.Method.Namespace
	}
	return f.Vault.Namespace
}

// loginSchedule: exit_on_err means the first failure is the last.
func loginSchedule(m config.Method, attempts int) retry.Schedule {
	if attempts == 0 {
		attempts = MaxAttempts
	}
	s := retry.Schedule{Attempts: attempts, Base: m.MinBackoff, Max: m.MaxBackoff, Jitter: 0.25}
	if m.ExitOnErr {
		s.Attempts = 1
	}
	return s
}

// ReadSchedule: the method's backoff, where somebody set it, replaces the
// default, as in vault agent.
func ReadSchedule(f *config.File, from config.Origins) retry.Schedule {
	s := retry.Schedule{Attempts: 1 + f.Vault.NumRetries, Base: 250 * time.Millisecond, Max: time.Minute, Jitter: 0.25}
	if from.Of("auto_auth.method.min_backoff") != "default" {
		s.Base = f.AutoAuth.Method.MinBackoff
	}
	if from.Of("auto_auth.method.max_backoff") != "default" {
		s.Max = f.AutoAuth.Method.MaxBackoff
	}
	return s
}

// serverConfig maps the vault stanza for one subsystem of the disable_* lists.
func (p *Parts) serverConfig(f *config.File, o Options, subsystem string) vault.Config {
	v := f.Vault
	timeout := v.ClientTimeout
	if o.Attempt > 0 && subsystem != "proxying" {
		timeout = o.Attempt
	}
	return vault.Config{
		Address: v.Address, Namespace: ReadNamespace(f),
		CACert: v.CACert, CACertPEM: []byte(v.CACertPEM), CAPath: v.CAPath,
		ClientCert: v.ClientCert, ClientKey: v.ClientKey,
		TLSServerName: v.TLSServerName, SkipVerify: v.TLSSkipVerify,
		Timeout: timeout, MaxConnsPerHost: f.TemplateConfig.MaxConnectionsPerHost,
		RateLimit: v.RateLimit, RateBurst: v.RateBurst, SRVLookup: v.SRVLookup,
		ProxyAddress: v.ProxyAddress, DisableRedirects: v.DisableRedirects,
		DisableKeepAlive: !keepAlive(f, subsystem), Headers: v.Headers,
		UserAgent: agent(o.Version, subsystem), Seen: p.Seen, Dial: o.Dial, DialTimeout: o.DialTimeout, HTTP1: o.HTTP1,
	}
}

// keepAlive reports whether a subsystem may use a connection twice. A run that
// ends keeps nothing idle, so the two lists come to the same.
func keepAlive(f *config.File, subsystem string) bool {
	return !slices.Contains(f.DisableKeepAlives, subsystem) && !slices.Contains(f.DisableIdleConnections, subsystem)
}

func agent(version, subsystem string) string {
	return "latchkey/" + version + " (" + subsystem + ")"
}

// At gives a problem without a place the place of its stanza.
func At(err error, pos config.Pos) error {
	var p *config.Problem
	if errors.As(err, &p) && p.Pos == (config.Pos{}) {
		p.Pos = pos
	}
	return err
}
