package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"time"
)

// module is the tool that server.mod pins.
const module = "github.com/hashicorp/vault"

// EnvBinary names the variable that holds the path of a server to use.
const EnvBinary = "LATCHKEY_VAULT_BIN"

// Binary returns the path of the server's binary, building it when there is
// none yet; what it has to say about that goes to log. It is safe to call from
// several processes at once: one builds, the others wait for it.
func Binary(log io.Writer) (string, error) {
	if path := os.Getenv(EnvBinary); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", EnvBinary, err)
		}
		return path, nil
	}
	root, err := moduleDir()
	if err != nil {
		return "", err
	}
	version, sum, err := pinned(root)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory for the Vault server: %w (or set %s)", err, EnvBinary)
	}
	dir := filepath.Join(cache, "latchkey-e2e", version+"-"+sum)
	path := filepath.Join(dir, "vault")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil // built by the one we waited for
	}
	return path, build(root, version, path, log)
}

func build(root, version, path string, log io.Writer) error {
	fmt.Fprintf(log, `
=== BUILDING THE VAULT SERVER %s, once ===
The end-to-end tests run against a real Vault. No binary is at
    %s
so it is built now from the module that e2e/server.mod pins. The first time
this takes a long while (about ten minutes on two cores, more when busy) and
downloads several hundred modules; later runs use the binary at once.
To use a Vault you have, set %s to its path.

`, version, path, EnvBinary)
	start := time.Now()
	tmp := path + ".building"
	cmd := exec.Command("go", "build", "-modfile=server.mod", "-trimpath", "-o", tmp, module)
	cmd.Dir = root
	// Without cgo the build asks for no C compiler and compiles no C.
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("building the Vault server: %w\n%s", err, out.Bytes())
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	fmt.Fprintf(log, "=== the Vault server is built, in %s ===\n", time.Since(start).Round(time.Second))
	return nil
}

// moduleDir is the directory of server.mod, found from this source file, or
// from the working directory where -trimpath has removed that.
func moduleDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dirs := []string{filepath.Dir(filepath.Dir(file))}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			dirs = append(dirs, dir, filepath.Join(dir, "e2e"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "server.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("e2e/server.mod not found from here")
}

var required = regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(module) + ` (v\S+)`)

// pinned returns the version of the tool and a short hash of all it is built
// from.
func pinned(root string) (version, sum string, err error) {
	h := sha256.New()
	for _, name := range []string{"server.mod", "server.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", "", err
		}
		if m := required.FindSubmatch(data); m != nil && version == "" {
			version = string(m[1])
		}
		h.Write(data)
	}
	if version == "" {
		return "", "", fmt.Errorf("server.mod does not require %s", module)
	}
	fmt.Fprint(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return version, hex.EncodeToString(h.Sum(nil))[:12], nil
}
