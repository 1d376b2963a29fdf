package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"latchkey/internal/atomicfile"
	"latchkey/internal/retry"
)

// profileTime is how long the processor is watched.
const profileTime = time.Second

// profiles are written beside the one of the processor, which comes first. They
// hold names of functions and numbers, never the content of memory.
var profiles = []string{"goroutine", "heap", "allocs", "threadcreate"}

// profile watches the processor for a second and writes what is known of it, of
// memory and of goroutines into a new directory that only this user can read,
// below the system's for temporary files. The end of ctx cuts the second short.
func profile(ctx context.Context, log *slog.Logger) error {
	var cpu bytes.Buffer
	if err := pprof.StartCPUProfile(&cpu); err != nil {
		return fmt.Errorf("profile the processor: %w", err)
	}
	_ = retry.Sleep(ctx, profileTime)
	pprof.StopCPUProfile()
	// A directory of a fixed name, where everybody may make one, could be
	// somebody else's by now.
	dir, err := os.MkdirTemp("", "latchkey-pprof-")
	if err != nil {
		return fmt.Errorf("write profiles: %w", err)
	}
	errs := []error{keepProfile(dir, "cpu", func(w io.Writer) error { _, err := cpu.WriteTo(w); return err })}
	for _, name := range profiles {
		errs = append(errs, keepProfile(dir, name, func(w io.Writer) error { return pprof.Lookup(name).WriteTo(w, 0) }))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write profiles: %w", err)
	}
	log.Info("profiles written", "directory", dir)
	return nil
}

func keepProfile(dir, name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := atomicfile.Write(filepath.Join(dir, name+".prof"), b.Bytes(), atomicfile.Options{Mode: 0o600, UID: -1, GID: -1})
	return err
}
