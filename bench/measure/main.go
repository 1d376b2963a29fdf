// Command measure runs a program and prints what it cost, as one JSON object on
// its stdout: wall and CPU time in nanoseconds, peak memory in bytes, the exit
// code. The program's own output goes to the file named first.
//
// It is a program of its own because the kernel counts a parent's memory into
// the peak of a child it starts: from the large harness, every small child
// would seem as large as the harness. So it links as little as possible.
package main

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		fail("usage: measure OUTPUT PROGRAM [ARGUMENT]...")
	}
	out, err := os.OpenFile(os.Args[1], os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		fail(err.Error())
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		fail(err.Error())
	}
	start := time.Now()
	p, err := os.StartProcess(os.Args[2], os.Args[2:], &os.ProcAttr{Files: []*os.File{null, out, out}})
	if err != nil {
		fail(err.Error())
	}
	state, err := p.Wait()
	wall := time.Since(start)
	if err != nil {
		fail(err.Error())
	}
	peak := state.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		peak *= 1024
	}
	os.Stdout.WriteString(`{"wall":` + strconv.FormatInt(int64(wall), 10) +
		`,"cpu":` + strconv.FormatInt(int64(state.UserTime()+state.SystemTime()), 10) +
		`,"peak":` + strconv.FormatInt(peak, 10) +
		`,"code":` + strconv.Itoa(state.ExitCode()) + "}\n")
}

func fail(why string) {
	os.Stderr.WriteString("measure: " + why + "\n")
	os.Exit(125)
}
