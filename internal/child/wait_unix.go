//go:build unix

package child

import "syscall"

// waitWithoutLook is wait where one cannot look whether a program has ended
// without taking its exit status. What is left of the group is asked to end
// when the number of the program is free again already; it cannot be given out
// as long as anything is left of its group.
func (p *process) waitWithoutLook() error {
	var ws syscall.WaitStatus
	for {
		_, err := syscall.Wait4(p.pid(), &ws, syscall.WUNTRACED, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			p.itselfEnded()
			return err
		}
		if !ws.Stopped() {
			break
		}
		p.stopped(ws.StopSignal())
	}
	p.itselfEnded()
	// For its output; the status is taken, which is all that it can say.
	_ = p.cmd.Wait()
	switch {
	case ws.Signaled():
		return &ExitError{Program: p.program, Code: -1, Signal: signalName(ws.Signal())}
	case ws.ExitStatus() != 0:
		return &ExitError{Program: p.program, Code: ws.ExitStatus()}
	}
	return nil
}
