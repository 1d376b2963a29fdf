package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	vault "latchkey/e2e/server"
)

// resident is a program that stays.
type resident struct {
	name, own, log string
	pid            int
	ended          <-chan struct{}
}

// stay starts a program that is to stay; the caller stops it.
func (t *tools) stay(name, own string, argv []string) (*resident, error) {
	r := &resident{name: name, own: own, log: filepath.Join(own, "log")}
	out, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = bareEnvironment(t.work)
	cmd.Stdout, cmd.Stderr = out, out
	if r.ended, err = vault.Start(cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r.pid = cmd.Process.Pid
	return r, nil
}

// stop ends it, kindly first. It may be called again.
func (r *resident) stop() {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-r.ended:
			return
		default:
		}
		_ = syscall.Kill(r.pid, s)
		select {
		case <-r.ended:
			return
		case <-time.After(10 * time.Second):
		}
	}
}

// until looks every so often whether done, and ends with an error when the
// program has ended, or with errPatience after limit.
func (r *resident) until(ctx context.Context, limit, every time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errPatience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w%s", r.name, context.Cause(ctx), tail(r.log))
		case <-r.ended:
			return fmt.Errorf("%s has ended%s", r.name, tail(r.log))
		case <-tick.C:
		}
	}
	return nil
}

// memory is what a process holds, in bytes.
type memory struct {
	// RSS is all of it: pages of its own (heap, stacks) and pages of files (the
	// program). PSS counts pages that it shares with others as a part.
	rss, anon, file, pss, peak int64
}

func (r *resident) memory() (memory, error) {
	var m memory
	err := readSizes(fmt.Sprintf("/proc/%d/status", r.pid), map[string]*int64{
		"VmRSS": &m.rss, "RssAnon": &m.anon, "RssFile": &m.file, "VmHWM": &m.peak,
	})
	if err != nil {
		return m, err
	}
	return m, readSizes(fmt.Sprintf("/proc/%d/smaps_rollup", r.pid), map[string]*int64{"Pss": &m.pss})
}

// readSizes reads lines like "VmRSS:  1234 kB".
func readSizes(file string, into map[string]*int64) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		at := into[key]
		if at == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		*at = n << 10
		delete(into, key)
	}
	if len(into) > 0 {
		return fmt.Errorf("%s does not say all that is asked of it", file)
	}
	return nil
}

// family is the process and those that it has started, which an nginx lets do
// the work.
func (r *resident) family() ([]int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.pid, r.pid))
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", r.name, err, tail(r.log))
	}
	all := []int{r.pid}
	for f := range strings.FieldsSeq(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		all = append(all, pid)
	}
	return all, nil
}

// familyCPU is the processor time of the whole family.
func (r *resident) familyCPU() (time.Duration, error) {
	all, err := r.family()
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range all {
		one, err := (&resident{name: r.name, log: r.log, pid: pid}).cpu()
		if err != nil {
			return 0, err
		}
		sum += one
	}
	return sum, nil
}

// held is what the whole family holds, in bytes: the resident memory of one
// process; of several, what they share counted once.
func (r *resident) held() (int64, error) {
	all, err := r.family()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range all {
		m, err := (&resident{name: r.name, log: r.log, pid: pid}).memory()
		switch {
		case err != nil:
			return 0, err
		case len(all) == 1:
			return m.rss, nil
		}
		sum += m.pss
	}
	return sum, nil
}

// cpu is the processor time that it has used. /proc/PID/stat counts in
// hundredths of a second, which is more than a round of a hundred renewals
// takes; the clock of another process, see clock_getcpuclockid(3), is exact.
func (r *resident) cpu() (time.Duration, error) {
	const scheduled = 2
	var t syscall.Timespec
	clock := ^r.pid<<3 | scheduled
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		return 0, fmt.Errorf("processor time of %s: %w%s", r.name, errno, tail(r.log))
	}
	return time.Duration(t.Nano()), nil
}
