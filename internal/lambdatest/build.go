//go:build linux

package lambdatest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds the main package pkg, such as "./cmd/latchkey-extension", of the
// module in the directory module, static and stripped as a layer's binaries
// are, into dir, and gives the path. It is for a test and not for TestMain: see
// Sources.
func Build(module, pkg, dir string) (string, error) {
	return build(module, pkg, dir, "-ldflags=-s -w")
}

func build(module, pkg, dir string, more ...string) (string, error) {
	path := filepath.Join(dir, filepath.Base(pkg))
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "timberjack_nozstd,lambda.norpc", "-o", path}, more...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return path, Sources(module, pkg)
}

// BuildSkewed builds like Build, with a wall clock that Platform.Skew can move.
//
// Nothing from outside can give one process another wall clock: a time
// namespace moves the monotonic clocks alone, and a static Go program asks
// neither the C library nor, but through the vDSO, the kernel. So the program is
// built with a runtime whose wall clock adds a number, which the test writes
// into the frozen process. All else is the program as it is.
func BuildSkewed(module, pkg, dir string) (string, error) {
	overlay, err := skewedRuntime(module, filepath.Join(dir, "skewed"))
	if err != nil {
		return "", err
	}
	// Its symbols are needed to find the number.
	return build(module, pkg, dir, "-overlay="+overlay)
}

// skewed are the places of the Go runtime where a number is added to the wall
// clock's seconds: on amd64 in assembly, elsewhere in Go.
var skewed = []struct{ file, was, is string }{
	{"time_linux_amd64.s", "MOVQ\t16(SP), AX\t// realtime sec", "MOVQ\t16(SP), AX\n\tADDQ\truntime·lambdatestSkew(SB), AX"},
	{"timeasm.go", "func time_now() (sec int64, nsec int32, mono int64)\n", "func time_now() (sec int64, nsec int32, mono int64)\n\nvar lambdatestSkew int64\n"},
	{"timestub.go", "\tsec, nsec = walltime()\n", "\tsec, nsec = walltime()\n\tsec += lambdatestSkew\n"},
	{"timestub.go", "\npackage runtime\n", "\npackage runtime\n\nvar lambdatestSkew int64\n"},
}

// skewedRuntime writes the changed files of the Go runtime into dir, and the
// overlay that puts them in their place.
func skewedRuntime(module, dir string) (overlay string, err error) {
	goroot, err := goEnv(module, "GOROOT")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, change := range skewed {
		original := filepath.Join(goroot, "src", "runtime", change.file)
		if replace[original] == "" {
			replace[original] = original
		}
		source, err := os.ReadFile(replace[original])
		if err != nil {
			return "", err
		}
		if strings.Count(string(source), change.was) != 1 {
			return "", fmt.Errorf("%s is not as it was: the wall clock cannot be moved with this Go", original)
		}
		replace[original] = filepath.Join(dir, change.file)
		changed := strings.Replace(string(source), change.was, change.is, 1)
		if err := os.WriteFile(replace[original], []byte(changed), 0o644); err != nil {
			return "", err
		}
	}
	plan, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, plan, 0o644)
}

func goEnv(module, name string) (string, error) {
	cmd := exec.Command("go", "env", name)
	cmd.Dir = module
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
