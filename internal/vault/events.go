package vault

import "context"

// Event is one notification.
type Event struct {
	// Type is such as "kv-v2/data-write".
	Type string
	// Path is the API path of what it is about, without /v1/.
	Path string
	// Modified says that something changed there.
	Modified bool
}

// Subscribe listens for events of a kind, such as "kv*".
func (c *Client) Subscribe(ctx context.Context, kind string, each func(Event)) error {
	return request{op: "subscribe to", path: "sys/events/subscribe/" + kind}.fail(ErrNotFound, "not yet")
}
