package daemonmode

import (
	"log/slog"
	"net"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/guard"
)

func TestListenersThatLeaveTheirPortToTheSystemAreAllKeptTrackOf(t *testing.T) {
	d := newDaemon(t.Context(), Job{}, Options{Log: slog.New(slog.DiscardHandler)})
	l := config.Listener{Type: "tcp", Address: "127.0.0.1:0", TLSDisable: true}
	j := Job{Listeners: []config.Listener{l, l}, Guards: func(config.Listener) guard.Options { return guard.Options{} }}
	if err := d.open(j); err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, s := range d.servers {
		open = append(open, s.socket.Addr().String())
	}
	if len(open) != 2 {
		t.Errorf("open are %v", open)
	}
	if _, err := d.reopen(Job{Guards: j.Guards}); err != nil {
		t.Error(err)
	}
	for _, address := range open {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			t.Errorf("%s is open", address)
		}
	}
	if err := d.g.stopAll(parting); err != nil {
		t.Error(err)
	}
}
