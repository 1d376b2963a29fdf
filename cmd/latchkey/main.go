// Command latchkey logs in to HashiCorp Vault or OpenBao with the identity the
// place already has, turns it into a token and secrets, puts them where the
// program needs them, and gets out of the way.
//
// main gathers the outside world and run does the work, so that a test can be
// the outside world. What decides how the process ends stands in mode.go and
// exit.go; nothing else prints a final error.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"latchkey/internal/child"
	"latchkey/internal/logging"
)

// world is all that run sees of the outside.
type world struct {
	path           string // of the program's file
	args           []string
	environ        []string
	lookup         func(string) (string, bool)
	stdin          *os.File // nil for an empty one
	stdout, stderr io.Writer
	// logger builds the log; nil for logging.New.
	logger func(logging.Options) (*slog.Logger, *logging.Output, error)
	// width asks for the columns of the terminal that stderr is; nil when it
	// is none.
	width func() int
}

func main() {
	ctx, stop := signalled()
	code := run(ctx, world{
		path: os.Args[0], args: os.Args[1:], environ: os.Environ(), lookup: os.LookupEnv,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, width: widthOf(os.Stderr),
	})
	stop()
	os.Exit(code)
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ sig syscall.Signal }

func (i interrupted) Error() string { return fmt.Sprintf("stopped by %s", i.sig) }

// code is what shells report for a process that died of the signal.
func (i interrupted) code() int { return 128 + int(i.sig) }

// signalled returns a context that the first SIGINT or SIGTERM ends; the
// second leaves at once, whatever is under way.
func signalled() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ch := make(chan os.Signal, 2)
	go func() {
		// Setting up takes a while that the start need not wait for; until
		// then a signal ends the process, with nothing done.
		signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
		for n := 0; ; n++ {
			i := interrupted{(<-ch).(syscall.Signal)}
			if n > 0 {
				child.KillAll()
				os.Exit(i.code())
			}
			cancel(i)
		}
	}()
	return ctx, func() { signal.Stop(ch); cancel(nil) }
}
