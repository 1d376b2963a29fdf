package child

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// canReload says whether a program can be told anything but to end.
const canReload = false

// names are the signals that mean something on Windows. All of them end the
// process: a command has no way to be asked, and a supervised program is asked
// by Ctrl-Break.
var names = map[string]os.Signal{
	"SIGHUP": syscall.SIGHUP, "SIGINT": syscall.SIGINT, "SIGQUIT": syscall.SIGQUIT,
	"SIGKILL": syscall.SIGKILL, "SIGTERM": syscall.SIGTERM,
}

// ParseSignal reads a signal's name, "SIGHUP" or "HUP" in any case; "" is
// SIGINT.
func ParseSignal(name string) (os.Signal, error) {
	if name == "" {
		return os.Interrupt, nil
	}
	full := strings.ToUpper(name)
	if !strings.HasPrefix(full, "SIG") {
		full = "SIG" + full
	}
	if sig, ok := names[full]; ok {
		return sig, nil
	}
	return nil, fmt.Errorf("unknown signal %q", name)
}

// Forwarded are the signals that make sense for the program when they were
// sent to us, for signal.Notify: what Windows makes of Ctrl-C and of the end
// of a session.
func Forwarded() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func passable(sig os.Signal) bool { return sig != os.Kill }

// shell hands the line to cmd as it is: cmd has quoting rules of its own.
func shell(line string) *exec.Cmd {
	cmd := exec.Command("cmd")
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: "cmd /C " + line}
	return cmd
}

func ownGroup(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.CreationFlags |= syscall.CREATE_NEW_PROCESS_GROUP
}

// signalCommand ends the process itself; Windows cannot signal a group.
func signalCommand(p *os.Process, _ os.Signal) error { return p.Kill() }

func endedBy(*os.ProcessState) string { return "" }

func signalNumber(string) int { return 0 }
