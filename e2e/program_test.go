package e2e

import (
	"os"
	"sync"
	"testing"
	"time"

	"latchkey/e2e/server"
	"latchkey/internal/vaulttest"
	"latchkey/internal/vaulttest/cases"
)

// vault is the Target of real servers: the shared ones behind a front of each
// case's own, and one process more for a case that wants to stop it.
type vault struct{ t *testing.T }

// Shared implements cases.Target.
func (v vault) Shared(tb vaulttest.TB) *cases.Site { return fronted(tb, get(v.t, dev)) }

// Secure implements cases.Target.
func (v vault) Secure(tb vaulttest.TB) *cases.Site {
	s := get(v.t, secure)
	admin := vaulttest.NewAdmin(tb, s.Addr, s.RootToken, s.CA.PEM, nil)
	return &cases.Site{Admin: admin, Addr: s.Addr, CAFile: s.CAFile}
}

// Own implements cases.Target.
func (v vault) Own(tb vaulttest.TB) *cases.Own {
	s, err := launch(server.TLS)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(s.Stop)
	return &cases.Own{
		Site: fronted(tb, s), Seal: s.Seal, Unseal: s.Unseal,
		Down: func() error { s.Down(); return nil }, Up: s.Up,
	}
}

// Pace implements cases.Target.
func (v vault) Pace() cases.Pace {
	return cases.Pace{TTL: 5 * time.Second, Max: 20 * time.Second, Watch: time.Minute}
}

func fronted(tb vaulttest.TB, s *server.Server) *cases.Site {
	var ca []byte
	if s.CA != nil {
		ca = s.CA.PEM
	}
	proxy := vaulttest.NewProxy(tb, s.Addr, ca)
	return &cases.Site{
		Admin: vaulttest.NewAdmin(tb, s.Addr, s.RootToken, ca, nil), Addr: proxy.Addr(), Front: proxy.Front,
	}
}

// build builds the program, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "latchkey-e2e-")
	if err != nil {
		return "", err
	}
	trash = append(trash, dir)
	return cases.BuildProgram("..", dir)
})

func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheProgramAgainstARealVault(t *testing.T) {
	t.Parallel()
	cases.RunPrograms(t, vault{t}, program(t))
}
