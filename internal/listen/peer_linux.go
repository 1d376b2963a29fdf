package listen

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// KnowsPeers says whether this system tells who connects to a unix socket.
const KnowsPeers = true

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	p := Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}
	p.Groups, err = peerGroups(fd)
	return p, err
}

// peerGroups asks the kernel for the process's own groups (Linux 4.13 has them),
// and not a database of users, which another container does not share. Before
// that there are none. No library wraps this option.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(4 * len(groups))
		_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case e == unix.ERANGE && int(size) > 4*len(groups):
			groups = make([]uint32, size/4)
		case e == unix.ENOPROTOOPT:
			return nil, nil
		case e != 0:
			return nil, e
		default:
			return groups[:size/4], nil
		}
	}
}
