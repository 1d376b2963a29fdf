package systemd

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manager is systemd's end of the socket.
func manager(t *testing.T) (next func() string) {
	t.Helper()
	// A socket's path is short; that of a test's own directory may not be.
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func logger() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, nil)), &b
}

func TestNotifications(t *testing.T) {
	next := manager(t)
	log, lines := logger()
	n := New(log)
	for _, c := range []struct {
		name, want string
		send       func()
	}{
		{"ready", "^READY=1$", n.Ready},
		{"reloading tells the time, for Type=notify-reload", `^RELOADING=1\nMONOTONIC_USEC=\d+\n$`, n.Reloading},
		{"stopping", "^STOPPING=1$", n.Stopping},
		{"status", "^STATUS=token good for 2m$", func() { n.Status("token good for 2m") }},
		{"a status of two lines says nothing else", "^STATUS=a READY=1 b$", func() { n.Status("a\nREADY=1\r\nb ") }},
	} {
		c.send()
		if got := next(); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: sent %q", c.name, got)
		}
	}
	if lines.Len() > 0 {
		t.Errorf("logged %s", lines)
	}
}

func TestNothingHappensWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	log, lines := logger()
	n := New(log)
	n.Ready()
	n.Reloading()
	n.Stopping()
	n.Status("x")
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(over)
	err := n.Watchdog(ctx, func() bool { t.Error("asked"); return true })
	if !errors.Is(err, over) || lines.Len() > 0 {
		t.Errorf("got %v, logged %s", err, lines)
	}
}

func TestASocketThatIsGoneIsToldOnce(t *testing.T) {
	next := manager(t)
	path := os.Getenv("NOTIFY_SOCKET")
	log, lines := logger()
	n := New(log)
	t.Setenv("NOTIFY_SOCKET", path+".gone")
	n.Ready()
	n.Status("x")
	if got := strings.Count(lines.String(), "systemd was not notified"); got != 1 {
		t.Errorf("told %d times: %s", got, lines)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	n.Ready()
	next()
	t.Setenv("NOTIFY_SOCKET", path+".gone")
	n.Ready()
	if got := strings.Count(lines.String(), "systemd was not notified"); got != 2 {
		t.Errorf("told %d times: %s", got, lines)
	}
}

func TestWatchdogIsServedWhileAlive(t *testing.T) {
	next := manager(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "")
	log, lines := logger()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	asked := make(chan bool)
	go func() { ended <- New(log).Watchdog(ctx, func() bool { return <-asked }) }()
	for range 3 {
		asked <- true
		if got := next(); got != "WATCHDOG=1" {
			t.Fatalf("sent %q", got)
		}
	}
	for range 3 {
		asked <- false
	}
	asked <- true // what comes next is of this one
	if got := next(); got != "WATCHDOG=1" {
		t.Fatalf("sent %q", got)
	}
	cancel()
	close(asked)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := strings.Count(lines.String(), "not alive"); got != 1 {
		t.Errorf("told %d times: %s", got, lines)
	}
}

func TestAWatchdogForAnotherProcessIsNotServed(t *testing.T) {
	manager(t)
	for _, c := range []struct{ usec, pid, log string }{
		{"20000", "1", ""},
		{"soon", "", "cannot be read"},
		{"-1", "", "cannot be read"},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		log, lines := logger()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := New(log).Watchdog(ctx, func() bool { t.Error("asked"); return true })
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(lines.String(), c.log) || c.log == "" && lines.Len() > 0 {
			t.Errorf("%+v: got %v, logged %s", c, err, lines)
		}
	}
}

func TestPrivateVariablesStayHere(t *testing.T) {
	for entry, want := range map[string]bool{
		"NOTIFY_SOCKET=@x": true, "WATCHDOG_PID=1": true, "LISTEN_FDS=": true,
		"NOTIFY_SOCKETS=1": false, "PATH=NOTIFY_SOCKET": false, "": false,
	} {
		if got := Private(entry); got != want {
			t.Errorf("%q: %v", entry, got)
		}
	}
}
