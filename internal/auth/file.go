package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"latchkey/internal/cred"
)

// maxCredential bounds what is read from a credential file: a path that names
// the wrong file must not fill the memory.
const maxCredential = 1 << 20

// credentialFile is a file that holds one credential and may be rotated,
// removed or not yet there.
type credentialFile struct {
	// what and key are for messages: "secret_id", "secret_id_file_path".
	what, key string
	path      string
	// lines keeps blanks: only line breaks at the end are cut off.
	lines bool
	// keep makes discard do nothing.
	keep bool
	// log is needed by latest and discard.
	log *slog.Logger
	// last is what latest read last.
	last cred.Redacted
	// complained is set after the first removal that failed: a read-only
	// mount stays one, and saying so again at each login helps nobody.
	complained bool
}

// read returns the content without surrounding white space; see lines. Every error is
// ErrCredentials and names the file.
func (f *credentialFile) read() (cred.Redacted, error) {
	data, err := slurp(f.path)
	if err != nil {
		hint := ""
		switch {
		case errors.Is(err, fs.ErrNotExist):
			hint = " (is it mounted, and is " + f.key + " right?)"
		case errors.Is(err, fs.ErrPermission):
			hint = " (this user may not read it)"
		}
		return cred.Redacted{}, fmt.Errorf("%w: no %s: %w%s", ErrCredentials, f.what, err, hint)
	}
	s := strings.TrimRight(string(data), "\r\n")
	if !f.lines {
		s = strings.TrimSpace(s)
	}
	if s == "" {
		return cred.Redacted{}, fmt.Errorf("%w: no %s: %s is empty", ErrCredentials, f.what, f.path)
	}
	return cred.Redact(s), nil
}

// latest returns the content, or what was read last when the file is gone or
// empty by now. fresh is the content alone, empty in the second case.
func (f *credentialFile) latest() (value, fresh cred.Redacted, err error) {
	fresh, err = f.read()
	switch {
	case err == nil:
		f.last = fresh
	case f.last.Empty():
		return cred.Redacted{}, cred.Redacted{}, err
	default:
		f.log.Debug("using what was read earlier", "credential", f.what, "error", err)
	}
	return f.last, fresh, nil
}

func slurp(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCredential+1))
	if err == nil && len(data) > maxCredential {
		err = &fs.PathError{Op: "read", Path: path, Err: errors.New("larger than 1 MiB, which is no credential")}
	}
	return data, err
}

// discard removes the file, unless its content is no longer the one that was
// used: a credential delivered in the meantime is for the next login. With
// follow, what a symbolic link names is removed in place of the link. A
// failure is logged once and changes nothing.
func (f *credentialFile) discard(used cred.Redacted, follow bool) {
	if f.keep {
		return
	}
	now, err := f.read()
	if err != nil || !now.Equal(used) {
		return
	}
	path := f.path
	if follow {
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return
		}
	}
	err = os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) || f.complained {
		return
	}
	f.complained = true
	f.log.Warn("cannot remove the file after reading it; it stays, and this is not said again",
		"credential", f.what, "error", err)
}
