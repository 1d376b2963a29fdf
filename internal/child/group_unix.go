//go:build unix

package child

import (
	"os"
	"syscall"
)

// tree is how a supervised program is found with all that it started.
type tree struct{ pgid int }

func (p *process) adopt() { p.pgid = p.pid() } // it leads its group

// send signals the group of a supervised program.
func (p *process) send(sig os.Signal) error { return signalGroup(p.pgid, sig) }

// please asks the group to end. What was stopped would not hear it, so that it
// goes on too.
func (p *process) please(sig os.Signal) {
	_ = p.send(sig)
	_ = p.send(syscall.SIGCONT)
}

// left says whether anything of the group runs. The group keeps its number as
// long as anything is in it, so that what is found is never another's.
func (p *process) left() bool {
	return syscall.Kill(-p.pgid, 0) != syscall.ESRCH && !onlyDead(p.pgid)
}
