package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/hcl"
	"latchkey/internal/health"
)

// noAnswer is the kind of the error when no daemon says how it is.
type noAnswer struct{ error }

func (n noAnswer) Unwrap() error { return n.error }

// statusTimeout is more than a daemon that is alive ever takes.
const statusTimeout = 5 * time.Second

func runStatus(ctx context.Context, w world, g given, _ []string) int {
	format := g["format"]
	if format != "" && format != "table" && format != "json" {
		return fail(w.stderr, usageError{fmt.Sprintf("-format=%s: there is table and json", format)})
	}
	return bounded(ctx, w, g, statusTimeout, func(ctx context.Context) int {
		address, err := statusAddress(w, g)
		if err != nil {
			return newSetup(w, g).finish(ctx, err)
		}
		s, err := health.Fetch(ctx, address)
		switch {
		case err != nil:
			return newSetup(w, g).finish(ctx, noAnswer{err})
		case format == "json":
			enc := json.NewEncoder(w.stdout)
			enc.SetIndent("", "  ")
			_ = enc.Encode(s)
		default:
			health.Table(w.stdout, s)
		}
		if !s.Ready {
			return exitNotReady
		}
		return exitDone
	})
}

// statusAddress finds the daemon: where the flags say, else where its
// configuration has it listen.
func statusAddress(w world, g given) (string, error) {
	switch socket, address := g["socket"], g["address"]; {
	case socket != "" && address != "":
		return "", usageError{"-socket and -address are two places; name one"}
	case socket != "":
		return filepath.Abs(socket)
	case address != "":
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "unix" || u.Host+u.Path == "" {
			return "", usageError{"-address is no URL of a daemon: write http://127.0.0.1:8200, or unix:///run/latchkey/status.sock"}
		}
		return address, nil
	}
	paths := config.ConfigPaths(g.list("config"), w.lookup)
	if len(paths) == 0 {
		return "", usageError{"which daemon? Name its configuration with -config, or its place with -socket or -address"}
	}
	// The daemon has judged its configuration; here it only tells a place.
	loaded, err := config.Load(paths, config.Options{Lenient: true, Env: w.lookup, Lex: hcl.Lex})
	if err != nil {
		return "", err
	}
	f, _, err := loaded.Resolve(config.Flags{}, w.lookup)
	if err != nil {
		return "", err
	}
	socket, address := listensAt(f)
	switch {
	case socket != "":
		return filepath.Abs(socket)
	case address != "":
		return address, nil
	}
	return "", usageError{fmt.Sprintf("%s has no status_socket and no listener that tells how the daemon is; add status_socket, or name a place with -socket or -address", strings.Join(f.Sources, ", "))}
}

// listensAt prefers the socket, which has no certificate that would have to be
// trusted.
func listensAt(f *config.File) (socket, address string) {
	if f.StatusSocket != "" {
		return f.StatusSocket, ""
	}
	for _, l := range f.Listeners {
		switch {
		case l.Role == "metrics_only":
		case l.Type == "unix":
			return l.Address, ""
		case l.TLSDisable:
			return "", "http://" + nearby(l.Address)
		default:
			return "", "https://" + nearby(l.Address)
		}
	}
	return "", ""
}

// nearby is where this machine finds what listens at an address, which may
// stand for every interface.
func nearby(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip.Is4() && ip.IsUnspecified():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
