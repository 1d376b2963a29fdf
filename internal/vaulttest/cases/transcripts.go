package cases

import (
	"embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/vaulttest"
)

// Recorded is the version of the server that gave the transcripts.
const Recorded = "1.21.0"

//go:embed testdata/scripts
var transcripts embed.FS

// Connect returns an Admin of the server that a conversation is held with, and
// what moves that server's clock, nil for a server whose time passes by itself.
type Connect func(vaulttest.TB) (*vaulttest.Admin, func(time.Duration))

// RunScripts holds every conversation with a server and compares each with its
// transcript. With record, a directory, the transcripts are written there
// instead.
func RunScripts(t *testing.T, connect Connect, record string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(Scripts)) {
		t.Run(name, func(t *testing.T) {
			if patient[name] {
				t.Parallel()
			}
			admin, advance := connect(t)
			s := NewScript(t, admin, advance)
			Scripts[name](s)
			compare(t, name, s.Text(), record)
		})
	}
}

// RunTLSScripts is RunScripts for the conversations with a TLS server, which
// are sealed in between.
func RunTLSScripts(t *testing.T, server TLSServer, record string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(TLSScripts)) {
		t.Run(name, func(t *testing.T) {
			s := NewScript(t, server.Connect(t, nil), nil)
			TLSScripts[name](s, server)
			compare(t, name, s.Text(), record)
		})
	}
}

func compare(t *testing.T, name, text, record string) {
	t.Helper()
	if record != "" {
		if err := os.WriteFile(filepath.Join(record, name+".txt"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := transcripts.ReadFile("testdata/scripts/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("not as recorded (- recorded, + now):\n%s", difference(string(want), text))
	}
}

// difference shows the exchanges that differ, line by line, "" when none does.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n\n"), strings.Split(got, "\n\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		a, c := lines(w, i), lines(g, i)
		if slices.Equal(a, c) {
			continue
		}
		if len(a) > 0 && len(c) > 0 && a[0] == c[0] {
			fmt.Fprintf(&b, "  %s\n", a[0])
		}
		for _, line := range a {
			if !slices.Contains(c, line) {
				fmt.Fprintf(&b, "- %s\n", line)
			}
		}
		for _, line := range c {
			if !slices.Contains(a, line) {
				fmt.Fprintf(&b, "+ %s\n", line)
			}
		}
		if len(a) != len(c) {
			fmt.Fprintf(&b, "  (%d lines recorded, %d now)\n", len(a), len(c))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func lines(exchanges []string, i int) []string {
	if i >= len(exchanges) {
		return nil
	}
	return strings.Split(exchanges[i], "\n")
}
