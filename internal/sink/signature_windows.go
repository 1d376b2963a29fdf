package sink

import (
	"io/fs"
	"os"
	"time"
)

// permissions are the bits of a mode that the system keeps: whether a file may
// be written.
const permissions fs.FileMode = 0o200

// signature is all that a file shows without being read.
type signature struct {
	regular  bool
	perm     fs.FileMode
	uid, gid int
	size     int64
	mtime    int64
}

// changed is when the file was last written to.
func (s signature) changed() time.Time { return time.Unix(0, s.mtime) }

// sign looks at what path leads to; ok is false when that is nothing, or cannot
// be looked at.
func sign(path string) (s signature, ok bool) {
	fi, err := os.Stat(path)
	if err != nil {
		return signature{}, false
	}
	return signature{
		regular: fi.Mode().IsRegular(), perm: fi.Mode() & permissions, uid: -1, gid: -1,
		size: fi.Size(), mtime: fi.ModTime().UnixNano(),
	}, true
}
