package listen

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/config"
	"latchkey/internal/sockaddr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ca := &authority{cert: cert, key: key, pool: x509.NewCertPool(), file: filepath.Join(t.TempDir(), "ca.pem")}
	ca.pool.AddCert(cert)
	write(t, ca.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return ca
}

// issue writes a certificate for a name and 127.0.0.1, and its key.
func (ca *authority) issue(t *testing.T, name, certFile, keyFile string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	write(t, certFile, certPEM)
	write(t, keyFile, keyPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens a listener and closes it after the test.
func open(t *testing.T, l config.Listener, o Options) (net.Listener, func() error) {
	t.Helper()
	ln, reload, err := Open(l, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, reload
}

// serve serves a greeting on a listener until the test ends.
func serve(t *testing.T, ln net.Listener) {
	t.Helper()
	s := Limits{}.Server(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, "hello over %s", r.Proto) }), nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// get asks a listener once, over whatever network it has.
func get(t *testing.T, ln net.Listener, conf *tls.Config) (string, error) {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, ln.Addr().Network(), ln.Addr().String())
	}}
	defer tr.CloseIdleConnections()
	scheme := "http"
	if conf != nil {
		scheme = "https"
	}
	resp, err := (&http.Client{Transport: tr}).Get(scheme + "://127.0.0.1/")
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func clientOf(ca *authority) *tls.Config { return &tls.Config{RootCAs: ca.pool} }

func plain(address string) config.Listener {
	return config.Listener{Type: "tcp", Address: address, TLSDisable: true}
}

func TestATCPListenerAnswers(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "localhost:0", ":0", "[::1]:0", `{{ GetAllInterfaces | include "name" "lo" | include "type" "ipv4" | limit 1 | join "address" " " }}:0`} {
		t.Run(address, func(t *testing.T) {
			if strings.Contains(address, "::1") {
				probe, err := net.Listen("tcp6", "[::1]:0")
				if err != nil {
					t.Skip("this machine has no IPv6")
				}
				_ = probe.Close()
			}
			if strings.Contains(address, `"lo"`) {
				if _, err := net.InterfaceByName("lo"); err != nil {
					t.Skip("this machine has no lo")
				}
			}
			ln, reload := open(t, plain(address), Options{Evaluate: sockaddr.Evaluate})
			serve(t, ln)
			if body, err := get(t, ln, nil); err != nil || body != "hello over HTTP/1.1" {
				t.Errorf("%q, %v", body, err)
			}
			if err := reload(); err != nil {
				t.Errorf("reload without TLS: %v", err)
			}
		})
	}
}

func TestAllZerosListensOnIPv4Only(t *testing.T) {
	ln, _ := open(t, plain("0.0.0.0:0"), Options{})
	if ip := ln.Addr().(*net.TCPAddr).IP; ip.To4() == nil {
		t.Errorf("listens on %v", ip)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if c, err := net.DialTimeout("tcp6", "[::1]:"+port, time.Second); err == nil {
		_ = c.Close()
		t.Error("answers on IPv6 too")
	}
}

// asProblem fails unless err is a problem at the place of the listener, with the
// key and the text.
func asProblem(t *testing.T, err error, key, has string) {
	t.Helper()
	var p *config.Problem
	if !errors.As(err, &p) {
		t.Fatalf("not a problem: %v", err)
	}
	if p.Key != key || p.Pos.Line != 7 || !strings.Contains(p.Error(), has) {
		t.Errorf("%v: key %q, line %d; want %q at 7 with %q", err, p.Key, p.Pos.Line, key, has)
	}
}

var here = config.Pos{File: "agent.hcl", Line: 7, Column: 1}

func TestAnAddressThatCannotBeHadIsToldWithItsPlace(t *testing.T) {
	taken, _ := open(t, plain("127.0.0.1:0"), Options{})
	for _, tc := range []struct {
		name, typ, address, key, has string
		is                           error
	}{
		{"in use", "tcp", taken.Addr().String(), "listener[2].address", "is an agent running already?", syscall.EADDRINUSE},
		{"not of this machine", "tcp", "192.0.2.1:0", "listener[2].address", "must be one of this machine", nil},
		{"no port", "tcp", "127.0.0.1", "listener[2].address", "missing port", nil},
		{"a port by name", "tcp", "127.0.0.1:http", "listener[2].address", "a number up to 65535", nil},
		{"a port too high", "tcp", "127.0.0.1:65536", "listener[2].address", "a number up to 65535", nil},
		{"a URL", "tcp", "http://127.0.0.1:8200", "listener[2].address", "is no address", nil},
		{"a template that is none", "tcp", "{{ Nothing }}:8200", "listener[2].address", "is no template", nil},
		{"a template that finds nothing", "tcp", `{{ GetInterfaceIP "none0" }}:8200`, "listener[2].address", "finds no address", nil},
		{"another type", "udp", "127.0.0.1:0", "listener[2].type", "tcp or unix", nil},
		{"no path", "unix", "", "listener[2].address", "the path of the socket", nil},
		{"no directory", "unix", filepath.Join(t.TempDir(), "none", "s"), "listener[2].address", "the directory must exist", os.ErrNotExist},
		{"a path too long", "unix", filepath.Join(t.TempDir(), strings.Repeat("x", 120)), "listener[2].address", "about 100 bytes", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ln, _, err := Open(config.Listener{Type: tc.typ, Address: tc.address, TLSDisable: true, Pos: here}, Options{Name: "listener[2]", Evaluate: sockaddr.Evaluate})
			if err == nil {
				_ = ln.Close()
				t.Fatal("opened")
			}
			asProblem(t, err, tc.key, tc.has)
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
		})
	}
}

func TestAnAddressOthersMayReachIsWarnedAbout(t *testing.T) {
	lan, loop := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8200}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8200}
	all := &net.TCPAddr{IP: net.IPv6unspecified, Port: 8200}
	sock := &net.UnixAddr{Name: "/run/s", Net: "unix"}
	const told = "{{ GetPrivateIP }}:8200" // what it comes to, only opening it tells
	for _, tc := range []struct {
		name string
		l    config.Listener
		at   net.Addr
		keys string
	}{
		{"loopback", plain(""), loop, ""},
		{"IPv6 loopback", plain(""), &net.TCPAddr{IP: net.IPv6loopback}, ""},
		{"the network without TLS", plain(told), lan, "listener.address"},
		{"every address", plain(told), all, "listener.address"},
		{"the network with TLS", config.Listener{Type: "tcp", Address: told}, lan, "listener.address"},
		{"the network, known clients only", config.Listener{Type: "tcp", Address: told, TLSRequireAndVerifyClient: true}, lan, ""},
		{"the network, whoever has the token", config.Listener{Type: "tcp", Address: told, CallerTokenFile: "f"}, lan, ""},
		{"the network, whoever overhears the token", config.Listener{Type: "tcp", Address: told, TLSDisable: true, CallerTokenEnv: "E"}, lan, "listener.address"},
		{"the network, guarded", config.Listener{Type: "tcp", Address: told, TLSDisable: true, Guard: true, RequireRequestHeader: true}, lan, "listener.address"},
		{"the network, as the configuration says", plain("192.0.2.1:8200"), lan, ""},
		{"socket keys for a socket of systemd", config.Listener{Type: "unix", Address: "systemd:s", TLSDisable: true, SocketMode: "0600", SocketGroup: "b"}, sock, "listener.socket_mode listener.socket_group"},
		{"a socket", config.Listener{Type: "unix", TLSDisable: true}, sock, ""},
		{"socket keys on tcp", config.Listener{Type: "tcp", TLSDisable: true, SocketMode: "0600", SocketUser: "a", SocketGroup: "b"}, loop, "listener.socket_mode listener.socket_user listener.socket_group"},
		{"a group that stays outside", config.Listener{Type: "unix", TLSDisable: true, SocketGroup: "b"}, sock, "listener.socket_group"},
		{"TLS 1.0", config.Listener{Type: "tcp", TLSMinVersion: "tls10"}, loop, "listener.tls_min_version"},
		{"a CA that nobody is held to", config.Listener{Type: "tcp", TLSClientCAFile: "ca.pem"}, loop, "listener.tls_client_ca_file"},
		{"weak suites", config.Listener{Type: "tcp", TLSCipherSuites: []string{"TLS_RSA_WITH_RC4_128_SHA"}}, loop, "listener.tls_cipher_suites"},
		{"TLS keys without TLS", config.Listener{Type: "tcp", TLSDisable: true, TLSMinVersion: "tls10"}, loop, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var keys []string
			for _, w := range Warnings(tc.l, Options{}, tc.at) {
				keys = append(keys, w.Key)
				if w.Text == "" {
					t.Error("no text")
				}
			}
			if got := strings.Join(keys, " "); got != tc.keys {
				t.Errorf("warned about %q, want %q", got, tc.keys)
			}
		})
	}
}

// withTLS is a listener with a certificate for 127.0.0.1.
func withTLS(t *testing.T, ca *authority) config.Listener {
	t.Helper()
	dir := t.TempDir()
	l := config.Listener{Type: "tcp", Address: "127.0.0.1:0", TLSCertFile: filepath.Join(dir, "cert.pem"), TLSKeyFile: filepath.Join(dir, "key.pem"), Pos: here}
	ca.issue(t, "first", l.TLSCertFile, l.TLSKeyFile)
	return l
}

func TestTLSSpeaksHTTP2(t *testing.T) {
	ca := newAuthority(t)
	ln, _ := open(t, withTLS(t, ca), Options{})
	serve(t, ln)
	if body, err := get(t, ln, clientOf(ca)); err != nil || body != "hello over HTTP/2.0" {
		t.Errorf("%q, %v", body, err)
	}
}

// What HTTP/2 forbids must not be offered together with it.
func TestSuitesThatHTTP2ForbidsServeHTTP1(t *testing.T) {
	ca := newAuthority(t)
	l := withTLS(t, ca)
	l.TLSMaxVersion, l.TLSCipherSuites = "tls12", []string{"TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"}
	ln, _ := open(t, l, Options{})
	serve(t, ln)
	if body, err := get(t, ln, clientOf(ca)); err != nil || body != "hello over HTTP/1.1" {
		t.Errorf("%q, %v", body, err)
	}
	if state := shake(t, ln, clientOf(ca)); state.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA {
		t.Errorf("suite %s", tls.CipherSuiteName(state.CipherSuite))
	}
}

// shake makes one handshake and hangs up.
func shake(t *testing.T, ln net.Listener, conf *tls.Config) tls.ConnectionState {
	t.Helper()
	c, err := tls.Dial("tcp", ln.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState()
}

func TestVersionsKeepTheirBounds(t *testing.T) {
	ca := newAuthority(t)
	for _, tc := range []struct {
		name, low, high string
		client          uint16 // the highest the client speaks
		want            uint16 // 0: refused
	}{
		{"the default takes 1.3", "", "", tls.VersionTLS13, tls.VersionTLS13},
		{"the default takes 1.2", "tls12", "tls13", tls.VersionTLS12, tls.VersionTLS12},
		{"the default refuses 1.1", "", "", tls.VersionTLS11, 0},
		{"1.0 in the configuration refuses 1.1 all the same", "tls10", "", tls.VersionTLS11, 0},
		{"1.3 only refuses 1.2", "tls13", "", tls.VersionTLS12, 0},
		{"at most 1.2", "", "tls12", tls.VersionTLS13, tls.VersionTLS12},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := withTLS(t, ca)
			l.TLSMinVersion, l.TLSMaxVersion = tc.low, tc.high
			ln, _ := open(t, l, Options{})
			serve(t, ln)
			c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS10, MaxVersion: tc.client})
			if err != nil {
				if tc.want != 0 {
					t.Error(err)
				}
				return
			}
			defer func() { _ = c.Close() }()
			if got := c.ConnectionState().Version; got != tc.want {
				t.Errorf("spoke %s", tls.VersionName(got))
			}
		})
	}
}

func TestClientsShowCertificatesAsTheKeysSay(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	known := ca.issue(t, "client", filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"))
	unknown := stranger.issue(t, "client", filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"))
	for _, tc := range []struct {
		name   string
		set    func(*config.Listener)
		client []tls.Certificate
		served bool
	}{
		{"nobody has to", func(*config.Listener) {}, nil, true},
		{"nobody has to, and a stranger may", func(*config.Listener) {}, []tls.Certificate{unknown}, true},
		{"nobody is asked", func(l *config.Listener) { l.TLSDisableClientCerts = true }, nil, true},
		{"required and there", func(l *config.Listener) { l.TLSRequireAndVerifyClient, l.TLSClientCAFile = true, ca.file }, []tls.Certificate{known}, true},
		{"required and missing", func(l *config.Listener) { l.TLSRequireAndVerifyClient, l.TLSClientCAFile = true, ca.file }, nil, false},
		{"required and a stranger's", func(l *config.Listener) { l.TLSRequireAndVerifyClient, l.TLSClientCAFile = true, ca.file }, []tls.Certificate{unknown}, false},
		{"required and only the system's CAs", func(l *config.Listener) { l.TLSRequireAndVerifyClient = true }, []tls.Certificate{known}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := withTLS(t, ca)
			tc.set(&l)
			ln, _ := open(t, l, Options{})
			serve(t, ln)
			_, err := get(t, ln, &tls.Config{RootCAs: ca.pool, Certificates: tc.client})
			if (err == nil) != tc.served {
				t.Errorf("served: %v", err)
			}
		})
	}
}

func TestTLSKeysThatCannotBeUsedAreToldWithTheirPlace(t *testing.T) {
	ca := newAuthority(t)
	junk := filepath.Join(t.TempDir(), "junk.pem")
	write(t, junk, []byte("no PEM"))
	for _, tc := range []struct {
		name, key, has string
		set            func(*config.Listener)
	}{
		{"no certificate", "listener", "tls_disable = true", func(l *config.Listener) { l.TLSCertFile = "" }},
		{"a certificate that is not there", "listener.tls_cert_file", "no such file", func(l *config.Listener) { l.TLSCertFile += ".none" }},
		{"a key that is not there", "listener.tls_key_file", "no such file", func(l *config.Listener) { l.TLSKeyFile += ".none" }},
		{"a key of another certificate", "listener.tls_cert_file", "no pair", func(l *config.Listener) {
			ca.issue(t, "second", l.TLSCertFile, l.TLSKeyFile+"2")
		}},
		{"no PEM", "listener.tls_cert_file", "no pair", func(l *config.Listener) { l.TLSCertFile = junk }},
		{"a suite nobody knows", "listener.tls_cipher_suites", `"TLS_FOO"`, func(l *config.Listener) { l.TLSCipherSuites = []string{"TLS_FOO"} }},
		{"an odd version", "listener.tls_min_version", "tls12 or tls13", func(l *config.Listener) { l.TLSMinVersion = "ssl3" }},
		{"a version below the floor", "listener.tls_max_version", "lower than TLS 1.2", func(l *config.Listener) { l.TLSMaxVersion = "tls11" }},
		{"versions upside down", "listener.tls_max_version", "lower than tls_min_version", func(l *config.Listener) { l.TLSMinVersion, l.TLSMaxVersion = "tls13", "tls12" }},
		{"required and disabled", "listener.tls_disable_client_certs", "contradicts", func(l *config.Listener) { l.TLSRequireAndVerifyClient, l.TLSDisableClientCerts = true, true }},
		{"a CA that is not there", "listener.tls_client_ca_file", "no such file", func(l *config.Listener) { l.TLSClientCAFile = junk + ".none" }},
		{"a CA without a certificate", "listener.tls_client_ca_file", "holds no certificate", func(l *config.Listener) { l.TLSClientCAFile = junk }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := withTLS(t, ca)
			tc.set(&l)
			ln, _, err := Open(l, Options{})
			if err == nil {
				_ = ln.Close()
				t.Fatal("opened")
			}
			asProblem(t, err, tc.key, tc.has)
			// A check finds the same without a socket.
			asProblem(t, Check(l, Options{}), tc.key, tc.has)
		})
	}
}

func TestACheckOpensNothingAndFindsWhatIsNotHere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, tc := range []struct {
		l        config.Listener
		key, has string
	}{
		{config.Listener{Type: "unix", Address: path, TLSDisable: true}, "", ""},
		{config.Listener{Type: "unix", Address: path, TLSDisable: true, SocketUser: "nobody-of-this-name"}, "listener.socket_user", "unknown user"},
		{config.Listener{Type: "tcp", Address: "127.0.0.1:0", TLSDisable: true}, "", ""},
		{config.Listener{Type: "tcp", Address: "127.0.0.1", TLSDisable: true}, "listener.address", "missing port"},
		{config.Listener{Type: "tcp", Address: inheritedPrefix + "api", TLSDisable: true}, "", ""},
	} {
		tc.l.Pos.Line = 7 // what asProblem looks for
		err := Check(tc.l, Options{Evaluate: sockaddr.Evaluate})
		if tc.key == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.l.Address, err)
			}
			continue
		}
		asProblem(t, err, tc.key, tc.has)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("it made a socket")
	}
}

func TestAReloadedCertificateServesNewConnectionsAndKeepsOldOnes(t *testing.T) {
	ca := newAuthority(t)
	l := withTLS(t, ca)
	ln, reload := open(t, l, Options{})
	serve(t, ln)
	old, err := tls.Dial("tcp", ln.Addr().String(), clientOf(ca))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()

	write(t, l.TLSKeyFile, []byte("half a"))
	asProblem(t, reload(), "listener.tls_cert_file", "no pair")
	if name := shake(t, ln, clientOf(ca)).PeerCertificates[0].DNSNames[0]; name != "first" {
		t.Errorf("after a reload that failed: %s", name)
	}

	ca.issue(t, "second", l.TLSCertFile, l.TLSKeyFile)
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	if name := shake(t, ln, clientOf(ca)).PeerCertificates[0].DNSNames[0]; name != "second" {
		t.Errorf("after a reload: %s", name)
	}
	if _, err := old.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 15)
	if _, err := io.ReadFull(old, answer); err != nil || string(answer) != "HTTP/1.1 200 OK" {
		t.Errorf("the connection from before: %q, %v", answer, err)
	}
}

func TestClientCAsAreReloadedToo(t *testing.T) {
	first, second := newAuthority(t), newAuthority(t)
	l := withTLS(t, first)
	dir := t.TempDir()
	client := second.issue(t, "client", filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem"))
	l.TLSRequireAndVerifyClient, l.TLSClientCAFile = true, filepath.Join(dir, "ca.pem")
	copyFile(t, first.file, l.TLSClientCAFile)
	ln, reload := open(t, l, Options{})
	serve(t, ln)
	conf := &tls.Config{RootCAs: first.pool, Certificates: []tls.Certificate{client}}
	if _, err := get(t, ln, conf); err == nil {
		t.Fatal("served a stranger")
	}
	copyFile(t, second.file, l.TLSClientCAFile)
	if err := reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, ln, conf); err != nil {
		t.Error(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, text)
}

func TestACertificateThatChangesIsReadByItself(t *testing.T) {
	ca := newAuthority(t)
	l := withTLS(t, ca)
	l.TLSAutoReload = true
	var log bytes.Buffer
	c, err := newCertificates(l, Options{}.at(l), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	served := func() string {
		t.Helper()
		c.looked = c.looked.Add(-2 * lookEvery) // as if that long had passed
		conf, err := c.config().GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(conf.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.DNSNames[0]
	}
	if got := served(); got != "first" || log.Len() > 0 {
		t.Fatalf("%s, %s", got, &log)
	}
	write(t, l.TLSKeyFile, []byte("half a"))
	for range 3 {
		if got := served(); got != "first" {
			t.Fatal(got)
		}
	}
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("told %d times: %s", n, &log)
	}
	ca.issue(t, "second", l.TLSCertFile, l.TLSKeyFile)
	if got := served(); got != "second" {
		t.Errorf("%s, %s", got, &log)
	}
}

func TestTheServerHasBoundsAndLogsQuietly(t *testing.T) {
	var log bytes.Buffer
	s := Limits{}.Server(http.NotFoundHandler(), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if s.ReadHeaderTimeout != 10*time.Second || s.ReadTimeout != 0 || s.IdleTimeout != 5*time.Minute || s.WriteTimeout != 0 {
		t.Errorf("%v %v %v %v", s.ReadHeaderTimeout, s.ReadTimeout, s.IdleTimeout, s.WriteTimeout)
	}
	s.ErrorLog.Print("a handshake failed")
	if !strings.Contains(log.String(), "level=DEBUG") || !strings.Contains(log.String(), "a handshake failed") {
		t.Errorf("%s", &log)
	}
}

// An address is refused or comes out as one that net takes.
func FuzzTCPAddress(f *testing.F) {
	for _, s := range []string{"127.0.0.1:8200", "0.0.0.0:1", "[::]:8200", ":8200", "localhost:0", "::1:8200", "[fe80::1%lo]:1", "a:b:c", "{{ 1 }}:2", "1.2.3.4:99999", "\x00:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "Get") {
			t.Skip("what the machine has is not for a fuzzer")
		}
		network, address, err := tcpAddress(s, sockaddr.Evaluate)
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "" {
			t.Fatalf("%q came out as %q: %v", s, address, err)
		}
		if ip := net.ParseIP(host); (network == "tcp4") != (ip != nil && ip.To4() != nil && !strings.Contains(host, ":")) {
			t.Errorf("%q: %s for %q", s, network, host)
		}
		n2, a2, err := tcpAddress(address, sockaddr.Evaluate)
		if !strings.Contains(address, "{{") && (err != nil || n2 != network || a2 != address) {
			t.Errorf("%q is not settled: %s %q, %v", address, n2, a2, err)
		}
	})
}

func FuzzSuites(f *testing.F) {
	f.Add("TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
	f.Add(" TLS_RSA_WITH_RC4_128_SHA ,,TLS_FOO")
	f.Fuzz(func(t *testing.T, s string) {
		ids, unknown := suites(strings.Split(s, ","))
		if unknown != "" && (ids != nil || !strings.Contains(s, unknown)) {
			t.Errorf("%q: unknown %q with %v", s, unknown, ids)
		}
		for _, id := range ids {
			if !strings.Contains(s, tls.CipherSuiteName(id)) {
				t.Errorf("%q gives %s", s, tls.CipherSuiteName(id))
			}
		}
	})
}
