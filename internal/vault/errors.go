package vault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The kinds of error, for errors.Is. Each answer has exactly one, except that
// ErrInvalidToken is ErrDenied too.
var (
	// ErrDenied: the server refused (403).
	ErrDenied = errors.New("permission denied")
	// ErrInvalidToken: the server does not know the token any more.
	ErrInvalidToken = errors.New("invalid token")
	// ErrBadRequest: the request itself is at fault (400, 405 and kin);
	// a login with a wrong role or secret id is answered so.
	ErrBadRequest = errors.New("bad request")
	// ErrNotFound: nothing is there (404).
	ErrNotFound = errors.New("not found")
	// ErrSealed: the server is sealed or not initialized (503).
	ErrSealed = errors.New("sealed or unavailable")
	// ErrRateLimited: too many requests (429).
	ErrRateLimited = errors.New("rate limited")
	// ErrNotReady: a standby that has not caught up (412, 472, 473).
	ErrNotReady = errors.New("not ready")
	// ErrServer: the server failed (other 5xx, or an answer that makes no sense).
	ErrServer = errors.New("server error")
	// ErrUnreachable: there was no answer at all.
	ErrUnreachable = errors.New("unreachable")
	// ErrInsecure: there is a server, and the two sides do not come to terms
	// over TLS: nobody vouches for its certificate, it wants another of ours,
	// or one of them speaks no TLS.
	ErrInsecure = errors.New("not secure")
	// ErrNoToken: a login was answered without a token.
	ErrNoToken = errors.New("answer holds no token")
	// ErrNotLoggedIn: what needs a token was asked for without one, and nothing
	// was sent.
	ErrNotLoggedIn = errors.New("not logged in yet")
)

// Error is a failed request.
type Error struct {
	// Kind is one of the sentinels above.
	Kind error
	// Op is what was attempted, such as "login", "read", "unwrap".
	Op string
	// Path is the API path without /v1/ and without the query.
	Path string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Messages are the server's own words, scrubbed of what we sent.
	Messages []string
	// After is the server's Retry-After, 0 when it gave none.
	After time.Duration
	// Cause is the error below, nil when the server answered.
	Cause error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Op, e.Path)
	switch {
	case e.Status != 0 && len(e.Messages) > 0:
		fmt.Fprintf(&b, "%d %s", e.Status, strings.Join(e.Messages, "; "))
	case e.Status != 0:
		fmt.Fprintf(&b, "%d %v", e.Status, e.Kind)
	case e.Cause != nil:
		fmt.Fprintf(&b, "%v", e.Cause)
	default:
		fmt.Fprintf(&b, "%v", e.Kind)
	}
	return b.String()
}

// Is makes errors.Is find the kind; an invalid token is a denial too.
func (e *Error) Is(target error) bool {
	return target == e.Kind || e.Kind == ErrInvalidToken && target == ErrDenied
}

// Unwrap returns the error below.
func (e *Error) Unwrap() error { return e.Cause }

// RetryAfter is the server's wish; internal/retry asks for it.
func (e *Error) RetryAfter() time.Duration { return e.After }

// Temporary reports whether the same request may succeed later without
// anybody changing anything: no answer, sealed, rate limited, not ready, or a
// failing server.
func Temporary(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case ErrUnreachable, ErrSealed, ErrRateLimited, ErrNotReady, ErrServer:
		return true
	}
	return false
}
