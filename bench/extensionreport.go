package main

import (
	"fmt"
	"io"
	"time"
)

// startRace is cold starts that took turns.
type startRace struct {
	title   string
	limited bool
	by      map[string][]start
	alone   []time.Duration // INIT with the runtime alone
}

// extensionReport is everything measured of the extensions.
type extensionReport struct {
	order     []extension
	starts    []*startRace
	unlimited error // why no start was limited
	lives     map[string]*life
	idle      warm // of an extension that does nothing
	herds     map[string]*stampedeOfStarts
	hits      *race
	weights   map[string]weight
}

func (r *extensionReport) print(w io.Writer) {
	fmt.Fprintln(w, "extensions, before a server and a platform that answer at once; one secret, one file; medians")
	for _, c := range r.starts {
		c.print(w, r.order)
	}
	if r.unlimited != nil {
		fmt.Fprintln(w, "\nnot measured with a limit:", r.unlimited)
	}
	r.printLives(w)
	r.printHerds(w)
	if r.hits != nil {
		r.hits.print(w, "out of the cache of the proxy, each with all processors of this machine", nameBare)
	}
	printGoals(w, r.goals())
}

// column takes one figure out of each start.
func (c *startRace) column(name string, get func(start) time.Duration) []time.Duration {
	var all []time.Duration
	for _, s := range c.by[name] {
		all = append(all, get(s))
	}
	return all
}

func cpuOf(s start) time.Duration   { return s.cpu }
func wallOf(s start) time.Duration  { return s.wall }
func readyOf(s start) time.Duration { return s.ready }
func initOf(s start) time.Duration  { return s.init }

// added is what an extension adds to INIT, milliseconds.
func (c *startRace) added(name string) float64 {
	return ms(quantile(c.column(name, initOf), 0.5)) - ms(quantile(c.alone, 0.5))
}

func (c *startRace) has(names ...string) bool {
	for _, n := range names {
		if len(c.by[n]) == 0 {
			return false
		}
	}
	return true
}

func (c *startRace) print(w io.Writer, order []extension) {
	fmt.Fprintf(w, "\ncold starts, %s; from exec to register, CPU to the first next, and INIT\n", c.title)
	fmt.Fprintf(w, "  %-18s %5s %8s %8s %8s %8s %10s %8s", "", "runs", "CPU ms", "p90", "wall ms", "p90", "next CPU", "INIT ms")
	if c.limited {
		fmt.Fprintf(w, " %8s %8s %8s  (%.1f ms with the runtime alone)", "p10", "p90", "added", ms(quantile(c.alone, 0.5)))
	}
	fmt.Fprintln(w)
	for _, e := range order {
		if !c.has(e.name) {
			continue
		}
		cpu, wall, inits := c.column(e.name, cpuOf), c.column(e.name, wallOf), c.column(e.name, initOf)
		fmt.Fprintf(w, "  %-18s %5d %8.2f %8.2f %8.2f %8.2f %10.2f %8.1f", e.name, len(cpu), ms(quantile(cpu, 0.5)), ms(quantile(cpu, 0.9)),
			ms(quantile(wall, 0.5)), ms(quantile(wall, 0.9)), ms(quantile(c.column(e.name, readyOf), 0.5)), ms(quantile(inits, 0.5)))
		if c.limited {
			fmt.Fprintf(w, " %8.1f %8.1f %8.1f", ms(quantile(inits, 0.1)), ms(quantile(inits, 0.9)), c.added(e.name))
		}
		fmt.Fprintln(w)
	}
	for _, a := range []string{nameExt, nameFullExt, nameFloorExt} {
		for _, b := range []string{nameFloorExt, nameVLE} {
			if a == b || !c.has(a, b) {
				continue
			}
			fmt.Fprintf(w, "  %-32s CPU %.2f x, wall %.2f x", a+" / "+b, c.ratio(a, b, cpuOf), c.ratio(a, b, wallOf))
			if c.limited {
				fmt.Fprintf(w, ", added to INIT %.2f x", c.added(a)/c.added(b))
			}
			fmt.Fprintln(w)
		}
	}
}

// ratio compares turn by turn; see row.ratio.
func (c *startRace) ratio(a, b string, get func(start) time.Duration) float64 {
	return paired(c.column(a, get), c.column(b, get))
}

func (r *extensionReport) printLives(w io.Writer) {
	if len(r.lives) == 0 {
		return
	}
	fmt.Fprintf(w, "\nresident memory, %d warm invokes of each of %d starts, end, and what there is to load\n", invokes, lives)
	fmt.Fprintf(w, "  (an extension that does nothing asks for the next event after %.3f ms, p99 %.3f, and takes %.3f ms of CPU)\n",
		ms(quantile(r.idle.wall, 0.5)), ms(quantile(r.idle.wall, 0.99)), ms(quantile(r.idle.cpu, 0.5)))
	fmt.Fprintf(w, "  %-18s %12s %18s %12s %8s %8s %12s %10s %8s\n", "", "RSS MB", fmt.Sprintf("after %d reqs", proxiedRequests), "invoke ms", "p99", "CPU ms", "shutdown ms", "binary MB", "zip MB")
	for _, e := range r.order {
		l := r.lives[e.name]
		if l == nil {
			continue
		}
		used := ""
		if e.proxy {
			used = fmt.Sprintf("%.1f", mbOf(quantile(l.used, 0.5)))
		}
		fmt.Fprintf(w, "  %-18s %12.1f %18s %12.3f %8.3f %8.3f %12.1f %10.2f %8.2f\n", e.name, mbOf(quantile(l.rss, 0.5)), used,
			ms(quantile(l.warm.wall, 0.5)), ms(quantile(l.warm.wall, 0.99)), ms(quantile(l.warm.cpu, 0.5)), ms(quantile(l.shutdown, 0.5)), mbOf(r.weights[e.name].binary), mbOf(r.weights[e.name].zip))
	}
}

func mbOf(bytes int64) float64 { return float64(bytes) / mb }

func (r *extensionReport) printHerds(w io.Writer) {
	if len(r.herds) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%d cold starts at once\n  %-18s %12s %10s %8s %8s %8s\n", manyStarts, "", "last ready ms", "CPU ms", "logins", "reads", "failed")
	for _, e := range r.order {
		if h := r.herds[e.name]; h != nil {
			fmt.Fprintf(w, "  %-18s %12.0f %10.2f %8d %8d %8d\n", e.name, ms(h.all), ms(quantile(h.cpu, 0.5)), h.logins, h.reads, len(h.failed))
			for _, err := range h.failed {
				fmt.Fprintln(w, "    ", err)
			}
		}
	}
}

// goals judges what was measured and leaves out what was not.
func (r *extensionReport) goals() []goal {
	var g []goal
	for _, c := range r.starts {
		if c.has(nameExt, nameFloorExt) && !c.limited {
			g = append(g, atMost(c.title+": CPU to register, against the floor", c.ratio(nameExt, nameFloorExt, cpuOf), 1.4, " x"))
		}
		if c.has(nameExt, nameVLE) && !c.limited {
			g = append(g, atMost(c.title+": CPU to register, against "+nameVLE, c.ratio(nameExt, nameVLE, cpuOf), 0.5, " x"))
		}
		if c.has(nameExt, nameVLE) && c.limited {
			g = append(g, atMost(c.title+": added to INIT, against "+nameVLE, c.added(nameExt)/c.added(nameVLE), 0.5, " x"))
		}
	}
	if l := r.lives[nameExt]; l != nil {
		g = append(g,
			atMost("resident after init", mbOf(quantile(l.rss, 0.5)), 13, " MB"),
			atMost(fmt.Sprintf("resident after %d proxied requests", proxiedRequests), mbOf(quantile(l.used, 0.5)), 20, " MB"),
			atMost("added to a warm invoke", ms(quantile(l.warm.wall, 0.5)-quantile(r.idle.wall, 0.5)), 0.2, " ms"),
			atMost("end after SHUTDOWN", ms(quantile(l.shutdown, 0.5)), 300, " ms"))
	}
	if weight, ok := r.weights[nameExt]; ok {
		g = append(g, atMost("binary", mbOf(weight.binary), 9, " MB"), atMost("zip", mbOf(weight.zip), 3.6, " MB"))
	}
	if h := r.herds[nameExt]; h != nil {
		g = append(g, goal{fmt.Sprintf("%d at once: one login and one read of each", manyStarts), fmt.Sprintf("%d, %d, %d failed", h.logins, h.reads, len(h.failed)),
			h.logins == manyStarts && h.reads == manyStarts && len(h.failed) == 0})
	}
	if r.hits.has(nameExt, nameBare) {
		g = append(g, atLeast("hits: requests against the bare handler", r.hits.against(nameExt, nameBare).perSecond, 0.9))
	}
	return g
}
