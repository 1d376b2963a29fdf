// Package listen opens the addresses that a configuration's listener blocks
// name, and builds the server that answers there.
package listen

import (
	"errors"
	"log/slog"
	"net"
	"net/http"

	"latchkey/internal/config"
)

// Options are what Open needs beside the block.
type Options struct {
	// Name is what errors and warnings call the listener, "listener[0]"; empty:
	// "listener".
	Name string
	// User and Group give the id of a name; nil: the system's.
	User, Group func(name string) (int, error)
	// Log is told when certificates are read again by themselves
	// (tls_auto_reload), and when that fails; nil: nobody.
	Log *slog.Logger
}

// Open opens the listener.
func Open(l config.Listener, o Options) (net.Listener, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}

// Warnings says what is doubtful about an open listener.
func Warnings(l config.Listener, o Options, at net.Addr) []config.Warning { return nil }

// Server is the HTTP server of a listener.
func Server(h http.Handler, log *slog.Logger) *http.Server { return nil }
