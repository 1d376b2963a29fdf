package template

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"time"
)

// errNotRegular keeps a Watch from a pipe, whose other end may never come.
var errNotRegular = errors.New("not a regular file")

// stamp is how a file was when it was looked at. It holds no content.
type stamp struct {
	// info is nil for a file that is not there or may not be looked at.
	info fs.FileInfo
	// sum is the digest of the content where it was read.
	sum  [sha256.Size]byte
	read bool
	// settled is whether the file was old enough to know a later change by its
	// time; the clocks of some file systems tick in seconds.
	settled bool
}

// settling is longer than any file system's clock ticks.
const settling = 3 * time.Second

// takeStamp looks at a file without reading it.
func takeStamp(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{settled: true}
	}
	return stamp{info: info, settled: time.Since(info.ModTime()) > settling}
}

// readStamped reads a file; the stamp was taken before, so that a change in between is
// seen at the next look.
func readStamped(path string) (stamp, []byte, error) {
	s := takeStamp(path)
	if s.info != nil && !s.info.Mode().IsRegular() {
		return s, nil, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return s, nil, err
	}
	s.sum, s.read = sha256.Sum256(b), true
	return s, b, nil
}

// again looks at the file once more. It returns the new stamp, and whether the
// content is another than before; it is read only where the file moved, or is so
// young that its time may hide a change.
func (s stamp) again(path string) (now stamp, changed bool) {
	now = takeStamp(path)
	if s.same(now) {
		if s.settled {
			return s, false
		}
	}
	if !s.read {
		// It could not be read before: any movement may have mended that.
		return now, !s.same(now)
	}
	now, _, err := readStamped(path)
	return now, err != nil || now.sum != s.sum
}

// same compares two looks at a file without its content.
func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil
	}
	return os.SameFile(s.info, o.info) && s.info.ModTime().Equal(o.info.ModTime()) &&
		s.info.Size() == o.info.Size() && s.info.Mode() == o.info.Mode()
}
