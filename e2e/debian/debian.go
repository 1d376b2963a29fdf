//go:build linux

// Package debian gets programs out of Debian's packages, for tests and
// measurements: installed where that is needed and this is root, or unpacked
// into the user's cache directory, which needs nobody's leave.
//
// apt-get fetches them and checks them against the archive's signatures, with
// the sources and keys that the system has.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"latchkey/e2e/server"
)

// ErrUnavailable is the kind of the error where a package cannot be had.
var ErrUnavailable = errors.New("not to be had from Debian's packages")

// patience is how long one call of apt-get may take.
const patience = 10 * time.Minute

// Install installs packages on the system, telling log of it. That needs root.
func Install(log io.Writer, packages ...string) error {
	what := strings.Join(packages, " ")
	if err := here(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: only root can install %s", ErrUnavailable, what)
	}
	fmt.Fprintf(log, "=== INSTALLING from Debian, once: %s ===\n", what)
	get := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	first, err := run("apt-get", get...)
	if err == nil {
		return nil
	}
	// The lists of packages may be missing or old.
	if more, err := run("apt-get", "update"); err != nil {
		return fmt.Errorf("%w: apt-get install and update: %v\n%s%s", ErrUnavailable, err, first, more)
	}
	if out, err := run("apt-get", get...); err != nil {
		return fmt.Errorf("%w: apt-get install %s: %v\n%s", ErrUnavailable, what, err, out)
	}
	return nil
}

// Tree is a directory that packages were unpacked into.
type Tree string

// Unpack fetches packages, with those they need and the system has not, and
// unpacks them into the cache directory, once, telling log of it. None of their
// scripts runs. Several processes may call it at once.
func Unpack(log io.Writer, packages ...string) (Tree, error) {
	if err := here(); err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory for Debian's packages: %w", err)
	}
	// Programs and libraries of one release do not fit another's.
	release, err := os.ReadFile("/etc/debian_version")
	if err != nil {
		return "", err
	}
	name := strings.Join(append([]string{"debian", strings.ReplaceAll(strings.TrimSpace(string(release)), "/", "-"), runtime.GOARCH}, packages...), "-")
	dir := filepath.Join(cache, "latchkey-e2e", name)
	if _, err := os.Stat(dir); err == nil {
		return Tree(dir), nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := server.Lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return Tree(dir), nil // unpacked by the one we waited for
	}
	fmt.Fprintf(log, "=== FETCHING from Debian, once: %s, into %s ===\n", strings.Join(packages, " "), dir)
	work, err := os.MkdirTemp(filepath.Dir(dir), "unpacking-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := download(work, packages); err != nil {
		return "", err
	}
	tree := filepath.Join(work, "tree")
	if err := unpack(work, tree); err != nil {
		return "", err
	}
	return Tree(dir), os.Rename(tree, dir)
}

// download lets apt-get fetch the packages into work/archives. All that apt-get
// writes is below work, so that it needs no root and disturbs nobody.
func download(work string, packages []string) error {
	for _, dir := range []string{"archives/partial", "lists/partial"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	// As root, apt-get would fetch as a user who cannot write here.
	own := []string{"-o", "Dir::Cache=" + work, "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=" + self()}
	get := append([]string{"install", "-y", "--download-only", "--no-install-recommends"}, packages...)
	first, err := run("apt-get", append(own, get...)...)
	if err == nil {
		return nil
	}
	// The lists of packages may be missing or old; there are hooks of the
	// system's that fail for a user who is not root, so only the result counts.
	own = append(own, "-o", "Dir::State::lists="+filepath.Join(work, "lists"))
	more, _ := run("apt-get", append(own, "update")...)
	if out, err := run("apt-get", append(own, get...)...); err != nil {
		return fmt.Errorf("%w: apt-get %s: %v\n%s%s%s", ErrUnavailable, strings.Join(get, " "), err, first, more, out)
	}
	return nil
}

// self is what apt-get calls the user who is to fetch: root means nobody else.
func self() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return ""
}

func unpack(work, tree string) error {
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(work, "archives", "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if out, err := run("dpkg", "-x", file, tree); err != nil {
			return fmt.Errorf("dpkg -x %s: %w\n%s", filepath.Base(file), err, out)
		}
	}
	return nil
}

// Command is a program out of the tree, or the system's where its package is
// installed and therefore was not fetched. It finds its libraries.
func (t Tree) Command(name string, args ...string) (*exec.Cmd, error) {
	for _, dir := range []string{filepath.Join(string(t), "usr/bin"), filepath.Join(string(t), "usr/sbin"), "/usr/bin", "/usr/sbin"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), t.Libraries())
		return cmd, nil
	}
	return nil, fmt.Errorf("%w: no program %s in %s, and none on the system", ErrUnavailable, name, t)
}

// Libraries is the variable, NAME=value, by which a program of the tree finds its
// libraries.
func (t Tree) Libraries() string {
	found, _ := filepath.Glob(filepath.Join(string(t), "usr/lib/*-linux-*")) // the pattern is good
	return "LD_LIBRARY_PATH=" + strings.Join(found, ":")
}

// here says whether this is a system with Debian's packages.
func here() error {
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		return fmt.Errorf("%w: this is no Debian", ErrUnavailable)
	}
	return nil
}

func run(name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	return cmd.CombinedOutput()
}
