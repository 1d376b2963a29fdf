package child

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// tree is the job object that holds a supervised program with all that it
// starts, 0 where none could be had. It ends what is in it when its last handle
// is closed: by wait, or by the system when latchkey ends, however it does.
type tree struct{ job windows.Handle }

// bind has nothing to do before the start.
func (p *process) bind() {}

// adopt puts the program into a job object. What it started in the instant
// before is not in it. Without one, only the program itself is ended.
func (p *process) adopt() {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err == nil {
		var assigned error
		err = p.cmd.Process.WithHandle(func(h uintptr) {
			assigned = windows.AssignProcessToJobObject(job, windows.Handle(h))
		})
		err = errors.Join(err, assigned)
	}
	if err != nil {
		_ = windows.CloseHandle(job)
		return
	}
	p.job = job
}

// send ends the whole tree for os.Kill, and asks by Ctrl-Break for any other
// signal. A process without a console, such as a service, cannot ask.
func (p *process) send(sig os.Signal) error {
	if sig != os.Kill {
		return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.cmd.Process.Pid))
	}
	if p.job != 0 {
		return windows.TerminateJobObject(p.job, 1)
	}
	return p.cmd.Process.Kill()
}

// please asks the program to end, and ends it where that cannot be asked.
func (p *process) please(sig os.Signal) {
	if !p.ended && p.send(sig) != nil {
		_ = p.send(os.Kill)
	}
}

// left: what a program that has ended leaves is ended by wait.
func (p *process) left() bool { return false }

// wait blocks until a supervised program has ended and its output is in.
func (p *process) wait() error {
	err := p.cmd.Wait()
	p.itselfEnded()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.job != 0 {
		_ = windows.CloseHandle(p.job)
		p.job = 0
	}
	return err
}
