package server

import (
	"os/exec"
	"runtime"
	"syscall"
)

// diesWithParent says whether Start can keep its promise.
const diesWithParent = true

// Start runs cmd, in a process group of its own, so that the kernel kills it
// when this process dies, whatever of. The kernel watches the thread that
// started it, so that thread is kept until the process has ended; wait is closed
// then.
func Start(cmd *exec.Cmd) (wait <-chan struct{}, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGKILL, true
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	return done, <-started
}
