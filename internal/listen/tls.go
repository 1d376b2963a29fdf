package listen

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"latchkey/internal/config"
)

// floor is the lowest version that is spoken, whatever the configuration says:
// those below it are broken, and nothing on a machine of today needs them.
const floor = tls.VersionTLS12

// version is a value of tls_min_version or tls_max_version.
func version(name string) (uint16, bool) {
	switch name {
	case "tls10":
		return tls.VersionTLS10, true
	case "tls11":
		return tls.VersionTLS11, true
	case "tls12":
		return tls.VersionTLS12, true
	case "tls13":
		return tls.VersionTLS13, true
	}
	return 0, false
}

// certificates are the TLS files of a listener, and what was last read of them.
type certificates struct {
	l   config.Listener
	at  place
	log *slog.Logger

	current atomic.Pointer[tls.Config]

	// For tls_auto_reload: how the files looked when they were last read, and
	// when they were last looked at.
	mu     sync.Mutex
	seen   []stamp
	looked time.Time
}

// lookEvery is how seldom the files are looked at, however many connections come.
const lookEvery = time.Second

func newCertificates(l config.Listener, at place, log *slog.Logger) (*certificates, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &certificates{l: l, at: at, log: log, looked: time.Now()}
	c.seen = c.stamps()
	conf, err := c.read()
	if err != nil {
		return nil, err
	}
	c.current.Store(conf)
	return c, nil
}

// config is what the listener hands its connections to: each handshake takes what
// is current, and the connection keeps it for as long as it lives.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: floor,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if c.l.TLSAutoReload {
				c.look()
			}
			return c.current.Load(), nil
		},
	}
}

// reload reads the files; when one is unsound nothing changes.
func (c *certificates) reload() error {
	seen := c.stamps() // before reading: a file that changes meanwhile is read again
	conf, err := c.read()
	if err != nil {
		return err
	}
	c.current.Store(conf)
	c.mu.Lock()
	c.seen = seen
	c.mu.Unlock()
	return nil
}

// look reads the files again if one changed. It runs inside a handshake, so no
// goroutine has to wait for files that nobody asks about.
func (c *certificates) look() {
	c.mu.Lock()
	now := time.Now()
	if since := now.Round(0).Sub(c.looked.Round(0)); since >= 0 && since < lookEvery {
		c.mu.Unlock()
		return
	}
	c.looked = now
	seen := c.stamps()
	changed := !slices.Equal(seen, c.seen)
	c.seen = seen // a file that is unsound is told once, not with every connection
	c.mu.Unlock()
	if !changed {
		return
	}
	if err := c.reload(); err != nil {
		c.log.Error("the listener's certificate changed but cannot be used; the one before stays", "error", err)
		return
	}
	c.log.Info("the listener's certificate was read again", "path", c.l.TLSCertFile)
}

// stamp tells whether a file is the one that was read.
type stamp struct {
	size int64
	at   int64 // modification time, nanoseconds
}

func (c *certificates) stamps() []stamp {
	var all []stamp
	for _, name := range []string{c.l.TLSCertFile, c.l.TLSKeyFile, c.l.TLSClientCAFile} {
		var s stamp
		if name != "" {
			if fi, err := os.Stat(name); err == nil {
				s = stamp{fi.Size(), fi.ModTime().UnixNano()}
			}
		}
		all = append(all, s)
	}
	return all
}

// read makes a configuration of the keys and of what the files hold now.
func (c *certificates) read() (*tls.Config, error) {
	l, at := c.l, c.at
	conf := &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	if err := setVersions(conf, l, at); err != nil {
		return nil, err
	}
	var unknown string
	if conf.CipherSuites, unknown = suites(l.TLSCipherSuites); unknown != "" {
		return nil, at.problem("tls_cipher_suites", fmt.Sprintf("does not know %q", unknown), "names as in RFC 8446 and 5246, such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", nil)
	}
	if !speaksHTTP2(conf.CipherSuites) {
		conf.NextProtos = []string{"http/1.1"}
	}
	if l.TLSCertFile == "" || l.TLSKeyFile == "" {
		return nil, at.problem("", "needs tls_cert_file and tls_key_file, or tls_disable", "write tls_disable = true to serve without TLS", nil)
	}
	cert, err := keyPair(l, at)
	if err != nil {
		return nil, err
	}
	conf.Certificates = []tls.Certificate{cert}
	return conf, setClients(conf, l, at)
}

func keyPair(l config.Listener, at place) (tls.Certificate, error) {
	certPEM, err := os.ReadFile(l.TLSCertFile)
	if err != nil {
		return tls.Certificate{}, at.problem("tls_cert_file", "cannot be read", "", err)
	}
	keyPEM, err := os.ReadFile(l.TLSKeyFile)
	if err != nil {
		return tls.Certificate{}, at.problem("tls_key_file", "cannot be read", "", err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		// The error is of the form of things, never of their content.
		return cert, at.problem("tls_cert_file", "and tls_key_file are no pair of certificate and key", "PEM, the listener's own certificate first", err)
	}
	return cert, nil
}

func setVersions(conf *tls.Config, l config.Listener, at place) error {
	conf.MinVersion = floor
	for _, k := range []struct {
		key, value string
		to         *uint16
	}{{"tls_min_version", l.TLSMinVersion, &conf.MinVersion}, {"tls_max_version", l.TLSMaxVersion, &conf.MaxVersion}} {
		if k.value == "" {
			continue
		}
		v, ok := version(k.value)
		if !ok {
			return at.problem(k.key, fmt.Sprintf("is %q", k.value), "tls12 or tls13", nil)
		}
		*k.to = v
	}
	conf.MinVersion = max(conf.MinVersion, floor)
	switch {
	case conf.MaxVersion == 0:
	case conf.MaxVersion < floor:
		return at.problem("tls_max_version", "is lower than TLS 1.2, and nothing below that is served", "leave it out", nil)
	case conf.MaxVersion < conf.MinVersion:
		return at.problem("tls_max_version", "is lower than tls_min_version", "", nil)
	}
	return nil
}

func setClients(conf *tls.Config, l config.Listener, at place) error {
	switch {
	case l.TLSRequireAndVerifyClient && l.TLSDisableClientCerts:
		return at.problem("tls_disable_client_certs", "contradicts tls_require_and_verify_client_cert", "", nil)
	case l.TLSDisableClientCerts:
		conf.ClientAuth = tls.NoClientCert
	case l.TLSRequireAndVerifyClient:
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		conf.ClientAuth = tls.RequestClientCert
	}
	if l.TLSClientCAFile == "" {
		return nil // the system's, when any are asked for
	}
	text, err := os.ReadFile(l.TLSClientCAFile)
	if err != nil {
		return at.problem("tls_client_ca_file", "cannot be read", "", err)
	}
	conf.ClientCAs = x509.NewCertPool()
	if !conf.ClientCAs.AppendCertsFromPEM(text) {
		return at.problem("tls_client_ca_file", "holds no certificate", "PEM", errors.New(l.TLSClientCAFile))
	}
	return nil
}

// suites gives the ids of cipher suites by name, and the first name that is none.
// A name may have spaces around it; empty ones are left out.
func suites(names []string) (ids []uint16, unknown string) {
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		id, ok := suiteID(name)
		if !ok {
			return nil, name
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, ""
}

func suiteID(name string) (uint16, bool) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.Name == name {
			return s.ID, true
		}
	}
	return 0, false
}

// speaksHTTP2 says whether HTTP/2 may be offered: it forbids most older suites,
// and wants one of two to be there. An empty list is Go's own, which has them.
func speaksHTTP2(ids []uint16) bool {
	return len(ids) == 0 ||
		slices.Contains(ids, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) ||
		slices.Contains(ids, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
}

// tlsWarnings says which TLS keys do not do what they seem to.
func tlsWarnings(l config.Listener, at place) []config.Warning {
	var ws []config.Warning
	if v, ok := version(l.TLSMinVersion); ok && v < floor {
		ws = append(ws, at.warning("tls_min_version", "is taken as tls12: nothing below TLS 1.2 is served", ""))
	}
	if l.TLSClientCAFile != "" && !l.TLSRequireAndVerifyClient {
		ws = append(ws, at.warning("tls_client_ca_file", "has no effect without tls_require_and_verify_client_cert", ""))
	}
	var weak []string
	for _, s := range tls.InsecureCipherSuites() {
		if slices.Contains(l.TLSCipherSuites, s.Name) {
			weak = append(weak, s.Name)
		}
	}
	if len(weak) > 0 {
		ws = append(ws, at.warning("tls_cipher_suites", "holds suites that are known to be weak: "+strings.Join(weak, ", "), ""))
	}
	return ws
}
