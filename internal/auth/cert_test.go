package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/vault"
)

// tlsPlace is a server that wants to see who calls, and the files to call with.
type tlsPlace struct {
	url, ca   string
	cert, key string
	callers   *[]string // common names, "" for none
	wraps     *[]string
	bodies    *[]string
}

func newTLSPlace(t *testing.T) tlsPlace {
	t.Helper()
	dir := t.TempDir()
	p := tlsPlace{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), callers: new([]string), wraps: new([]string), bodies: new([]string)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := ""
		if len(r.TLS.PeerCertificates) > 0 {
			name = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		body := make([]byte, 100)
		n, _ := r.Body.Read(body)
		*p.callers = append(*p.callers, name)
		*p.wraps = append(*p.wraps, r.Header.Get("X-Vault-Wrap-TTL")+" "+r.Header.Get("X-Vault-Namespace"))
		*p.bodies = append(*p.bodies, string(body[:n]))
		switch {
		case name == "":
			w.WriteHeader(400)
			w.Write([]byte(errors1("client certificate must be supplied")))
		case r.Header.Get("X-Vault-Wrap-TTL") != "":
			w.Write([]byte(wrapped))
		default:
			w.Write([]byte(granted))
		}
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	p.url = s.URL
	p.ca = write(t, filepath.Join(dir, "ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	p.rotate(t, "first")
	return p
}

// rotate replaces the caller's certificate.
func (p tlsPlace) rotate(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, p.key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func (p tlsPlace) client(t *testing.T, cfg vault.Config) *vault.Client {
	t.Helper()
	c, err := vault.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCertWithFilesOfItsOwn(t *testing.T) {
	p := newTLSPlace(t)
	// The stanza knows the server's CA and name; the method's own client
	// keeps both. The method's CA file alone would do as well.
	o := options("cert", map[string]any{"name": "web", "client_cert": p.cert, "client_key": p.key}, os.Stderr)
	o.Client = vault.Config{Address: p.url, CACert: p.ca, TLSServerName: "example.com"}
	m, err := Cert(o)
	if err != nil {
		t.Fatal(err)
	}
	c := p.client(t, o.Client)
	mustLogin(t, m, c.In("team"))
	p.rotate(t, "second")
	mustLogin(t, m, c.In("team"))
	if got := strings.Join(*p.callers, " "); got != "first second" {
		t.Errorf("the server saw %q", got)
	}
	if (*p.bodies)[0] != `{"name":"web"}` || (*p.wraps)[0] != " team/" {
		t.Errorf("the server saw %q %q", *p.bodies, *p.wraps)
	}
}

func TestCertWithItsOwnCA(t *testing.T) {
	p := newTLSPlace(t)
	o := options("cert", map[string]any{"ca_cert": p.ca, "client_cert": p.cert, "client_key": p.key}, os.Stderr)
	o.Client = vault.Config{Address: p.url}
	m, err := Cert(o)
	if err != nil {
		t.Fatal(err)
	}
	mustLogin(t, m, p.client(t, o.Client))
	if (*p.bodies)[0] != `{}` {
		t.Errorf("the server saw %q", *p.bodies)
	}
}

func TestCertOfTheVaultStanza(t *testing.T) {
	p := newTLSPlace(t)
	o := options("cert", nil, os.Stderr)
	o.Client = vault.Config{Address: p.url, CACert: p.ca, ClientCert: p.cert, ClientKey: p.key}
	m, err := Cert(o)
	if err != nil {
		t.Fatal(err)
	}
	c := p.client(t, o.Client)
	mustLogin(t, m, c)
	p.rotate(t, "second")
	mustLogin(t, m, c)
	if got := strings.Join(*p.callers, " "); got != "first second" {
		t.Errorf("the server saw %q", got)
	}
}

func TestCertKeepsWrapping(t *testing.T) {
	p := newTLSPlace(t)
	o := options("cert", map[string]any{"client_cert": p.cert, "client_key": p.key}, os.Stderr)
	o.Client = vault.Config{Address: p.url, CACert: p.ca}
	o.Wrap = time.Minute
	m, err := Cert(o)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := m.Login(t.Context(), p.client(t, o.Client).Wrapping(time.Minute))
	if err != nil || tok.Wrap == nil || !tok.Value.Empty() {
		t.Errorf("got %v, %v", tok, err)
	}
	if (*p.wraps)[0] != "60s " {
		t.Errorf("the server saw %q", *p.wraps)
	}
}

func TestCertThatIsNotThere(t *testing.T) {
	p := newTLSPlace(t)
	o := options("cert", map[string]any{"client_cert": p.cert, "client_key": p.key}, os.Stderr)
	o.Client = vault.Config{Address: p.url, CACert: p.ca}
	m, err := Cert(o)
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(p.key)
	if _, err := m.Login(t.Context(), p.client(t, o.Client)); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), p.key) {
		t.Errorf("no key: got %v", err)
	}

	o.Config = options("cert", nil, os.Stderr).Config
	if m, err = Cert(o); err != nil {
		t.Fatal(err)
	}
	_, err = m.Login(t.Context(), p.client(t, o.Client))
	if !errors.Is(err, vault.ErrBadRequest) || !strings.Contains(err.Error(), "set client_cert and client_key") {
		t.Errorf("no certificate at all: got %v", err)
	}
}
