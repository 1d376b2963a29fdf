package child

import (
	"errors"
	"os"
)

// SignalProcess sends a signal, by its name ("SIGHUP", "HUP"), to a process that
// is not ours: one whose id somebody else wrote down. An id below 1, which would
// mean a group, is refused.
func SignalProcess(pid int, name string) error {
	sig, err := ParseSignal(name)
	if err != nil {
		return err
	}
	if pid < 1 {
		return errors.New("this is not the id of a process")
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	return p.Signal(sig)
}
