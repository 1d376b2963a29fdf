package cases

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/vaulttest"
)

// fake is the Target of this package's own tests: a fake for each case.
type fake struct{}

func (fake) Shared(tb vaulttest.TB) *Site { return site(tb, vaulttest.New(tb)) }

func (fake) Secure(tb vaulttest.TB) *Site { return site(tb, vaulttest.New(tb, vaulttest.WithTLS())) }

func (fake) Own(tb vaulttest.TB) *Own {
	s := vaulttest.New(tb)
	return &Own{
		Site:   site(tb, s),
		Seal:   func() error { s.Seal(); return nil },
		Unseal: func() error { s.Unseal(); return nil },
		Down:   func() error { s.Down(); return nil },
		Up:     func() error { return s.Up(vaulttest.Keep) },
	}
}

func (fake) Pace() Pace {
	return Pace{TTL: 2 * time.Second, Max: 6 * time.Second, Watch: 15 * time.Second}
}

func site(tb vaulttest.TB, s *vaulttest.Server) *Site {
	admin := s.Admin(tb)
	return &Site{Admin: admin, Addr: s.Addr(), CAFile: s.CAFile(), Front: s.Front, Events: s.Events}
}

func TestMain(m *testing.M) {
	Widen()
	goleak.VerifyTestMain(m)
}

func TestTheProgramAgainstTheFake(t *testing.T) {
	program, err := BuildProgram("../../..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	RunPrograms(t, fake{}, program)
}
