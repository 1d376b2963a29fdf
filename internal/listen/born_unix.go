//go:build unix

package listen

import "syscall"

// ownersHere says that files have an owner and a group.
const ownersHere = true

// bornClosed gives a socket its mode before it has a name: Linux takes the mode
// of the file from it. Where a system does not, the file is open for a moment as
// the umask says, until it is given its mode.
func bornClosed(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
}
