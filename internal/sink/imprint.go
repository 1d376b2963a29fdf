package sink

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"time"

	"latchkey/internal/atomicfile"
)

// imprint is what a file was left like: enough to see that somebody changed it,
// and nothing that has to be kept secret for longer than the file itself. The
// zero imprint is that of a file that was never written, which anything matches.
type imprint struct {
	written  bool
	content  [sha256.Size]byte
	size     int64
	mode     fs.FileMode
	uid, gid int
	// seen is how the file looked when its content was last found right, the
	// zero signature when that is not known yet: between a write and a look
	// others may have been there.
	seen signature
}

func imprintOf(data []byte, o atomicfile.Options) imprint {
	return imprint{written: true, content: sha256.Sum256(data), size: int64(len(data)), mode: o.Mode & permissions, uid: o.UID, gid: o.GID}
}

// settled is how old the last change of a file must be for its signature to be
// trusted. A second change within one tick of the file system's clock would leave
// the same signature; the coarsest of those clocks tick every two seconds.
const settled = 3 * time.Second

// matches reports whether the file is, now, what it was left like. The content is
// read only when something about the file moved.
func (i *imprint) matches(path string, now time.Time) bool {
	if !i.written {
		return true
	}
	s, ok := sign(path)
	if !ok {
		return false
	}
	if s == i.seen {
		return true
	}
	if !s.regular || s.perm != i.mode || s.size != i.size || i.uid >= 0 && s.uid != i.uid || i.gid >= 0 && s.gid != i.gid {
		return false
	}
	data, err := os.ReadFile(path)
	if err != nil || sha256.Sum256(data) != i.content {
		return false
	}
	if now.Sub(s.changed()) > settled {
		i.seen = s
	}
	return true
}
