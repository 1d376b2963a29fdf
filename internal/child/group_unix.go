//go:build unix

package child

import (
	"os"
	"syscall"
)

// tree is what the operating system wants to be remembered of a supervised
// program: nothing here, where it is found by its group's number.
type tree struct{}

func (p *process) adopt() {}

// send signals the group of a supervised program.
func (p *process) send(sig os.Signal) error { return signalGroup(p.cmd.Process, sig) }

// please asks the group to end. What was stopped would not hear it, so that it
// goes on too.
func (p *process) please(sig os.Signal) {
	_ = p.send(sig)
	_ = p.send(syscall.SIGCONT)
}

// left says whether anything of the group runs. The group keeps its number as
// long as anything is in it, so that what is found is never another's.
func (p *process) left() bool {
	pgid := p.cmd.Process.Pid
	return syscall.Kill(-pgid, 0) != syscall.ESRCH && !onlyDead(pgid)
}
