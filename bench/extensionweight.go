package main

import (
	"archive/zip"
	"compress/flate"
	"io"
	"os"
	"path/filepath"
)

// weight is what an extension is on disk and in its zip, bytes.
type weight struct{ binary, zip int64 }

func (t *tools) weigh(r *extensionReport) error {
	r.weights = map[string]weight{}
	for _, e := range r.order {
		w, err := e.weigh()
		if err != nil {
			return err
		}
		r.weights[e.name] = w
	}
	return nil
}

// weigh zips the program as those of a layer are, where there is no zip of it.
func (e extension) weigh() (weight, error) {
	text, err := os.ReadFile(e.binary)
	if err != nil {
		return weight{}, err
	}
	w := weight{binary: int64(len(text))}
	if e.zip != "" {
		info, err := os.Stat(e.zip)
		if err == nil {
			w.zip = info.Size()
		}
		return w, err
	}
	z := zip.NewWriter((*counting)(&w.zip))
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	f, err := z.Create("extensions/" + filepath.Base(e.binary))
	if err != nil {
		return w, err
	}
	if _, err := f.Write(text); err != nil {
		return w, err
	}
	err = z.Close()
	return w, err
}

// counting counts what is written to it.
type counting int64

func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}
