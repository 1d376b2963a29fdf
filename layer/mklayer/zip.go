package main

import (
	"archive/zip"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"time"
)

// entry is one file of a zip.
type entry struct {
	path    string
	content []byte
}

// epoch is the first moment a zip can tell.
var epoch = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// pack writes entries as executable files that root owns, sorted by path. The
// same entries give the same bytes.
func pack(w io.Writer, entries []entry) error {
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b entry) int { return strings.Compare(a.path, b.path) })
	for _, e := range sorted {
		h := &zip.FileHeader{Name: e.path, Method: zip.Deflate, Modified: epoch}
		// Stored as Unix attributes: Lambda starts nothing that is not executable.
		h.SetMode(0o755)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(e.content); err != nil {
			return err
		}
	}
	return z.Close()
}
