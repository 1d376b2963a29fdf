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

	"latchkey/internal/vaulttest"
)

//go:embed testdata/scripts
var transcripts embed.FS

// RunScripts holds every conversation with the server that admin reaches and
// compares each with its transcript. With record, a directory, the transcripts
// are written there instead.
func RunScripts(t *testing.T, admin func(vaulttest.TB) *vaulttest.Admin, record string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(Scripts)) {
		t.Run(name, func(t *testing.T) {
			s := NewScript(t, admin(t))
			Scripts[name](s)
			compare(t, name, s.Text(), record)
		})
	}
}

// RunTLSScripts is RunScripts for the conversations with a TLS server.
func RunTLSScripts(t *testing.T, connect Connect, record string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(TLSScripts)) {
		t.Run(name, func(t *testing.T) {
			s := NewScript(t, connect(t, nil))
			TLSScripts[name](s, connect)
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
	if diff := difference(string(want), text); diff != "" {
		t.Errorf("not as recorded (- recorded, + now):\n%s", diff)
	}
}

// difference shows the exchanges that differ, whole, "" when none does.
func difference(want, got string) string {
	if want == got {
		return ""
	}
	w, g := strings.Split(want, "\n\n"), strings.Split(got, "\n\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		var a, c string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			c = g[i]
		}
		if a != c {
			fmt.Fprintf(&b, "- %s\n+ %s\n\n", strings.ReplaceAll(a, "\n", "\n- "), strings.ReplaceAll(c, "\n", "\n+ "))
		}
	}
	return b.String()
}
