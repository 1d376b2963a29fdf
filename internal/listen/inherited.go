package listen

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"latchkey/internal/config"
)

// inheritedPrefix begins the address of a socket that systemd handed over:
// "systemd:NAME", NAME being its FileDescriptorName. A unit with several
// ListenStream= gives them one name: "systemd:NAME:2" is the second.
const inheritedPrefix = "systemd:"

func openInherited(l config.Listener, o Options, at place) (net.Listener, error) {
	f, err := inherited(l, o, at)
	if err != nil {
		return nil, err
	}
	if !accepts(f) {
		return nil, at.problem("address", "is a socket on which nobody can connect", "the .socket unit must have ListenStream= and Accept=no", nil)
	}
	// It has a descriptor of its own, and does not remove a socket's file.
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, at.problem("address", "is no socket that can be served", "ListenStream= makes one", bare(err))
	}
	network := "tcp"
	if _, ok := ln.(*net.UnixListener); ok {
		network = "unix"
	}
	if network != l.Type {
		_ = ln.Close()
		return nil, at.problem("type", fmt.Sprintf("is %q, but systemd made a socket of type %q", l.Type, network), "what is allowed here depends on it: write what it is", nil)
	}
	return ln, nil
}

// inherited finds the socket that an address names.
func inherited(l config.Listener, o Options, at place) (*os.File, error) {
	name := strings.TrimPrefix(l.Address, inheritedPrefix)
	name, which, numbered := strings.Cut(name, ":")
	n := 1
	if numbered {
		var err error
		if n, err = strconv.Atoi(which); err != nil || n < 1 {
			return nil, at.problem("address", fmt.Sprintf("%q is no number of a socket", which), "systemd:NAME, or systemd:NAME:2 for the second of that name", nil)
		}
	}
	if name == "" {
		return nil, at.problem("address", "names no socket", "systemd:NAME, with the FileDescriptorName of its .socket unit", nil)
	}
	var files []*os.File
	if o.Inherited != nil {
		files = o.Inherited(name)
	}
	switch {
	case len(files) == 0:
		return nil, at.problem("address", fmt.Sprintf("needs a socket %q, and systemd handed over none of that name", name),
			"FileDescriptorName= in the .socket unit is the name, and without it the unit's; Sockets= in the service names the unit", nil)
	case len(files) > 1 && !numbered:
		return nil, at.problem("address", fmt.Sprintf("is the name of %d sockets", len(files)), "write systemd:"+name+":1 for the first", nil)
	case n > len(files):
		return nil, at.problem("address", fmt.Sprintf("asks for socket %d of %d", n, len(files)), "", nil)
	}
	return files[n-1], nil
}
