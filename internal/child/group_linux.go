package child

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

const last = syscall.Signal(64)

// onlyDead reports whether all that is in a group has ended already, and is
// only waiting for its parent to ask how. Its parent may be an init that never
// does, and that is no reason to wait.
func onlyDead(pgid int) bool {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	found := false
	for _, d := range procs {
		if name := d.Name(); name[0] < '0' || name[0] > '9' {
			continue
		}
		stat, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue // gone meanwhile
		}
		state, group := parseStat(stat)
		if group != pgid {
			continue
		}
		if state != 'Z' && state != 'X' {
			return false
		}
		found = true
	}
	return found
}

// parseStat finds the state and the process group in a process's stat: after
// its name, which stands in parentheses and may hold anything.
func parseStat(stat []byte) (state byte, pgid int) {
	rest := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(rest) < 3 || len(rest[0]) != 1 {
		return 0, 0
	}
	pgid, _ = strconv.Atoi(string(rest[2]))
	return rest[0][0], pgid
}
