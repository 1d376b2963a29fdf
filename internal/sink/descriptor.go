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

// Put waits for a reader who is slow, and not longer than ctx. A failure is
// permanent: a part may have been written already, so that writing again would
// mend nothing.
func (d *descriptor) Put(ctx context.Context, data []byte) (bool, error) {
	err := d.put(ctx, data)
	return err == nil, err
}

func (d *descriptor) put(ctx context.Context, data []byte) error {
	if d.line {
		data = ended(data)
	}
	f, err := borrow(d.fd)
	if err != nil {
		return retry.Permanent(fmt.Errorf("descriptor %d: %w", d.fd, err))
	}
	defer f.Close()
	for len(data) > 0 {
		if err := writable(ctx, f); err != nil {
			return retry.Permanent(fmt.Errorf("descriptor %d: nobody reads it: %w", d.fd, err))
		}
		n, err := f.Write(data[:min(len(data), chunk)])
		if err != nil {
			return retry.Permanent(err)
		}
		data = data[n:]
	}
	return nil
}

func (d *descriptor) Check() error {
	f, err := borrow(d.fd)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", d.fd, err)
	}
	return f.Close()
}

// ended returns a text that ends in a line break.
func ended(data []byte) []byte {
	if data[len(data)-1] == '\n' {
		return data
	}
	return append(data[:len(data):len(data)], '\n')
}
