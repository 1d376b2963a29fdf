//go:build unix

package sink

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"latchkey/internal/config"
	"latchkey/internal/cred"
	"latchkey/internal/retry"
)

var token = cred.Token{Value: cred.Redact("hvs.canary-token")}

var wrappedToken = cred.Token{Wrap: &cred.WrapInfo{
	Token: cred.Redact("hvs.canary-wrapping"), Accessor: "wacc", TTL: 5 * time.Minute,
	CreationTime: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), CreationPath: "auth/approle/login", WrappedAccessor: "acc",
}}

const wrappedLine = `{"token":"hvs.canary-wrapping","accessor":"wacc","ttl":300,"creation_time":"2026-01-02T03:04:05.000000006Z","creation_path":"auth/approle/login","wrapped_accessor":"acc"}` + "\n"

// stanza describes a sink of type file.
func stanza(path string, extra ...any) config.Sink {
	v := map[string]any{"path": path}
	for i := 0; i < len(extra); i += 2 {
		v[extra[i].(string)] = extra[i+1]
	}
	return config.Sink{Type: "file", Config: config.NewBlock("file", v)}
}

func build(t *testing.T, s config.Sink, o Options) Sink {
	t.Helper()
	k, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}

// quiet fails the test when an error holds one of its secrets.
func quiet(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("a secret is told: %v", err)
	}
}

func TestFileHoldsTheTokenAndNoLineBreak(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	s := build(t, stanza(path), Options{})
	for range 2 {
		if err := s.Write(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if got := content(t, path); got != "hvs.canary-token" {
			t.Errorf("got %q", got)
		}
	}
	if s.Name() != "file "+path {
		t.Errorf("called %s", s.Name())
	}
}

func TestFileHoldsAWrappedLoginAsOneLineOfJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := build(t, stanza(path), Options{}).Write(t.Context(), wrappedToken); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != wrappedLine {
		t.Errorf("got  %swant %s", got, wrappedLine)
	}
}

func TestFileMode(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for _, tc := range []struct {
		given any
		want  fs.FileMode
	}{{nil, 0o640}, {"0600", 0o600}, {"0644", 0o644}, {0o444, 0o444}} {
		path := filepath.Join(t.TempDir(), "token")
		st := stanza(path)
		if tc.given != nil {
			st = stanza(path, "mode", tc.given)
		}
		if err := build(t, st, Options{}).Write(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode() != tc.want {
			t.Errorf("mode %v: got %v, %v", tc.given, fi.Mode(), err)
		}
	}
}

func TestFileOwner(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(me.Uid)
	for _, extra := range [][]any{
		nil,
		{"owner", me.Username, "group", group.Name},
		{"owner", me.Uid, "group", me.Gid},
		{"owner", uid},
		{"uid", uid, "gid", me.Gid},
	} {
		path := filepath.Join(t.TempDir(), "token")
		if err := build(t, stanza(path, extra...), Options{}).Write(t.Context(), token); err != nil {
			t.Errorf("%v: %v", extra, err)
		}
		if uid, gid := ownerOf(t, path); strconv.Itoa(uid) != me.Uid || strconv.Itoa(gid) != me.Gid {
			t.Errorf("%v: belongs to %d:%d", extra, uid, gid)
		}
	}
}

func ownerOf(t *testing.T, path string) (uid, gid int) {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := fi.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}

func TestFileOfSomebodyElse(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 1234, 1235); err != nil {
		t.Fatal(err)
	}
	if err := build(t, stanza(path), Options{}).Write(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if uid, gid := ownerOf(t, path); uid != 0 || gid != os.Getgid() {
		t.Errorf("a file that %d:%d had put there got the token and is still theirs", uid, gid)
	}
	if err := build(t, stanza(path, "owner", 1234, "gid", "1235"), Options{}).Write(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if uid, gid := ownerOf(t, path); uid != 1234 || gid != 1235 {
		t.Errorf("belongs to %d:%d", uid, gid)
	}
}

func TestFileThatCannotBeWrittenIsNotTriedAgain(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name string
		st   config.Sink
		kind error
		want string
	}{
		{"no folder", stanza(filepath.Join(dir, "no", "token")), fs.ErrNotExist, "no such file"},
		{"a folder in its place", stanza(dir), nil, "not a regular file"},
		{"no such user", stanza(filepath.Join(dir, "t"), "owner", "no-such-user"), nil, "owner: user: unknown user no-such-user"},
		{"no such group", stanza(filepath.Join(dir, "t"), "group", "no-such-group"), nil, "group: group: unknown group no-such-group"},
		{"no id", stanza(filepath.Join(dir, "t"), "uid", "-1"), nil, "owner: -1 is not an id"},
		{"no such descriptor", stanza("/dev/fd/777"), nil, "descriptor 777: is not open"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := build(t, tc.st, Options{})
			for _, err := range []error{s.Write(t.Context(), token), s.(Checker).Check()} {
				if err == nil || !strings.Contains(err.Error(), tc.want) || tc.kind != nil && !errors.Is(err, tc.kind) {
					t.Errorf("got %v", err)
				}
				quiet(t, err)
			}
			if err := s.Write(t.Context(), token); !retry.IsPermanent(err) {
				t.Errorf("not permanent: %v", err)
			}
			empty(t, dir)
		})
	}
}

func TestPassingShortagesAreTriedAgain(t *testing.T) {
	for err, permanent := range map[error]bool{
		&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}: false,
		syscall.EDQUOT: false,
		&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}: true,
		&fs.PathError{Op: "open", Path: "x", Err: syscall.EROFS}:  true,
		syscall.ENOENT: true,
	} {
		if got := retry.IsPermanent(local(err)); got != permanent {
			t.Errorf("%v: permanent is %v", err, got)
		}
	}
	if local(nil) != nil {
		t.Error("no error became one")
	}
}

func TestCheckLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if err := build(t, stanza(path, "owner", os.Getuid()), Options{}).(Checker).Check(); err != nil {
		t.Fatal(err)
	}
	empty(t, dir)
}

func TestATokenThatIsNoneIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	err := build(t, stanza(filepath.Join(dir, "token")), Options{}).Write(t.Context(), cred.Token{})
	if !retry.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	empty(t, dir)
}

// inherited returns the number of a descriptor as a parent would hand it on.
func inherited(t *testing.T, f *os.File) string {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd())) // not marked close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return strconv.Itoa(fd)
}

func TestFileCanBeAnOpenDescriptor(t *testing.T) {
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		n := inherited(t, w)
		w.Close()
		s := build(t, stanza(dir+n), Options{})
		if err := s.(Checker).Check(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is not closed after the first
			if err := s.Write(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		fd, _ := strconv.Atoi(n)
		unix.Close(fd)
		if got, _ := io.ReadAll(r); string(got) != "hvs.canary-tokenhvs.canary-token" {
			t.Errorf("got %q", got)
		}
	}
}

func TestOnlyDescriptorsHandedToUsAreWritten(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	// Go's own end of the pipe stands for any connection that happens to
	// have the number.
	own := build(t, stanza("/dev/fd/"+strconv.Itoa(int(w.Fd()))), Options{})
	if err := own.Write(t.Context(), token); err == nil || !strings.Contains(err.Error(), "is not open") {
		t.Errorf("got %v", err)
	}
	reading := build(t, stanza("/dev/fd/"+inherited(t, r)), Options{})
	if err := reading.Write(t.Context(), token); err == nil || !strings.Contains(err.Error(), "reading only") {
		t.Errorf("got %v", err)
	}
}

func TestPipeWhoseReaderIsGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	n := inherited(t, w)
	w.Close()
	r.Close()
	err = build(t, stanza("/dev/fd/"+n), Options{}).Write(t.Context(), token)
	if !errors.Is(err, syscall.EPIPE) || !retry.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestPipeThatNobodyReadsDoesNotHang(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for err == nil { // until it is full
		_, err = w.Write(make([]byte, 4096))
	}
	n := inherited(t, w)
	w.Close()
	fd, _ := strconv.Atoi(n)
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	s := build(t, stanza("/dev/fd/"+n), Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Write(ctx, token); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	long := cred.Token{Value: cred.Redact(strings.Repeat("x", 300_000))}
	if err := s.Write(t.Context(), long); err != nil {
		t.Errorf("a slow reader of a long token: %v", err)
	}
}

func TestDescriptorPaths(t *testing.T) {
	for path, want := range map[string]int{
		"/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/3": 3, "/dev/fd/1": 1, "/proc/self/fd/12": 12,
		"/dev/fd/": -1, "/dev/fd/-1": -1, "/dev/fd/3/x": -1, "/dev/fd/9999999999999": -1, "/dev/fdx/3": -1, "dev/fd/3": -1, "/dev/null": -1,
	} {
		if fd, ok := descriptorOf(path); ok != (want >= 0) || ok && fd != want {
			t.Errorf("%s: got %d, %v", path, fd, ok)
		}
	}
}
