package vault

import (
	"context"
	"net/http"
	"time"

	"latchkey/internal/cred"
)

// RenewLease asks for a lease to go on for increment from now (0 leaves that to
// the server) and returns it as it is from now on, which may be shorter. A lease
// that is over, revoked or unknown is ErrBadRequest with the words "lease not
// found", one that cannot be renewed the same with "lease is not renewable".
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
