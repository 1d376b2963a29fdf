//go:build unix && !linux

package child

// bind can only give it the terminal: no signal comes with our own end here.
func (p *process) bind() { p.kept.tty.hand(p.cmd.SysProcAttr) }

// wait blocks until a supervised program has ended and its output is in.
func (p *process) wait() error { return p.waitWithoutLook() }
