package vaulttest

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
)

// snapshotPath is where a server with integrated storage hands out all of it, and
// takes it back.
const snapshotPath = "sys/storage/raft/snapshot"

// storage is what the fake calls its snapshot: so many bytes that nobody can
// compress. It has a lock of its own, because it is moved while others ask.
type storage struct {
	mu   sync.Mutex
	size int64
	in   int64
	sum  hash.Hash
}

// Snapshots lets the server have integrated storage, with snapshots of so many
// bytes; it returns the SHA-256 of what it hands out. A Server has none, as a dev
// server.
//
// As with Events, no transcript holds this to the truth: a dev server has none. It
// follows the documentation: GET answers with bytes as application/gzip, POST takes
// bytes and answers 204. What is taken changes nothing.
func (s *Server) Snapshots(size int64) (sum string) {
	s.storage.mu.Lock()
	defer s.storage.mu.Unlock()
	s.storage.size = size
	h := sha256.New()
	_, _ = io.Copy(h, snapshotBytes(size)) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// Taken tells how many bytes of the last snapshot have come in so far, and the
// SHA-256 of them.
func (s *Server) Taken() (bytes int64, sum string) {
	t := &s.storage
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sum == nil {
		return 0, ""
	}
	return t.in, hex.EncodeToString(t.sum.Sum(nil))
}

// snapshotBytes are the same each time.
func snapshotBytes(size int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) }

func readSnapshot(r *request) (*response, error) {
	size, err := r.snapshots()
	if err != nil {
		return nil, err
	}
	return &response{flow: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/gzip")
		_, _ = io.Copy(w, snapshotBytes(size)) // a client that hangs up
	}}, nil
}

func writeSnapshot(r *request) (*response, error) {
	if _, err := r.snapshots(); err != nil {
		return nil, err
	}
	t := &r.s.storage
	t.mu.Lock()
	t.in, t.sum = 0, sha256.New()
	t.mu.Unlock()
	return &response{flow: func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(t, r.Body); err != nil {
			fail(w, failure(http.StatusBadRequest, "failed to read the snapshot"))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}}, nil
}

// Write implements io.Writer.
func (t *storage) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in += int64(len(p))
	return t.sum.Write(p)
}

func (r *request) snapshots() (size int64, err error) {
	t := &r.s.storage
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.size == 0 {
		return 0, failure(http.StatusNotFound, multi("unsupported path"))
	}
	return t.size, nil
}
