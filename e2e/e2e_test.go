package e2e

import (
	"crypto/tls"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"latchkey/e2e/server"
	"latchkey/internal/vaulttest"
	"latchkey/internal/vaulttest/cases"
)

var record = flag.Bool("record", false, "write the transcripts of the scripts anew instead of comparing with them")

// dev and secure are the two servers of this test binary, each started when a
// test first asks for it.
var (
	dev    = sync.OnceValues(func() (*server.Server, error) { return launch(server.Dev) })
	secure = sync.OnceValues(func() (*server.Server, error) { return launch(server.TLS) })

	mu      sync.Mutex
	running []*server.Server

	// trash is removed at the end.
	trash []string
)

func launch(start func(string) (*server.Server, error)) (*server.Server, error) {
	binary, err := server.Binary(os.Stderr)
	if err != nil {
		return nil, err
	}
	s, err := start(binary)
	if err != nil {
		return nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	running = append(running, s)
	return s, nil
}

func TestMain(m *testing.M) {
	cases.Widen()
	code := m.Run()
	for _, s := range running {
		s.Stop()
	}
	for _, dir := range trash {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func get(t testing.TB, one func() (*server.Server, error)) *server.Server {
	t.Helper()
	s, err := one()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// recordTo is where the transcripts are written anew, "" to compare with them.
func recordTo() string {
	if *record {
		return "../internal/vaulttest/cases/testdata/scripts"
	}
	return ""
}

func TestARealVaultAnswersAsRecorded(t *testing.T) {
	s := get(t, dev)
	health := vaulttest.NewAdmin(t, s.Addr, "", nil, nil).OK("GET", "sys/health", nil)
	t.Logf("the server is version %s; the transcripts are of %s", health.Str("version"), cases.Recorded)
	cases.RunScripts(t, func(tb vaulttest.TB) (*vaulttest.Admin, func(time.Duration)) {
		return vaulttest.NewAdmin(tb, s.Addr, s.RootToken, nil, nil), nil
	}, recordTo())
}

func TestARealVaultAnswersOverTLSAsRecorded(t *testing.T) {
	s := get(t, secure)
	cases.RunTLSScripts(t, cases.TLSServer{
		Connect: func(tb vaulttest.TB, cert *tls.Certificate) *vaulttest.Admin {
			return vaulttest.NewAdmin(tb, s.Addr, s.RootToken, s.CA.PEM, cert)
		},
		UnsealKey: s.UnsealKey,
	}, recordTo())
}
