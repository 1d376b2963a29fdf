package cred

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// Op is the kind of a Request.
type Op int

// The operations.
const (
	OpRead  Op = iota // secret "path"
	OpWrite           // secret "path" "k=v", pkiCert
	OpList            // secrets "path"
)

// Request is one question to the server, as a template, a reference or the
// proxy asks it. Two requests with the same Key are the same request.
type Request struct {
	Op Op
	// Path is as the user writes it, without surrounding slashes and without
	// the query: for a KV version 2 mount with or without its "data/".
	Path string
	// Query is the encoded query of a read, such as "version=2".
	Query string
	// Body is what a write sends.
	Body map[string]any
	// Fresh says that the asker keeps the answer itself, as a certificate in
	// its own file: nobody answers it from memory, and nobody reads it again by
	// himself. It is no part of Key.
	Fresh bool
}

// Key identifies the request without showing what a write sends: the body
// enters as a hash.
func (r Request) Key() string {
	key := strconv.Itoa(int(r.Op)) + " " + r.Path
	if r.Query != "" {
		key += "?" + r.Query
	}
	if r.Op == OpWrite {
		// A map's keys come out sorted; a body that JSON cannot hold is
		// refused later by the request itself.
		body, _ := json.Marshal(r.Body)
		sum := sha256.Sum256(body)
		key += "#" + hex.EncodeToString(sum[:])
	}
	return key
}

// String is the request for people: what is done and where, not the body.
func (r Request) String() string {
	path := r.Path
	if r.Query != "" {
		path += "?" + r.Query
	}
	return [...]string{"read ", "write ", "list "}[r.Op] + path
}

// Result is the answer to a Request: a secret or an error, never both and
// never neither.
type Result struct {
	Secret *Secret
	Err    error
}
