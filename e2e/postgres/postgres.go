//go:build linux

// Package postgres runs a real PostgreSQL for tests, out of Debian's packages:
// a private cluster in a temporary directory, on a free port of loopback, as a
// user who is not root, gone with the test process.
//
// Where the packages are missing and this is root on Debian, they are installed
// with apt-get; the installation makes no cluster of its own. Elsewhere Start
// returns ErrUnavailable.
package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"latchkey/e2e/debian"
	"latchkey/e2e/server"
)

// ErrUnavailable is the kind of the error where no PostgreSQL can be had.
var ErrUnavailable = errors.New("no PostgreSQL here")

// Admin is the name of the superuser.
const Admin = "latchkey_admin"

// patience is how long the cluster may take to start.
const patience = time.Minute

// Cluster is one running server.
type Cluster struct {
	// Port is on 127.0.0.1; Password is Admin's.
	Port     int
	Password string

	bin, dir string
	cmd      *exec.Cmd
	ended    <-chan struct{}
}

// Start installs what is missing, telling log of it, and starts a cluster.
func Start(log io.Writer) (*Cluster, error) {
	bin, err := binaries(log)
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, Password: rand.Text()}
	if err := c.begin(); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// binaries is the directory of initdb, postgres and psql.
func binaries(log io.Writer) (string, error) {
	if dir := newest(); dir != "" {
		return dir, nil
	}
	if err := install(log); err != nil {
		return "", err
	}
	if dir := newest(); dir != "" {
		return dir, nil
	}
	return "", fmt.Errorf("%w: the packages were installed, and still there is no initdb", ErrUnavailable)
}

// newest is where the newest version lies, "" for none.
func newest() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is good
	best, at := 0, ""
	for _, path := range found {
		dir := filepath.Dir(path)
		if n, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && n > best {
			best, at = n, dir
		}
	}
	return at
}

// clusterless keeps the packages from making a cluster when they are installed.
const clusterless = "/etc/postgresql-common/createcluster.d/latchkey-e2e.conf"

func install(log io.Writer) error {
	if os.Geteuid() == 0 {
		if err := os.MkdirAll(filepath.Dir(clusterless), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(clusterless, []byte("create_main_cluster = false\n"), 0o644); err != nil {
			return err
		}
		defer os.Remove(clusterless)
	}
	if err := debian.Install(log, "postgresql"); err != nil {
		return fmt.Errorf("%w: none below /usr/lib/postgresql, and %w", ErrUnavailable, err)
	}
	return nil
}

func (c *Cluster) begin() error {
	var err error
	if c.dir, err = os.MkdirTemp("", "latchkey-postgres-"); err != nil {
		return err
	}
	as, err := c.unprivileged()
	if err != nil {
		return err
	}
	pwfile, data := filepath.Join(c.dir, "password"), filepath.Join(c.dir, "data")
	if err := os.WriteFile(pwfile, []byte(c.Password), 0o600); err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(pwfile, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	init := c.command(as, "initdb", "-D", data, "-U", Admin, "--auth=scram-sha-256", "--pwfile="+pwfile, "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if c.Port, err = server.FreePort(); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := c.command(as, "postgres", "-D", data, "-h", "127.0.0.1", "-p", strconv.Itoa(c.Port), "-k", c.dir, "-F")
	cmd.Stdout, cmd.Stderr = log, log
	if c.ended, err = server.Start(cmd); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	c.cmd = cmd
	return c.await()
}

// unprivileged is who runs the cluster, which does not run as root; nil for the
// user of this process.
func (c *Cluster) unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(who.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(c.dir, uid, gid)
}

func (c *Cluster) command(as *syscall.Credential, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + c.bin + ":/usr/bin:/bin", "HOME=" + c.dir, "TMPDIR=" + c.dir, "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return cmd
}

// await asks until the server answers.
func (c *Cluster) await() error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		_, err := c.Query(context.Background(), Admin, c.Password, "select 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.ended:
			return fmt.Errorf("postgres has ended: %w\n%s", err, c.Log())
		case <-end:
			return fmt.Errorf("postgres does not answer: %w\n%s", err, c.Log())
		}
	}
}

// Query logs in over TCP with psql and returns what one statement gives, a line
// for each row.
func (c *Cluster) Query(ctx context.Context, name, password, statement string) ([]string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "psql"), "-X", "-w", "-q", "-t", "-A",
		"-h", "127.0.0.1", "-p", strconv.Itoa(c.Port), "-U", name, "-d", "postgres", "-c", statement)
	cmd.Env = []string{"PGPASSWORD=" + password, "PGCONNECT_TIMEOUT=20", "HOME=" + c.dir, "LC_ALL=C"}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("psql: %w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return slices.DeleteFunc(strings.Split(out.String(), "\n"), func(s string) bool { return s == "" }), nil
}

// Log is what the server has logged.
func (c *Cluster) Log() string {
	data, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil {
		return ""
	}
	return string(data)
}

// Stop ends the cluster and removes all it left; it may be called twice.
func (c *Cluster) Stop() {
	if c.cmd != nil {
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // at once, children included
		<-c.ended
		c.cmd = nil
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}
