package daemonmode

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"syscall"

	"latchkey/internal/config"
	"latchkey/internal/guard"
	"latchkey/internal/health"
	"latchkey/internal/listen"
	"latchkey/internal/sockaddr"
)

// server is one open listener. Its socket is opened before anything else is
// started, so that an address in use is known at once.
type server struct {
	name     string
	settings config.Listener
	socket   net.Listener
	// reload reads its certificates again.
	reload func() error
	front  *front
	http   *http.Server
}

// statusMode is the mode of the status socket: it tells nothing secret, but not
// everybody needs to know.
const statusMode = "0660"

// opening is a listener of a job, under a name that no other has: a reload finds by it
// what is open already.
type opening struct {
	name string
	config.Listener
}

// listeners lists what a job wants open, the status socket as one of them.
func (j Job) listeners() []opening {
	var all []opening
	times := map[string]int{}
	add := func(l config.Listener) {
		name := "listener " + l.Type + " " + l.Address
		times[name]++
		// The system gives each of several with port 0 a port of its own.
		if n := times[name]; n > 1 {
			name = fmt.Sprintf("%s (%d)", name, n)
		}
		all = append(all, opening{name, l})
	}
	for _, l := range j.Listeners {
		add(l)
	}
	if j.StatusSocket != "" {
		add(config.Listener{Type: "unix", Address: j.StatusSocket, TLSDisable: true, SocketMode: statusMode})
	}
	return all
}

// open opens what the job wants open and starts to serve it.
func (d *daemon) open(j Job) error {
	var errs []error
	for _, l := range j.listeners() {
		errs = append(errs, d.listen(j, l))
	}
	return errors.Join(errs...)
}

func (d *daemon) listen(j Job, n opening) error {
	l := n.Listener
	s := &server{name: n.name, settings: l}
	opts := listen.Options{Name: s.name, Log: d.log, Inherited: d.o.Sockets.Named, Evaluate: sockaddr.Evaluate}
	var err error
	if s.socket, s.reload, err = listen.Open(l, opts); err != nil {
		return err
	}
	for _, w := range listen.Warnings(l, opts, s.socket.Addr()) {
		d.log.Warn(w.String())
	}
	o := health.Options{Status: d.status, Metrics: d.o.Metrics, MetricsOnly: l.Role == health.MetricsOnly}
	if l.EnableQuit {
		o.Quit = d.askToQuit
	}
	s.front = &front{own: health.Handler(o)}
	guarded, err := guard.Handler(s.front, d.guards(j, l, s.name))
	if err != nil {
		return errors.Join(err, s.socket.Close())
	}
	s.http = listen.LimitsOf(l).Server(guarded, d.log)
	d.mu.Lock()
	s.pass(d.job.Proxy)
	d.servers[s.name] = s
	d.mu.Unlock()
	d.g.start(s.name, s.serve)
	d.log.Info("listening", "listener", l.Type, "address", s.socket.Addr().String())
	return nil
}

// guards are those of a listener; the status socket is ours and has none.
func (d *daemon) guards(j Job, l config.Listener, name string) guard.Options {
	if l.Address == j.StatusSocket && l.Type == "unix" {
		return guard.Options{}
	}
	g := j.Guards(l)
	g.Name = name
	if listen.KnowsPeers {
		g.Peer = func(r *http.Request) (guard.Peer, bool) {
			p, ok := listen.PeerOf(r)
			return guard.Peer(p), ok
		}
	}
	return g
}

// serve answers until ctx ends, and lets what it is answering then come to an
// end. A web socket has none of its own: the server does not know it any more, and
// the end of its request's context tells it.
func (s *server) serve(ctx context.Context) error {
	requests, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(errStop)
	s.http.BaseContext = func(net.Listener) context.Context { return requests }
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.socket) }()
	select {
	case err := <-done:
		return fmt.Errorf("%s: %w", s.name, err)
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting/2)
	defer cancel()
	if s.http.Shutdown(late) != nil {
		_ = s.http.Close()
	}
	<-done
	return context.Cause(ctx)
}

// reopen closes and opens what the next job has otherwise, and has the rest read
// its certificates again; it returns the names of the former. What cannot be opened
// leaves everything as it was.
func (d *daemon) reopen(next Job) (moved []string, err error) {
	d.mu.Lock()
	now, before := maps.Clone(d.servers), d.job
	d.mu.Unlock()
	// What was changed is changed back when the rest cannot be.
	var undo []func() error
	failed := func(err error) ([]string, error) {
		for _, back := range slices.Backward(undo) {
			err = errors.Join(err, back())
		}
		return nil, err
	}
	wanted := map[string]bool{}
	for _, l := range next.listeners() {
		wanted[l.name] = true
	}
	unwanted := maps.Clone(now)
	maps.DeleteFunc(unwanted, func(name string, _ *server) bool { return wanted[name] })
	moved = slices.Collect(maps.Keys(unwanted))
	for _, l := range next.listeners() {
		if now[l.name] != nil {
			continue
		}
		err := d.listen(next, l)
		if errors.Is(err, syscall.EADDRINUSE) && len(unwanted) > 0 {
			// One that is to go may stand in the way: a port of another address.
			for _, s := range unwanted {
				d.shut(s.name)
				undo = append(undo, func() error { return d.listen(before, s.opening()) })
			}
			clear(unwanted)
			err = d.listen(next, l)
		}
		if err != nil {
			return failed(err)
		}
		moved = append(moved, l.name)
		undo = append(undo, func() error { d.shut(l.name); return nil })
	}
	for _, l := range next.listeners() {
		s := now[l.name]
		if s == nil {
			continue
		}
		if err := d.relisten(s, before, next, l); err != nil {
			return failed(err)
		}
		if d.opened(l.name) != s {
			moved = append(moved, l.name)
		}
		undo = append(undo, func() error { return d.relisten(d.opened(s.name), next, before, s.opening()) })
	}
	for name := range unwanted {
		d.shut(name)
	}
	return moved, nil
}

// opening is what it was opened for.
func (s *server) opening() opening { return opening{s.name, s.settings} }

// opened is the open listener of that name, nil when there is none.
func (d *daemon) opened(name string) *server {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.servers[name]
}

// relisten opens an address again with other settings, and with the old ones
// when those do not work.
func (d *daemon) relisten(s *server, before, next Job, l opening) error {
	// What a path on a list means depends on the namespace.
	if same(s.settings, l.Listener) && before.Guards(l.Listener).Namespace == next.Guards(l.Listener).Namespace {
		return s.reload()
	}
	d.shut(s.name)
	err := d.listen(next, l)
	if err != nil {
		err = errors.Join(err, d.listen(before, s.opening()))
	}
	return err
}

// same compares what two listeners say, wherever they stand in their files.
func same(a, b config.Listener) bool {
	a.Pos, b.Pos = config.Pos{}, config.Pos{}
	return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

// shut closes a listener.
func (d *daemon) shut(name string) {
	d.g.stop(name)
	d.mu.Lock()
	delete(d.servers, name)
	d.mu.Unlock()
}

// askToQuit ends the daemon; asking twice is asking once.
func (d *daemon) askToQuit() { d.quitOnce.Do(func() { close(d.quit) }) }
