package health

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
)

var update = flag.Bool("update", false, "write the expected output anew")

func TestTheTableReadsLikeThis(t *testing.T) {
	for name, s := range map[string]Status{
		"full":  full(),
		"young": {Version: "1.2.3", StartedAt: noon.Add(-2 * time.Second), Now: noon, Token: Token{State: "none"}, Reasons: []string{"no login yet"}},
		"root":  {Version: "1.2.3", Now: noon, Ready: true, Token: Token{State: "valid", Logins: 1, Since: noon}, Reload: &Reload{At: noon.Add(-time.Minute)}, Child: &Child{LastExit: "exit status 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := Table(&b, s); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", b.String(), want)
			}
		})
	}
}

func TestTheTableShowsTroubleFirstAndStopsAtTwenty(t *testing.T) {
	s := Status{Now: noon, Leases: Leases{Count: 300}}
	for i := range 100 {
		s.Leases.Entries = append(s.Leases.Entries, Lease{Key: "fine", Next: Next{"poll", noon.Add(time.Duration(i) * time.Second)}})
	}
	s.Leases.Entries = append(s.Leases.Entries, Lease{Key: "late", Next: Next{"renew", noon.Add(time.Hour)}, Failure: Failure{Error: "refused"}})
	var b strings.Builder
	if err := Table(&b, s); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "LEASES (300)") {
			if !strings.Contains(lines[i+2], "late") || !strings.Contains(lines[i+3], "! refused") {
				t.Errorf("trouble is not first:\n%s", b.String())
			}
		}
	}
	if strings.Count(b.String(), "fine") != maxLeases-1 || !strings.Contains(b.String(), "and 280 more") {
		t.Errorf("wrong number of leases:\n%s", b.String())
	}
}

func TestATokenThatIsOfNoUseHasNoTimeLeft(t *testing.T) {
	for _, c := range []struct {
		state string
		ends  time.Time
		want  string
	}{
		{"valid", noon.Add(time.Hour), "TOKEN      valid, expires in 1h\n"},
		{"valid", time.Time{}, "TOKEN      valid, no end\n"},
		{"expired", noon.Add(-time.Minute), "TOKEN      expired 1m ago\n"},
		{"invalid", noon.Add(time.Hour), "TOKEN      invalid\n"},
		{"none", time.Time{}, "TOKEN      none\n"},
	} {
		var b strings.Builder
		if err := Table(&b, Status{Now: noon, Token: Token{State: c.state, ExpiresAt: c.ends}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: %q is not in\n%s", c.state, c.want, b.String())
		}
	}
}

func TestSpansAreSaidInTwoUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "0s", 12 * time.Second: "12s", time.Minute: "1m",
		2*time.Minute + 10*time.Second: "2m10s", time.Hour + 59*time.Second: "1h", 3*time.Hour + 5*time.Minute: "3h5m",
		98 * time.Hour: "4d2h", 1<<63 - 1: "106751d23h",
	} {
		if got := span(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestATableThatCannotBePrintedSaysSo(t *testing.T) {
	if err := Table(brokenPipe{}, full()); err == nil {
		t.Error("no error")
	}
}

// Whatever a daemon says, the table stays a table: one line for each thing, and
// nothing that steers the terminal.
func FuzzTable(f *testing.F) {
	f.Add("app\x1b[2J", "boom\nREADY", "renew", int64(5), int64(-5))
	f.Add("\u202egnp.exe", "\x00\xff", "", int64(1<<62), int64(-1<<62))
	f.Fuzz(func(t *testing.T, name, trouble, action string, due, ago int64) {
		s := Status{
			Version: name, Reasons: []string{trouble}, StartedAt: noon.Add(time.Duration(ago)), Now: noon,
			Token:     Token{State: action, Policies: []string{name}, ExpiresAt: noon.Add(time.Duration(due)), Failure: Failure{Error: trouble}},
			Sinks:     []Sink{{Name: name, WrittenAt: noon.Add(time.Duration(ago)), Failure: Failure{trouble, noon}}},
			Templates: []Template{{Name: name, Next: Next{action, noon.Add(time.Duration(due))}, Failure: Failure{trouble, noon}}},
			Leases:    Leases{Count: 1, Entries: []Lease{{Key: name, Next: Next{action, noon}}}},
			Child:     &Child{LastExit: trouble}, Reload: &Reload{Error: trouble},
		}
		var b strings.Builder
		if err := Table(&b, s); err != nil {
			t.Fatal(err)
		}
		if i := strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("%q steers a terminal", b.String()[i:])
		}
		if n := strings.Count(b.String(), "\n"); n > 32 {
			t.Errorf("%d lines for one of each:\n%s", n, b.String())
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"unix:///run/s", "/run/s", "http://127.0.0.1:8200", "https://[::1]:8200/x", "unix://host/s", "ftp://x", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		base, socket, err := target(address)
		if err != nil {
			return
		}
		if socket != "" && !filepath.IsAbs(socket) {
			t.Errorf("%q: socket %q is relative", address, socket)
		}
		if !strings.HasPrefix(base, "http://") && !strings.HasPrefix(base, "https://") {
			t.Errorf("%q: %q is no base", address, base)
		}
	})
}
