//go:build !linux

package server

import "os/exec"

// diesWithParent says whether the kernel ends a child with its parent.
const diesWithParent = false

// Start runs cmd; wait is closed when it has ended. Only Linux lets a child
// die with its parent, so elsewhere a killed test run may leave a server.
func Start(cmd *exec.Cmd) (wait <-chan struct{}, err error) {
	done := make(chan struct{})
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	return done, nil
}
