//go:build unix

package sink

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// borrow returns a copy of an inherited descriptor that the caller closes. The
// original is left alone: an os.File for it would close it when collected.
//
// Only what was handed to this process counts. Everything that Go opens itself
// is marked close-on-exec, which an inherited descriptor never is; without this
// test a wrong number could send the token into one of our own connections.
func borrow(fd int) (*os.File, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, errors.New("is not open; whoever starts the program has to open it (3>file, for instance)")
	}
	mode, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, err
	}
	if mode&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, errors.New("is open for reading only")
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), "/dev/fd/"+strconv.Itoa(fd)), nil
}

// chunk is what a pipe that is writable takes without blocking.
const chunk = 4096

// writable waits until f takes a chunk, or ctx ends. The descriptor is shared
// with others and must not be made non-blocking for it; a poll that ends now
// and then is the way to hear of ctx meanwhile. What cannot be polled is taken
// to be writable.
func writable(ctx context.Context, f *os.File) error {
	const pause = 50 * time.Millisecond
	for {
		fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, int(pause/time.Millisecond))
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}
