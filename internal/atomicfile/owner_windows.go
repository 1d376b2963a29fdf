package atomicfile

import (
	"errors"
	"io/fs"
	"os"
)

const appending = os.O_WRONLY | os.O_APPEND

// Windows has no numeric owner; asking for one is an error, not a no-op.
func owner(fs.FileInfo) (uid, gid int) { return -1, -1 }

func chown(_ *os.File, uid, gid int) error {
	if uid < 0 && gid < 0 {
		return nil
	}
	return errors.New("owner and group are not supported on Windows")
}
