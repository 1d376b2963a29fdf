package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

const mib = 1 << 20

// costs collects the runs of one contender.
type costs struct {
	wall, cpu []time.Duration
	peak      []int64
	requests  int64
}

func (c *costs) add(one cost) {
	c.wall = append(c.wall, one.Wall)
	c.cpu = append(c.cpu, one.CPU)
	c.peak = append(c.peak, one.Peak)
}

// quantile sorts a copy; q is 0.5 for the median.
func quantile[T time.Duration | int64 | float64](v []T, q float64) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

func (c *costs) wallMS() float64  { return ms(quantile(c.wall, 0.5)) }
func (c *costs) cpuMS() float64   { return ms(quantile(c.cpu, 0.5)) }
func (c *costs) peakMiB() float64 { return float64(quantile(c.peak, 0.5)) / mib }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// row is what all contenders took for n secrets.
type row struct {
	n      int
	costs  map[string]*costs
	gaveUp map[string]bool
}

func (r *row) add(name string, one cost) {
	if r.costs[name] == nil {
		r.costs[name] = &costs{}
	}
	r.costs[name].add(one)
}

func (r *row) giveUp(name string) {
	if r.gaveUp == nil {
		r.gaveUp = map[string]bool{}
	}
	r.gaveUp[name] = true
	delete(r.costs, name)
}

func (r *row) has(names ...string) bool {
	return r != nil && !slices.ContainsFunc(names, func(n string) bool { return r.costs[n] == nil })
}

// report is everything measured.
type report struct {
	near []*row
	// far is measured at a distance, twice at twice the distance.
	far, twice *row
	version    costs
	binary     int64
}

func (r *report) row(n int) *row {
	for _, row := range r.near {
		if row.n == n {
			return row
		}
	}
	return nil
}

func (r *report) print(w io.Writer) {
	for _, row := range r.near {
		fmt.Fprintf(w, "\n%s next door\n", secrets(row.n))
		row.print(w, nil)
	}
	if r.far != nil {
		fmt.Fprintf(w, "\n%s behind a round trip of %s, with TLS (waiting: what twice the distance adds)\n", secrets(r.far.n), *roundTrip)
		r.far.print(w, r.trips)
	}
	printGoals(w, r.goals())
}

func printGoals(w io.Writer, goals []goal) {
	if len(goals) > 0 {
		fmt.Fprintln(w, "\ngoals")
	}
	for _, g := range goals {
		verdict := "met   "
		if !g.met {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "  %s  %-52s %s\n", verdict, g.what, g.got)
	}
}

func secrets(n int) string {
	if n == 1 {
		return "1 secret"
	}
	return fmt.Sprintf("%d secrets", n)
}

// trips gives the wall time of a distant run in round trips, and how many of
// them were spent waiting for one.
func (r *report) trips(name string) (wall, waiting float64) {
	wall = r.far.costs[name].wallMS() / ms(*roundTrip)
	if r.twice.has(name) {
		waiting = (r.twice.costs[name].wallMS() - r.far.costs[name].wallMS()) / ms(*roundTrip)
	}
	return wall, waiting
}

// print prints one line for each contender; trips is nil where the server is
// near and requests are counted.
func (r *row) print(w io.Writer, trips func(name string) (wall, waiting float64)) {
	last := "requests"
	if trips != nil {
		last = "round trips  waiting"
	}
	fmt.Fprintf(w, "  %-12s %5s %10s %10s %10s %10s %12s\n", "", "runs", "wall ms", "p90", "CPU ms", "peak MiB", last)
	for _, name := range []string{nameFloor, nameLatchkey, nameAgent} {
		c := r.costs[name]
		switch {
		case r.gaveUp[name]:
			fmt.Fprintf(w, "  %-12s did not end within %s\n", name, *patience)
			continue
		case c == nil:
			continue
		}
		count := fmt.Sprint(c.requests)
		if trips != nil {
			wall, waiting := trips(name)
			count = fmt.Sprintf("%.1f %8.1f", wall, waiting)
		}
		fmt.Fprintf(w, "  %-12s %5d %10.1f %10.1f %10.1f %10.1f %12s\n",
			name, len(c.wall), c.wallMS(), ms(quantile(c.wall, 0.9)), c.cpuMS(), c.peakMiB(), count)
	}
	r.printRatio(w, nameLatchkey, nameFloor)
	r.printRatio(w, nameAgent, nameLatchkey)
}

func (r *row) printRatio(w io.Writer, a, b string) {
	if !r.has(a, b) {
		return
	}
	q := r.ratio(a, b)
	fmt.Fprintf(w, "  %-18s %10.2f %10s %10.2f %10.2f\n", a+" / "+b, q.wall, "", q.cpu, q.peak)
}

// ratios are those of one contender to another.
type ratios struct{ wall, cpu, peak float64 }

// ratio compares run by run: the two that ran in the same turn had the same
// machine, which from one turn to the next may have become another.
func (r *row) ratio(a, b string) ratios {
	x, y := r.costs[a], r.costs[b]
	return ratios{paired(x.wall, y.wall), paired(x.cpu, y.cpu), x.peakMiB() / y.peakMiB()}
}

func paired(x, y []time.Duration) float64 {
	var q []float64
	for i := range min(len(x), len(y)) {
		q = append(q, float64(x[i])/float64(y[i]))
	}
	return quantile(q, 0.5)
}

// goal is one promise and what became of it.
type goal struct {
	what, got string
	met       bool
}

func atMost(what string, got, limit float64, unit string) goal {
	return goal{fmt.Sprintf("%s at most %g%s", what, limit, unit), fmt.Sprintf("%.2f%s", got, unit), got <= limit}
}

func atLeast(what string, got, limit float64) goal {
	return goal{fmt.Sprintf("%s at least %g x", what, limit), fmt.Sprintf("%.2f x", got), got >= limit}
}

// goals judges what was measured and leaves out what was not.
func (r *report) goals() []goal {
	var g []goal
	if one := r.row(1); one.has(nameLatchkey, nameFloor) {
		l, q := one.costs[nameLatchkey], one.ratio(nameLatchkey, nameFloor)
		g = append(g,
			atMost("1 secret: wall against the floor", q.wall, 1.6, " x"),
			atMost("1 secret: CPU against the floor", q.cpu, 2.5, " x"),
			atMost("1 secret: peak memory", l.peakMiB(), 22, " MiB"))
		if one.has(nameAgent) {
			q := one.ratio(nameAgent, nameLatchkey)
			g = append(g,
				atLeast("1 secret: vault agent's wall", q.wall, 7),
				atLeast("1 secret: vault agent's CPU", q.cpu, 7),
				atLeast("1 secret: vault agent's memory", q.peak, 9))
		}
	}
	if fifty := r.row(50); fifty.has(nameLatchkey, nameFloor) {
		l := fifty.costs[nameLatchkey]
		g = append(g,
			goal{"50 secrets: exactly 52 requests", fmt.Sprint(l.requests), l.requests == 52},
			atMost("50 secrets: wall against the floor", fifty.ratio(nameLatchkey, nameFloor).wall, 1.0, " x"))
		if big := r.row(2000); big.has(nameLatchkey) {
			b := big.costs[nameLatchkey]
			growth := (b.cpuMS() - l.cpuMS()) / (2000 - 50) / (l.cpuMS() / 50)
			g = append(g,
				atMost("2000 secrets: CPU for one more, against 1/50 of 50", growth, 1.2, " x"),
				atMost("2000 secrets: peak memory", b.peakMiB(), 60, " MiB"))
		}
	}
	if r.far.has(nameLatchkey) {
		wall, waiting := r.trips(nameLatchkey)
		far := atMost("50 secrets far away: round trips", wall, 7, "")
		far.got += fmt.Sprintf(", of which %.1f are waiting", waiting)
		g = append(g, far)
	}
	if r.binary > 0 {
		g = append(g,
			atMost("latchkey version: CPU", r.version.cpuMS(), 10, " ms"),
			atMost("the binary, stripped", float64(r.binary)/mib, 25, " MiB"))
	}
	return g
}
