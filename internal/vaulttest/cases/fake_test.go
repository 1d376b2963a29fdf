package cases

import (
	"crypto/tls"
	"testing"

	"latchkey/internal/vaulttest"
)

func TestTheFakeAnswersAsTheRealServerDid(t *testing.T) {
	s := vaulttest.New(t)
	RunScripts(t, func(tb vaulttest.TB) *vaulttest.Admin { return vaulttest.NewAdmin(tb, s.Addr(), s.RootToken, nil, nil) }, "")
}

func TestTheFakeAnswersOverTLSAsTheRealServerDid(t *testing.T) {
	s := vaulttest.New(t, vaulttest.WithTLS())
	RunTLSScripts(t, TLSServer{
		Connect: func(tb vaulttest.TB, cert *tls.Certificate) *vaulttest.Admin {
			return vaulttest.NewAdmin(tb, s.Addr(), s.RootToken, s.CA.PEM, cert)
		},
		UnsealKey: s.UnsealKey,
	}, "")
}
