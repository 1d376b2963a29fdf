package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/owner"
)

// knock is how long somebody may take to answer at a socket that is in the way.
const knock = time.Second

// access is what socket_mode, socket_user and socket_group say; each holds by
// itself.
type access struct {
	mode     fs.FileMode
	hasMode  bool
	uid, gid int // -1: as it comes
}

func openUnix(l config.Listener, at place) (net.Listener, error) {
	a, err := accessOf(l, at)
	if err != nil {
		return nil, err
	}
	if l.Address == "" {
		return nil, at.problem("address", "is missing", "the path of the socket", nil)
	}
	if err := clearPath(l.Address, at); err != nil {
		return nil, err
	}
	// Where the mode is given, the socket is never open wider than that, not
	// even between being bound and being given its mode.
	lc := net.ListenConfig{}
	if a.hasMode {
		lc.Control = bornClosed
	}
	ln, err := lc.Listen(context.Background(), "unix", l.Address)
	if err != nil {
		hint := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			hint = "the directory must exist"
		case errors.Is(err, syscall.EINVAL):
			hint = "the path of a socket can hold about 100 bytes"
		}
		return nil, at.problem("address", "cannot be listened on", hint, bare(err))
	}
	u := ln.(*net.UnixListener)
	u.SetUnlinkOnClose(false) // removes whatever is there by then; see Close
	if err := a.apply(l.Address, at); err != nil {
		_ = u.Close()
		_ = os.Remove(l.Address)
		return nil, err
	}
	s := &socket{UnixListener: u, path: l.Address}
	s.file, _ = os.Lstat(l.Address)
	return s, nil
}

// socket removes its file when it is closed, if it is still its own: a successor
// may already have bound the path.
type socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo
	once sync.Once
	err  error
}

// Close ends the listener and removes the socket's file; more than once is
// harmless.
func (s *socket) Close() error {
	s.once.Do(func() {
		s.err = s.UnixListener.Close()
		if now, err := os.Lstat(s.path); err == nil && s.file != nil && os.SameFile(now, s.file) {
			s.err = errors.Join(s.err, os.Remove(s.path))
		}
	})
	return s.err
}

// clearPath takes away the socket that a process left behind when it died. What
// is no socket, and a socket at which somebody answers, stays.
func clearPath(path string, at place) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return at.problem("address", "cannot be listened on", "", err)
	case fi.Mode().Type() != fs.ModeSocket:
		return at.problem("address", path+" exists and is no socket", "it is left alone; remove it, or choose another path", nil)
	}
	c, err := net.DialTimeout("unix", path, knock)
	if err == nil {
		_ = c.Close()
		return at.problem("address", "another process listens at "+path, "is an agent running already?", syscall.EADDRINUSE)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return at.problem("address", path+" is a socket of which nobody can tell whether it is in use", "remove it if it is not", bare(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return at.problem("address", "the socket that was left behind cannot be removed", "", err)
	}
	return nil
}

func accessOf(l config.Listener, at place) (access, error) {
	a := access{uid: -1, gid: -1}
	if l.SocketMode != "" {
		m, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(l.SocketMode), "0o"), 8, 32)
		if err != nil || m > 0o777 {
			return a, at.problem("socket_mode", fmt.Sprintf("%q is no file mode", l.SocketMode), `an octal string up to "0777", such as "0660"`, nil)
		}
		a.mode, a.hasMode = fs.FileMode(m), true
	}
	for _, k := range []struct {
		key, name string
		ask       func(string) (int, error)
		to        *int
	}{{"socket_user", l.SocketUser, owner.User, &a.uid}, {"socket_group", l.SocketGroup, owner.Group, &a.gid}} {
		if k.name == "" {
			continue
		}
		if !ownersHere {
			return a, at.problem(k.key, "cannot be set on this system", "leave it out", nil)
		}
		n, err := k.ask(k.name)
		if err != nil {
			return a, at.problem(k.key, fmt.Sprintf("does not find %q", k.name), "a name or a number", err)
		}
		*k.to = n
	}
	return a, nil
}

// apply gives the socket's file its owner first, then its mode, so that nobody
// gets in who shall not.
func (a access) apply(path string, at place) error {
	if a.uid >= 0 || a.gid >= 0 {
		if err := os.Lchown(path, a.uid, a.gid); err != nil {
			key := "socket_user"
			if a.uid < 0 {
				key = "socket_group"
			}
			return at.problem(key, "cannot be set", "only root gives a file to another user; a group must be one of our own", err)
		}
	}
	if a.hasMode {
		if err := os.Chmod(path, a.mode); err != nil {
			return at.problem("socket_mode", "cannot be set", "", err)
		}
	}
	return nil
}
