//go:build unix

package cases

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Daemon is a run of `latchkey daemon` that a case watches.
type Daemon struct {
	k      *Kit
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	before map[string]string
	ended  chan struct{}
}

// output is what a process has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Daemon starts `latchkey daemon` in the case's directory with this
// configuration, at the lowest log level; it is killed with the case. None may
// print a secret in all its life.
func (k *Kit) Daemon(config string, args ...string) *Daemon {
	k.Helper()
	k.Write("latchkey.hcl", config)
	return k.DaemonWith(nil, append([]string{"-config=latchkey.hcl", "-log-level=trace"}, args...)...)
}

// DaemonWith is Daemon with more environment, and all arguments.
func (k *Kit) DaemonWith(env []string, args ...string) *Daemon {
	k.Helper()
	d := &Daemon{k: k, stdout: &output{}, stderr: &output{}, before: k.secrets(), ended: make(chan struct{})}
	d.cmd = exec.Command(k.Program, append([]string{"daemon"}, args...)...)
	d.cmd.Dir = k.Dir
	d.cmd.Env = append(k.environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = d.stdout, d.stderr
	// A grandchild that outlives the program must not hold up the case.
	d.cmd.WaitDelay = 5 * time.Second
	if err := d.cmd.Start(); err != nil {
		k.Fatalf("not run: %v", err)
	}
	go func() {
		defer close(d.ended)
		_ = d.cmd.Wait()
	}()
	k.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		d.k.quiet(d.before, Result{Stdout: d.stdout.String(), Stderr: d.stderr.String()})
		if k.Failed() {
			k.Logf("the daemon said:\n%s", tail(d.stderr.String(), 16000))
		}
	})
	return d
}

func tail(text string, n int) string {
	if len(text) > n {
		return "…" + text[len(text)-n:]
	}
	return text
}

// Signal sends a signal to the daemon.
func (d *Daemon) Signal(sig os.Signal) {
	d.k.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.k.Fatal(err)
	}
}

// Running reports whether the daemon has not ended.
func (d *Daemon) Running() bool {
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// Says waits until the daemon's stderr matches.
func (d *Daemon) Says(pattern string) {
	d.k.Helper()
	re := regexp.MustCompile(pattern)
	d.k.Until("the daemon says "+pattern, func() bool { return re.MatchString(d.stderr.String()) })
}

// Said returns how many lines of the daemon's stderr match.
func (d *Daemon) Said(pattern string) int {
	re, n := regexp.MustCompile(pattern), 0
	for line := range strings.Lines(d.stderr.String()) {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}

// Ready waits until everything is in place.
func (d *Daemon) Ready() *Daemon {
	d.k.Helper()
	d.Says("everything is in place")
	return d
}

// Ends waits for the daemon's end, and fails the case unless it comes within
// this time and with this code.
func (d *Daemon) Ends(code int, within time.Duration) {
	d.k.Helper()
	start := time.Now()
	select {
	case <-d.ended:
	case <-time.After(long):
		d.k.Fatalf("still running after %s", long)
	}
	if took := time.Since(start); took > within {
		d.k.Errorf("took %s to end, not %s", took, within)
	}
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.k.Errorf("exit code %d, want %d", got, code)
	}
}

// Stops asks the daemon to end as a service manager does.
func (d *Daemon) Stops() {
	d.k.Helper()
	d.Signal(syscall.SIGTERM)
	d.Ends(0, 2*time.Second+slack)
}

// slack is what a busy machine may add to a time that is promised.
const slack = time.Second

// Until asks, fifty times a second, until the answer is yes, and returns how
// long that took.
func (k *Kit) Until(what string, yes func() bool) time.Duration {
	k.Helper()
	return k.while(what, long, yes)
}

// Soon is Until for what a user expects within seconds.
func (k *Kit) Soon(what string, yes func() bool) {
	k.Helper()
	if took := k.Until(what, yes); took > 20*time.Second {
		k.Errorf("it took %s until %s", took, what)
	}
}

func (k *Kit) while(what string, limit time.Duration, yes func() bool) time.Duration {
	k.Helper()
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !yes() {
		select {
		case <-tick.C:
		case <-end:
			k.Fatalf("waited %s in vain until %s", limit, what)
		}
	}
	return time.Since(start)
}

// For asks, fifty times a second, all this time.
func (k *Kit) For(d time.Duration, look func()) {
	k.Helper()
	end := time.Now().Add(d)
	k.while("the time is over", d+long, func() bool {
		look()
		return time.Now().After(end)
	})
}

// Has reports whether a file holds this, and is there at all.
func (k *Kit) Has(name, want string) bool {
	data, err := os.ReadFile(filepath.Join(k.Dir, name))
	return err == nil && string(data) == want
}

// peek returns what a file holds, "" when it is not there.
func (k *Kit) peek(name string) string {
	data, err := os.ReadFile(filepath.Join(k.Dir, name))
	if err != nil {
		return ""
	}
	return string(data)
}

// alive fails the case unless the file holds a token that the server takes. A
// token that is replaced between the two looks is looked at again.
func (k *Kit) alive(name string) string {
	k.Helper()
	for {
		token := k.Read(name)
		status := k.Site.As(token).Do("GET", "auth/token/lookup-self", nil).Status
		if status == 200 {
			return token
		}
		if k.Read(name) == token {
			k.Fatalf("%s holds a token that the server answers with %d", name, status)
		}
	}
}

// logins is how often the program has logged in, or tried to.
func (k *Kit) logins() int { return k.Site.Front.Count("PUT", "auth/"+k.name+"/login") }

// identity is what tells one writing of a file from the next.
func (k *Kit) identity(name string) any {
	k.Helper()
	fi, err := os.Stat(filepath.Join(k.Dir, name))
	if err != nil {
		k.Fatal(err)
	}
	st, _ := fi.Sys().(*syscall.Stat_t)
	return [3]any{st.Ino, fi.ModTime(), fi.Size()}
}
