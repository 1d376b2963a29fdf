package lambdatest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Sources opens the directories of what pkg is made of, so that go test knows that
// the test is about them: it would take its result from its cache when they change.
// What is opened before the tests run, in TestMain, go test does not hear of.
func Sources(module, pkg string) error {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", pkg)
	cmd.Dir = module
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("listing %s: %w", pkg, err)
	}
	for dir := range strings.FieldsFuncSeq(string(out), func(c rune) bool { return c == '\n' }) {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		if err := d.Close(); err != nil {
			return err
		}
	}
	return nil
}
