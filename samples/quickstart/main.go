// Command quickstart shows latchkey at work, start to end, on a machine that
// has nothing but Go:
//
//	go run ./samples/quickstart
//
// It brings a server, prepares an AppRole and a secret there, builds latchkey,
// lets it fetch with the agent.hcl beside this file, and shows what was written
// and how long each step took. With VAULT_ADDR and VAULT_TOKEN (or BAO_ADDR and
// BAO_TOKEN) set it uses that server: it makes three things there, all named
// latchkey-quickstart, and removes them at the end.
//
// Everything it shows is made up for the occasion. It prints secrets because
// that is the point of a demonstration; latchkey itself never does.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"latchkey/internal/vaulttest"
)

//go:embed agent.hcl
var agentHCL []byte

// name is that of everything made on a server.
const name = "latchkey-quickstart"

var (
	program = flag.String("latchkey", "", "latchkey binary to use (default: built from this module)")
	keep    = flag.Bool("keep", false, "leave the directory with the files there")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nquickstart: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return err
	}
	s := &stage{dir: dir}
	defer func() {
		err = errors.Join(err, s.strike(recover()))
		if *keep {
			fmt.Printf("\nThe files are still in %s.\n", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()

	fmt.Println("1. A server")
	admin, err := server(s)
	if err != nil {
		return err
	}
	s.took()

	fmt.Println("2. What an administrator does once: an AppRole, a policy, a secret")
	if err := prepare(admin, dir); err != nil {
		return err
	}
	s.took()

	fmt.Println("3. latchkey itself")
	bin, err := latchkey(ctx, dir)
	if err != nil {
		return err
	}
	s.took()

	if err := os.WriteFile(filepath.Join(dir, "agent.hcl"), agentHCL, 0o600); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o700); err != nil {
		return err
	}
	environ := environment(admin)
	fmt.Println("4. latchkey check -config agent.hcl     (reads the file, not the network)")
	if err := show(ctx, dir, environ, bin, "check", "-config", "agent.hcl"); err != nil {
		return err
	}
	s.took()

	fmt.Println("5. latchkey once -config agent.hcl      (logs in, writes every file, exits)")
	if err := show(ctx, dir, environ, bin, "once", "-config", "agent.hcl"); err != nil {
		return err
	}
	s.took()

	fmt.Println("6. What it wrote")
	if err := showFiles(filepath.Join(dir, "out")); err != nil {
		return err
	}
	fmt.Print(next)
	if admin.own {
		fmt.Print(nextServer)
	}
	return nil
}

const next = `
To use it yourself: copy samples/quickstart/agent.hcl, put your AppRole's role_id
and secret_id where it names them, name your mount and your secrets, then
    VAULT_ADDR=https://your-vault:8200 latchkey once -config agent.hcl
A file that vault agent reads works as it is. Other starts: samples/*.hcl.
`

const nextServer = `
To see this against your own Vault or OpenBao, with a token that may make and
remove an auth method, a mount and a policy, all named latchkey-quickstart:
    VAULT_ADDR=https://your-vault:8200 VAULT_TOKEN=... go run ./samples/quickstart
`

// latchkey returns the binary to show, built unless one is named.
func latchkey(ctx context.Context, dir string) (string, error) {
	if *program != "" {
		return filepath.Abs(*program)
	}
	fmt.Println("   go build ./cmd/latchkey (the first time this takes a minute or two)")
	bin := filepath.Join(dir, "latchkey")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "timberjack_nozstd", "-o", bin, "latchkey/cmd/latchkey")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build latchkey (run this inside its source tree, or name a binary with -latchkey): %w", err)
	}
	return bin, nil
}

// show runs a program in dir and prints what it says, indented.
func show(ctx context.Context, dir string, environ []string, bin string, args ...string) error {
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir, cmd.Env = dir, environ
	out, err := cmd.CombinedOutput()
	indent(string(out))
	if err != nil {
		return fmt.Errorf("latchkey %s: %w", args[0], err)
	}
	return nil
}

func showFiles(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		fmt.Printf("   %s  (%s, %d bytes)\n", filepath.Join("out", f.Name()), info.Mode(), len(text))
		indent("   " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n   "))
	}
	return nil
}

func indent(text string) {
	if text = strings.TrimRight(text, "\n"); text != "" {
		fmt.Println("   " + strings.ReplaceAll(text, "\n", "\n   "))
	}
}

// stage is what a demonstration stands on: a directory, things to remove at
// the end, and a clock. It is a vaulttest.TB, so that the server is set up with
// the same calls as in a test.
type stage struct {
	dir     string
	cleanup []func()
	mark    time.Time
}

var _ vaulttest.TB = (*stage)(nil)

// fatal is how Fatalf leaves; strike catches it.
type fatal struct{ error }

func (s *stage) Helper()                           {}
func (s *stage) Name() string                      { return name }
func (s *stage) TempDir() string                   { return s.dir }
func (s *stage) Cleanup(f func())                  { s.cleanup = append(s.cleanup, f) }
func (s *stage) Logf(string, ...any)               {}
func (s *stage) Fatalf(format string, args ...any) { panic(fatal{fmt.Errorf(format, args...)}) }

// strike removes what was put up, last first, and turns a Fatalf into its error.
func (s *stage) strike(panicked any) error {
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		s.cleanup[i]()
	}
	switch p := panicked.(type) {
	case nil:
		return nil
	case fatal:
		return p.error
	default:
		panic(p)
	}
}

// took says how long a step took and starts the clock for the next.
func (s *stage) took() {
	now := time.Now()
	if s.mark.IsZero() {
		s.mark = started
	}
	fmt.Printf("   done in %.1f ms\n\n", float64(now.Sub(s.mark))/float64(time.Millisecond))
	s.mark = now
}

var started = time.Now()
