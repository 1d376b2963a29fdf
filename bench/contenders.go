package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The contenders, by the names the report uses.
const (
	nameFloor    = "floor"
	nameLatchkey = "latchkey"
	nameAgent    = "vault agent"
)

// contender is a program that fetches n secrets into a directory.
type contender struct {
	name string
	// argv gets the directory with the credentials, and one of its own.
	argv func(s *seeded, address, own string, n int) ([]string, error)
}

func (t *tools) contenders() []contender {
	all := []contender{
		{nameLatchkey, func(s *seeded, address, own string, n int) ([]string, error) {
			file, err := writeConfig(s, address, own, n)
			return []string{t.latchkey, "once", "-config", file}, err
		}},
		{nameAgent, func(s *seeded, address, own string, n int) ([]string, error) {
			file, err := writeConfig(s, address, own, n)
			return []string{t.vault, "agent", "-config", file}, err
		}},
		{nameFloor, func(s *seeded, address, own string, n int) ([]string, error) {
			return []string{
				t.floor, "-address", address, "-ca", s.CAFile, "-n", fmt.Sprint(n), "-out", filepath.Join(own, "out"),
				"-role-id", filepath.Join(s.dir, "role_id"), "-secret-id", filepath.Join(s.dir, "secret_id"),
			}, nil
		}},
	}
	if t.latchkey == "" {
		return all[1:]
	}
	return all
}

// writeConfig writes the one file that vault agent and latchkey both read.
func writeConfig(s *seeded, address, own string, n int) (string, error) {
	var b strings.Builder
	b.WriteString("exit_after_auth = true\n")
	writeLogin(&b, s, address, own)
	for i := range n {
		writeTemplate(&b, own, i, fmt.Sprintf(`{{ with secret "secret/data/bench/%04d" }}{{ .Data.data.username }}:{{ .Data.data.password }}`+"\n{{ end }}", i))
	}
	file := filepath.Join(own, "agent.hcl")
	return file, os.WriteFile(file, []byte(b.String()), 0o600)
}

// writeLogin writes where the server is, the login and one sink.
func writeLogin(b *strings.Builder, s *seeded, address, own string) {
	fmt.Fprintf(b, `
vault {
  address = %q
  ca_cert = %q
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = %q
      secret_id_file_path                 = %q
      remove_secret_id_file_after_reading = false
    }
  }
  sink "file" {
    config = { path = %q }
  }
}
`, address, s.CAFile, filepath.Join(s.dir, "role_id"), filepath.Join(s.dir, "secret_id"), filepath.Join(own, "out", "token"))
}

// output is the file that template i writes.
func output(own string, i int) string { return filepath.Join(own, "out", fmt.Sprintf("%04d", i)) }

func writeTemplate(b *strings.Builder, own string, i int, contents string) {
	fmt.Fprintf(b, `
template {
  contents    = %q
  destination = %q
  perms       = "0600"
}
`, contents, output(own, i))
}

// errPatience says that a run took longer than anyone would wait.
var errPatience = errors.New("gave up waiting")

// once runs a contender in an empty directory and looks at what it left there:
// a fast program that does not do the work would win.
func (t *tools) once(ctx context.Context, c contender, s *seeded, address string, n int) (cost, error) {
	own := filepath.Join(s.dir, strings.ReplaceAll(c.name, " ", "-"))
	if err := os.RemoveAll(own); err != nil {
		return cost{}, err
	}
	if err := os.MkdirAll(filepath.Join(own, "out"), 0o700); err != nil {
		return cost{}, err
	}
	argv, err := c.argv(s, address, own, n)
	if err != nil {
		return cost{}, err
	}
	log := filepath.Join(own, "log")
	one, err := t.cost(ctx, log, argv)
	if err != nil {
		return cost{}, err
	}
	for i := range n {
		got, err := os.ReadFile(output(own, i))
		if err != nil || string(got) != fmt.Sprintf("user-%d:pass-%d\n", i, i) {
			return cost{}, fmt.Errorf("secret %d was not written: %q, %w%s", i, got, err, tail(log))
		}
	}
	if token, err := os.ReadFile(filepath.Join(own, "out", "token")); err != nil || len(token) == 0 {
		return cost{}, fmt.Errorf("the token was not written: %w%s", err, tail(log))
	}
	return one, nil
}

func tail(log string) string {
	b, _ := os.ReadFile(log)
	return "\n" + string(b[max(0, len(b)-2000):])
}

// cost is what one run took.
type cost struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"`
	Peak int64         `json:"peak"` // bytes
	Code int           `json:"code"`
}

// cost runs argv under measure, its output going to the file log.
func (t *tools) cost(ctx context.Context, log string, argv []string) (cost, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, *patience, errPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.measure, append([]string{log}, argv...)...)
	cmd.Env = bareEnvironment(t.work)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return cost{}, context.Cause(ctx)
	}
	if err != nil {
		return cost{}, err
	}
	var c cost
	if err := json.Unmarshal(out, &c); err != nil {
		return cost{}, err
	}
	if c.Code != 0 {
		return cost{}, fmt.Errorf("exit code %d%s", c.Code, tail(log))
	}
	return c, nil
}
