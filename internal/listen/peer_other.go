//go:build !linux && !darwin && !freebsd

package listen

import "errors"

// KnowsPeers says whether this system tells who connects to a unix socket.
const KnowsPeers = false

func peerOf(int) (Peer, error) { return Peer{}, errors.ErrUnsupported }
