package main

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A distance delays; it does not make a wire thinner. Three chunks sent at once
// arrive together, half a round trip later, and none before the connection
// would have been open.
func TestDistanceDelaysButDoesNotQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, in := net.Pipe()
		out, server := net.Pipe()
		d := &delay{roundTrip: 20 * time.Millisecond, sleep: time.Sleep}
		start := time.Now()
		var carried sync.WaitGroup
		carried.Go(func() { d.carry(out, in, start.Add(d.roundTrip)) })

		arrived := make(chan time.Duration, 8)
		go func() {
			defer close(arrived)
			b := make([]byte, 8)
			for {
				if _, err := server.Read(b); err != nil {
					return
				}
				arrived <- time.Since(start)
			}
		}()
		send := func() {
			if _, err := io.WriteString(client, "x"); err != nil {
				t.Error(err)
			}
		}
		send() // at 0: waits for the connection, then half a round trip
		time.Sleep(50 * time.Millisecond)
		send()
		send()
		send()
		time.Sleep(time.Second)
		_ = client.Close()
		carried.Wait()
		_ = out.Close()
		var got []time.Duration
		for a := range arrived {
			got = append(got, a/time.Millisecond)
		}
		if want := []time.Duration{30, 60, 60, 60}; len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[3] != want[3] {
			t.Errorf("arrived at %v ms, want %v", got, want)
		}
	})
}

func full(name string, wall, cpu, peakMiB, requests int) map[string]*costs {
	c := &costs{requests: int64(requests)}
	for range 3 {
		c.add(cost{Wall: time.Duration(wall) * time.Millisecond, CPU: time.Duration(cpu) * time.Millisecond, Peak: int64(peakMiB) * mib})
	}
	return map[string]*costs{name: c}
}

func merge(n int, all ...map[string]*costs) *row {
	r := &row{n: n, costs: map[string]*costs{}}
	for _, m := range all {
		for name, c := range m {
			r.costs[name] = c
		}
	}
	return r
}

func TestGoalsAreJudgedFromMedians(t *testing.T) {
	r := report{near: []*row{
		merge(1, full(nameFloor, 10, 5, 6, 2), full(nameLatchkey, 15, 20, 21, 3), full(nameAgent, 110, 100, 142, 5)),
		merge(50, full(nameFloor, 80, 25, 6, 51), full(nameLatchkey, 60, 30, 22, 53)),
		merge(2000, full(nameLatchkey, 900, 1200, 59, 2002)),
	},
		far:   merge(50, full(nameLatchkey, 139, 30, 22, 0)),
		twice: merge(50, full(nameLatchkey, 239, 30, 22, 0)),
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"met     1 secret: wall against the floor at most 1.6 x       1.50 x",
		"MISSED  1 secret: CPU against the floor at most 2.5 x        4.00 x",
		"MISSED  1 secret: vault agent's CPU at least 7 x             5.00 x",
		"MISSED  50 secrets: exactly 52 requests                      53",
		"met     50 secrets: wall against the floor at most 1 x       0.75 x",
		"met     50 secrets far away: round trips at most 7           6.95, of which 5.0 are waiting",
		"met     2000 secrets: CPU for one more, against 1/50 of 50 at most 1.2 x 1.00 x",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestWhatWasNotMeasuredIsNotJudged(t *testing.T) {
	r := report{near: []*row{merge(1, full(nameFloor, 10, 5, 6, 2))}}
	r.near[0].giveUp(nameAgent)
	var out strings.Builder
	r.print(&out)
	if got := out.String(); strings.Contains(got, "goals") || strings.Contains(got, nameLatchkey) || !strings.Contains(got, "vault agent  did not end") {
		t.Error(got)
	}
}

func TestTheMedianIgnoresAnOutlier(t *testing.T) {
	v := []int64{9, 1, 2, 100, 3}
	if got := quantile(v, 0.5); got != 3 {
		t.Errorf("median %d", got)
	}
	if got := quantile(v, 0.9); got != 100 {
		t.Errorf("p90 %d", got)
	}
	if v[0] != 9 {
		t.Error("the caller's slice was sorted")
	}
}
