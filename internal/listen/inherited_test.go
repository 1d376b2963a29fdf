//go:build unix

package listen

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"latchkey/internal/config"
)

// handedOver makes sockets as systemd does, and gives them by name. Whoever made
// one keeps it open.
func handedOver(t *testing.T, networks map[string][]string) (func(string) []*os.File, map[string]string) {
	t.Helper()
	files, addresses := map[string][]*os.File{}, map[string]string{}
	keep := func(name string, f *os.File, err error, a net.Addr) {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		files[name] = append(files[name], f)
		addresses[name] = a.String()
	}
	dir := t.TempDir()
	for name, all := range networks {
		for _, network := range all {
			switch network {
			case "udp":
				c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				f, err := c.File()
				keep(name, f, err, c.LocalAddr())
			case "connected":
				ln, _ := open(t, plain("127.0.0.1:0"), Options{})
				c, err := new(net.Dialer).DialContext(context.Background(), "tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				f, err := c.(*net.TCPConn).File()
				keep(name, f, err, c.LocalAddr())
			case "unix":
				ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = ln.Close() })
				f, err := ln.File()
				keep(name, f, err, ln.Addr())
			case "file":
				f, err := os.Open(dir)
				keep(name, f, err, &net.UnixAddr{})
			default:
				ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = ln.Close() })
				f, err := ln.File()
				keep(name, f, err, ln.Addr())
			}
		}
	}
	return func(name string) []*os.File { return files[name] }, addresses
}

func TestASocketOfSystemdIsServedAgainAndAgain(t *testing.T) {
	ca := newAuthority(t)
	named, addresses := handedOver(t, map[string][]string{"web": {"tcp"}, "tls": {"tcp"}, "sock": {"unix"}})
	secure := withTLS(t, ca)
	secure.Address = "systemd:tls"
	for name, l := range map[string]config.Listener{
		"web":  plain("systemd:web"),
		"tls":  secure,
		"sock": unixAt("systemd:sock"),
	} {
		t.Run(name, func(t *testing.T) {
			conf := clientOf(ca)
			if l.TLSDisable {
				conf = nil
			}
			for range 2 { // a reload closes and opens it
				t.Run("opened", func(t *testing.T) {
					ln, _ := open(t, l, Options{Inherited: named})
					serve(t, ln)
					if ln.Addr().String() != addresses[name] {
						t.Errorf("at %s, want %s", ln.Addr(), addresses[name])
					}
					if _, err := get(t, ln, conf); err != nil {
						t.Error(err)
					}
				})
			}
			if l.Type == "unix" {
				if _, err := os.Lstat(addresses[name]); err != nil {
					t.Errorf("systemd's socket was removed: %v", err)
				}
			}
		})
	}
}

func TestTheSecondSocketOfANameHasANumber(t *testing.T) {
	named, addresses := handedOver(t, map[string][]string{"web": {"tcp", "tcp"}})
	ln, _ := open(t, plain("systemd:web:2"), Options{Inherited: named})
	if ln.Addr().String() != addresses["web"] { // of the last one
		t.Errorf("%s", ln.Addr())
	}
}

func TestSocketsThatSystemdDidNotHandOverAreTold(t *testing.T) {
	named, _ := handedOver(t, map[string][]string{
		"web": {"tcp"}, "two": {"tcp", "tcp"}, "sock": {"unix"}, "udp": {"udp"}, "connected": {"connected"}, "file": {"file"},
	})
	for _, tc := range []struct {
		l        config.Listener
		key, has string
		o        Options
	}{
		{plain("systemd:other"), "listener.address", "needs a socket \"other\"", Options{Inherited: named}},
		{plain("systemd:web"), "listener.address", "handed over none", Options{}},
		{plain("systemd:"), "listener.address", "names no socket", Options{Inherited: named}},
		{plain("systemd:two"), "listener.address", "the name of 2 sockets", Options{Inherited: named}},
		{plain("systemd:two:3"), "listener.address", "socket 3 of 2", Options{Inherited: named}},
		{plain("systemd:two:0"), "listener.address", "no number", Options{Inherited: named}},
		{plain("systemd:two:x"), "listener.address", "no number", Options{Inherited: named}},
		{plain("systemd:sock"), "listener.type", `is "tcp"`, Options{Inherited: named}},
		{unixAt("systemd:web"), "listener.type", `is "unix"`, Options{Inherited: named}},
		{plain("systemd:udp"), "listener.address", "nobody can connect", Options{Inherited: named}},
		{plain("systemd:connected"), "listener.address", "nobody can connect", Options{Inherited: named}},
		{plain("systemd:file"), "listener.address", "nobody can connect", Options{Inherited: named}},
	} {
		t.Run(tc.l.Type+" "+tc.l.Address, func(t *testing.T) {
			tc.l.Pos = here
			_, _, err := Open(tc.l, tc.o)
			asProblem(t, err, tc.key, tc.has)
		})
	}
}
