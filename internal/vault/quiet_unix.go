//go:build unix

package vault

import (
	"net"
	"syscall"
)

// quiet returns what reports whether a connection that is idle is open and nothing
// came on it. What came is taken from it: it is of no use any more. A deadline that
// passed meanwhile, which would end a read, says nothing.
func quiet(conn net.Conn) func() bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return func() bool { return true }
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return func() bool { return false }
	}
	// Made once, for this is asked before each request.
	nothing, b := false, make([]byte, 1)
	look := func(fd uintptr) {
		_, err := syscall.Read(int(fd), b)
		nothing = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	}
	return func() bool { return raw.Control(look) == nil && nothing }
}
