package samples

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/config"
	"latchkey/internal/hcl"
	"latchkey/internal/lambdatest"
)

func configs(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.hcl")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("*/*.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if files = append(files, more...); len(files) < 5 {
		t.Fatalf("only %v found", files)
	}
	return files
}

// stays tells the samples for a daemon from those for a one-shot.
func stays(file string) bool {
	return strings.HasPrefix(file, "daemon") || slices.Contains([]string{"systemd", "windows"}, filepath.Dir(file))
}

// A sample that warns teaches the wrong thing.
func TestEachSampleLoadsAndIsSoundWithoutAWarning(t *testing.T) {
	for _, file := range configs(t) {
		t.Run(file, func(t *testing.T) {
			l, err := config.Load([]string{file}, config.Options{Lex: hcl.Lex})
			if err != nil {
				t.Fatal(err)
			}
			mode := config.ModeOnce
			if stays(file) {
				mode = config.ModeDaemon
			}
			warnings, err := config.Check(l.File, mode)
			if err != nil {
				t.Error(err)
			}
			for _, w := range append(l.Warnings, warnings...) {
				t.Errorf("line %d: %s: %s", w.Pos.Line, w.Key, w.Text)
			}
			if l.File.ExitAfterAuth == stays(file) {
				t.Errorf("exit_after_auth is %v: vault agent would do otherwise", l.File.ExitAfterAuth)
			}
		})
	}
}

// goBuild builds one of the programs as a user would.
func goBuild(t *testing.T, pkg string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", bin, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	if err := lambdatest.Sources(".", pkg); err != nil {
		t.Fatal(err)
	}
	return bin
}

// withoutServer is the environment of someone who has no Vault.
func withoutServer() []string {
	var environ []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "VAULT_") && !strings.HasPrefix(v, "BAO_") {
			environ = append(environ, v)
		}
	}
	return environ
}

func TestQuickstartFetchesOnAMachineThatHasNothing(t *testing.T) {
	bin := goBuild(t, "latchkey/cmd/latchkey")
	t.Run("and latchkey check has nothing to say of any sample", func(t *testing.T) {
		for _, file := range configs(t) {
			cmd := exec.Command(bin, "check", "-config", file)
			cmd.Env = withoutServer()
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", file, err, out)
			}
			for line := range strings.Lines(string(out)) {
				// "here" is about this machine, which is not that of the sample.
				if strings.HasPrefix(line, "warning:") && !strings.HasPrefix(line, "warning: here:") {
					t.Errorf("%s: %s", file, line)
				}
			}
		}
	})
	cmd := exec.Command(goBuild(t, "latchkey/samples/quickstart"), "-latchkey", bin)
	tmp := t.TempDir()
	cmd.Env = append(withoutServer(), "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"a small server is started in this process",
		"out/token  (-rw-------",
		`postgres://app:n0t+%22real%22+%26+%24afe@db.example.com:5432/app`,
		"out/database.env  (-rw-------",
		"username=",
		"done in",
		"VAULT_ADDR=https://your-vault:8200",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not show %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestQuickstartSaysWhatItLacks(t *testing.T) {
	cmd := exec.Command(goBuild(t, "latchkey/samples/quickstart"))
	cmd.Env = append(withoutServer(), "VAULT_ADDR=http://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "there is no VAULT_TOKEN: set one that may") {
		t.Errorf("%v\n%s", err, out)
	}
}
