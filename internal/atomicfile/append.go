package atomicfile

import (
	"errors"
	"io/fs"
	"os"
)

// Append opens the file at path for writing at its end, and creates it with
// exactly the given mode, umask or not, where it is missing; a file that is
// there keeps its owner and mode. Whoever calls it closes it.
//
// It is for the output of another program, which arrives over days and whose
// reader follows it: such a file cannot appear whole, and must not be replaced
// while it is written. Nothing that latchkey itself has to say belongs into
// one. A device or a pipe may be named too; a pipe that nobody reads is an
// error, because waiting for its reader would have no end.
func Append(path string, mode fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, appending|os.O_CREATE|os.O_EXCL, mode.Perm())
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, appending|os.O_CREATE, mode.Perm())
	}
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(mode.Perm()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
