// Package listen opens the addresses that a configuration's listener blocks
// name, and builds the server that answers there.
//
// Open binds and starts nothing that would have to be waited for: serve what it
// returns, call its second result when certificates should be read again, and
// close the listener at the end, which also removes a socket's file. An error of
// Open holds a *config.Problem that names place and key.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"latchkey/internal/config"
)

// Options are what Open needs beside the block.
type Options struct {
	// Name is what errors and warnings call the listener, such as
	// "listener[0]"; empty: "listener".
	Name string
	// Log is told when certificates are read again by themselves
	// (tls_auto_reload) and when that fails; nil: nobody.
	Log *slog.Logger
}

// place is where in the configuration something is wrong.
type place struct {
	pos  config.Pos
	name string
}

func (o Options) at(l config.Listener) place {
	if o.Name == "" {
		o.Name = "listener"
	}
	return place{l.Pos, o.Name}
}

func (p place) key(key string) string {
	if key == "" {
		return p.name
	}
	return p.name + "." + key
}

// problem is a config.Problem that remembers its cause.
type problem struct {
	*config.Problem
	cause error
}

// Unwrap lets errors.As find the Problem and errors.Is the cause.
func (p problem) Unwrap() []error {
	if p.cause == nil {
		return []error{p.Problem}
	}
	return []error{p.Problem, p.cause}
}

func (p place) problem(key, text, hint string, cause error) error {
	if cause != nil {
		text += ": " + cause.Error()
	}
	return problem{&config.Problem{Pos: p.pos, Key: p.key(key), Text: text, Hint: hint}, cause}
}

func (p place) warning(key, text, hint string) config.Warning {
	return config.Warning{Pos: p.pos, Key: p.key(key), Text: text, Hint: hint}
}

// Open opens a listener of type tcp or unix. The returned function reads the TLS
// files again (certificate, key, client CAs): connections that are open stay as
// they are, new ones get what was read; when it fails, what was there stays in
// use. Without TLS it does nothing. Both may be used from any goroutine.
//
// Errors hold a *config.Problem; errors.Is finds the system's error in them, such
// as syscall.EADDRINUSE.
func Open(l config.Listener, o Options) (net.Listener, func() error, error) {
	at := o.at(l)
	// Files before sockets: what cannot be served is not bound.
	var certs *certificates
	if !l.TLSDisable {
		var err error
		if certs, err = newCertificates(l, at, o.Log); err != nil {
			return nil, nil, err
		}
	}
	var ln net.Listener
	var err error
	switch l.Type {
	case "tcp":
		ln, err = openTCP(l, at)
	case "unix":
		ln, err = openUnix(l, at)
	default:
		err = at.problem("type", fmt.Sprintf("is %q", l.Type), "tcp or unix", nil)
	}
	if err != nil {
		return nil, nil, err
	}
	if certs == nil {
		return ln, func() error { return nil }, nil
	}
	return tls.NewListener(ln, certs.config()), certs.reload, nil
}

func openTCP(l config.Listener, at place) (net.Listener, error) {
	network, address, err := tcpAddress(l.Address)
	if err != nil {
		return nil, at.problem("address", err.Error(), "host:port, such as 127.0.0.1:8200", nil)
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), network, address)
	if err != nil {
		hint := ""
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			hint = "another process listens there; is an agent running already?"
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			hint = "the address must be one of this machine"
		case errors.Is(err, syscall.EACCES):
			hint = "ports below 1024 need a privilege"
		}
		return nil, at.problem("address", "cannot be listened on", hint, bare(err))
	}
	return ln, nil
}

// bare takes the operation off a network error, since the problem says it.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Warnings says what is doubtful about a listener that was opened at an address:
// one that other machines may reach, and keys that do not do what they seem to.
func Warnings(l config.Listener, o Options, addr net.Addr) []config.Warning {
	at := o.at(l)
	var ws []config.Warning
	if a, ok := addr.(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		switch {
		case l.TLSDisable:
			ws = append(ws, at.warning("address", fmt.Sprintf("%s may be reached from other machines, and without TLS", addr),
				"whoever reaches it may ask all it serves; listen on 127.0.0.1, or on a unix socket"))
		case !l.TLSRequireAndVerifyClient:
			ws = append(ws, at.warning("address", fmt.Sprintf("%s may be reached from other machines", addr),
				"whoever reaches it may ask all it serves; listen on 127.0.0.1, or set tls_require_and_verify_client_cert"))
		}
	}
	if l.Type == "tcp" {
		for _, k := range []struct{ key, value string }{
			{"socket_mode", l.SocketMode}, {"socket_user", l.SocketUser}, {"socket_group", l.SocketGroup},
		} {
			if k.value != "" {
				ws = append(ws, at.warning(k.key, "has no meaning for tcp", ""))
			}
		}
	}
	if l.Type == "unix" && l.SocketGroup != "" && l.SocketMode == "" {
		ws = append(ws, at.warning("socket_group", "gets in only where the umask lets it", `add socket_mode = "0660"`))
	}
	if !l.TLSDisable {
		ws = append(ws, tlsWarnings(l, at)...)
	}
	return ws
}

// The bounds of a request, as Vault Agent has them. There is none for writing an
// answer: a proxied one may take as long as the server's.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 5 * time.Minute
)

// Server is the HTTP server of a listener. What goes wrong with single
// connections (a handshake that fails, a client that breaks off) is logged at
// debug: anybody can cause it.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
