package listen

import "net/http"

// Peer is the process at the other end of a unix socket, as it was when it
// connected; what it became since, or whom it gave its end to, nobody knows.
type Peer struct {
	UID, GID uint32
	// PID is 0 where the system does not tell.
	PID int32
	// Groups are the supplementary groups; nil where the system does not tell.
	Groups []uint32
}

// PeerOf says who sent a request that a Server of this package serves; false for
// tcp, and where the system does not tell (see KnowsPeers).
func PeerOf(r *http.Request) (Peer, bool) {
	k, ok := r.Context().Value(linkKey{}).(*link)
	if !ok || k.conn == nil {
		return Peer{}, false
	}
	k.once.Do(func() {
		raw, err := k.conn.SyscallConn()
		if err != nil {
			return
		}
		if err := raw.Control(func(fd uintptr) { k.peer, err = peerOf(int(fd)) }); err != nil {
			return
		}
		k.known = err == nil
	})
	return k.peer, k.known
}
