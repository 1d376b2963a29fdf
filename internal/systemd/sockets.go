package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// firstFD is where the descriptors that systemd hands over begin.
const firstFD = 3

// maxFDs bounds what is believed: far above any unit, far below a typing error.
const maxFDs = 4096

// Sockets are what systemd handed over when it started this process. They stay
// open, and whoever connects waits in their queue, until Close. It may be used
// from any goroutine; nil holds none.
type Sockets struct {
	names []string
	files []*os.File
}

// Inherit takes what systemd handed over. The arguments are the process's id and
// the variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, empty where they are
// not set; they are about nobody else, so whoever reads them takes them out of
// the environment afterwards. Variables that are for another process are not
// about this one: that is no error, and there are no sockets.
//
// Call it once, and before anything is started: until then a child would inherit
// the descriptors.
func Inherit(pid int, listenPID, listenFDs, listenFDNames string) (*Sockets, error) {
	names, err := handed(pid, listenPID, listenFDs, listenFDNames)
	if err != nil || len(names) == 0 {
		return &Sockets{}, err
	}
	s := &Sockets{names: names}
	// All are looked at before the first is taken: a descriptor that is not ours
	// would be closed behind somebody's back.
	for i, name := range names {
		if err := keepFromChildren(firstFD + i); err != nil {
			return &Sockets{}, fmt.Errorf("systemd's socket %q cannot be used: descriptor %d: %w", name, firstFD+i, err)
		}
	}
	for i, name := range names {
		s.files = append(s.files, os.NewFile(uintptr(firstFD+i), name))
	}
	return s, nil
}

// handed gives a name for each descriptor, from firstFD on.
func handed(pid int, listenPID, listenFDs, listenFDNames string) ([]string, error) {
	if listenPID == "" || listenFDs == "" {
		return nil, nil
	}
	meant, err := strconv.Atoi(listenPID)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_PID is %q, and no process", listenPID)
	}
	if meant != pid {
		return nil, nil
	}
	n, err := strconv.Atoi(listenFDs)
	if err != nil || n < 0 || n > maxFDs {
		return nil, fmt.Errorf("LISTEN_FDS is %q, and no number of descriptors", listenFDs)
	}
	if n == 0 {
		return nil, nil
	}
	if listenFDNames == "" {
		names := make([]string, n)
		for i := range names {
			names[i] = "unknown" // as systemd calls them
		}
		return names, nil
	}
	names := strings.Split(listenFDNames, ":")
	if len(names) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES has %d names for %d descriptors", len(names), n)
	}
	return names, nil
}

// Named gives the sockets of a name, in the order of their unit.
func (s *Sockets) Named(name string) []*os.File {
	if s == nil {
		return nil
	}
	var files []*os.File
	for i, n := range s.names {
		if n == name {
			files = append(files, s.files[i])
		}
	}
	return files
}

// Close lets go of all; systemd still has them.
func (s *Sockets) Close() {
	if s == nil {
		return
	}
	for _, f := range s.files {
		_ = f.Close()
	}
}
