package cases

import (
	"crypto/tls"

	"latchkey/internal/vaulttest"
)

// TLSServer is a server that a conversation may seal and unseal.
type TLSServer struct {
	// Connect returns an Admin that presents a client certificate, unless it
	// is nil.
	Connect   func(tb vaulttest.TB, cert *tls.Certificate) *vaulttest.Admin
	UnsealKey string
}

// TLSScripts are the conversations that need a client certificate, or a server
// that is not shared.
var TLSScripts = map[string]func(*Script, TLSServer){
	"cert":        cert,
	"certrenewal": certRenewal,
	"sealed":      sealed,
}

// sealed is what a sealed server says to what latchkey asks.
func sealed(s *Script, server TLSServer) {
	s.EnableAuth("sealed-a", "userpass")
	s.OK("POST", "auth/sealed-a/users/ann", m{"password": "pw", "token_policies": "default"})
	tok := s.NewToken(m{"policies": []string{"default"}})
	s.Name(server.UnsealKey, "<unseal key>")
	s.Root("PUT", "sys/seal", nil)
	s.Anon("GET", "sys/health", nil)
	s.Anon("GET", "sys/seal-status", nil)
	s.Anon("GET", "sys/init", nil)
	s.Anon("GET", "sys/leader", nil)
	s.Anon("PUT", "auth/sealed-a/login/ann", m{"password": "pw"})
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Using("bad", "GET", "secret/data/x", nil)
	s.Anon("GET", "secret/data/x", nil)
	s.Root("GET", "nope/x", nil)
	s.Root("GET", "sys/internal/ui/mounts/secret/x", nil)
	s.Root("PUT", "sys/wrapping/unwrap", m{"token": "x"})
	s.Root("PUT", "secret/data/x", `{"data":`)
	s.Anon("PUT", "sys/unseal", m{"key": "AAAA"})
	s.Anon("PUT", "sys/unseal", m{"key": server.UnsealKey})
	s.Eventually("the server is active", func() bool { return s.As("").Do("GET", "sys/health", nil).Status == 200 })
	s.Using(tok, "GET", "auth/token/lookup-self", nil)
	s.Root("GET", "secret/data/x", nil)
}

func cert(s *Script, server TLSServer) {
	connect := server.Connect
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

// certRenewal shows that a renewal is asked for the certificate too.
func certRenewal(s *Script, server TLSServer) {
	ca := newCA(s.tb, "clients")
	s.EnableAuth("certrenewal-a", "cert")
	role := m{"certificate": string(ca.PEM), "token_policies": "default", "token_ttl": "5m"}
	s.OK("POST", "auth/certrenewal-a/certs/app", role)
	app := server.Connect(s.tb, clientCert(s.tb, ca, "app"))
	tok := app.As("").OK("PUT", "auth/certrenewal-a/login", m{"name": "app"}).Str("auth.client_token")
	s.Name(tok, "<app>")
	s.Try(app.As(tok), "[<app>, certificate app] ", "PUT", "auth/token/renew-self", m{})
	s.Using(tok, "PUT", "auth/token/renew-self", m{})
	again := server.Connect(s.tb, clientCert(s.tb, ca, "app"))
	s.Try(again.As(tok), "[<app>, another certificate app] ", "PUT", "auth/token/renew-self", m{})
	other := server.Connect(s.tb, clientCert(s.tb, ca, "other"))
	s.Try(other.As(tok), "[<app>, certificate other] ", "PUT", "auth/token/renew-self", m{})
	s.Try(s.As(tok), "[<app>, no certificate] ", "GET", "auth/token/lookup-self", nil)
	role["token_ttl"] = "2m"
	s.OK("POST", "auth/certrenewal-a/certs/app", role)
	s.Try(app.As(tok), "[<app>, certificate app] ", "PUT", "auth/token/renew-self", m{})
	role["token_policies"] = "default,other"
	s.OK("POST", "auth/certrenewal-a/certs/app", role)
	s.Try(app.As(tok), "[<app>, certificate app] ", "PUT", "auth/token/renew-self", m{})
	s.OK("DELETE", "auth/certrenewal-a/certs/app", nil)
	s.Try(app.As(tok), "[<app>, certificate app] ", "PUT", "auth/token/renew-self", m{})
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
