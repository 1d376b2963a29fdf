package child

import "os"

// job is a program that has been started, as the Supervisor sees it.
type job interface {
	pid() int
	// overCh is closed when the program itself has ended, and doneCh when its
	// output has arrived too.
	overCh() <-chan struct{}
	doneCh() <-chan struct{}
	// stopCh has the signal by which job control stopped the program.
	stopCh() <-chan os.Signal
	// signal signals the group while the program itself runs.
	signal(os.Signal) error
	// ask asks the group to end, once; kill ends it.
	ask(os.Signal)
	kill()
	// left reports whether anything of the group still runs. It is asked when
	// the program itself has ended.
	left() bool
	// result is nil or an *ExitError; it is asked when all is done.
	result() error
}

func (p *process) pid() int                 { return p.cmd.Process.Pid }
func (p *process) overCh() <-chan struct{}  { return p.over }
func (p *process) doneCh() <-chan struct{}  { return p.done }
func (p *process) stopCh() <-chan os.Signal { return p.stops }

func (p *process) signal(sig os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return os.ErrProcessDone
	}
	return p.send(sig)
}

func (p *process) ask(sig os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.asked {
		p.asked = true
		p.please(sig)
	}
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.send(os.Kill)
}

// itselfEnded is called by wait when the program itself has ended. What it left in its
// group is asked to end, unless all of the group was asked before: it holds
// secrets that nobody keeps current any more, and perhaps the port that the
// next one needs.
func (p *process) itselfEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if !p.asked {
		p.please(p.kept.stop)
	}
	close(p.over)
}

// stopped is called by wait when job control stopped the program.
func (p *process) stopped(by os.Signal) {
	select {
	case p.stops <- by:
	default:
	}
}
