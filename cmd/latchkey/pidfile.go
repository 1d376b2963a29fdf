package main

import (
	"os"
	"strconv"

	"latchkey/internal/atomicfile"
	"latchkey/internal/config"
)

// pidFile writes pid_file as vault agent does (decimal, no line break, mode
// 0600, replacing an old one) and returns what removes it again.
func (s *setup) pidFile() (remove func(), err error) {
	path := s.file.PidFile
	if path == "" {
		return func() {}, nil
	}
	pid := strconv.Itoa(os.Getpid())
	if _, err := atomicfile.Write(path, []byte(pid), atomicfile.Options{Mode: 0o600, UID: -1, GID: -1}); err != nil {
		return nil, &config.Problem{Key: "pid_file", Text: err.Error(), Hint: "make it writable for this user, or leave it out"}
	}
	return func() {
		if now, err := os.ReadFile(path); err == nil && string(now) != pid {
			return // another has started meanwhile, and this is its own
		}
		if err := os.Remove(path); err != nil {
			s.log.Warn("pid_file not removed", "error", err)
		}
	}, nil
}
