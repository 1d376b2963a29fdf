// Package exchange holds the nouns of a proxied call: what a client asked, and
// what the server answered. The proxy makes and writes them, the cache keeps
// them, and neither has to know the other.
//
// Nothing here is copied on its way: who gets an Ask or an Answer may read it
// and must not change it.
package exchange

import (
	"context"
	"net/http"
	"time"

	"latchkey/internal/cred"
)

// Ask is a request of a client, with all that decides what the server answers.
type Ask struct {
	// Method is as the client sent it: GET, LIST, POST.
	Method string
	// Path is escaped as the client sent it, and begins with /v1/.
	Path string
	// Query is as the client sent it, without the question mark.
	Query string
	// Namespace is the one that the server will see in the header: the client's
	// or the configured one; "" for none, else it ends with a slash.
	Namespace string
	// Header is the client's, without what is between two hops only. The token
	// stands in Who, and is not to be looked for here.
	Header http.Header
	// Body is all of it, nil for none.
	Body []byte
	Who  Who
}

// Who says with whose rights a request is made.
type Who struct {
	// Lent is the name of the identity of ours whose token is lent; empty for a
	// client that brings its own token, or none.
	Lent string
	// Token is the client's own; empty where ours is lent or nobody has one.
	Token cred.Redacted
}

// Fetch asks the server, once. It is called with a context that ends when nobody
// waits for the answer any more.
type Fetch func(ctx context.Context) (*Answer, error)

// Answer is what the server said, whatever the status.
type Answer struct {
	Status int
	// Header is the server's, without what is between two hops only.
	Header http.Header
	// Body is all of it; nil when Stream is set.
	Body []byte
	// At is when the server gave it, wall-clock time.
	At time.Time
	// Token is what the request was made with, lent or brought along; empty for
	// none.
	Token cred.Redacted
	// From says where the answer came from.
	From From
	// Stream is set for an answer that is not to be held in memory: it is too
	// large, is not JSON, or does not end. It belongs to who called Fetch first,
	// who writes it to its client and closes its body; nobody else gets it.
	Stream *http.Response
}

// From says where an answer came from.
type From uint8

// Where an answer came from.
const (
	// Direct: from the server, for this request alone, past any cache.
	Direct From = iota
	// Miss: from the server.
	Miss
	// Hit: from memory.
	Hit
	// Stale: from memory, and older than it should be, because the server is
	// away.
	Stale
)

// String is the value of the header X-Cache; Direct has none.
func (f From) String() string { return [...]string{"", "MISS", "HIT", "STALE"}[f] }

// Reads says whether a method leaves everything as it is, as the server and its kin
// have it.
func Reads(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, "LIST", "SCAN":
		return true
	}
	return false
}
