//go:build unix

package listen

import (
	"os"
	"syscall"
)

// accepts reports whether a descriptor is a socket that listens.
func accepts(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	var on int
	if cerr := raw.Control(func(fd uintptr) { on, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN) }); cerr != nil {
		return false
	}
	return err == nil && on != 0
}
