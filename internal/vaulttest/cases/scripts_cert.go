package cases

import (
	"crypto/tls"

	"latchkey/internal/vaulttest"
)

// Connect returns an Admin of a TLS server that presents a client certificate.
type Connect func(tb vaulttest.TB, cert *tls.Certificate) *vaulttest.Admin

// TLSScripts are the conversations that need a client certificate.
var TLSScripts = map[string]func(*Script, Connect){
	"cert": cert,
}

func cert(s *Script, connect Connect) {
	ca, stranger := newCA(s.tb, "clients"), newCA(s.tb, "strangers")
	s.EnableAuth("cert-a", "cert")
	s.OK("POST", "auth/cert-a/certs/app", m{
		"certificate": string(ca.PEM), "allowed_common_names": "app", "token_policies": "default", "token_ttl": "10m",
	})
	s.OK("POST", "auth/cert-a/certs/any", m{"certificate": string(ca.PEM), "allowed_common_names": "someone", "token_policies": "default"})
	s.Root("POST", "auth/cert-a/certs/none", m{"token_policies": "default"})
	app := connect(s.tb, clientCert(s.tb, ca, "app")).As("")
	tok := s.Try(app, "[certificate app] ", "PUT", "auth/cert-a/login", m{"name": "app"}).Str("auth.client_token")
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Try(app, "[certificate app] ", "PUT", "auth/cert-a/login", m{})
	s.Try(app, "[certificate app] ", "PUT", "auth/cert-a/login", nil)
	s.Try(app, "[certificate app] ", "PUT", "auth/cert-a/login", m{"name": "any"})
	s.Try(app, "[certificate app] ", "PUT", "auth/cert-a/login", m{"name": "missing"})
	other := connect(s.tb, clientCert(s.tb, ca, "other")).As("")
	s.Try(other, "[certificate other] ", "PUT", "auth/cert-a/login", m{"name": "app"})
	s.Try(other, "[certificate other] ", "PUT", "auth/cert-a/login", m{})
	strange := connect(s.tb, clientCert(s.tb, stranger, "app")).As("")
	s.Try(strange, "[certificate app of another CA] ", "PUT", "auth/cert-a/login", m{"name": "app"})
	s.Anon("PUT", "auth/cert-a/login", m{"name": "app"})
}

func newCA(tb vaulttest.TB, name string) *vaulttest.CA {
	tb.Helper()
	ca, err := vaulttest.NewCA(name)
	if err != nil {
		tb.Fatalf("CA: %v", err)
	}
	return ca
}

func clientCert(tb vaulttest.TB, ca *vaulttest.CA, name string) *tls.Certificate {
	tb.Helper()
	pair, err := ca.Client(name)
	if err != nil {
		tb.Fatalf("client certificate: %v", err)
	}
	c, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		tb.Fatalf("client certificate: %v", err)
	}
	return &c
}
