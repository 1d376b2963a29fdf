package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"
)

// Event is what a server tells of a change.
type Event struct {
	// Type is such as "kv-v2/data-write"; empty in the first call of Subscribe.
	Type string
	// Path is the API path of the secret, without /v1/; of a version 2 key-value
	// engine with data/.
	Path string
	// Modified says that something there is other than before.
	Modified bool
}

// maxEvent bounds one notification; they are about a thousand bytes.
const maxEvent = 1 << 20

// Subscribe hears of events of a kind, such as "kv-v2/data-write" or "kv*", and
// calls each for one after the other: first with the zero Event, as soon as the
// server has agreed, then for each that has a path. It blocks until ctx ends or
// the connection does, and its error is never nil: ErrNotLoggedIn without a token,
// ErrNotFound where the server has no events or knows none of this kind, ErrDenied
// where the policy does not allow them, ErrUnreachable for a connection that ended.
func (c *Client) Subscribe(ctx context.Context, kind string, each func(Event)) error {
	r := request{
		op: "subscribe to", method: http.MethodGet, path: "sys/events/subscribe/" + kind, query: url.Values{"json": {"true"}},
	}
	if c.token.Empty() {
		return &Error{Kind: ErrNotLoggedIn, Op: r.op, Path: r.path}
	}
	conn, err := c.upgrade(ctx, r)
	if c.seen != nil {
		c.seen(c.token, err)
	}
	if err != nil {
		return err
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxEvent)
	each(Event{})
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return &Error{Kind: ErrUnreachable, Op: r.op, Path: r.path, Cause: fmt.Errorf("%s: the connection ended: %w", c.Address(), err)}
		}
		if e := parseEvent(data); e.Path != "" {
			each(e)
		}
	}
}

// upgrade makes a web socket of a request, with what every request carries, and
// follows one redirect as they all do.
func (c *Client) upgrade(ctx context.Context, r request) (*websocket.Conn, error) {
	if strings.ContainsFunc(c.token.Reveal(), isControl) {
		return nil, r.fail(ErrInvalidToken, "the token holds characters that no token has; is it a whole file?")
	}
	if c.limiter != nil {
		if err := c.limiter.Wait(ctx); err != nil {
			return nil, &Error{Kind: ErrUnreachable, Op: r.op, Path: r.path, Cause: err}
		}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	to := *c.base
	to.Path += "/v1/" + r.path
	to.RawQuery = r.query.Encode()
	conn, resp, err := c.dialSocket(ctx, r, to.String())
	if err != nil && resp != nil && !c.disableRedirects && resp.StatusCode/100 == 3 {
		next, bad := resp.Location()
		switch {
		case bad != nil:
			return nil, c.unreachable(parent, r, fmt.Errorf("redirect: %w", bad))
		case to.Scheme == "https" && next.Scheme != "https":
			return nil, c.unreachable(parent, r, fmt.Errorf("redirect from https to %s refused: it would send the token in clear: %w", next.Redacted(), ErrInsecure))
		}
		conn, resp, err = c.dialSocket(ctx, r, next.String())
	}
	switch {
	case err == nil:
		return conn, nil
	case resp == nil:
		return nil, c.unreachable(parent, r, err)
	case resp.StatusCode >= 100 && resp.StatusCode <= 299:
		return nil, &Error{Kind: ErrServer, Op: r.op, Path: r.path, Cause: errors.New("the answer is not a web socket")}
	}
	data, _ := io.ReadAll(resp.Body)
	return nil, c.refused(r, resp, data)
}

func (c *Client) dialSocket(ctx context.Context, r request, to string) (*websocket.Conn, *http.Response, error) {
	req, err := c.build(ctx, r, to)
	if err != nil {
		return nil, nil, err
	}
	return websocket.Dial(ctx, to, &websocket.DialOptions{HTTPClient: c.http, HTTPHeader: req.Header})
}

// parseEvent reads one notification. What has another shape is the zero Event:
// the server may tell of things that are yet to be invented.
func parseEvent(data []byte) Event {
	var n struct {
		Data struct {
			EventType string `json:"event_type"`
			Event     struct {
				// The values are texts, whatever they mean.
				Metadata map[string]any `json:"metadata"`
			} `json:"event"`
		} `json:"data"`
	}
	if json.Unmarshal(data, &n) != nil {
		return Event{}
	}
	meta := n.Data.Event.Metadata
	path, _ := meta["data_path"].(string)
	if path == "" {
		path, _ = meta["path"].(string)
	}
	return Event{
		Type: n.Data.EventType, Path: strings.Trim(strings.TrimPrefix(path, "/v1/"), "/"),
		Modified: fmt.Sprint(meta["modified"]) == "true",
	}
}
