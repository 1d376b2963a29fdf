package oneshot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/internal/auth"
	"latchkey/internal/cred"
	"latchkey/internal/reader"
	"latchkey/internal/session"
	"latchkey/internal/sink"
	"latchkey/internal/template"
	"latchkey/internal/vault"
)

// Online is what a check against the server needs.
type Online struct {
	Session   *session.Session
	Client    *vault.Client
	Sinks     []sink.Sink
	Templates *template.Set
	Reads     reader.Options
}

// Step is one thing that was proved, or the one that failed.
type Step struct {
	Name   string
	Detail string
	Took   time.Duration
	Err    error
}

// Run proves each step a one-shot would take, in its order, and stops at the
// first that fails; done is called after each. No secret is read, no file is
// left, and a token that the login made is revoked even when a later step fails.
func (o Online) Run(ctx context.Context, done func(Step)) error {
	var tok cred.Token
	var plans []template.Plan
	if o.Templates != nil {
		plans = o.Templates.Requests()
	}
	steps := []struct {
		name string
		run  func() (string, error)
	}{
		{"address", func() (string, error) { return o.resolve(ctx) }},
		{"connect", func() (string, error) { return o.dial(ctx) }},
		{"tls", func() (string, error) { return o.handshake(ctx) }},
		{"health", func() (string, error) { return o.health(ctx) }},
		{"login", func() (detail string, err error) { tok, detail, err = o.login(ctx); return detail, err }},
		{"token", func() (string, error) { return describe(tok), nil }},
		{"paths", func() (string, error) { return o.paths(ctx, tok, plans) }},
		{"outputs", func() (string, error) { return o.outputs(plans) }},
	}
	var failed error
	for _, s := range steps {
		if failed = attempt(s.name, s.run, done); failed != nil {
			break
		}
	}
	if tok.Value.Empty() {
		return failed
	}
	return errors.Join(failed, attempt("revoke", func() (string, error) { return o.revoke(ctx, tok) }, done))
}

func attempt(name string, run func() (string, error), done func(Step)) error {
	start := time.Now()
	detail, err := run()
	done(Step{name, detail, time.Since(start), err})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// unreachable gives the kind of the server's faults to those of the network.
func unreachable(addr string, err error) error {
	return &vault.Error{Kind: vault.ErrUnreachable, Op: "reach", Path: addr, Cause: err}
}

func (o Online) resolve(ctx context.Context) (string, error) {
	network, addr, via := o.Client.Hop()
	if network == "unix" {
		return "unix socket " + addr, nil
	}
	ips, err := o.Client.Resolve(ctx, addr)
	if err != nil {
		return "", unreachable(addr, err)
	}
	what := addr
	if via {
		what = "proxy " + addr
	}
	return what + " is " + strings.Join(ips, ", "), nil
}

func (o Online) dial(ctx context.Context) (string, error) {
	network, addr, _ := o.Client.Hop()
	if err := o.Client.Dial(ctx, network, addr); err != nil {
		return "", unreachable(addr, err)
	}
	return network + " connection to " + addr, nil
}

func (o Online) handshake(ctx context.Context) (string, error) {
	st, err := o.Client.Handshake(ctx)
	if err != nil || st == nil {
		return "not used: the address is " + o.Client.Address(), err
	}
	leaf := st.PeerCertificates[0]
	trust := "NOT VERIFIED (tls_skip_verify)"
	if len(st.VerifiedChains) > 0 {
		chain, name := st.VerifiedChains[0], st.ServerName
		if name == "" {
			name = "its IP address" // which no client names to a server
		}
		trust = fmt.Sprintf("verified for %s by CA %q", name, chain[len(chain)-1].Subject)
	}
	return fmt.Sprintf("%s, certificate %q until %s, %s", tls.VersionName(st.Version),
		leaf.Subject, leaf.NotAfter.Format(time.DateOnly), trust), nil
}

func (o Online) health(ctx context.Context) (string, error) {
	h, err := o.Client.Health(ctx)
	var ve *vault.Error
	switch {
	case errors.As(err, &ve) && ve.Status/100 == 4 && !vault.Temporary(err), err == nil && h == vault.Health{}:
		// The path needs no token and no permission: every Vault has it.
		return "", &vault.Error{Kind: vault.ErrServer, Op: "ask health", Path: "sys/health",
			Cause: fmt.Errorf("%s answers, but not as a Vault server does; is the address right?", o.Client.Address())}
	case err != nil:
		return "", err
	case !h.Initialized, h.Sealed:
		return "", &vault.Error{Kind: vault.ErrSealed, Op: "ask health", Path: "sys/health", Cause: errors.New("the server is sealed or not initialized")}
	}
	role := "active"
	if h.Standby {
		role = "standby"
	}
	return fmt.Sprintf("version %s, unsealed, %s", h.Version, role), nil
}

func (o Online) login(ctx context.Context) (cred.Token, string, error) {
	if o.Session == nil {
		return cred.Token{}, "not configured", nil
	}
	tok, err := o.Session.Login(ctx)
	switch {
	case errors.Is(err, auth.ErrWouldSpend):
		return cred.Token{}, "not tried, and with it the steps that need a token: " + err.Error(), nil
	case err != nil:
		return cred.Token{}, "", err
	}
	return tok, "accessor " + tok.Accessor, nil
}

func describe(t cred.Token) string {
	switch {
	case t.Value.Empty() && t.Wrap == nil:
		return "none"
	case t.Wrap != nil:
		return "wrapped, for whoever unwraps it; the steps that need it are left out"
	}
	end := "no end"
	if t.Lease.Duration > 0 {
		end = t.Lease.Duration.String()
	}
	return fmt.Sprintf("policies %s, time to live %s, renewable %t", strings.Join(t.Policies, ", "), end, t.Lease.Renewable)
}

// needs is what a request must be allowed; any one of them will do.
var needs = map[cred.Op][]string{
	cred.OpRead: {"read"}, cred.OpList: {"list"}, cred.OpWrite: {"update", "create"},
}

// paths asks the server what the token may do on each path that the first
// pass of the templates would ask for, under its API name.
func (o Online) paths(ctx context.Context, tok cred.Token, plans []template.Plan) (string, error) {
	if len(plans) == 0 || tok.Value.Empty() {
		return "none to check", nil
	}
	var reqs []cred.Request
	var errs []error
	for _, p := range plans {
		reqs = append(reqs, p.Requests...)
		errs = append(errs, p.Err)
	}
	client := o.Session.Client(o.Client)
	apis, err := reader.New(client, o.Reads).Resolve(ctx, reqs)
	if err != nil || len(apis) == 0 {
		return "none to check", errors.Join(append(errs, err)...)
	}
	for i, r := range reqs {
		if r.Op == cred.OpList {
			// As the server sees a list: a policy may name the folder so.
			apis[i] += "/"
		}
	}
	have, err := client.Capabilities(ctx, apis)
	if err != nil {
		return "", err
	}
	for i, r := range reqs {
		if c := have[apis[i]]; !slices.Contains(c, "root") && !slices.ContainsFunc(needs[r.Op], func(n string) bool { return slices.Contains(c, n) }) {
			errs = append(errs, &vault.Error{Kind: vault.ErrDenied, Op: strings.Join(needs[r.Op], " or "), Path: apis[i],
				Cause: errors.New("the token " + may(c))})
		}
	}
	slices.Sort(apis)
	return fmt.Sprintf("%d allowed; what depends on a secret's content is not known yet", len(slices.Compact(apis))), errors.Join(errs...)
}

// may says what capabilities allow.
func may(capabilities []string) string {
	if len(capabilities) == 0 || slices.Contains(capabilities, "deny") {
		return "may do nothing there"
	}
	return "may only " + strings.Join(capabilities, ", ")
}

// outputs tries every place that a run would write to.
func (o Online) outputs(plans []template.Plan) (string, error) {
	var errs []error
	n := 0
	for _, s := range o.Sinks {
		n++
		if c, ok := s.(sink.Checker); ok {
			if err := c.Check(); err != nil {
				errs = append(errs, fmt.Errorf("%w: %s: %w", sink.ErrWrite, s.Name(), err))
			}
		}
	}
	for _, p := range plans {
		n++
		errs = append(errs, p.CheckWritable())
	}
	return fmt.Sprintf("%d writable", n), errors.Join(errs...)
}

func (o Online) revoke(ctx context.Context, tok cred.Token) (string, error) {
	switch {
	case tok.Borrowed:
		return "left alone: the token was there before", nil
	case tok.Type == "batch":
		return "not possible for a batch token; it ends by itself", nil
	}
	ctx, cancel := goodbyeTime(ctx)
	defer cancel()
	return "token revoked", o.Session.Revoke(ctx)
}
