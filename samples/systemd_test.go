package samples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unit is the sample with programs that are on this machine, for systemd looks
// whether they are.
func unit(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("there is no systemd-analyze here")
	}
	text, err := os.ReadFile("systemd/latchkey.service")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "latchkey.service")
	here := strings.NewReplacer("ExecStart=/usr/bin/latchkey", "ExecStart=/bin/sh", "ExecReload=/bin/kill", "ExecReload=/bin/sh")
	if err := os.WriteFile(file, []byte(here.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSystemdHasNothingToSayOfTheUnit(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "verify", unit(t)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// 20 is 2.0 on its scale, on which 10 is a service without walls.
func TestTheUnitHasWalls(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit(t)).CombinedOutput()
	if err != nil && strings.Contains(string(out), "unrecognized option") {
		t.Skip("this systemd-analyze cannot judge a unit offline")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
