//go:build unix

package listen

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"latchkey/internal/config"
)

func unixAt(path string) config.Listener {
	return config.Listener{Type: "unix", Address: path, TLSDisable: true, Pos: here}
}

func mode(t *testing.T, path string) fs.FileMode {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Type() != fs.ModeSocket {
		t.Fatalf("%s is %v", path, fi.Mode())
	}
	return fi.Mode().Perm()
}

func TestASocketAnswersAndLeavesNothingBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, _ := open(t, unixAt(path), Options{})
	serve(t, ln)
	if body, err := get(t, ln, nil); err != nil || body != "hello over HTTP/1.1" {
		t.Errorf("%q, %v", body, err)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := ln.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestEachSocketKeyHoldsByItself(t *testing.T) {
	me, mine := os.Getuid(), os.Getgid()
	for _, tc := range []struct {
		name              string
		mode, user, group string
		want              fs.FileMode // 0: as the umask says
	}{
		{"mode alone", "0660", "", "", 0o660},
		{"a mode without a leading zero", "600", "", "", 0o600},
		{"a mode with 0o", "0o777", "", "", 0o777},
		{"no mode at all for others", "0000", "", "", 0},
		{"user alone", "", strconv.Itoa(me), "", 0},
		{"group alone", "", "", strconv.Itoa(mine), 0},
		{"all three", "0640", strconv.Itoa(me), strconv.Itoa(mine), 0o640},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l := unixAt(path)
			l.SocketMode, l.SocketUser, l.SocketGroup = tc.mode, tc.user, tc.group
			open(t, l, Options{})
			got := mode(t, path)
			if (tc.mode != "" || tc.want != 0) && got != tc.want {
				t.Errorf("mode %v, want %v", got, tc.want)
			}
		})
	}
}

func TestAnOwnerIsSetForRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	path := filepath.Join(t.TempDir(), "s")
	l := unixAt(path)
	l.SocketUser, l.SocketGroup = "12345", "54321"
	open(t, l, Options{})
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 54321 {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
}

func TestSocketKeysThatCannotBeUsedAreToldAndLeaveNothing(t *testing.T) {
	for _, tc := range []struct {
		name, key, has string
		set            func(*config.Listener)
	}{
		{"no mode", "listener.socket_mode", "octal", func(l *config.Listener) { l.SocketMode = "rw-rw----" }},
		{"a mode with more than permissions", "listener.socket_mode", "octal", func(l *config.Listener) { l.SocketMode = "4755" }},
		{"no such user", "listener.socket_user", `"no-such-user-here"`, func(l *config.Listener) { l.SocketUser = "no-such-user-here" }},
		{"no such group", "listener.socket_group", `"no-such-group-here"`, func(l *config.Listener) { l.SocketGroup = "no-such-group-here" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l := unixAt(path)
			tc.set(&l)
			_, _, err := Open(l, Options{})
			asProblem(t, err, tc.key, tc.has)
			if _, err := os.Lstat(path); err == nil {
				t.Error("a socket was left behind")
			}
		})
	}
}

func TestASocketThatWasLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	leave(t, path)
	ln, _ := open(t, unixAt(path), Options{})
	serve(t, ln)
	if _, err := get(t, ln, nil); err != nil {
		t.Error(err)
	}
}

// leave leaves a socket behind as a process does that is killed.
func leave(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestASocketInUseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, _ := open(t, unixAt(path), Options{})
	serve(t, first)
	_, _, err := Open(unixAt(path), Options{})
	asProblem(t, err, "listener.address", "another process listens")
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
	if _, err := get(t, first, nil); err != nil {
		t.Errorf("the first one: %v", err)
	}
}

func TestWhatIsNoSocketIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, file, []byte("precious"))
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, dir} {
		_, _, err := Open(unixAt(path), Options{})
		asProblem(t, err, "listener.address", "is no socket")
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
}

// A successor may have bound the path between our end and our Close.
func TestClosingLeavesASuccessorsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, _ := open(t, unixAt(path), Options{})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, _ := open(t, unixAt(path), Options{})
	serve(t, next)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, next, nil); err != nil {
		t.Error(err)
	}
}

func TestASocketMaySpeakTLS(t *testing.T) {
	ca := newAuthority(t)
	l := withTLS(t, ca)
	l.Type, l.Address = "unix", filepath.Join(t.TempDir(), "s")
	ln, _ := open(t, l, Options{})
	serve(t, ln)
	if body, err := get(t, ln, clientOf(ca)); err != nil || body != "hello over HTTP/2.0" {
		t.Errorf("%q, %v", body, err)
	}
}
