package vaulttest

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Proxy is a Front before a server that is not ours: a real Vault can be
// counted and made to misbehave as the fake can.
type Proxy struct {
	*Front
	door *door
}

// NewProxy starts a proxy on plain HTTP before upstream, until the test ends;
// caPEM is the CA of an https upstream.
func NewProxy(tb TB, upstream string, caPEM []byte) *Proxy {
	tb.Helper()
	to, err := url.Parse(upstream)
	if err != nil {
		tb.Fatalf("vaulttest: upstream: %v", err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, ForceAttemptHTTP2: true}
	if caPEM != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(caPEM)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	inner := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: transport,
		// An upstream that is gone is a dropped connection to the client.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p := &Proxy{Front: newFront(inner)}
	p.door = &door{handler: p.Front}
	if err := p.door.open(); err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() {
		p.release()
		p.door.shut()
		transport.CloseIdleConnections()
	})
	return p
}

// Addr is the proxy's URL.
func (p *Proxy) Addr() string { return p.door.url() }
