package vaulttest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"latchkey/internal/atomicfile"
)

// TB is what is used of a testing.TB.
type TB interface {
	Helper()
	Name() string
	Cleanup(func())
	TempDir() string
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// door is a listening address that can be closed and opened again.
type door struct {
	handler http.Handler
	tls     *tls.Config

	mu   sync.Mutex
	addr string
	srv  *http.Server
	done chan struct{}
}

// open listens on the address it had before, or on a free port of loopback.
func (d *door) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.srv != nil {
		return errors.New("vaulttest: already listening")
	}
	addr := d.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("vaulttest: %w", err)
	}
	d.addr = ln.Addr().String()
	srv := &http.Server{
		Handler: d.handler, TLSConfig: d.tls, ReadHeaderTimeout: 10 * time.Second,
		// Clients that break off are what many tests are about.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	d.srv, d.done = srv, done
	go func() {
		defer close(done)
		if d.tls != nil {
			_ = srv.ServeTLS(ln, "", "")
			return
		}
		_ = srv.Serve(ln)
	}()
	return nil
}

// shut closes the listener and drops every connection; it may be called twice.
func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.srv == nil {
		return
	}
	_ = d.srv.Close()
	<-d.done
	d.srv = nil
}

// url is the address with its scheme; it stays the same across shut and open.
func (d *door) url() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tls != nil {
		return "https://" + d.addr
	}
	return "http://" + d.addr
}

// writeFile puts a file for a test into dir.
func writeFile(dir, name string, data []byte) (string, error) {
	path := filepath.Join(dir, name)
	_, err := atomicfile.Write(path, data, atomicfile.Options{Mode: 0o600, UID: -1, GID: -1})
	return path, err
}

// tempDir returns a directory and what removes it.
func tempDir() (string, func(), error) {
	dir, err := os.MkdirTemp("", "vaulttest")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}
