package extension

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"latchkey/internal/envwire"
)

var sandboxNumber atomic.Int64

// givesEnvironment serves until the end of the test and checks how that ended.
func givesEnvironment(t *testing.T, answer func(context.Context) envwire.Answer) *net.UnixAddr {
	t.Helper()
	l, err := listenEnvironment(fmt.Sprintf("127.0.0.1:%d-%d", os.Getpid(), sandboxNumber.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serveEnvironment(ctx, l, answer) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving ended with %v", err)
		}
		goleak.VerifyNone(t, goleak.IgnoreCurrent())
	})
	return l.Addr().(*net.UnixAddr)
}

func dialEnvironment(t *testing.T, addr *net.UnixAddr) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func answerFrom(t *testing.T, c io.Reader) envwire.Answer {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	a, err := envwire.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestEachStartOfTheRuntimeGetsFreshValues(t *testing.T) {
	var n atomic.Int64
	addr := givesEnvironment(t, func(context.Context) envwire.Answer {
		return envwire.Answer{Set: []envwire.Pair{{Name: "N", Value: fmt.Sprint(n.Add(1))}}}
	})
	for _, want := range []string{"1", "2"} {
		if a := answerFrom(t, dialEnvironment(t, addr)); len(a.Set) != 1 || a.Set[0].Value != want {
			t.Errorf("%s: want %s", a, want)
		}
	}
}

func TestAnotherUserGetsNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	var asked atomic.Int64
	addr := givesEnvironment(t, func(context.Context) envwire.Answer {
		asked.Add(1)
		return envwire.Answer{Set: []envwire.Pair{{Name: "N", Value: "secret"}}}
	})
	type result struct {
		n   int
		err error
	}
	done := make(chan result)
	go func() {
		// The thread becomes another user, alone, and ends with this function.
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- result{-1, errno}
			return
		}
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err == nil {
			err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: addr.Name})
		}
		n := 0
		if err == nil {
			n, err = syscall.Read(fd, make([]byte, 100))
		}
		_ = syscall.Close(fd)
		done <- result{n, err}
	}()
	if got := <-done; got.n != 0 || got.err != nil && got.err != syscall.ECONNRESET {
		t.Fatalf("%d bytes, %v", got.n, got.err)
	}
	if a := answerFrom(t, dialEnvironment(t, addr)); len(a.Set) != 1 || asked.Load() != 1 {
		t.Errorf("%s after %d times: the other one was answered, or this user is not", a, asked.Load())
	}
}

func TestWhoGoesAwayEndsWhatIsDoneForThem(t *testing.T) {
	for name, leave := range map[string]func(*net.UnixConn) error{
		"closes": (*net.UnixConn).Close,
		"talks":  func(c *net.UnixConn) error { _, err := c.Write([]byte("GET / HTTP/1.1\r\n")); return err },
	} {
		asked, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		addr := givesEnvironment(t, func(ctx context.Context) envwire.Answer {
			asked <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
			return envwire.Answer{Set: []envwire.Pair{{Name: "N", Value: "secret"}}}
		})
		c := dialEnvironment(t, addr)
		<-asked
		if err := leave(c); err != nil {
			t.Fatal(err)
		}
		<-ended
		if name == "talks" {
			if b, _ := io.ReadAll(c); len(b) != 0 {
				t.Errorf("%d bytes for who talks", len(b))
			}
		}
	}
}

func TestWhoDoesNotReadHoldsNobodyUp(t *testing.T) {
	var n atomic.Int64
	addr := givesEnvironment(t, func(context.Context) envwire.Answer {
		a := envwire.Answer{}
		if n.Add(1) == 1 {
			for i := range 30 { // more than a socket holds
				a.Set = append(a.Set, envwire.Pair{Name: fmt.Sprint("N", i), Value: strings.Repeat("x", 100_000)})
			}
		}
		return a
	})
	first := dialEnvironment(t, addr)
	if _, err := first.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if a := answerFrom(t, dialEnvironment(t, addr)); len(a.Set) != 0 || a.Err != "" {
		t.Errorf("%s", a)
	}
}

func TestAValueThatFitsInNoVariableIsSaidByName(t *testing.T) {
	addr := givesEnvironment(t, func(context.Context) envwire.Answer {
		return envwire.Answer{Set: []envwire.Pair{{Name: "N", Value: "CANARY\x00"}}, Unset: []string{"X"}}
	})
	if a := answerFrom(t, dialEnvironment(t, addr)); !strings.Contains(a.Err, `"N" has a value with a NUL`) || strings.Contains(a.Err, "CANARY") || len(a.Unset) != 1 {
		t.Errorf("%+v", a)
	}
}

func TestASocketThatIsTakenAwayIsAnError(t *testing.T) {
	l, err := listenEnvironment(fmt.Sprintf("127.0.0.1:%d-%d", os.Getpid(), sandboxNumber.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := serveEnvironment(t.Context(), l, nil); err == nil || !strings.Contains(err.Error(), "the function's environment") {
		t.Error(err)
	}
}
