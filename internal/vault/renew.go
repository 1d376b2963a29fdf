package vault

import (
	"context"
	"net/http"
	"time"

	"latchkey/internal/cred"
)

// RenewSelf extends the life of the view's token and returns its new lease. An
// increment of 0 leaves the length to the server, which knows what the token's
// role grants; more is a wish that the server may cut. An answer without a
// token is ErrNoToken.
func (c *Client) RenewSelf(ctx context.Context, increment time.Duration) (cred.Lease, error) {
	r := request{op: "renew", method: http.MethodPut, path: "auth/token/renew-self", body: map[string]any{}}
	if increment > 0 {
		r.body["increment"] = seconds(increment)
	}
	s, err := c.Wrapping(0).secret(ctx, r)
	if err != nil {
		return cred.Lease{}, err
	}
	if s.Auth == nil {
		return cred.Lease{}, r.fail(ErrNoToken, "the answer holds no token")
	}
	return s.Auth.Lease, nil
}
