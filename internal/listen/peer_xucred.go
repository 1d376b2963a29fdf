//go:build darwin || freebsd

package listen

import "golang.org/x/sys/unix"

// KnowsPeers says whether this system tells who connects to a unix socket.
const KnowsPeers = true

// solLocal is SOL_LOCAL, the level of options of unix sockets.
const solLocal = 0

func peerOf(fd int) (Peer, error) {
	cred, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return Peer{}, err
	}
	// The first group is the effective one.
	p := Peer{UID: cred.Uid}
	if n := min(int(cred.Ngroups), len(cred.Groups)); n > 0 {
		p.GID, p.Groups = cred.Groups[0], append([]uint32{}, cred.Groups[1:n]...)
	} else {
		return Peer{}, unix.EINVAL
	}
	return p, nil
}
