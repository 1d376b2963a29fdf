//go:build unix

package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := Append(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
}

func TestAppendKeepsWhatIsThereWithItsMode(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	p := filepath.Join(t.TempDir(), "log")
	appendTo(t, p, "a\n")
	if got := mode(t, p); got != 0o644 {
		t.Errorf("a new file has mode %o", got)
	}
	if err := os.Chmod(p, 0o600); err != nil {
		t.Fatal(err)
	}
	appendTo(t, p, "b\n")
	if got := mode(t, p); got != 0o600 {
		t.Errorf("the mode of a file that was there became %o", got)
	}
	if got, _ := os.ReadFile(p); string(got) != "a\nb\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestAppendFollowsALinkEvenToNothing(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("log", link); err != nil {
		t.Fatal(err)
	}
	appendTo(t, link, "a\n")
	if got, _ := os.ReadFile(filepath.Join(dir, "log")); string(got) != "a\n" {
		t.Errorf("the file holds %q", got)
	}
}

func TestAppendToWhatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		path string
		is   error
	}{
		"a directory":              {dir, syscall.EISDIR},
		"in no directory":          {filepath.Join(dir, "no", "log"), fs.ErrNotExist},
		"a pipe that nobody reads": {pipe, syscall.ENXIO},
	} {
		f, err := Append(tc.path, 0o644)
		var pe *fs.PathError
		if !errors.Is(err, tc.is) || !errors.As(err, &pe) || pe.Path != tc.path {
			t.Errorf("%s: got %v, %v", name, f, err)
		}
	}
}

func TestAppendToAPipeWithAReaderAndToADevice(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	appendTo(t, pipe, "a\n")
	buf := make([]byte, 8)
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "a\n" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	appendTo(t, os.DevNull, "a\n")
}
