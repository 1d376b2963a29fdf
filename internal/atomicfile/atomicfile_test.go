//go:build unix

package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func write(t *testing.T, path, data string, o Options) bool {
	t.Helper()
	changed, err := Write(path, []byte(data), o)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func mine(mode fs.FileMode) Options { return Options{Mode: mode, UID: -1, GID: -1} }

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode().Perm()
}

func TestModeIsExactWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	p := filepath.Join(t.TempDir(), "f")
	for _, m := range []fs.FileMode{0o640, 0o666, 0o400} {
		write(t, p, "x", mine(m))
		if got := mode(t, p); got != m {
			t.Errorf("mode %o, want %o", got, m)
		}
	}
}

func TestKeepModeKeepsTheModeOfAFileThatIsThere(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	o := mine(0o644)
	o.KeepMode = true
	write(t, p, "a", o)
	if got := mode(t, p); got != 0o644 {
		t.Errorf("new file has mode %o", got)
	}
	if err := os.Chmod(p, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, p, "b", o)
	if got := mode(t, p); got != 0o600 {
		t.Errorf("mode %o, want 600 kept", got)
	}
}

func TestCompareLeavesAnEqualFileAlone(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	o := mine(0o600)
	o.Compare = true
	if !write(t, p, "a", o) {
		t.Error("a new file has not changed?")
	}
	before, _ := os.Stat(p)
	if write(t, p, "a", o) {
		t.Error("equal content was written again")
	}
	after, _ := os.Stat(p)
	if !os.SameFile(before, after) {
		t.Error("the file was replaced")
	}
	if !write(t, p, "b", o) {
		t.Error("new content was not written")
	}
	o.Mode = 0o640
	if !write(t, p, "b", o) || mode(t, p) != 0o640 {
		t.Error("a new mode was not applied")
	}
}

func TestBackupKeepsTheOldContent(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	o := mine(0o600)
	o.Backup = true
	for _, s := range []string{"one", "two", "three"} {
		write(t, p, s, o)
	}
	if b, _ := os.ReadFile(p + ".bak"); string(b) != "two" {
		t.Errorf("backup holds %q", b)
	}
	if got := names(t, filepath.Dir(p)); got != "f f.bak " {
		t.Errorf("the directory holds %s", got)
	}
}

func TestBackupsOfManyWritersAtOnce(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	o := mine(0o600)
	o.Backup = true
	write(t, p, "0", o)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 25 {
				if _, err := Write(p, []byte{byte(i)}, o); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got := names(t, filepath.Dir(p)); got != "f f.bak " {
		t.Errorf("the directory holds %s", got)
	}
}

func TestABackupReplacesNothingButAFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	o := mine(0o600)
	o.Backup = true
	write(t, p, "one", o)
	if err := os.Mkdir(p+".bak", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(p, []byte("two"), o); err == nil {
		t.Error("the backup took the place of a directory")
	}
	if got := names(t, filepath.Dir(p)); got != "f f.bak " {
		t.Errorf("the directory holds %s", got)
	}
}

func TestABackupThatIsTheFileItself(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	o := mine(0o600)
	o.Backup = true
	write(t, p, "one", o)
	if err := os.Link(p, p+".bak"); err != nil {
		t.Fatal(err)
	}
	write(t, p, "two", o)
	if got := names(t, filepath.Dir(p)); got != "f f.bak " {
		t.Errorf("the directory holds %s", got)
	}
}

func TestALinkToAPipeIsNotRegular(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	link := filepath.Join(t.TempDir(), "out")
	if err := os.Symlink(fmt.Sprintf("/dev/fd/%d", w.Fd()), link); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(link, []byte("x"), mine(0o600)); !errors.Is(err, ErrNotRegular) {
		t.Errorf("error is %v", err)
	}
}

func TestAFailedWriteLeavesWhatWasThere(t *testing.T) {
	for _, c := range []struct {
		name string
		prep func(t *testing.T, dir string) string
		want error
	}{
		{"target is a directory", func(t *testing.T, dir string) string { return dir }, ErrNotRegular},
		{"parent is missing", func(_ *testing.T, dir string) string { return filepath.Join(dir, "no", "f") }, fs.ErrNotExist},
		{"parent is a file", func(t *testing.T, dir string) string {
			write(t, filepath.Join(dir, "file"), "x", mine(0o600))
			return filepath.Join(dir, "file", "f")
		}, syscall.ENOTDIR},
		{"target is a named pipe", func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "pipe")
			if err := syscall.Mkfifo(p, 0o600); err != nil {
				t.Fatal(err)
			}
			return p
		}, ErrNotRegular},
		{"link turns in a circle", func(t *testing.T, dir string) string {
			p := filepath.Join(dir, "loop")
			if err := os.Symlink(p, p); err != nil {
				t.Fatal(err)
			}
			return p
		}, syscall.ELOOP},
		{"no path", func(*testing.T, string) string { return "" }, fs.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			p := c.prep(t, dir)
			before := names(t, dir)
			if _, err := Write(p, []byte("y"), mine(0o600)); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if err := Check(p, mine(0o600)); !errors.Is(err, c.want) {
				t.Errorf("Check says %v, want %v", err, c.want)
			}
			if after := names(t, dir); after != before {
				t.Errorf("directory was %s, is %s", before, after)
			}
		})
	}
}

func TestAFullDiskLeavesTheOldFileAndNoTemporary(t *testing.T) {
	// A file size limit fails the write in the middle, as a full disk does. It
	// holds for the log that go test keeps of opened files too, so it is large.
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	write(t, p, "old", mine(0o600))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4 << 20, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := Write(p, make([]byte, 5<<20), mine(0o600))
	if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); e != nil {
		t.Fatal(e)
	}
	if !errors.Is(err, syscall.EFBIG) {
		t.Errorf("error is %v", err)
	}
	if b, _ := os.ReadFile(p); string(b) != "old" {
		t.Errorf("the old content is gone: %d bytes", len(b))
	}
	if got := names(t, dir); got != "f " {
		t.Errorf("left behind: %s", got)
	}
}

func TestALinkIsFollowedAndStays(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	write(t, link, "x", mine(0o600))
	if got, _ := os.Readlink(link); got != "real" {
		t.Errorf("the link points to %q", got)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "real")); string(b) != "x" {
		t.Errorf("the file holds %q", b)
	}
}

func TestANameMayBeAsLongAsTheFileSystemTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("é", 127)+"x")
	write(t, path, "one", mine(0o600))
	write(t, path, "two", mine(0o600))
	if err := Check(path, mine(0o600)); err != nil {
		t.Error(err)
	}
}

func TestMakeDirs(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a", "b", "f")
	o := mine(0o600)
	o.MakeDirs = true
	if err := Check(p, o); err != nil {
		t.Errorf("Check: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(p)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Check made a directory")
	}
	write(t, p, "x", o)
	if got := mode(t, filepath.Dir(p)); got != 0o755&^umask() {
		t.Errorf("directory has mode %o", got)
	}
}

func TestDirectoriesHaveTheModeThatIsAskedFor(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a", "b", "f")
	o := mine(0o600)
	o.MakeDirs, o.DirMode, o.Volatile = true, 0o700, true
	write(t, p, "x", o)
	for _, dir := range []string{filepath.Dir(p), filepath.Dir(filepath.Dir(p))} {
		if got := mode(t, dir); got != 0o700 {
			t.Errorf("%s has mode %o", dir, got)
		}
	}
	if got := mode(t, p); got != 0o600 {
		t.Errorf("the file has mode %o", got)
	}
}

func TestOwnerIsSetBeforeTheContent(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	p := filepath.Join(t.TempDir(), "f")
	o := Options{Mode: 0o640, UID: 1234, GID: 2345}
	write(t, p, "x", o)
	fi, _ := os.Stat(p)
	if uid, gid := owner(fi); uid != 1234 || gid != 2345 {
		t.Errorf("owner is %d:%d", uid, gid)
	}
	// "as it is" keeps that owner on the next write.
	write(t, p, "y", mine(0o640))
	fi, _ = os.Stat(p)
	if uid, gid := owner(fi); uid != 1234 || gid != 2345 {
		t.Errorf("owner was not kept: %d:%d", uid, gid)
	}
}

func TestAReaderNeverSeesHalfAFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	a, b := bytes.Repeat([]byte("a"), 1<<16), bytes.Repeat([]byte("b"), 1<<16)
	write(t, p, string(a), mine(0o600))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			got, err := os.ReadFile(p)
			if err != nil || !bytes.Equal(got, a) && !bytes.Equal(got, b) {
				t.Errorf("read %d bytes, %v", len(got), err)
				return
			}
		}
	})
	for i := range 50 {
		write(t, p, string([][]byte{a, b}[i%2]), mine(0o600))
	}
	close(stop)
	wg.Wait()
}

func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := ""
	for _, e := range list {
		s += e.Name() + " "
	}
	return s
}

func umask() fs.FileMode {
	m := syscall.Umask(0)
	syscall.Umask(m)
	return fs.FileMode(m)
}
