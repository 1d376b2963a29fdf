package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// proxyReport is everything measured of the programs that answer for the server.
type proxyReport struct {
	hits    []*race
	passing *race
	crowd   *crowd
	herds   []herd
}

// mb is what the goals of memory are in.
const mb = 1e6

func (r *proxyReport) print(w io.Writer) {
	for _, c := range r.hits {
		c.print(w, c.title+": out of the cache", nameBare, nameAgent, nameNginx)
	}
	if r.passing != nil {
		r.passing.print(w, "passed on to the server", nameNginx, nameStraight, nameAgent)
	}
	if c := r.crowd; c != nil {
		c.print(w, fmt.Sprintf("out of a cache with %d entries of %d bytes, before a fake server", c.entries, entrySize))
		c.printRatio(w, nameMany, nameOne)
		fmt.Fprintf(w, "  filled in %.1f s; resident %.1f MB, with one entry %.1f MB: %.0f bytes for each entry; the bodies alone are %.1f MB\n",
			c.fill.Seconds(), float64(c.filled)/mb, float64(c.one)/mb, float64(c.filled-c.one)/float64(c.entries), float64(c.bodies)/mb)
	}
	for _, h := range r.herds {
		fmt.Fprintf(w, "\n%d clients miss %s at once: %d requests to the server, %d right answers, the last %.0f ms after the server's; then resident %.1f MB\n",
			h.waiters, h.path, h.reached, h.right, ms(h.took), float64(h.held)/mb)
	}
	printGoals(w, r.goals())
}

func (c *race) has(names ...string) bool {
	if c == nil {
		return false
	}
	for _, n := range names {
		if len(c.shots[n]) == 0 {
			return false
		}
	}
	return true
}

// print prints a line for each program, and what latchkey is to the others.
func (c *race) print(w io.Writer, what string, others ...string) {
	fmt.Fprintf(w, "\n%s; %d connections, %d turns of %s, medians\n", what, *connections, *rounds, *length)
	fmt.Fprintf(w, "  %-20s %10s %8s %8s %8s %12s %11s %8s %6s\n", "", "requests/s", "p50 ms", "p90 ms", "p99 ms", "CPU us each", "allocations", "RSS MB", "bad")
	for _, p := range c.order {
		m := c.median(p.name)
		cpu, held, objects := "", "", ""
		if p.resident != nil {
			cpu, held = fmt.Sprintf("%.1f", m.cpu), fmt.Sprintf("%.1f", float64(c.held[p.name])/mb)
		}
		if n, ok := c.allocations[p.name]; ok {
			objects = fmt.Sprintf("%.2f", n)
		}
		fmt.Fprintf(w, "  %-20s %10.0f %8.3f %8.3f %8.3f %12s %11s %8s %6d\n", p.name, m.perSecond, m.p50, m.p90, m.p99, cpu, objects, held, c.bad(p.name))
	}
	for _, other := range others {
		c.printRatio(w, nameLatchkey, other)
	}
}

func (c *race) printRatio(w io.Writer, a, b string) {
	if c.has(a, b) {
		q := c.against(a, b)
		fmt.Fprintf(w, "  %-32s %.2f x the requests, p50 %.2f x, p90 %.2f x, p99 %.2f x", a+" / "+b, q.perSecond, q.p50, q.p90, q.p99)
		if q.cpu > 0 && !math.IsInf(q.cpu, 0) { // not of the server itself
			fmt.Fprintf(w, ", CPU %.2f x", q.cpu)
		}
		fmt.Fprintln(w)
	}
}

// figures are those of a shot, or ratios of them: milliseconds, and microseconds
// of the processor for each request.
type figures struct{ perSecond, p50, p90, p99, cpu float64 }

func (s shot) figures() figures {
	return figures{s.perSecond, ms(s.p50), ms(s.p90), ms(s.p99), float64(s.cpu) / float64(time.Microsecond) / float64(s.requests)}
}

// over divides one by one.
func (f figures) over(by figures) figures {
	return figures{f.perSecond / by.perSecond, f.p50 / by.p50, f.p90 / by.p90, f.p99 / by.p99, f.cpu / by.cpu}
}

// medians of each figure by itself.
func medians(all []figures) figures {
	of := func(get func(figures) float64) float64 {
		var v []float64
		for _, f := range all {
			v = append(v, get(f))
		}
		return quantile(v, 0.5)
	}
	return figures{
		of(func(f figures) float64 { return f.perSecond }), of(func(f figures) float64 { return f.p50 }),
		of(func(f figures) float64 { return f.p90 }), of(func(f figures) float64 { return f.p99 }),
		of(func(f figures) float64 { return f.cpu }),
	}
}

func (c *race) median(name string) figures {
	var all []figures
	for _, s := range c.shots[name] {
		all = append(all, s.figures())
	}
	return medians(all)
}

// against compares turn by turn; see row.ratio.
func (c *race) against(a, b string) figures {
	var all []figures
	for i := range min(len(c.shots[a]), len(c.shots[b])) {
		all = append(all, c.shots[a][i].figures().over(c.shots[b][i].figures()))
	}
	return medians(all)
}

func (c *race) bad(name string) int {
	n := 0
	for _, s := range c.shots[name] {
		n += s.bad
	}
	return n
}

// beyond is how many objects more than b a request to a allocates.
func (c *race) beyond(a, b string) (float64, bool) {
	x, ok := c.allocations[a]
	y, also := c.allocations[b]
	return x - y, ok && also
}

// goals judges what was measured and leaves out what was not.
func (r *proxyReport) goals() []goal {
	var g []goal
	for _, c := range r.hits {
		if !c.has(nameLatchkey, nameBare) {
			continue
		}
		q := c.against(nameLatchkey, nameBare)
		g = append(g, atLeast(c.title+": requests against the bare handler", q.perSecond, 0.9))
		if c.has(nameAgent) {
			g = append(g, atLeast(c.title+": requests against vault agent", c.against(nameLatchkey, nameAgent).perSecond, 3.4))
		}
		g = append(g, atMost(c.title+": p99 against the bare handler", q.p99, 1.3, " x"))
		if n, ok := c.beyond(nameLatchkey, nameBare); ok {
			g = append(g, atMost(c.title+": allocations beyond the bare handler", n, 6, ""))
		}
	}
	if r.passing.has(nameLatchkey, nameNginx) {
		g = append(g, atLeast("pass-through: requests against nginx", r.passing.against(nameLatchkey, nameNginx).perSecond, 0.97))
	}
	if c := r.crowd; c != nil {
		what := fmt.Sprintf("%d entries: ", c.entries)
		g = append(g,
			atMost(what+"resident memory", float64(max(c.filled, c.held[nameMany]))/mb, 220, " MB"),
			goal{what + "every request is a hit", fmt.Sprintf("%d went to the server", c.reached), c.reached == 0},
			atMost(what+"p99 against one entry", c.against(nameMany, nameOne).p99, 1.5, " x"))
	}
	for _, h := range r.herds {
		g = append(g, goal{fmt.Sprintf("%d misses of %s: one request", h.waiters, strings.TrimPrefix(h.path, "/v1/")), fmt.Sprint(h.reached), h.reached == 1 && h.right == h.waiters})
	}
	var most int64
	bad, asked := 0, false
	for _, c := range append(slices.Clone(r.hits), r.passing) {
		if c.has(nameLatchkey) {
			most, bad, asked = max(most, c.held[nameLatchkey]), bad+c.bad(nameLatchkey), true
		}
	}
	if asked {
		g = append(g,
			atMost("resident memory after the load", float64(most)/mb, 40, " MB"),
			goal{"no bad answer and no failed connection", fmt.Sprint(bad), bad == 0})
	}
	return g
}
