package execwrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/envwire"
)

// program is latchkey-exec as it is shipped.
var program string

func TestMain(m *testing.M) {
	if os.Getenv("TEST_ACT") != "" {
		act()
	}
	dir, err := os.MkdirTemp("", "latchkey-exec")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "latchkey-exec")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "../../cmd/latchkey-exec")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// seen is what a program that was started tells of itself.
type seen struct {
	Pid   int
	Args  []string
	Env   []string // as the kernel has it
	Files []string
}

// act is the function's runtime: it tells what it sees and ends as TEST_ACT says.
func act() {
	env, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		panic(err)
	}
	s := seen{Pid: os.Getpid(), Args: os.Args, Env: strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")}
	for fd := 3; fd < 64; fd++ {
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.HasPrefix(to, "socket:") {
			s.Files = append(s.Files, to)
		}
	}
	for i, e := range s.Env {
		s.Env[i] = strconv.QuoteToASCII(e) // JSON cannot hold every byte
	}
	if err := json.NewEncoder(os.Stdout).Encode(s); err != nil {
		panic(err)
	}
	switch how := os.Getenv("TEST_ACT"); how {
	case "TERM":
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	default:
		code, _ := strconv.Atoi(how)
		os.Exit(code)
	}
}

// sandbox is where one program is started: the address of its runtime API.
type sandbox string

var sandboxes atomic.Int64

func newSandbox() sandbox {
	return sandbox(fmt.Sprintf("127.0.0.1:%d-%d", os.Getpid(), sandboxes.Add(1)))
}

func (s sandbox) listen(t *testing.T) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: envwire.Address(string(s))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// answers has the sandbox' extension send bytes to whoever asks, one after the other.
func (s sandbox) answers(t *testing.T, send ...[]byte) {
	t.Helper()
	l := s.listen(t)
	go func() {
		for _, b := range send {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(b)
			_ = conn.Close()
		}
	}()
}

func encoded(t *testing.T, a envwire.Answer) []byte {
	t.Helper()
	b, err := envwire.Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// outcome is what became of a run.
type outcome struct {
	seen
	pid     int // of what was started
	started bool
	code    int // as a shell has it
	stderr  string
}

// run starts latchkey-exec in the sandbox with the environment and the arguments.
func (s sandbox) run(t *testing.T, env []string, argv ...string) outcome {
	t.Helper()
	cmd := s.command(env, argv...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return finish(t, cmd)
}

func (s sandbox) command(env []string, argv ...string) *exec.Cmd {
	cmd := exec.Command(program, argv...)
	cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + string(s), "TEST_ACT=0", "AWS_LAMBDA_EXEC_WRAPPER=/opt/latchkey-exec"}, env...)
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return cmd
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	_ = cmd.Wait()
	o := outcome{pid: cmd.Process.Pid, code: cmd.ProcessState.ExitCode(), stderr: cmd.Stderr.(*bytes.Buffer).String()}
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		o.code = 128 + int(status.Signal())
	}
	if out := cmd.Stdout.(*bytes.Buffer).Bytes(); len(out) > 0 {
		if err := json.Unmarshal(out, &o.seen); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		o.started = true
	}
	return o
}

// self is a program that tells what it sees: this test.
func self(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAFunctionSeesItsSecretsAndNothingOfOurs(t *testing.T) {
	t.Parallel()
	every := make([]byte, 255)
	for i := range every {
		every[i] = byte(i + 1)
	}
	s := newSandbox()
	s.answers(t, encoded(t, envwire.Answer{
		Set:   []envwire.Pair{{Name: "DB_PASSWORD", Value: string(every)}, {Name: "EMPTY", Value: ""}, {Name: "odd-name.x", Value: "$(id) `id` $HOME 'x' \"y\"\n"}, {Name: "LOOKS", Value: "vault:a#b"}},
		Unset: []string{"VAULT_ROLE", "VLE_*", "NEVER_THERE"},
	}))
	got := s.run(t, []string{
		"DB_PASSWORD=vault:secret/data/db#password", "PLAIN=p=q", "VAULT_ROLE=x", "VAULT_ADDR=http://127.0.0.1:8200", "VLE_VAULT_ADDR=x", "LATCHKEY_FAIL=closed", "LATCHKEY_AUTH_SECRET_ID=CANARY", "NOVALUE=",
	}, self(t), "first", "", "a b;$HOME", "\xff\n")
	want := []string{
		"AWS_LAMBDA_RUNTIME_API=" + string(s), "TEST_ACT=0", "PLAIN=p=q", "VAULT_ADDR=http://127.0.0.1:8200", "NOVALUE=",
		"DB_PASSWORD=" + string(every), "EMPTY=", "odd-name.x=$(id) `id` $HOME 'x' \"y\"\n", "LOOKS=vault:a#b",
	}
	for i := range want {
		want[i] = strconv.QuoteToASCII(want[i])
	}
	slices.Sort(want)
	slices.Sort(got.Env)
	if !slices.Equal(got.Env, want) {
		t.Errorf("environment:\n%s\nwant\n%s\n%s", strings.Join(got.Env, "\n"), strings.Join(want, "\n"), got.stderr)
	}
	if got.Pid != got.pid || got.code != 0 || got.stderr != "" || len(got.Files) != 0 {
		t.Errorf("%+v: it is another process, says something, or was left a socket", got)
	}
	if len(got.Args) != 5 || !slices.Equal(got.Args[:4], []string{self(t), "first", "", "a b;$HOME"}) {
		t.Errorf("arguments: %q", got.Args)
	}
}

func TestTheProgramsEndIsItsOwn(t *testing.T) {
	t.Parallel()
	for how, code := range map[string]int{"0": 0, "7": 7, "125": 125, "TERM": 143} {
		s := newSandbox()
		s.answers(t, encoded(t, envwire.Answer{}))
		if got := s.run(t, []string{"TEST_ACT=" + how}, self(t)); got.code != code || got.stderr != "" {
			t.Errorf("%s: %d %s", how, got.code, got.stderr)
		}
	}
}

func TestEachStartGetsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	s := newSandbox()
	one := envwire.Answer{Set: []envwire.Pair{{Name: "P", Value: "one"}}}
	two := envwire.Answer{Set: []envwire.Pair{{Name: "P", Value: "two"}}}
	s.answers(t, encoded(t, one), encoded(t, two))
	for _, want := range []string{`"P=one"`, `"P=two"`} {
		if got := s.run(t, nil, self(t)); !slices.Contains(got.Env, want) {
			t.Errorf("%s is not in %q %s", want, got.Env, got.stderr)
		}
	}
}

// The function does not start with less than it asked for, and says why; or, where
// LATCHKEY_FAIL is open, it starts, and has no reference for a password.
func TestWithoutValues(t *testing.T) {
	t.Parallel()
	good := encoded(t, envwire.Answer{Set: []envwire.Pair{{Name: "PASSWORD", Value: "CANARY"}, {Name: "BIG", Value: strings.Repeat("x", 100_000)}}, Unset: []string{"VAULT_ROLE"}})
	for name, tc := range map[string]struct {
		send []byte
		says string
	}{
		"the extension has none":   {encoded(t, envwire.Answer{Err: "PASSWORD: secret/data/db#password: 403 permission denied", Unset: []string{"PASSWORD", "DSN"}}), "PASSWORD: secret/data/db#password: 403 permission denied"},
		"the extension ends":       {nil, "without an answer"},
		"it ends in the middle":    {good[:len(good)-1], "ended in the middle"},
		"it ends after a byte":     {good[:1], "ended in the middle"},
		"it is another release":    {bytes.Replace(good, []byte("env 1"), []byte("env 9"), 1), "different releases"},
		"something else answers":   {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "something else listens"},
		"it sends nonsense":        {append(slices.Clone(good), 'x'), "malformed"},
		"it sends without end":     {make([]byte, envwire.MaxSize+10), "longer than one can be"},
		"it did not see them":      {encoded(t, envwire.Answer{Set: []envwire.Pair{{Name: "DSN", Value: "x"}}}), "no value came for PASSWORD,"},
		"it knows none and is not": {encoded(t, envwire.Answer{}), "no value came for PASSWORD, DSN,"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{"PASSWORD=vault:secret/data/db#password", "DSN=x${bao:a#b}", "HOST=vault:8200", "LATCHKEY_X=x"}
			s := newSandbox()
			s.answers(t, tc.send, tc.send)
			got := s.run(t, env, self(t))
			if got.started || got.code != 125 || !strings.Contains(got.stderr, tc.says) || !strings.HasPrefix(got.stderr, "latchkey-exec: ") || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("%d, started %v: %s", got.code, got.started, got.stderr)
			}
			open := s.run(t, append(env, "LATCHKEY_FAIL= Open "), self(t))
			all := strings.Join(open.Env, "\n")
			if !open.started || open.code != 0 || !strings.Contains(open.stderr, tc.says) || !strings.Contains(open.stderr, "LATCHKEY_FAIL is open") {
				t.Errorf("open: %d, started %v: %s", open.code, open.started, open.stderr)
			}
			if strings.Contains(all, "secret/data") || strings.Contains(all, "bao:a") || strings.Contains(all, "LATCHKEY") || !strings.Contains(all, "HOST=vault:8200") {
				t.Errorf("open: %s", all)
			}
			if strings.Contains(got.stderr+open.stderr, "CANARY") {
				t.Error("a value is in a message")
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	start := time.Now()
	got := newSandbox().run(t, nil, self(t))
	if got.started || got.code != 125 || !strings.Contains(got.stderr, "no extension listens") {
		t.Errorf("%d, started %v: %s", got.code, got.started, got.stderr)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("gave up after %v", took)
	}
}

func TestAnExtensionThatIsLateOrSlowIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSandbox()
	cmd := s.command(nil, self(t))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It sleeps between two tries: then it has found nobody. Where the system does not
	// say where a thread waits, the extension is in time.
	for start := time.Now(); !sleeps(cmd.Process.Pid) && time.Since(start) < time.Second; {
		runtime.Gosched()
	}
	l := s.listen(t)
	b := encoded(t, envwire.Answer{Set: []envwire.Pair{{Name: "P", Value: strings.Repeat("v", 3000)}}})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		for i := range b {
			_, _ = conn.Write(b[i : i+1])
		}
		_ = conn.Close()
	}()
	if got := finish(t, cmd); !got.started || !slices.Contains(got.Env, `"P=`+strings.Repeat("v", 3000)+`"`) {
		t.Errorf("%+v", got)
	}
}

// sleeps reports whether a thread of a process does.
func sleeps(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	return slices.ContainsFunc(threads, func(name string) bool {
		where, _ := os.ReadFile(name)
		return strings.Contains(string(where), "nanosleep")
	})
}

func TestOutsideOfLambda(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(program, self(t))
	cmd.Env = []string{"TEST_ACT=0"}
	cmd.Stdout, cmd.Stderr = &bytes.Buffer{}, &bytes.Buffer{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, cmd); got.started || got.code != 125 || !strings.Contains(got.stderr, "AWS_LAMBDA_RUNTIME_API is not set") {
		t.Errorf("%+v", got)
	}
}

// Whoever listens in the extension's place could say what the function loads.
func TestAnotherUsersAnswerIsNotTaken(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	t.Parallel()
	s := newSandbox()
	fds := make(chan int)
	go func() {
		// The thread is another user, listens, and ends with this function.
		runtime.LockOSThread()
		fds <- listenAs(65534, envwire.Address(string(s)))
	}()
	fd := <-fds
	if fd < 0 {
		t.Skip("this system does not let a thread be another user")
	}
	file := os.NewFile(uintptr(fd), "socket")
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	t.Cleanup(func() { _ = l.Close() })
	evil := encoded(t, envwire.Answer{Set: []envwire.Pair{{Name: "LD_PRELOAD", Value: "/tmp/evil.so"}}})
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, _ = conn.Write(evil)
			_ = conn.Close()
		}
	}()
	if got := s.run(t, nil, self(t)); got.started || got.code != 125 || !strings.Contains(got.stderr, "another user (65534)") {
		t.Errorf("%+v", got)
	}
}

// listenAs makes the calling thread, and it alone, another user, and listens.
func listenAs(uid int, address string) int {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return -1
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil || syscall.Bind(fd, &syscall.SockaddrUnix{Name: address}) != nil || syscall.Listen(fd, 4) != nil {
		return -1
	}
	return fd
}

func TestProgramsThatDoNotStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, tc := range map[string]struct {
		argv []string
		env  []string
		code int
		says string
	}{
		"none is named":           {nil, nil, 2, "no program is named"},
		"an empty name":           {[]string{""}, nil, 127, "empty"},
		"not there":               {[]string{dir + "/none"}, nil, 127, dir + "/none is not there"},
		"below a file":            {[]string{file("f", "", 0o755) + "/x"}, nil, 127, "is not there"},
		"no interpreter":          {[]string{file("s", "#!/none/such\n", 0o755)}, nil, 127, "interpreter"},
		"not in PATH":             {[]string{"no-such-program"}, []string{"PATH=/usr/bin::relative:/bin"}, 127, "/usr/bin::relative:/bin"},
		"not executable":          {[]string{file("n", "#!/bin/sh\n", 0o644)}, nil, 126, "may not be run"},
		"not executable, in PATH": {[]string{"n"}, []string{"PATH=" + dir}, 126, "may not be run"},
		"a directory":             {[]string{dir}, nil, 126, "may not be run"},
		"no program":              {[]string{file("p", "echo shell\n", 0o755)}, nil, 126, "no shell here"},
		"too much":                {[]string{self(t), strings.Repeat("x", 120_000)}, many(120), 126, "longer than the system allows"},
	} {
		s := newSandbox()
		var set []envwire.Pair
		for _, e := range tc.env {
			name, value, _ := strings.Cut(e, "=")
			set = append(set, envwire.Pair{Name: name, Value: value})
		}
		s.answers(t, encoded(t, envwire.Answer{Set: set}))
		if got := s.run(t, nil, tc.argv...); got.started || got.code != tc.code || !strings.Contains(got.stderr, tc.says) {
			t.Errorf("%s: %d %s", name, got.code, got.stderr)
		}
	}
}

// many is an environment that is too long: a stack of 8 MB allows a quarter of it.
func many(n int) []string {
	var env []string
	for i := range n {
		env = append(env, fmt.Sprintf("N%d=%s", i, strings.Repeat("x", 30_000)))
	}
	return env
}

func TestTheProgramIsLookedForInItsPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink(self(t), filepath.Join(dir, "function")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "function"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, "function"), []byte("not executable"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSandbox()
	answer := encoded(t, envwire.Answer{})
	s.answers(t, answer, answer)
	got := s.run(t, []string{"PATH=/none:" + blocked + ":" + dir + "/"}, "function", "x")
	if !got.started || got.Args[0] != "function" {
		t.Errorf("%+v", got)
	}
	// What lies where one happens to be is not taken.
	cmd := s.command([]string{"PATH=.::/none"}, "function")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, cmd); got.started || got.code != 127 {
		t.Errorf("%+v", got)
	}
}

func TestMessagesHaveTheFormOfTheFunctionsLog(t *testing.T) {
	t.Parallel()
	s := newSandbox()
	s.answers(t, encoded(t, envwire.Answer{Err: "a \"quoted\"\n\x01 \\ \xff ü"}))
	got := s.run(t, []string{"AWS_LAMBDA_LOG_FORMAT=JSON"}, self(t))
	var line struct{ Timestamp, Level, Message string }
	if err := json.Unmarshal([]byte(got.stderr), &line); err != nil {
		t.Fatalf("%v: %s", err, got.stderr)
	}
	at, err := time.Parse(time.RFC3339, line.Timestamp)
	if err != nil || time.Since(at).Abs() > time.Minute || line.Level != "ERROR" || line.Message != "latchkey-exec: a \"quoted\"\n\x01 \\ \ufffd ü" {
		t.Errorf("%+v, %v", line, err)
	}
}

// The start of every function waits for this program.
func TestItStaysSmall(t *testing.T) {
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 1_600_000 {
		t.Errorf("%d bytes", info.Size())
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"net", "fmt", "encoding/json", "reflect", "regexp", "latchkey/internal/cred", "latchkey/internal/ref"} {
		if slices.Contains(strings.Fields(string(out)), p) {
			t.Errorf("%s is linked", p)
		}
	}
}
