package sink

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// borrow returns a copy of standard output or standard error, which the caller
// closes; Windows hands on no other descriptors by number.
func borrow(fd int) (*os.File, error) {
	var of *os.File
	switch fd {
	case 1:
		of = os.Stdout
	case 2:
		of = os.Stderr
	default:
		return nil, errors.New("only 1 and 2 can be written on Windows")
	}
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return nil, err
	}
	var dup syscall.Handle
	err = syscall.DuplicateHandle(self, syscall.Handle(of.Fd()), self, &dup, 0, false, syscall.DUPLICATE_SAME_ACCESS)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), of.Name()), nil
}

// chunk bounds one write.
const chunk = 4096

// writable cannot be known on Windows: a write waits for its reader.
func writable(context.Context, *os.File) error { return nil }
