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
// are, into dir, and gives the path.
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
	return path, nil
}

// BuildSkewed builds like Build, with a wall clock that Platform.Skew can move.
//
// Nothing from outside can give one process another wall clock: a time
// namespace moves the monotonic clocks alone, and a static Go program asks
// neither the C library nor, but through the vDSO, the kernel. So the program is
// built with a runtime whose wall clock adds a number, which the test writes
// into the frozen process. All else is the program as it is.
func BuildSkewed(module, pkg, dir string) (string, error) {
	overlay, err := skewedRuntime(module, dir)
	if err != nil {
		return "", err
	}
	// Its symbols are needed to find the number.
	return build(module, pkg, dir, "-overlay="+overlay)
}

// skewedRuntime writes the two changed files of the Go runtime and the overlay
// that puts them in their place. What the wall clock is stays the runtime's
// business: walltime is asked, and a number added.
func skewedRuntime(module, dir string) (overlay string, err error) {
	goroot, err := goEnv(module, "GOROOT")
	if err != nil {
		return "", err
	}
	stub := filepath.Join(goroot, "src", "runtime", "timestub.go")
	source, err := os.ReadFile(stub)
	if err != nil {
		return "", err
	}
	const was, only = "sec, nsec = walltime()", "&& !(linux && amd64)"
	if strings.Count(string(source), was) != 1 {
		return "", fmt.Errorf("%s is not as it was: the wall clock cannot be moved with this Go", stub)
	}
	changed := strings.Replace(string(source), only, "", 1)
	changed = strings.Replace(changed, was, was+"\n\tsec += lambdatestSkew", 1)
	changed += "\n// lambdatestSkew is written from outside, in seconds.\nvar lambdatestSkew int64\n"
	files := map[string]string{stub: filepath.Join(dir, "skewed_timestub.go")}
	if err := os.WriteFile(files[stub], []byte(changed), 0o644); err != nil {
		return "", err
	}
	// On amd64 the runtime has the clock in assembly instead.
	assembly := filepath.Join(goroot, "src", "runtime", "time_linux_amd64.s")
	if _, err := os.Stat(assembly); err == nil {
		files[assembly] = ""
	}
	plan, err := json.Marshal(map[string]any{"Replace": files})
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
