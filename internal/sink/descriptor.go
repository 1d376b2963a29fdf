package sink

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"latchkey/internal/retry"
)

// descriptor is a pipe, terminal or file that whoever started the program left
// open for it. It gets exactly what a file would hold, at each write anew, and
// is never opened, truncated or closed.
type descriptor struct {
	name string
	fd   int
	// line ends the text with a line break where it has none.
	line bool
}

// descriptorOf reads the paths that name an open descriptor.
func descriptorOf(path string) (fd int, ok bool) {
	switch path {
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if n, found := strings.CutPrefix(path, dir); found {
			fd, err := strconv.ParseUint(n, 10, 31)
			return int(fd), err == nil
		}
	}
	return 0, false
}

func (d *descriptor) Name() string { return d.name }

func (d *descriptor) Put(_ context.Context, data []byte) error {
	if d.line && data[len(data)-1] != '\n' {
		data = append(data[:len(data):len(data)], '\n')
	}
	f, err := borrow(d.fd)
	if err != nil {
		return retry.Permanent(fmt.Errorf("descriptor %d: %w", d.fd, err))
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	// A part may have been written, so writing again would not mend it.
	return retry.Permanent(err)
}

func (d *descriptor) Check() error {
	f, err := borrow(d.fd)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", d.fd, err)
	}
	return f.Close()
}
