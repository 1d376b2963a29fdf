//go:build unix

package systemd

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// keepFromChildren marks a descriptor as close-on-exec, and says whether there is
// one at all.
func keepFromChildren(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	return nil
}
