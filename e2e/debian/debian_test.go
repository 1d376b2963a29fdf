//go:build linux

package debian

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAProgramFindsTheLibrariesThatWereUnpackedBesideIt(t *testing.T) {
	tree := Tree(t.TempDir())
	for _, dir := range []string{"usr/sbin", "usr/lib/x86_64-linux-gnu"} {
		if err := os.MkdirAll(filepath.Join(string(tree), dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(string(tree), "usr/sbin/no-such-thing-elsewhere")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $LD_LIBRARY_PATH $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, err := tree.Command("no-such-thing-elsewhere", "given")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	if want := filepath.Join(string(tree), "usr/lib/x86_64-linux-gnu") + " given\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func TestAProgramThatIsNowhereIsUnavailable(t *testing.T) {
	_, err := Tree(t.TempDir()).Command("no-such-thing-anywhere")
	if !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
