package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The extensions, by the names the report uses.
const (
	nameFloorExt = "floor extension"
	nameExt      = "latchkey"
	nameFullExt  = "latchkey, full"
	nameVLE      = "vault-lambda-ext."
)

// envVLE names the binary of vault-lambda-extension.
const envVLE = "LATCHKEY_VLE"

// extension is a program to be measured.
type extension struct {
	name, binary string
	run          string // its copy
	zip          string // what is shipped, where it is ours
	// proxy says that it answers on proxyAddress; own is that it listens elsewhere
	// if LATCHKEY_LISTEN says so.
	proxy, own bool
}

// proxyAddress is where extensions listen, which vault-lambda-extension cannot
// change.
const proxyAddress = "127.0.0.1:8200"

// extensions measures the programs that give functions their secrets.
func (t *tools) extensions(ctx context.Context, r *extensionReport) (err error) {
	all, err := t.findExtensions(ctx)
	if err != nil {
		return err
	}
	if l, err := net.Listen("tcp", proxyAddress); err != nil {
		return fmt.Errorf("%s is taken, and vault-lambda-extension listens nowhere else: %w", proxyAddress, err)
	} else if err := l.Close(); err != nil {
		return err
	}
	programs, err := os.MkdirTemp(inMemory(t.work), "latchkey-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(programs)) }()
	for i := range all {
		if all[i].run, err = all[i].copy(programs); err != nil {
			return err
		}
	}
	r.order = all
	for _, of := range []struct {
		part   string
		secure bool
		run    func(context.Context, *stand, *extensionReport) error
	}{
		{"starts", false, t.starts}, {"starts", false, t.startsWithBundle}, {"starts", true, t.starts}, {"limited", false, t.throttled},
		{"lives", false, t.lives}, {"herd", false, t.herdOfStarts}, {"hits", false, t.extensionHits},
	} {
		if !slices.Contains(strings.Split(*parts, ","), of.part) {
			continue
		}
		if err := t.standing(of.secure, func(s *stand) error { return of.run(ctx, s, r) }); err != nil {
			return err
		}
	}
	return t.weigh(r)
}

// inMemory is a directory that is no more than memory, and programs can be started
// from; other where there is none. How a file came into the page cache decides in how
// large pages it lies there, and that how many faults it takes to map it: of the same
// bytes, written in two ways, one starts a fifth slower. In memory all lie in small
// ones, as they do in the older kernels that functions run on.
func inMemory(other string) string {
	const dir, noExec = "/dev/shm", 8
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil || fs.Flags&noExec != 0 {
		return other
	}
	probe, err := os.MkdirTemp(dir, "latchkey-bench-")
	if err != nil {
		return other
	}
	_ = os.Remove(probe)
	return dir
}

// copy copies the program to a directory of its own below dir.
func (e extension) copy(dir string) (string, error) {
	own, err := os.MkdirTemp(dir, "program-")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(e.binary)
	if err != nil {
		return "", err
	}
	file := filepath.Join(own, filepath.Base(e.binary))
	return file, os.WriteFile(file, text, 0o755)
}

func (t *tools) standing(secure bool, use func(*stand) error) error {
	dir, err := os.MkdirTemp(t.work, "stand-")
	if err != nil {
		return err
	}
	s, err := newStand(dir, secure)
	if err != nil {
		return err
	}
	defer s.Close()
	return use(s)
}

// findExtensions builds what is ours and finds what is not.
func (t *tools) findExtensions(ctx context.Context) ([]extension, error) {
	floor, err := build(ctx, t.work, ".", "./floorext")
	if err != nil {
		return nil, err
	}
	if t.trivial, err = build(ctx, t.work, ".", "./floorext/runtime"); err != nil {
		return nil, err
	}
	all := []extension{{name: nameFloorExt, binary: floor}}
	if *latchkey != "none" {
		for name, zip := range map[string]string{nameExt: "latchkey-extension", nameFullExt: "latchkey-extension-full"} {
			zip = filepath.Join(*layer, zip+"-"+runtime.GOARCH)
			e := extension{name: name, binary: filepath.Join(zip, "extensions", "latchkey-extension"), zip: zip + ".zip", proxy: true, own: true}
			if name == nameExt && *small != "" {
				e.binary, e.zip = *small, ""
			}
			if _, err := os.Stat(e.binary); err != nil {
				return nil, fmt.Errorf("%w; make layer builds it", err)
			}
			all = append(all, e)
		}
		slices.SortFunc(all[1:], func(a, b extension) int { return strings.Compare(a.name, b.name) })
	}
	if peer := os.Getenv(envVLE); peer != "" {
		all = append(all, extension{name: nameVLE, binary: peer, proxy: true})
	} else {
		fmt.Fprintf(os.Stderr, "bench: %s names no vault-lambda-extension, so it is not measured\n", envVLE)
	}
	return all, nil
}

// started is an extension that has registered and asked for its first event.
type started struct {
	*lambda
	file    string // what it wrote
	started time.Time
}

// coldStart starts an extension and waits until it is ready; function starts the
// function's runtime as soon as the extension has registered, as Lambda does.
func (t *tools) coldStart(ctx context.Context, e extension, s *stand, l *limit, function bool, more ...string) (_ *started, err error) {
	own, err := os.MkdirTemp(t.work, "extension-")
	if err != nil {
		return nil, err
	}
	p, err := newLambda()
	if err != nil {
		return nil, err
	}
	on := &started{lambda: p, file: filepath.Join(own, "vault", "secret.json")}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", e.name, err)
			on.end()
		}
	}()
	if err := on.launch(t, e, s, l, own, more); err != nil {
		return on, err
	}
	if err := on.await(ctx, &on.registered); err != nil {
		return on, err
	}
	if function {
		r, _, err := t.exec(p.url, []string{t.trivial}, filepath.Join(own, "runtime.log"), l)
		if err != nil {
			return on, err
		}
		defer r.kill()
		if err := on.await(ctx, &on.runtime); err != nil {
			return on, err
		}
	}
	if err := on.await(ctx, &on.ready); err != nil {
		return on, err
	}
	text, err := os.ReadFile(on.file)
	if err != nil || !strings.Contains(string(text), standValue) {
		return on, fmt.Errorf("the secret is not in its file: %q, %w%s", text, err, tail(on.ext.log))
	}
	return on, nil
}

// launch starts the extension alone.
func (on *started) launch(t *tools, e extension, s *stand, l *limit, own string, more []string) (err error) {
	defer close(on.launched)
	env := append([]string{
		"VAULT_ADDR=" + s.URL, "VAULT_AUTH_PROVIDER=aws", "VAULT_AUTH_ROLE=bench",
		"VAULT_SECRET_PATH=" + standSecret, "VAULT_SECRET_FILE=" + on.file,
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=ASIABENCHBENCHBENCH0", "AWS_SECRET_ACCESS_KEY=benchbenchbenchbenchbenchbenchbenchbench",
		"AWS_SESSION_TOKEN=" + strings.Repeat("bench", 80), "AWS_LAMBDA_FUNCTION_NAME=bench", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST", "TZ=:UTC", "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
	}, more...)
	if s.ca != "" {
		env = append(env, "VAULT_CACERT="+s.ca)
	}
	on.ext, on.started, err = t.exec(on.url, []string{e.run}, filepath.Join(own, "log"), l, env...)
	if err != nil {
		on.ext = nil
	}
	return err
}

// exec starts a program with an address of the platform, and nothing else but env
// in its environment.
func (t *tools) exec(api string, argv []string, log string, l *limit, env ...string) (*resident, time.Time, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "AWS_LAMBDA_RUNTIME_API=" + api}, env...)
	cmd.Stdout, cmd.Stderr = out, out
	r := &resident{name: filepath.Base(argv[0]), log: log}
	var at time.Time
	if r.ended, at, err = launch(cmd, l); err != nil {
		return nil, at, err
	}
	r.pid = cmd.Process.Pid
	return r, at, nil
}

// kill ends a program that has no more to say.
func (r *resident) kill() {
	_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	<-r.ended
}

// end ends the extension and its platform, whatever state it is in.
func (on *started) end() {
	if on.ext != nil {
		on.ext.kill()
	}
	on.close()
}
