//go:build unix

package sink

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// permissions are the bits of a mode that the system keeps.
const permissions fs.FileMode = 0o777

// signature is all that a file shows without being read. The change time is the
// kernel's own, so that a file whose modification time was put back still shows
// that it was written to.
type signature struct {
	regular      bool
	perm         fs.FileMode
	uid, gid     int
	size         int64
	dev, ino     uint64
	mtime, ctime int64
}

// changed is when the file was last changed in any way.
func (s signature) changed() time.Time { return time.Unix(0, s.ctime) }

// sign looks at what path leads to; ok is false when that is nothing, or cannot
// be looked at.
func sign(path string) (s signature, ok bool) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	for errors.Is(err, unix.EINTR) {
		err = unix.Stat(path, &st)
	}
	if err != nil {
		return signature{}, false
	}
	return signature{
		regular: st.Mode&unix.S_IFMT == unix.S_IFREG, perm: fs.FileMode(st.Mode) & permissions,
		uid: int(st.Uid), gid: int(st.Gid), size: st.Size,
		dev: uint64(st.Dev), ino: uint64(st.Ino),
		mtime: unix.TimespecToNsec(st.Mtim), ctime: unix.TimespecToNsec(st.Ctim),
	}, true
}
