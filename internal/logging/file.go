package logging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/DeRuina/timberjack"
)

const (
	// defaultName is the file in a log_file that names a directory.
	defaultName = "agent.log"
	// fileMode lets a group of log readers in; there are no secrets in a log.
	fileMode = 0o640
	// unlimited, in megabytes, keeps the library from rotating on its own: it
	// counts in megabytes, and log_rotate_bytes counts in bytes.
	unlimited = 1 << 30
)

// rotating is a log file that starts anew when it is too large or too old. The
// library opens, renames, names and cleans up; when to do so is decided here.
// It is not safe for concurrent use.
type rotating struct {
	path     string
	bytes    int64
	every    time.Duration
	maxFiles int

	log    *timberjack.Logger
	mode   fs.FileMode
	size   int64
	opened time.Time
}

// CheckPath reports what is wrong with the path of a log file, whatever the
// machine it is meant for looks like.
func CheckPath(path string) error {
	if strings.ContainsAny(path, "*?[") {
		return fmt.Errorf("log file %s: a path with *, ? or [ cannot be rotated", path)
	}
	return nil
}

// openFile opens the log file that o names and proves that it can be written.
// A new file gets the mode 0640, missing directories are made.
func openFile(o Options) (*rotating, error) {
	path := o.File
	if os.IsPathSeparator(path[len(path)-1]) {
		path = filepath.Join(path, defaultName)
	}
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	r := &rotating{path: path, bytes: int64(o.RotateBytes), every: o.RotateDuration, maxFiles: o.RotateMaxFiles, mode: fileMode}
	if err := r.probe(); err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("log file %s: %w", path, err)
	}
	return r, nil
}

// probe looks before the library does, which would move aside whatever it
// cannot append to: another user's file, a directory, even a device.
func (r *rotating) probe() error {
	info, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a directory: end the path with a separator to log to %s in it", r.path, defaultName)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: the log goes to stderr already", r.path)
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	// Whoever tightened the mode wants it on the next file as well.
	r.size, r.mode = info.Size(), info.Mode().Perm()
	return f.Close()
}

// open makes the library open the file, which it does at the first write. One
// that it had to make is opened once more, to append: others may write to it
// too, and whoever does not append writes over their lines.
func (r *rotating) open() error {
	_, err := os.Stat(r.path)
	made := errors.Is(err, fs.ErrNotExist)
	if err := r.openOnce(); err != nil || !made {
		return err
	}
	return r.again()
}

// again opens the file that is there.
func (r *rotating) again() error {
	if err := r.log.Close(); err != nil {
		return err
	}
	return r.openOnce()
}

func (r *rotating) openOnce() error {
	r.log = &timberjack.Logger{
		Filename:    r.path,
		MaxSize:     unlimited,
		MaxBackups:  max(r.maxFiles, 0),
		Compression: "none",
		FileMode:    r.mode,
	}
	r.opened = time.Now().Round(0) // by the wall clock: a suspended machine's day ends too
	if _, err := r.log.Write(nil); err != nil {
		return errors.Join(err, r.log.Close())
	}
	return nil
}

// Write implements io.Writer. A line longer than the limit has a file of its
// own rather than being lost.
func (r *rotating) Write(line []byte) (int, error) {
	tooLarge := r.bytes > 0 && r.size > 0 && r.size+int64(len(line)) > r.bytes
	tooOld := r.every > 0 && time.Since(r.opened) >= r.every
	if tooLarge || tooOld {
		reason := "size"
		if tooOld {
			reason = "time"
		}
		if err := r.rotate(reason); err != nil {
			return 0, fmt.Errorf("rotate %s: %w", r.path, err)
		}
	}
	n, err := r.log.Write(line)
	r.size += int64(n)
	return n, err
}

func (r *rotating) rotate(reason string) error {
	r.size = 0
	if r.maxFiles >= 0 {
		if err := r.log.RotateWithReason(reason); err != nil {
			return err
		}
		return r.again()
	}
	// The library knows no "keep none": 0 means all to it as well.
	if err := r.log.Close(); err != nil {
		return err
	}
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.open()
}

// Close closes the file and waits until old files are cleaned up.
func (r *rotating) Close() error { return r.log.Close() }
