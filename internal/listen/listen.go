// Package listen opens the addresses that a configuration's listener blocks
// name, and builds the server that answers there.
//
// Open binds and starts nothing that would have to be waited for: serve what it
// returns, call its second result when certificates should be read again, and
// close the listener at the end, which also removes a socket's file, unless systemd
// made it. An error of Open holds a *config.Problem that names place and key.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

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
	// Inherited gives the sockets of one name that systemd handed over
	// (systemd.Sockets.Named); nil where there are none. They stay open when a
	// listener of theirs is closed, so that nobody is turned away while one is
	// opened anew.
	Inherited func(name string) []*os.File
	// Evaluate runs the template that an address may be (sockaddr.Evaluate); nil:
	// there are none.
	Evaluate func(string) (string, error)
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

// Open opens a listener of type tcp or unix, or takes one that was handed over
// (address "systemd:NAME"). The returned function reads the TLS
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
	if strings.HasPrefix(l.Address, inheritedPrefix) {
		if ln, err = openInherited(l, o, at); err == nil {
			ln = limit(ln, l.MaxConnections)
		}
	} else {
		ln, err = bind(l, o, at, net.ListenConfig{})
	}
	if err != nil {
		return nil, nil, err
	}
	if certs == nil {
		return ln, func() error { return nil }, nil
	}
	return tls.NewListener(ln, certs.config()), certs.reload, nil
}

// Plain is Open for who listens on this machine alone, without TLS and without
// systemd: a program that calls nothing else of this package does not link them.
func Plain(l config.Listener, o Options) (net.Listener, error) {
	at := o.at(l)
	if !l.TLSDisable || strings.HasPrefix(l.Address, inheritedPrefix) {
		return nil, at.problem("address", "is not for this program", "a port of localhost or a unix socket, without TLS", nil)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // which is two more calls at the start, where there is one path
	return bind(l, o, at, lc)
}

func bind(l config.Listener, o Options, at place, lc net.ListenConfig) (ln net.Listener, err error) {
	switch l.Type {
	case "tcp":
		ln, err = openTCP(l, o, at, lc)
	case "unix":
		ln, err = openUnix(l, at)
	default:
		err = at.problem("type", fmt.Sprintf("is %q", l.Type), "tcp or unix", nil)
	}
	if err != nil {
		return nil, err
	}
	return limit(ln, l.MaxConnections), nil
}

func openTCP(l config.Listener, o Options, at place, lc net.ListenConfig) (net.Listener, error) {
	network, address, err := addressOf(l, o, at)
	if err != nil {
		return nil, err
	}
	ln, err := lc.Listen(context.Background(), network, address)
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

// addressOf is tcpAddress with the place of what is wrong.
func addressOf(l config.Listener, o Options, at place) (network, address string, err error) {
	if network, address, err = tcpAddress(l.Address, o.Evaluate); err != nil {
		return "", "", at.problem("address", err.Error(), "host:port, such as 127.0.0.1:8200", nil)
	}
	return network, address, nil
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
// keys that do not do what they seem to, and an address that other machines may
// reach, where the configuration does not spell it out: what it does, config.Check
// has warned of.
func Warnings(l config.Listener, o Options, addr net.Addr) []config.Warning {
	at := o.at(l)
	var ws []config.Warning
	handed := strings.HasPrefix(l.Address, inheritedPrefix)
	if a, ok := addr.(*net.TCPAddr); ok && !a.IP.IsLoopback() && (handed || strings.Contains(l.Address, "{{")) {
		token := l.CallerTokenFile+l.CallerTokenEnv != ""
		who := "whoever reaches it may ask all it serves"
		switch {
		case l.Guard:
			who = "guard refuses those who do, unless they say that they ask localhost"
		case token:
			who = "the token of callers can be read on the way"
		}
		switch {
		case l.TLSDisable:
			ws = append(ws, at.warning("address", fmt.Sprintf("%s may be reached from other machines, and without TLS", addr),
				who+"; listen on 127.0.0.1, or on a unix socket"))
		case !l.TLSRequireAndVerifyClient && !token:
			ws = append(ws, at.warning("address", fmt.Sprintf("%s may be reached from other machines", addr),
				who+"; listen on 127.0.0.1, or set tls_require_and_verify_client_cert or caller_token_file"))
		}
	}
	if l.Type == "tcp" || handed {
		text, hint := "has no meaning for tcp", ""
		if handed {
			text, hint = "has no meaning for a socket that systemd made", "write SocketMode, SocketUser and SocketGroup into its .socket unit"
		}
		for _, k := range []struct{ key, value string }{
			{"socket_mode", l.SocketMode}, {"socket_user", l.SocketUser}, {"socket_group", l.SocketGroup},
		} {
			if k.value != "" {
				ws = append(ws, at.warning(k.key, text, hint))
			}
		}
	}
	if l.Type == "unix" && !handed && l.SocketGroup != "" && l.SocketMode == "" {
		ws = append(ws, at.warning("socket_group", "gets in only where the umask lets it", `add socket_mode = "0660"`))
	}
	if !l.TLSDisable {
		ws = append(ws, tlsWarnings(l, at)...)
	}
	return ws
}
