//go:build unix

package systemd

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestOnlyOurOwnSocketsAreTaken(t *testing.T) {
	for _, tc := range []struct {
		name            string
		pid, fds, names string
		want            string
		fails           string
	}{
		{"none", "", "", "", "", ""},
		{"of another process", "8", "1", "a", "", ""},
		{"of another process, and odd", "8", "x", "a:b", "", ""},
		{"one", "7", "1", "web", "web", ""},
		{"several of one name", "7", "3", "web:web:sock", "web,web,sock", ""},
		{"an empty name", "7", "2", ":a", ",a", ""},
		{"without names", "7", "2", "", "unknown,unknown", ""},
		{"no descriptors", "7", "0", "", "", ""},
		{"no descriptors at all", "7", "", "a", "", ""},
		{"no process", "x", "1", "a", "", "LISTEN_PID"},
		{"no number", "7", "x", "a", "", "LISTEN_FDS"},
		{"less than none", "7", "-1", "a", "", "LISTEN_FDS"},
		{"too many", "7", "5000", "a", "", "LISTEN_FDS"},
		{"a name missing", "7", "2", "a", "", "1 names for 2"},
		{"a name too many", "7", "1", "a:b", "", "2 names for 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			names, err := handed(7, tc.pid, tc.fds, tc.names)
			if got := strings.Join(names, ","); got != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%q, %v", names, err)
			}
		})
	}
}

func FuzzHandedOver(f *testing.F) {
	f.Add("7", "2", "a:b")
	f.Add("7", "99999999999999999999", "")
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		got, err := handed(7, pid, fds, names)
		if len(got) > maxFDs || err != nil && got != nil || len(got) > 0 && pid != "7" && strings.Trim(pid, "+0") != "7" {
			t.Errorf("%d, %v", len(got), err)
		}
	})
}

func TestNobodyHandedAnythingOver(t *testing.T) {
	var none *Sockets
	if none.Named("x") != nil {
		t.Error("there is something")
	}
	none.Close()
	s, err := Inherit(os.Getpid(), "", "", "")
	if err != nil || s.Named("") != nil || len(s.names) != 0 {
		t.Errorf("%v, %v", s, err)
	}
}

// In the process that systemd started.
func TestMainOfAStartedService(t *testing.T) {
	mode := os.Getenv("LATCHKEY_TEST_SERVICE")
	if mode == "" {
		t.Skip("is what the next test starts")
	}
	if mode == "missing" {
		_, err := Inherit(os.Getpid(), os.Getenv("LISTEN_PID"), "9", strings.Repeat("a:", 8)+"b")
		fmt.Printf("<%v>\n", err)
		return
	}
	s, err := Inherit(os.Getpid(), os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
	if err != nil {
		t.Fatal(err)
	}
	// A child must not get them.
	out, err := exec.Command("sh", "-c", "true 2>/dev/null <&3 && echo leaked || echo kept").Output()
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(s.Named("web")[0])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(conn, "%v %d %s", s.names, len(s.Named("sock")), out)
	_ = conn.Close()
	_ = ln.Close()
	s.Close()
}

func TestAServiceTakesTheSocketsThatItWasStartedWith(t *testing.T) {
	web, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = web.Close() }()
	f, err := web.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	// The shell is where LISTEN_PID becomes right: exec keeps the process.
	start := func(mode string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestMainOfAStartedService$' -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), "LATCHKEY_TEST_SERVICE="+mode, "LISTEN_FDS=2", "LISTEN_FDNAMES=web:sock")
		cmd.ExtraFiles = []*os.File{f, f}
		return cmd
	}
	cmd := start("serve")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", web.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	_ = conn.Close()
	if werr := cmd.Wait(); err != nil || werr != nil || string(text) != "[web sock] 1 kept\n" {
		t.Errorf("%q, %v, %v: %s", text, err, werr, &out)
	}
	missing, err := start("missing").CombinedOutput()
	if err != nil || !strings.Contains(string(missing), "bad file descriptor>") {
		t.Errorf("%s, %v", missing, err)
	}
}
