package execwrap

import (
	"strconv"
	"strings"
	"syscall"
)

// become replaces this process by the program argv names, looked for in the PATH it
// will have itself. It returns only where that fails.
func become(argv, env []string) failure {
	name := argv[0]
	if strings.Contains(name, "/") {
		return refused(name, syscall.Exec(name, argv, env), env)
	}
	if name == "" {
		return failure{exitAbsent, "the program's name is empty"}
	}
	path := lookup(env, "PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin"
	}
	last := syscall.ENOENT
	for dir := range strings.SplitSeq(path, ":") {
		// What lies in the directory one happens to be in is nobody's choice.
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		err := syscall.Exec(strings.TrimSuffix(dir, "/")+"/"+name, argv, env)
		switch errno, _ := err.(syscall.Errno); errno {
		case syscall.ENOENT, syscall.ENOTDIR:
		case syscall.EACCES:
			last = errno // there may be another further on
		default:
			return refused(dir+"/"+name, err, env)
		}
	}
	if last == syscall.ENOENT {
		return failure{exitAbsent, name + " is in none of the directories of PATH, " + path}
	}
	return refused(name, last, env)
}

// refused says why the system did not start a program.
func refused(name string, err error, env []string) failure {
	switch err {
	case syscall.ENOENT:
		return failure{exitAbsent, name + " is not there, or what it is to be run by is not: the interpreter of a script, the loader of a program"}
	case syscall.ENOTDIR:
		return failure{exitAbsent, name + " is not there"}
	case syscall.EACCES:
		return failure{exitCannot, name + " may not be run by this user: see the x in its mode"}
	case syscall.ENOEXEC:
		return failure{exitCannot, name + " is no program of this machine's kind, nor a script that begins with #!; there is no shell here to guess"}
	case syscall.E2BIG:
		size := 0
		for _, entry := range env {
			size += len(entry) + 1
		}
		return failure{exitCannot, name + " cannot be given so much: its environment of " + strconv.Itoa(size) + " bytes and its arguments are longer than the system allows"}
	}
	return failure{exitCannot, name + " cannot be run: " + err.Error()}
}
