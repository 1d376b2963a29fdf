//go:build unix

package atomicfile

import (
	"io/fs"
	"os"
	"syscall"
)

// appending opens without waiting: a named pipe has its reader already, or is
// refused.
const appending = os.O_WRONLY | os.O_APPEND | syscall.O_NONBLOCK

func owner(fi fs.FileInfo) (uid, gid int) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(st.Uid), int(st.Gid)
}

// chown skips the call when nothing would change: an ordinary user may not
// chown a file to another, but may keep what it has.
func chown(f *os.File, uid, gid int) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	haveUID, haveGID := owner(fi)
	if (uid < 0 || uid == haveUID) && (gid < 0 || gid == haveGID) {
		return nil
	}
	return f.Chown(uid, gid)
}
