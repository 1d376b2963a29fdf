package child

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bind has the kernel send the stop signal when this thread ends: live stays on
// it as long as the program runs, so that it ends when latchkey does, however.
// It is lost where the program changes its user by a set-user-ID file, and what
// the program starts does not have it.
func (p *process) bind() {
	if stop, ok := p.kept.stop.(syscall.Signal); ok {
		p.cmd.SysProcAttr.Pdeathsig = stop
	}
	p.kept.tty.hand(p.cmd.SysProcAttr)
}

// wait blocks until a supervised program has ended and its output is in. That
// it has ended is seen before its exit status is taken: until then its number,
// which is that of its group, belongs to nobody else.
func (p *process) wait() error {
	for {
		info, err := waitid(unix.P_PID, p.pid(), unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT)
		if errors.Is(err, unix.ENOSYS) {
			return p.waitWithoutLook()
		}
		if err != nil || info.code != cldStopped {
			break
		}
		// Taking it is what makes the next look wait.
		_, _ = waitid(unix.P_PID, p.pid(), unix.WSTOPPED|unix.WNOHANG)
		p.stopped(syscall.Signal(info.status))
	}
	p.itselfEnded()
	return p.cmd.Wait()
}

// cldStopped is CLD_STOPPED.
const cldStopped = 5

// childInfo is what waitid tells.
type childInfo struct {
	code   int32
	pid    int
	status int32
}

func waitid(kind, id, options int) (childInfo, error) {
	for {
		var raw unix.Siginfo
		err := unix.Waitid(kind, id, &raw, options, nil)
		if err == unix.EINTR {
			continue
		}
		// The package leaves out what follows the three numbers that are
		// common to all signals. It is aligned as a pointer is.
		const word = unsafe.Sizeof(uintptr(0))
		const at = (3*4 + word - 1) &^ (word - 1)
		more := (*struct{ pid, uid, status int32 })(unsafe.Add(unsafe.Pointer(&raw), at))
		return childInfo{raw.Code, int(more.pid), more.status}, err
	}
}
