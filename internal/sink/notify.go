package sink

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"latchkey/internal/config"
)

// ErrNotify is the kind of every error about a reader that was not told of new
// content. The content itself is written.
var ErrNotify = errors.New("sink written, but nobody told")

// Command is one program to run to its end.
type Command struct {
	// Argv has one element for a line that a shell splits when it holds
	// spaces, more for a program and its arguments as they stand.
	Argv []string
	// Env is the whole environment of the command, as NAME=value.
	Env []string
	// Timeout ends it: KillSignal is sent first ("" for SIGINT), then SIGKILL
	// after KillTimeout.
	Timeout     time.Duration
	KillSignal  string
	KillTimeout time.Duration
}

// Runner runs commands. Its errors name the program and none of its arguments.
type Runner interface {
	Run(ctx context.Context, c Command) error
}

// Signaller sends signals to processes that are not ours.
type Signaller interface {
	// Signal sends the signal of that name ("SIGHUP", "HUP") to the process
	// with that id, which is greater than 0.
	Signal(pid int, name string) error
}

// notice is how the readers of one sink are told: a command, a signal, or both.
type notice struct {
	command Command
	runner  Runner

	signal    string
	pidFile   string
	signaller Signaller
}

// commandGrace is what a command has between being asked to end and its end.
const commandGrace = 5 * time.Second

// noticeOf is nil for a stanza that tells nobody.
func noticeOf(s config.Sink, o Options) *notice {
	if len(s.Command) == 0 && s.Signal == "" {
		return nil
	}
	return &notice{
		command: Command{Argv: s.Command, Env: o.Environ, Timeout: s.CommandTimeout, KillTimeout: commandGrace},
		runner:  o.Runner,
		signal:  s.Signal, pidFile: s.SignalPIDFile, signaller: o.Signaller,
	}
}

// give tells by all ways there are; one that fails keeps no other from being
// tried.
func (n *notice) give(ctx context.Context) error {
	ran, sent := n.run(ctx), n.send()
	if ran != nil && sent != nil {
		return fmt.Errorf("%w; %w", ran, sent) // one line
	}
	return cmp.Or(ran, sent)
}

func (n *notice) run(ctx context.Context) error {
	if len(n.command.Argv) == 0 {
		return nil
	}
	if n.runner == nil {
		return errors.New("command: cannot be run here")
	}
	if err := n.runner.Run(ctx, n.command); err != nil {
		return fmt.Errorf("command: %w", err)
	}
	return nil
}

func (n *notice) send() error {
	if n.signal == "" {
		return nil
	}
	if n.signaller == nil {
		return errors.New("signal: cannot be sent from here")
	}
	pid, err := readPID(n.pidFile)
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	if err := n.signaller.Signal(pid, n.signal); err != nil {
		return fmt.Errorf("signal: %s to process %d: %w", n.signal, pid, err)
	}
	return nil
}

// longestPIDFile is more than any pid file holds.
const longestPIDFile = 4096

func readPID(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, longestPIDFile))
	if err != nil {
		return 0, err
	}
	pid, ok := parsePID(data)
	if !ok {
		return 0, fmt.Errorf("%s: its first line is not the id of a process", path)
	}
	return pid, nil
}

// parsePID takes the first line, as some programs write more into their file.
// Numbers that mean groups of processes, or all of them, are refused.
func parsePID(data []byte) (pid int, ok bool) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 10, 31)
	return int(n), err == nil && n > 0
}
