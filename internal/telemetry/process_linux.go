package telemetry

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ticks is the kernel's USER_HZ, which is 100 on every architecture that Go has.
const ticks = 100

// systemMetrics reads /proc; what cannot be read is left out.
func systemMetrics(values map[string]float64) {
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		processStat(values, stat, bootTime())
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		values["process_max_fds"] = float64(limit.Cur)
	}
	if dir, err := os.Open("/proc/self/fd"); err == nil {
		if names, err := dir.Readdirnames(-1); err == nil {
			values["process_open_fds"] = float64(len(names) - 1) // without the one that reads them
		}
		_ = dir.Close()
	}
}

// processStat takes the fields of /proc/self/stat that it has, counted behind the
// process's name, which may hold anything.
func processStat(values map[string]float64, stat []byte, boot float64) {
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	if !ok {
		return
	}
	fields := strings.Fields(string(rest))
	field := func(i int) (float64, bool) { // numbered as in proc(5), from 1
		if i -= 3; i >= len(fields) {
			return 0, false
		}
		v, err := strconv.ParseUint(fields[i], 10, 64)
		return float64(v), err == nil
	}
	user, ok1 := field(14)
	system, ok2 := field(15)
	if ok1 && ok2 {
		values["process_cpu_seconds_total"] = (user + system) / ticks
	}
	if v, ok := field(22); ok && boot > 0 {
		values["process_start_time_seconds"] = boot + v/ticks
	}
	if v, ok := field(23); ok {
		values["process_virtual_memory_bytes"] = v
	}
	if v, ok := field(24); ok {
		values["process_resident_memory_bytes"] = v * float64(os.Getpagesize())
	}
}

// bootTime is when the machine started, in seconds since 1970; 0 when nobody says.
func bootTime() float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "\nbtime ")
	value, _, _ := strings.Cut(after, "\n")
	v, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return 0
	}
	return float64(v)
}
