package vault

import (
	"context"
	"errors"
	"io"
	"net/http"
)

// Passage is a request that somebody else made and that is passed on.
type Passage struct {
	Method string
	// Path is escaped and begins with /v1/.
	Path string
	// Query is as it was sent, without the question mark.
	Query string
	// Header is sent as it is: what is between two hops is taken out, token and
	// namespace are settled.
	Header http.Header
	// Body is nil for none; Length is its length, -1 where it is not known.
	Body   io.Reader
	Length int64
	// Replay returns the body once more; nil when it can be sent only once.
	Replay func() io.Reader
}

// Forward sends a request of somebody else's and returns the answer, whatever
// its status.
func (c *Client) Forward(ctx context.Context, p Passage) (*http.Response, error) {
	return nil, errors.ErrUnsupported
}

// Refusal turns an answer that is no success into the *Error that a request of
// our own would have ended with.
func (c *Client) Refusal(op, path string, resp *http.Response, body []byte) error {
	return c.refused(request{op: op, path: path}, resp, body)
}
