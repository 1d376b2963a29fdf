package extension

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"latchkey/internal/config"
	"latchkey/internal/guard"
	"latchkey/internal/listen"
)

// Opened is a listener that is open.
type Opened struct {
	Listener net.Listener
	// Serve makes the server for it.
	Serve func(http.Handler) *http.Server
	// Peer is guard.Options.Peer.
	Peer func(*http.Request) (guard.Peer, bool)
}

// listen opens the proxy's listeners. Requests are taken from now on, and wait.
func (e *extension) listen() error {
	if e.Proxy == nil {
		return nil
	}
	open := e.Open
	if open == nil {
		open = openPlainly
	}
	var errs []error
	for i, l := range e.Listeners {
		errs = append(errs, e.listenAt(l, "listener["+strconv.Itoa(i)+"]", open))
	}
	return errors.Join(errs...)
}

func (e *extension) listenAt(l config.Listener, name string, open func(config.Listener, string, *slog.Logger) (Opened, error)) error {
	o, err := open(l, name, e.Log)
	if err != nil {
		return listenError{atAddress(err, l.Address)}
	}
	g := e.Guards(l)
	g.Name, g.Peer = name, o.Peer
	guarded, err := guard.Handler(&front{e.gate, e.Proxy(l.AutoAuth), e.Clear}, g)
	if err != nil {
		return errors.Join(err, o.Listener.Close())
	}
	e.serve(o.Serve(guarded), o.Listener)
	return nil
}

// atAddress names what was to be listened on, which whoever sets variables alone
// never wrote into a listener block.
func atAddress(err error, address string) error {
	var p *config.Problem
	if errors.As(err, &p) && p.Pos.Line == 0 {
		p.Key, p.Text = "LATCHKEY_LISTEN", address+" "+p.Text
	}
	return err
}

// listenError is that a listener could not be opened.
type listenError struct{ error }

func (l listenError) Unwrap() error { return l.error }

// openPlainly opens what is for this sandbox alone.
func openPlainly(l config.Listener, name string, log *slog.Logger) (Opened, error) {
	ln, err := listen.Plain(l, listen.Options{Name: name, Log: log})
	return Serving(l, ln, log), err
}

// Serving is a listener that is open, with the limits and the knowledge of who asks that
// its block wants.
func Serving(l config.Listener, ln net.Listener, log *slog.Logger) Opened {
	o := Opened{Listener: ln, Serve: func(h http.Handler) *http.Server { return listen.LimitsOf(l).Server(h, log) }}
	if listen.KnowsPeers {
		o.Peer = func(r *http.Request) (guard.Peer, bool) {
			p, ok := listen.PeerOf(r)
			return guard.Peer(p), ok
		}
	}
	return o
}

// listenForEnvironment opens the socket where latchkey-exec asks.
func (e *extension) listenForEnvironment() error {
	if e.Environment == nil {
		return nil
	}
	ln, err := listenEnvironment(e.API)
	if err != nil {
		return listenError{fmt.Errorf("the socket for latchkey-exec: %w", err)}
	}
	e.crew.Go(func() {
		if err := serveEnvironment(e.ctx, ln, e.Environment); err != nil && e.ctx.Err() == nil {
			e.Log.Error("latchkey-exec is not answered any more", "error", err)
		}
	})
	return nil
}
