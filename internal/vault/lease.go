package vault

import (
	"context"
	"net/http"
	"time"

	"latchkey/internal/cred"
)

// RenewLease extends a lease by about increment (0 leaves it to the server) and
// returns it as it is from now on.
func (c *Client) RenewLease(ctx context.Context, id string, increment time.Duration) (cred.Lease, error) {
	s, err := c.Wrapping(0).secret(ctx, request{
		op: "renew lease", method: http.MethodPut, path: "sys/leases/renew",
		body: map[string]any{"lease_id": id, "increment": seconds(increment)},
	})
	if err != nil {
		return cred.Lease{}, err
	}
	return s.Lease, nil
}

// RevokeLease ends a lease.
func (c *Client) RevokeLease(ctx context.Context, id string) error {
	_, err := c.Wrapping(0).secret(ctx, request{
		op: "revoke lease", method: http.MethodPut, path: "sys/leases/revoke", body: map[string]any{"lease_id": id},
	})
	return err
}
