package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// systemdPrefix begins the address of a socket that is handed over.
const systemdPrefix = "systemd:"

func (c *checker) listeners() {
	taken := map[string]int{}
	for i := range c.f.Listeners {
		l, at := &c.f.Listeners[i], fmt.Sprintf("listener[%d]", i)
		switch {
		case l.TLSDisable:
		case l.TLSCertFile == "" || l.TLSKeyFile == "":
			c.unusable(at, "needs tls_cert_file and tls_key_file, or tls_disable", "write tls_disable = true to serve without TLS")
		case l.TLSMinVersion > l.TLSMaxVersion && l.TLSMaxVersion != "":
			c.problem(at+".tls_max_version", "is lower than tls_min_version", "")
		case l.TLSRequireAndVerifyClient && l.TLSDisableClientCerts:
			c.problem(at+".tls_disable_client_certs", "contradicts tls_require_and_verify_client_cert", "")
		}
		for _, name := range l.TLSCipherSuites {
			if !slices.Contains(cipherSuites(), name) {
				c.problem(at+".tls_cipher_suites", fmt.Sprintf("does not know %q", name), Closest(name, cipherSuites()))
			}
		}
		if l.Type == "unix" && l.Address == "" {
			c.unusable(at, "needs address, the path of the socket", "")
		}
		if l.Role != "" && l.Role != "default" && l.Role != "metrics_only" {
			c.warn(at+".role", "is not known, so default holds", "default or metrics_only")
		}
		if l.SocketMode != "" && l.Type == "unix" {
			if _, bad := asMode(text(l.SocketMode)); bad != nil {
				c.unusable(at+".socket_mode", bad.text, bad.hint)
			}
		}
		if l.Type == "tcp" && l.SocketMode+l.SocketUser+l.SocketGroup != "" {
			c.warn(at, "socket_mode, socket_user and socket_group are for unix listeners", "")
		}
		if l.Address == systemdPrefix {
			c.unusable(at+".address", "names no socket", `write address = "systemd:NAME", with the name that FileDescriptorName gives it`)
		}
		if first, ok := taken[l.place()]; ok && l.Address != "" {
			c.unusable(at+".address", fmt.Sprintf("is the address of listener[%d] too", first), "leave one of them out, or give it another address")
		} else if !l.anyPort() {
			taken[l.place()] = i
		}
		c.guards(l, at)
		c.reach(l, at)
	}
}

// place is where it listens, as far as the text of its address tells. A socket that
// is handed over can be opened twice, with the guards of either.
func (l *Listener) place() string {
	if l.Type == "unix" && !strings.HasPrefix(l.Address, systemdPrefix) {
		return filepath.Clean(l.Address)
	}
	return strings.TrimSpace(l.Address)
}

// anyPort says whether the system chooses the port, each time another.
func (l *Listener) anyPort() bool { return l.Type == "tcp" && strings.HasSuffix(l.place(), ":0") }

// guards checks who may ask, for what, and how much of it.
func (c *checker) guards(l *Listener, at string) {
	switch {
	case l.CallerTokenFile != "" && l.CallerTokenEnv != "":
		c.problem(at+".caller_token_env", "is set beside caller_token_file", "keep one of them")
	case l.CallerTokenEnv != "" && !isVariableName(l.CallerTokenEnv):
		c.problem(at+".caller_token_env", "is not the name of a variable", "it names the variable that holds the token; the token itself does not belong here")
	}
	if len(l.AllowPeers) > 0 && l.Type != "unix" {
		c.problem(at+".allow_peers", "is for unix listeners: nothing tells who is at the other end of a tcp connection", "")
	}
	for _, p := range l.AllowPeers {
		if !isPeer(p) {
			c.problem(at+".allow_peers", "holds what is no peer", "write user:NAME, uid:N, group:NAME or gid:N")
			break
		}
	}
	for _, p := range l.AllowPaths {
		if strings.Trim(p, "/") == "" {
			c.problem(at+".allow_paths", "holds an empty path", "write * to allow everything, or leave allow_paths out")
			break
		}
	}
	if l.MaxConnections < 0 {
		c.problem(at+".max_connections", "must not be negative", "0 is no limit")
	}
}

func isPeer(s string) bool {
	kind, who, ok := strings.Cut(s, ":")
	switch {
	case !ok || who == "":
		return false
	case kind == "uid" || kind == "gid":
		_, err := strconv.ParseUint(who, 10, 32)
		return err == nil
	}
	return kind == "user" || kind == "group"
}

// reach warns of a listener that other machines get at without showing anything.
func (c *checker) reach(l *Listener, at string) {
	if c.mode == ModeOnce || l.Type != "tcp" || l.Role == "metrics_only" || !l.beyondLoopback() {
		return
	}
	if l.Guard {
		c.warn(at+".guard", "refuses who asks from another machine, but not one that says Host: localhost", "listen on 127.0.0.1, or do without guard")
		return
	}
	shows := l.TLSRequireAndVerifyClient || l.CallerTokenFile+l.CallerTokenEnv != ""
	if l.TLSDisable || !shows {
		c.warn(at+".address", "can be reached from other machines", "listen on 127.0.0.1, or use TLS with tls_require_and_verify_client_cert or a caller token")
	}
}

// beyondLoopback says whether an address is known to be more than loopback. What
// is a template is known when it is opened.
func (l *Listener) beyondLoopback() bool {
	if strings.Contains(l.Address, "{{") || strings.HasPrefix(l.Address, systemdPrefix) {
		return false
	}
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil || host == "localhost" {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err != nil || !a.IsLoopback()
}

// cipherSuites are the names that tls_cipher_suites may hold.
var cipherSuites = sync.OnceValue(func() []string {
	var names []string
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		names = append(names, s.Name)
	}
	return names
})

// unusable is a problem where listeners are opened, else a warning.
func (c *checker) unusable(path, text, hint string) {
	if c.mode == ModeOnce {
		c.warn(path, text, hint)
		return
	}
	c.problem(path, text, hint)
}
