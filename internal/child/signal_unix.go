//go:build unix

package child

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// canReload says whether a program can be told anything but to end.
const canReload = true

// ParseSignal reads a signal's name, "SIGHUP" or "HUP" in any case; "" is
// SIGINT.
func ParseSignal(name string) (os.Signal, error) {
	if name == "" {
		return syscall.SIGINT, nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if sig := unix.SignalNum(full); sig != 0 {
		return sig, nil
	}
	return nil, fmt.Errorf("unknown signal %q", name)
}

// Forwarded are the signals that make sense for the program when they were
// sent to us, for signal.Notify. KILL and STOP are not ours to catch. CHLD is
// about our own children, URG is how Go interrupts its own goroutines, PIPE
// comes of our own writing, and PROF of our own profile. TSTP, TTIN and TTOU
// are the terminal's: caught, they would keep a job from stopping. Faults such
// as SEGV are our own.
//
// INT, TERM, HUP and their like are among them: who gives them a meaning of his
// own leaves them out.
func Forwarded() []os.Signal {
	var out []os.Signal
	for sig := syscall.Signal(1); sig <= last; sig++ {
		switch sig {
		case 32, 33, 34:
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGPROF,
			syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU,
			syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS:
		default:
			out = append(out, sig)
		}
	}
	return out
}

func passable(sig os.Signal) bool { return sig != syscall.SIGKILL && sig != syscall.SIGSTOP }

func shell(line string) *exec.Cmd { return exec.Command("sh", "-c", line) }

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signalGroup signals every process of a group.
func signalGroup(pgid int, sig os.Signal) error {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("%v is no signal of this system", sig)
	}
	return syscall.Kill(-pgid, n)
}

// signalCommand signals a command with its group, which it leads.
func signalCommand(p *os.Process, sig os.Signal) error { return signalGroup(p.Pid, sig) }

func endedBy(st *os.ProcessState) string {
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return signalName(ws.Signal())
	}
	return ""
}

// unnamed is how a real-time signal is called, which has no name.
const unnamed = "signal %d"

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf(unnamed, int(sig))
}

// signalNumber reads what signalName wrote.
func signalNumber(name string) int {
	if sig := unix.SignalNum(name); sig != 0 {
		return int(sig)
	}
	var n int
	_, _ = fmt.Sscanf(name, unnamed, &n)
	return n
}
