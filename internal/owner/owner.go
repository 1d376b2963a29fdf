// Package owner turns the names of users and groups into the ids that a file
// can be given. Names are looked up in this machine's own database, so look them
// up when a file is written, not when a configuration is read: that may happen
// on another machine.
package owner

import (
	"fmt"
	"os/user"
	"strconv"
)

// User returns the id of a user given by name or as a decimal id; "" is -1, which
// stands for "as it is". The error is a user.UnknownUserError where there is no
// such user.
func User(name string) (int, error) {
	return id(name, func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// Group is User for groups; its error is a user.UnknownGroupError.
func Group(name string) (int, error) {
	return id(name, func() (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func id(name string, lookup func() (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseInt(name, 10, 32); err == nil {
		if n < 0 {
			return -1, fmt.Errorf("%d is not an id", n)
		}
		return int(n), nil
	}
	found, err := lookup()
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(found)
}
