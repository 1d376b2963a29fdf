//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package persist

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock that bbolt takes, which does not mind that we have it:
// it belongs to the open file. So the file can be looked at before bbolt maps it,
// and nobody writes meanwhile.
func tryLock(file *os.File) (bool, error) {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
