package logging

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func messages(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		all = append(all, fields[len(fields)-1])
	}
	return strings.Join(all, " ")
}

func TestALogGoesOnInAnotherFile(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.log"), filepath.Join(dir, "b.log")
	var stderr bytes.Buffer
	log, out, err := New(Options{Stderr: &stderr, File: a})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	log.Info("one")
	room := Named(log, "auth")

	// Whoever rotates from outside moves the file away, and says so.
	if err := os.Rename(a, a+".1"); err != nil {
		t.Fatal(err)
	}
	log.Info("two")
	if err := out.Reopen(Options{File: a}); err != nil {
		t.Fatal(err)
	}
	log.Info("three")
	if err := out.Reopen(Options{File: b}); err != nil {
		t.Fatal(err)
	}
	room.Info("four")
	if err := out.Reopen(Options{File: filepath.Join(b, "below")}); err == nil || !strings.Contains(err.Error(), b) {
		t.Errorf("got %v", err)
	}
	room.Info("five")
	if err := out.Reopen(Options{}); err != nil {
		t.Fatal(err)
	}
	log.Info("six")
	for path, want := range map[string]string{a + ".1": "one two", a: "three", b: "four five"} {
		if got := messages(t, path); got != want {
			t.Errorf("%s holds %q, want %q", filepath.Base(path), got, want)
		}
	}
	if got := strings.Count(stderr.String(), "\n"); got != 6 {
		t.Errorf("stderr has %d lines:\n%s", got, &stderr)
	}
}

func TestNoLineIsLostWhileALogIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	log, out, err := New(Options{Stderr: &bytes.Buffer{}, File: path})
	if err != nil {
		t.Fatal(err)
	}
	const writers, lines = 4, 50
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range lines {
				log.Info("line")
			}
		})
	}
	for range 10 {
		if err := out.Reopen(Options{File: path}); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	if got := strings.Count(messages(t, path), "line"); got != writers*lines {
		t.Errorf("%d lines, want %d", got, writers*lines)
	}
}
