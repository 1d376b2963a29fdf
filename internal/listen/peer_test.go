//go:build linux || darwin || freebsd

package listen

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"latchkey/internal/config"
)

// whoAsks serves a block and says who asked.
func whoAsks(t *testing.T, l config.Listener) (net.Listener, func() (Peer, bool)) {
	t.Helper()
	ln, _ := open(t, l, Options{})
	var p Peer
	var known bool
	s := LimitsOf(l).Server(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p, known = PeerOf(r)
		if again, ok := PeerOf(r); ok != known || again.UID != p.UID {
			t.Error("asked twice, answered differently")
		}
	}), nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return ln, func() (Peer, bool) { return p, known }
}

func TestASocketTellsWhoAsks(t *testing.T) {
	ca := newAuthority(t)
	for _, tc := range []struct {
		name string
		set  func(*config.Listener)
	}{
		{"plain", func(*config.Listener) {}},
		{"within limits", func(l *config.Listener) { l.MaxConnections = 3 }},
		{"over TLS, within limits", func(l *config.Listener) {
			*l = withTLS(t, ca)
			l.Type, l.MaxConnections = "unix", 3
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := unixAt("")
			tc.set(&l)
			l.Address = filepath.Join(t.TempDir(), "s")
			ln, who := whoAsks(t, l)
			conf := clientOf(ca)
			if l.TLSDisable {
				conf = nil
			}
			if _, err := get(t, ln, conf); err != nil {
				t.Fatal(err)
			}
			p, known := who()
			if !known || int(p.UID) != os.Getuid() || int(p.GID) != os.Getegid() {
				t.Errorf("%+v, %v", p, known)
			}
			if runtime.GOOS != "linux" {
				return
			}
			groups, err := os.Getgroups()
			if err != nil {
				t.Fatal(err)
			}
			if int(p.PID) != os.Getpid() || len(p.Groups) != len(groups) || slices.ContainsFunc(groups, func(g int) bool { return !slices.Contains(p.Groups, uint32(g)) }) {
				t.Errorf("%+v, and the groups are %v", p, groups)
			}
		})
	}
}

func TestTCPDoesNotTellWhoAsks(t *testing.T) {
	l := plain("127.0.0.1:0")
	l.MaxConnections = 1
	ln, who := whoAsks(t, l)
	if _, err := get(t, ln, nil); err != nil {
		t.Fatal(err)
	}
	if p, known := who(); known {
		t.Errorf("%+v", p)
	}
}
