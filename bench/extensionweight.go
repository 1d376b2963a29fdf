package main

import (
	"archive/zip"
	"compress/flate"
	"context"
	"io"
	"os"
	"path/filepath"
)

// weight is what an extension is on disk and in its zip, bytes.
type weight struct{ binary, zip int64 }

func (t *tools) weigh(ctx context.Context, r *extensionReport) error {
	r.weights = map[string]weight{}
	for _, e := range r.order {
		files := map[string]string{"extensions/" + filepath.Base(e.binary): e.binary}
		if e.name == nameExt || e.name == nameFullExt {
			wrapper, err := build(ctx, t.work, "..", "./cmd/latchkey-exec")
			if err != nil {
				return err
			}
			files["latchkey-exec"] = wrapper
		}
		w, err := weigh(e.binary, files)
		if err != nil {
			return err
		}
		r.weights[e.name] = w
	}
	return nil
}

// weigh zips files as those of a layer are.
func weigh(binary string, files map[string]string) (weight, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return weight{}, err
	}
	var packed counting
	z := zip.NewWriter(&packed)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for name, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return weight{}, err
		}
		w, err := z.Create(name)
		if err != nil {
			return weight{}, err
		}
		if _, err := w.Write(text); err != nil {
			return weight{}, err
		}
	}
	return weight{binary: info.Size(), zip: int64(packed)}, z.Close()
}

// counting counts what is written to it.
type counting int64

func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}
