//go:build linux

package lambdatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// box is the control group of an environment, when it needs one: to be frozen,
// to have only so much of a core, or both. The two hierarchies are used as they
// are mounted: version 2 freezes everywhere it is mounted and limits where its
// cpu controller is on, version 1 does each where that controller is mounted.
type box struct {
	freezer string // directory with freezer.state (v1) or cgroup.freeze (v2), "" for none
	cpu     string // directory with cpu.cfs_quota_us (v1) or cpu.max (v2), "" for none
	made    []string
}

const cgroups = "/sys/fs/cgroup"

// period is how often a limited group is given its share: 100 ms is the
// kernel's and, as seen from inside a function, Lambda's.
const period = 100 * time.Millisecond

// ErrNoCGroup means that no control group can be had here.
var ErrNoCGroup = errors.New("no control group can be made here (root, and a freezer or cpu controller)")

// HasCGroups says why an environment cannot be frozen (freezer) or limited
// (cpu) by control groups here, nil when it can.
func HasCGroups(freezer, cpu bool) error {
	b, err := newBox(freezer, cpu, 0.5)
	if err != nil {
		return err
	}
	return b.remove()
}

func newBox(freezer, limited bool, share float64) (*box, error) {
	b := &box{}
	if !freezer && !limited {
		return b, nil
	}
	name := fmt.Sprintf("lambdatest-%d-%d", os.Getpid(), time.Now().UnixNano())
	if freezer {
		b.freezer = b.first(name, "cgroup.freeze", cgroups, cgroups+"/unified")
		if b.freezer == "" {
			b.freezer = b.first(name, "freezer.state", cgroups+"/freezer")
		}
	}
	if limited {
		b.cpu = b.first(name, "cpu.max", cgroups, cgroups+"/unified")
		if b.cpu == "" {
			b.cpu = b.first(name, "cpu.cfs_quota_us", cgroups+"/cpu", cgroups+"/cpu,cpuacct")
		}
	}
	if freezer && b.freezer == "" || limited && b.cpu == "" {
		return nil, errors.Join(ErrNoCGroup, b.remove())
	}
	if limited {
		if err := b.limit(share); err != nil {
			return nil, errors.Join(ErrNoCGroup, err, b.remove())
		}
	}
	return b, nil
}

// first makes a group in the first hierarchy where it then has file.
func (b *box) first(name, file string, roots ...string) string {
	for _, root := range roots {
		dir := filepath.Join(root, name)
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return dir // the same group limits and freezes
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			_ = os.Remove(dir)
			continue
		}
		b.made = append(b.made, dir)
		return dir
	}
	return ""
}

func (b *box) limit(share float64) error {
	us := strconv.Itoa(int(share * float64(period/time.Microsecond)))
	all := strconv.Itoa(int(period / time.Microsecond))
	if _, err := os.Stat(filepath.Join(b.cpu, "cpu.max")); err == nil {
		return put(b.cpu, "cpu.max", us+" "+all)
	}
	return errors.Join(put(b.cpu, "cpu.cfs_period_us", all), put(b.cpu, "cpu.cfs_quota_us", us))
}

// start starts cmd inside the groups. It is called on a locked thread: in
// version 1 the thread goes in and comes out again, and what it starts
// meanwhile stays in; in version 2 the kernel starts it there.
func (b *box) start(cmd *exec.Cmd) error {
	dirs := map[string]bool{}
	for _, dir := range []string{b.freezer, b.cpu} {
		if dir != "" {
			dirs[dir] = true
		}
	}
	for dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "tasks")); err != nil {
			f, err := os.Open(dir)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
			continue
		}
		thread := strconv.Itoa(syscall.Gettid())
		if err := put(dir, "tasks", thread); err != nil {
			return err
		}
		defer func() { _ = put(filepath.Dir(dir), "tasks", thread) }()
	}
	return startPatiently(cmd)
}

// freeze and thaw return when it is done.
func (b *box) freeze(ctx context.Context) error { return b.set(ctx, "1", "FROZEN") }
func (b *box) thaw(ctx context.Context) error   { return b.set(ctx, "0", "THAWED") }

func (b *box) set(ctx context.Context, v2, v1 string) error {
	if _, err := os.Stat(filepath.Join(b.freezer, "freezer.state")); err == nil {
		// A group that forks while it freezes stays FREEZING until told again.
		return poll(ctx, func() (bool, error) {
			if err := put(b.freezer, "freezer.state", v1); err != nil {
				return false, err
			}
			now, err := os.ReadFile(filepath.Join(b.freezer, "freezer.state"))
			return strings.TrimSpace(string(now)) == v1, err
		})
	}
	if err := put(b.freezer, "cgroup.freeze", v2); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		now, err := os.ReadFile(filepath.Join(b.freezer, "cgroup.events"))
		return strings.Contains(string(now), "frozen "+v2), err
	})
}

// remove removes the groups, which have no members any more.
func (b *box) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	for _, dir := range b.made {
		// What was killed is counted as a member until it is gone.
		errs = append(errs, poll(ctx, func() (bool, error) {
			err := os.Remove(dir)
			if errors.Is(err, syscall.EBUSY) {
				return false, nil
			}
			return true, err
		}))
	}
	b.made = nil
	return errors.Join(errs...)
}

func put(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
}
