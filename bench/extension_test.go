package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// starting gives the cold starts of one extension: CPU, and INIT, in milliseconds.
func starting(cpu, init []int) []start {
	var all []start
	for i := range cpu {
		all = append(all, start{
			cpu: time.Duration(cpu[i]) * time.Millisecond, wall: time.Duration(cpu[i]) * time.Millisecond,
			ready: time.Duration(cpu[i]) * time.Millisecond, init: time.Duration(init[i]) * time.Millisecond,
		})
	}
	return all
}

func TestTheGoalsOfExtensionsAreJudgedTurnByTurn(t *testing.T) {
	// In the second turn the machine was three times as slow for all.
	free := &startRace{title: "plain HTTP", by: map[string][]start{
		nameFloorExt: starting([]int{10, 30, 10}, []int{10, 30, 10}),
		nameExt:      starting([]int{13, 39, 16}, []int{13, 39, 16}),
		nameVLE:      starting([]int{20, 60, 40}, []int{20, 60, 40}),
	}}
	limited := &startRace{title: "limited", limited: true, alone: []time.Duration{20 * time.Millisecond}, by: map[string][]start{
		nameExt: starting([]int{10, 10, 10}, []int{90, 90, 400}),
		nameVLE: starting([]int{10, 10, 10}, []int{120, 120, 120}),
	}}
	r := extensionReport{
		order: []extension{{name: nameFloorExt}, {name: nameExt, proxy: true}, {name: nameVLE, proxy: true}}, starts: []*startRace{free, limited},
		lives: map[string]*life{nameExt: {
			rss: []int64{12 * mb}, used: []int64{21 * mb}, warm: warm{wall: []time.Duration{350 * time.Microsecond}}, shutdown: []time.Duration{400 * time.Millisecond},
		}},
		idle:    warm{wall: []time.Duration{250 * time.Microsecond}},
		herds:   map[string]*stampedeOfStarts{nameExt: {logins: 51, reads: 50, failed: []error{errors.New("no one")}}},
		weights: map[string]weight{nameExt: {binary: 9.1 * mb, zip: 3.5 * mb}},
		hits:    raceOf("hit", map[string][]shot{nameExt: turns([]int{57, 19, 50}, 1400), nameBare: turns([]int{60, 20, 80}, 1000)}),
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"latchkey / floor extension       CPU 1.30 x, wall 1.30 x",
		"met     plain HTTP: CPU to register, against the floor at most 1.4 x 1.30 x",
		"MISSED  plain HTTP: CPU to register, against vault-lambda-ext. at most 0.5 x 0.65 x",
		"MISSED  limited: added to INIT, against vault-lambda-ext. at most 0.5 x 0.70 x",
		"met     resident after init at most 13 MB                    12.00 MB",
		"MISSED  resident after 10000 proxied requests at most 20 MB  21.00 MB",
		"met     added to a warm invoke at most 0.2 ms                0.10 ms",
		"MISSED  end after SHUTDOWN at most 300 ms                    400.00 ms",
		"MISSED  binary at most 9 MB                                  9.10 MB",
		"met     zip at most 3.6 MB                                   3.50 MB",
		"MISSED  50 at once: one login and one read of each           51, 50, 1 failed",
		"met     hits: requests against the bare handler at least 0.9 x 0.95 x",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestExtensionsThatWereNotMeasuredAreNotJudged(t *testing.T) {
	r := extensionReport{
		order:     []extension{{name: nameFloorExt}},
		starts:    []*startRace{{title: "plain HTTP", by: map[string][]start{nameFloorExt: starting([]int{10}, []int{10})}}},
		unlimited: errors.New("not root"),
	}
	var out strings.Builder
	r.print(&out)
	if got := out.String(); strings.Contains(got, "goals") || strings.Contains(got, nameExt) || !strings.Contains(got, "not measured with a limit: not root") {
		t.Error(got)
	}
}

// A floor that does not do the work would make everybody else look slow.
func TestTheFloorExtensionDoesTheWork(t *testing.T) {
	s, floor := floorTools(t)
	for name, secure := range map[string]bool{"plain HTTP": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			stand, err := newStand(t.TempDir(), secure)
			if err != nil {
				t.Fatal(err)
			}
			defer stand.Close()
			on, err := s.coldStart(t.Context(), floor, stand, nil, true)
			if err != nil {
				t.Fatal(err)
			}
			defer on.end()
			if l, r := stand.logins.Load(), stand.reads.Load(); l != 1 || r != 1 {
				t.Errorf("%d logins and %d reads", l, r)
			}
			var file struct {
				Data struct{ Data map[string]string }
			}
			text, err := os.ReadFile(on.file)
			if err != nil || json.Unmarshal(text, &file) != nil || file.Data.Data["password"] != standValue {
				t.Errorf("%s, %v", text, err)
			}
			if on.registered.cpu <= 0 || on.ready.cpu < on.registered.cpu || on.ready.at.Before(on.registered.at) || on.registered.at.Before(on.started) {
				t.Errorf("registered after %s of CPU, ready after %s", on.registered.cpu, on.ready.cpu)
			}
			if d, err := on.invoke(t.Context()); err != nil || d <= 0 {
				t.Errorf("invoked in %s, %v", d, err)
			}
			if d, err := on.shutdown(t.Context()); err != nil || d > shutdownLimit {
				t.Errorf("ended in %s, %v", d, err)
			}
		})
	}
}

func floorTools(t *testing.T) (*tools, extension) {
	t.Helper()
	s := &tools{work: t.TempDir()}
	floor, err := build(t.Context(), s.work, ".", "./floorext")
	if err != nil {
		t.Fatal(err)
	}
	if s.trivial, err = build(t.Context(), s.work, ".", "./floorext/runtime"); err != nil {
		t.Fatal(err)
	}
	return s, extension{name: nameFloorExt, run: floor}
}

func TestAnExtensionThatFailsIsToldWithItsLog(t *testing.T) {
	s := &tools{work: t.TempDir()}
	program := filepath.Join(s.work, "fails")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no luck >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	stand, err := newStand(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer stand.Close()
	_, err = s.coldStart(t.Context(), extension{name: "fails", run: program}, stand, nil, false)
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("%v", err)
	}
}

func TestAProgramIsHeldUntilItIsInItsCgroup(t *testing.T) {
	l, err := newLimit(slice{quota: 5 * time.Millisecond, period: 100 * time.Millisecond})
	if err != nil {
		t.Skip(err)
	}
	defer func() {
		if err := l.remove(); err != nil {
			t.Error(err)
		}
	}()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat", "/proc/self/cgroup")
	cmd.Stdout = in
	ended, started, err := launch(cmd, l)
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	_ = in.Close()
	text, err := io.ReadAll(out)
	if err != nil || !strings.Contains(string(text), filepath.Base(l.dir)) {
		t.Errorf("%s, %v", text, err)
	}
	if since := time.Since(started); since <= 0 || since > time.Minute {
		t.Errorf("started %s ago", since)
	}
}

func TestTheStandRefusesWhoDoesNotLogIn(t *testing.T) {
	s, err := newStand(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, of := range map[string]struct {
		method, path, body string
		status             int
	}{
		"a secret without a token":    {http.MethodGet, standSecret, "", http.StatusForbidden},
		"a login without a signature": {http.MethodPut, "auth/aws/login", `{"role":"bench"}`, http.StatusBadRequest},
		"a login of another role": {http.MethodPut, "auth/aws/login",
			`{"role":"x","iam_request_url":"","iam_request_headers":"","iam_request_body":""}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(context.Background(), of.method, s.URL+"/v1/"+of.path, strings.NewReader(of.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != of.status {
				t.Errorf("%s", resp.Status)
			}
		})
	}
	if s.logins.Load() != 0 || s.reads.Load() != 0 {
		t.Error("what was refused was counted")
	}
}

func TestAProgramIsWeighedAsItIsPacked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 100000)), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := extension{binary: file}.weigh()
	if err != nil || w.binary != 100000 || w.zip <= 0 || w.zip > 1000 {
		t.Errorf("%+v, %v", w, err)
	}
	w, err = extension{binary: file, zip: file}.weigh()
	if err != nil || w.zip != 100000 {
		t.Errorf("%+v, %v", w, err)
	}
}
