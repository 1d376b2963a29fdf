package extension

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/guard"
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
		return listenError{err}
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

// listenError is that a listener could not be opened.
type listenError struct{ error }

func (l listenError) Unwrap() error { return l.error }

// How long who connects may take to say what it wants; a program of this machine
// needs no time for that.
const headTime = 10 * time.Second

// openPlainly opens what is for this sandbox alone.
func openPlainly(l config.Listener, _ string, log *slog.Logger) (Opened, error) {
	if l.Type == "unix" {
		// What an earlier process of this sandbox left: the platform starts us anew
		// after a failure, and keeps the files.
		if err := os.Remove(l.Address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return Opened{}, err
		}
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // which takes two more calls, for what has one path
	ln, err := lc.Listen(context.Background(), l.Type, l.Address)
	if err != nil {
		return Opened{}, err
	}
	serve := func(h http.Handler) *http.Server {
		return &http.Server{Handler: h, ReadHeaderTimeout: headTime, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	}
	return Opened{Listener: ln, Serve: serve}, nil
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
	e.crew.Add(1)
	go func() {
		defer e.crew.Done()
		if err := serveEnvironment(e.ctx, ln, e.Environment); err != nil && e.ctx.Err() == nil {
			e.Log.Error("latchkey-exec is not answered any more", "error", err)
		}
	}()
	return nil
}
