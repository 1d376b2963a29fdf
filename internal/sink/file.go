package sink

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"latchkey/internal/atomicfile"
	"latchkey/internal/owner"
	"latchkey/internal/retry"
)

type fileConfig struct {
	Path string      `config:"path,required"`
	Mode fs.FileMode `config:"mode"`
	// Owner and Group are names or decimal ids; UID and GID are how OpenBao
	// spells them.
	Owner string `config:"owner"`
	Group string `config:"group"`
	UID   string `config:"uid"`
	GID   string `config:"gid"`
}

// file is a token file, replaced as a whole when something about it is not
// right. Unless told otherwise it belongs to this process, whoever owned what was
// there before: a file that somebody else put in place must not stay theirs to
// read.
type file struct {
	cfg  fileConfig
	left imprint
}

// newFile is the constructor of sink "file". A path that names an open
// descriptor is written to instead of being replaced.
func newFile(o Options) (Destination, error) {
	cfg := fileConfig{Mode: 0o640}
	b := o.Config
	if err := b.Decode(&cfg); err != nil {
		return nil, err
	}
	switch {
	case cfg.Owner != "" && cfg.UID != "":
		return nil, b.Problem("uid", "and owner are the same thing", "give one of them")
	case cfg.Group != "" && cfg.GID != "":
		return nil, b.Problem("gid", "and group are the same thing", "give one of them")
	}
	cfg.Owner += cfg.UID
	cfg.Group += cfg.GID
	if fd, ok := descriptorOf(cfg.Path); ok {
		return &descriptor{name: "file " + cfg.Path, fd: fd}, nil
	}
	return &file{cfg: cfg}, nil
}

func (f *file) Name() string { return "file " + f.cfg.Path }

// Put leaves a file alone that holds the data already, with owner and mode right.
func (f *file) Put(_ context.Context, data []byte) (changed bool, err error) {
	o, err := f.options()
	if err != nil {
		return false, err
	}
	changed, err = atomicfile.Write(f.cfg.Path, data, o)
	if err != nil {
		return false, local(err)
	}
	f.left = imprintOf(data, o)
	return changed, nil
}

func (f *file) Intact() bool { return f.left.matches(f.cfg.Path, time.Now()) }

func (f *file) Check() error {
	o, err := f.options()
	if err != nil {
		return err
	}
	return atomicfile.Check(f.cfg.Path, o)
}

// options looks names up when they are needed, so that a configuration can be
// checked on a machine that does not know them.
func (f *file) options() (atomicfile.Options, error) {
	o := atomicfile.Options{Mode: f.cfg.Mode, UID: os.Getuid(), GID: os.Getgid(), Compare: true}
	var err error
	if f.cfg.Owner != "" {
		if o.UID, err = owner.User(f.cfg.Owner); err != nil {
			return o, retry.Permanent(fmt.Errorf("owner: %w", err))
		}
	}
	if f.cfg.Group != "" {
		if o.GID, err = owner.Group(f.cfg.Group); err != nil {
			return o, retry.Permanent(fmt.Errorf("group: %w", err))
		}
	}
	return o, nil
}

// local marks what the file system says as permanent, except for a shortage
// that may pass: a directory that is not there and a permission that is not
// given will be no different in a second.
func local(err error) error {
	for _, passing := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EBUSY, syscall.EMFILE, syscall.ENFILE, syscall.EINTR, syscall.EAGAIN} {
		if errors.Is(err, passing) {
			return err
		}
	}
	return retry.Permanent(err)
}
