package auth

import (
	"bytes"
	"crypto/sha256"
	"time"
)

// Watcher is implemented by a Method whose credentials may be replaced while a
// token lives. Like Login, its methods are not called concurrently.
type Watcher interface {
	// Fresh reports whether credentials are at hand that are other than those
	// of the last Login. It reads files, or asks what is beside us within seconds,
	// sends nothing to the server and consumes nothing; a file that is absent,
	// empty or unreadable is not fresh. The first call
	// begins the watch: it takes what is there as known and says no.
	Fresh() bool
	// Every is how often asking is worth while; 0 when nothing is to be watched.
	Every() time.Duration
}

// watchEvery is how often a small local file is looked at, unless the
// configuration says.
const watchEvery = time.Second

// watch is the Watcher of the methods that log in with files. Each Login begins
// with mark, so that what arrives while it is under way counts as fresh, and
// what it saw does not, whether it was of use or not.
type watch struct {
	paths []string
	every time.Duration
	// known holds a digest of what each file held last, nil until the first
	// Fresh: one who logs in once has no use for it.
	known map[string][sha256.Size]byte
}

// watching makes a watch; empty paths are left out.
func watching(every time.Duration, paths ...string) watch {
	w := watch{every: every}
	for _, p := range paths {
		if p != "" {
			w.paths = append(w.paths, p)
		}
	}
	return w
}

// Fresh implements Watcher.
func (w *watch) Fresh() bool {
	if w.known == nil {
		w.known = map[string][sha256.Size]byte{}
		w.mark()
		return false
	}
	for _, p := range w.paths {
		if sum, ok := digest(p); ok && sum != w.known[p] {
			return true
		}
	}
	return false
}

// Every implements Watcher.
func (w *watch) Every() time.Duration {
	if len(w.paths) == 0 {
		return 0
	}
	return w.every
}

// mark takes what is there as known. A file that is gone stays known as it was:
// the same credential, delivered once more, is nothing new.
func (w *watch) mark() {
	if w.known == nil {
		return
	}
	for _, p := range w.paths {
		if sum, ok := digest(p); ok {
			w.known[p] = sum
		}
	}
}

// digest identifies a file's content, white space around it aside.
func digest(path string) (sum [sha256.Size]byte, ok bool) {
	data, err := slurp(path)
	if err != nil {
		return sum, false
	}
	data = bytes.TrimSpace(data)
	return sha256.Sum256(data), len(data) > 0
}
