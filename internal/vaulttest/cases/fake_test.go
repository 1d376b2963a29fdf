package cases

import (
	"crypto/tls"
	"testing"
	"time"

	"latchkey/internal/vaulttest"
)

func TestTheFakeAnswersAsTheRealServerDid(t *testing.T) {
	RunScripts(t, func(tb vaulttest.TB) (*vaulttest.Admin, func(time.Duration)) {
		s := vaulttest.New(tb)
		return vaulttest.NewAdmin(tb, s.Addr(), s.RootToken, nil, nil), s.Advance
	}, "")
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
