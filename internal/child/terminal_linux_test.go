package child

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { roles["shell"], roles["script"] = jobShell, script }

// openPTY is a terminal without an echo: what is written to the master is typed,
// and what is printed on the slave is read from it.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("*** NOT TESTED: there is no pseudo terminal here: %v ***", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("*** NOT TESTED: the pseudo terminal has no other side here: %v ***", err)
	}
	t.Cleanup(func() { slave.Close() })
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	mode.Lflag &^= unix.ECHO
	mode.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, mode); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// seat is somebody in front of a terminal.
type seat struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	lines  *bufio.Scanner
}

// sit starts the test's own program as the leader of a session on a terminal.
func sit(t *testing.T, env []string) *seat {
	t.Helper()
	master, slave := openPTY(t)
	c := exec.Command(os.Args[0])
	c.Env, c.Stdin, c.Stdout, c.Stderr = env, slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	t.Cleanup(func() {
		master.Close() // all that have the terminal are told
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return &seat{t, c, master, bufio.NewScanner(master)}
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

func (s *seat) types(what string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, what); err != nil {
		s.t.Fatal(err)
	}
}

func (s *seat) sees(want ...string) {
	s.t.Helper()
	expect(s.t, s.lines, want...)
}

func (s *seat) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// readLine says what it reads from the terminal.
const readLine = `read x; echo "read $x"; `

func TestOnATerminalTheProgramReadsAndGetsCtrlC(t *testing.T) {
	s := sit(t, self("latchkey", "LINE=echo up; "+readLine+appLine))
	s.sees("up")
	s.types("hello\n")
	s.sees("read hello", "up")
	s.types(ctrlC)
	s.sees("got SIGINT")
	s.signal(syscall.SIGTERM)
	s.sees("got SIGTERM", "the terminal is back: true", "latchkey ends with 0")
}

func TestCtrlCThatEndsTheProgramEndsUsWithItsCode(t *testing.T) {
	s := sit(t, self("latchkey", "LINE=echo up; exec sleep 1000"))
	s.sees("up")
	s.types(ctrlC)
	s.sees("the terminal is back: true", "latchkey ends with 130")
}

func TestAfterARestartTheProgramHasTheTerminalAgain(t *testing.T) {
	s := sit(t, self("latchkey", "V=old", `LINE=echo "up $V"; read x; echo "read $x as $V"`))
	s.sees("up old")
	s.signal(syscall.SIGUSR1)
	s.sees("up new")
	s.types("hello\n")
	s.sees("read hello as new", "the terminal is back: true", "latchkey ends with 0")
}

// A container with a terminal: nobody is there who could type fg.
func TestCtrlZWithoutAShellHasNoEffect(t *testing.T) {
	s := sit(t, self("latchkey", "LINE=echo up; "+readLine+appLine))
	s.sees("up")
	s.types(ctrlZ)
	s.types("hello\n")
	s.sees("read hello", "up")
	s.types(ctrlZ + ctrlC)
	s.sees("got SIGINT")
	s.signal(syscall.SIGTERM)
	s.sees("got SIGTERM", "the terminal is back: true", "latchkey ends with 0")
}

// script starts latchkey as an entry point's script does: in its own group,
// and deaf to what jobs are about.
func script() {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), roleVar+"=latchkey")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = c.Run()
	fmt.Println("the script ends")
}

func TestCtrlZUnderAScriptWithoutAShellHasNoEffect(t *testing.T) {
	s := sit(t, self("script", "LINE="+appLine))
	s.sees("up")
	for range 2 {
		s.types(ctrlZ)
		s.sees("got SIGCONT")
		s.types(ctrlC)
		s.sees("got SIGINT")
	}
}

// jobShell is the part of a shell that deals with one job: it starts latchkey,
// in the background when BG is set, says when the job stops or ends, and does
// what it is told by lines: fg, bg.
func jobShell() {
	tty := int(os.Stdin.Fd())
	give := func(pgid int) {
		signal.Ignore(syscall.SIGTTOU)
		defer signal.Reset(syscall.SIGTTOU)
		_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, pgid)
	}
	job := exec.Command(os.Args[0])
	job.Env = append(os.Environ(), roleVar+"=latchkey")
	job.Stdin, job.Stdout, job.Stderr = os.Stdin, os.Stdout, os.Stderr
	fg := os.Getenv("BG") == ""
	job.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: fg, Ctty: tty}
	if err := job.Start(); err != nil {
		panic(err)
	}
	pid := job.Process.Pid
	commands := bufio.NewScanner(os.Stdin)
	for {
		if fg {
			var ws syscall.WaitStatus
			if _, err := syscall.Wait4(pid, &ws, syscall.WUNTRACED, nil); err != nil {
				panic(err)
			}
			give(unix.Getpgrp())
			if !ws.Stopped() {
				fmt.Println("the job ended with", ws.ExitStatus())
				return
			}
			fmt.Println("the job stopped by", signalName(ws.StopSignal()))
		}
		if !commands.Scan() {
			return
		}
		fg = strings.TrimSpace(commands.Text()) == "fg"
		if fg {
			give(pid)
		}
		_ = syscall.Kill(-pid, syscall.SIGCONT)
	}
}

func TestCtrlZGivesTheTerminalToTheShellAndFgTakesItBack(t *testing.T) {
	s := sit(t, self("shell", "LINE="+appLine))
	s.sees("up")
	for range 3 {
		s.types(ctrlZ)
		s.sees("the job stopped by SIGTSTP")
		s.types("fg\n")
		s.sees("got SIGCONT")
		s.types(ctrlC)
		s.sees("got SIGINT")
	}
	s.types(ctrlZ)
	s.sees("the job stopped by SIGTSTP")
	s.types("bg\n")
	s.sees("got SIGCONT")
	s.types("fg\n")
	s.sees("got SIGCONT")
	s.types(ctrlC)
	s.sees("got SIGINT")
}

func TestInTheBackgroundItLeavesTheTerminalAloneUntilFg(t *testing.T) {
	s := sit(t, self("shell", "BG=1", "LINE=echo up; "+readLine+"exit 7"))
	s.sees("up") // and is stopped for reading, or will be
	s.types("fg\n")
	s.types("hello\n")
	s.sees("read hello", "the terminal is back: true", "latchkey ends with 7", "the job ended with 7")
}
