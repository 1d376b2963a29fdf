package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGoalsOfThoseThatStay(t *testing.T) {
	calm := func(rss int64, cpu time.Duration, requests int) map[string]*quiet {
		return map[string]*quiet{
			nameLatchkey: {memory: memory{rss: rss * mib}, cpu: cpu, of: 30 * time.Second, requests: requests},
			nameAgent:    {memory: memory{rss: 140 * mib}, cpu: time.Second, of: 30 * time.Second},
		}
	}
	once := func(n int, each time.Duration) map[string]*round {
		return map[string]*round{nameLatchkey: {leases: n, cpu: each * time.Duration(n)}}
	}
	r := stayReport{
		idle: calm(20, 0, 0),
		leases: []*leaseRow{
			{leases: 100, quiet: calm(22, 0, 0), round: once(100, 200*time.Microsecond)},
			{leases: 10000, quiet: calm(80, 600*time.Millisecond, 3), round: once(10000, 300*time.Microsecond)},
		},
		changes: map[string][]time.Duration{nameLatchkey: {time.Second, 1200 * time.Millisecond}},
		asked:   map[string]map[string]int{nameLatchkey: {kindPoll: 19, kindRead: 1, "log in": 2}},
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"met     one template: resident memory at most 24 MiB         20.00 MiB",
		"MISSED  10000 leases: resident memory at most 64 MiB         80.00 MiB",
		"MISSED  10000 leases: of one core while nothing is due at most 1 % 2.00 %",
		"MISSED  10000 leases: no request while nothing is due        3",
		"met     10000 renewals: CPU of each, against 100 at most 2 x 1.50 x",
		"MISSED  nine of ten changes are in the file within at most 1 s 1.20 s",
		"MISSED  requests beyond what is due: none                    2",
		"vault agent / latchkey",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestWhoWasGivenUpIsNamed(t *testing.T) {
	r := stayReport{leases: []*leaseRow{{leases: 10, late: map[string]bool{nameAgent: true}}}}
	var out strings.Builder
	r.print(&out)
	if got := out.String(); !strings.Contains(got, "vault agent  was given up") || strings.Contains(got, "goals") {
		t.Error(got)
	}
}

func TestWhatIsDueAndWhatIsBeyondIt(t *testing.T) {
	least, most := due(3*time.Minute, 30*time.Second, 3)
	if least != 18 || most != 24 {
		t.Errorf("%d to %d", least, most)
	}
	for _, c := range []struct {
		asked map[string]int
		want  int
	}{
		{map[string]int{kindPoll: 24}, 0},
		{map[string]int{kindRead: 20}, 0},
		{map[string]int{kindPoll: 20, kindRead: 6}, 2},
		{map[string]int{kindPoll: 1, "renew the token": 3}, 3},
		{nil, 0},
	} {
		if got := beyond(c.asked, most); got != c.want {
			t.Errorf("%v: %d, want %d", c.asked, got, c.want)
		}
	}
}

func TestRequestsAreCountedByKind(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c, err := startCounter(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(method, path string) {
		req, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	ask("PUT", "/v1/auth/approle/login")
	before := c.counts()
	ask("PUT", "/v1/sys/leases/renew")
	ask("PUT", "/v1/sys/leases/renew")
	ask("GET", "/v1/secret/metadata/bench/0000")
	ask("GET", "/v1/secret/data/bench/0000")
	got := c.since(before)
	if len(got) != 3 || got[kindRenewal] != 2 || got[kindPoll] != 1 || got[kindRead] != 1 || c.n.Load() != 5 {
		t.Errorf("%v of %d", got, c.n.Load())
	}
}

func TestTheMemoryAndTimeOfAProcessAreRead(t *testing.T) {
	r := &resident{name: "this test", log: os.DevNull, pid: os.Getpid()}
	m, err := r.memory()
	if err != nil {
		t.Fatal(err)
	}
	if m.rss <= 0 || m.anon <= 0 || m.pss <= 0 || m.peak < m.rss/2 {
		t.Errorf("%+v", m)
	}
	before, err := r.cpu()
	if err != nil {
		t.Fatal(err)
	}
	for sum, i := 0, 0; i < 1e6; i++ {
		sum += i
		_ = sum
	}
	if after, err := r.cpu(); err != nil || after <= before {
		t.Errorf("%s after %s, %v", after, before, err)
	}
	file := filepath.Join(t.TempDir(), "status")
	if err := os.WriteFile(file, []byte("VmRSS:\t  12 kB\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var a, b int64
	if err := readSizes(file, map[string]*int64{"VmRSS": &a, "RssAnon": &b}); err == nil || a != 12<<10 {
		t.Errorf("%d, %v", a, err)
	}
}

func TestOneThatEndsIsNotWaitedFor(t *testing.T) {
	tools := &tools{work: t.TempDir()}
	r, err := tools.stay("short", tools.work, []string{"/bin/sh", "-c", "echo it is over"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	err = r.until(context.Background(), time.Minute, time.Millisecond, func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "short has ended\nit is over") {
		t.Error(err)
	}
}

func TestNobodyWaitsForEver(t *testing.T) {
	tools := &tools{work: t.TempDir()}
	r, err := tools.stay("long", tools.work, []string{"/bin/sh", "-c", "exec sleep 600"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.stop()
	if err := r.until(context.Background(), time.Millisecond, time.Millisecond, func() bool { return false }); !errors.Is(err, errPatience) {
		t.Error(err)
	}
}
