package extension

import (
	"context"
	"errors"

	"latchkey/internal/cred"
	"latchkey/internal/session"
)

// lender lends a token to the function's requests. It lets none wait for a login that
// would come after its invocation: that is known at once, as long as the server does
// not let anybody in.
type lender struct {
	*session.Pulled
	gate *gate
}

// Token implements proxy.Identity.
func (l lender) Token(ctx context.Context) (cred.Redacted, error) {
	ctx, cancel := l.gate.inTime(ctx)
	defer cancel()
	return l.Pulled.Token(ctx)
}

// Replace implements proxy.Identity.
func (l lender) Replace(ctx context.Context, bad cred.Redacted) (cred.Redacted, error) {
	ctx, cancel := l.gate.inTime(ctx)
	defer cancel()
	return l.Pulled.Replace(ctx, bad)
}

// Renewed implements proxy.Renewer.
func (l lender) Renewed(ctx context.Context) (cred.Redacted, error) {
	ctx, cancel := l.gate.inTime(ctx)
	defer cancel()
	return l.Pulled.Renewed(ctx)
}

var errLate = errors.New("there was no time left")

// inTime gives ctx a deadline that lies a little before the end of bounded, where
// there is one.
func (g *gate) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if g.until.Load() == 0 || ctx.Err() != nil {
		return ctx, func() {}
	}
	left := g.left() - margin/2
	if left <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, left, errLate)
}
