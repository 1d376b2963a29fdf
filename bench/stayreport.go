package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// stayReport is everything measured of the programs that stay, each by name.
type stayReport struct {
	idle    map[string]*quiet
	changes map[string][]time.Duration
	asked   map[string]map[string]int
	leases  []*leaseRow
}

// leaseRow is what all took for as many leases.
type leaseRow struct {
	leases int
	ttl    time.Duration
	quiet  map[string]*quiet
	round  map[string]*round
	late   map[string]bool // who was given up
}

// stayNames is the order of the tables.
var stayNames = []string{nameLatchkey, nameAgent}

func (r *stayReport) print(w io.Writer) {
	if r.idle != nil {
		fmt.Fprintf(w, "\none login, one sink, one template, after %s\n", *idle)
		printQuiet(w, r.idle)
	}
	for _, row := range r.leases {
		fmt.Fprintf(w, "\n%d leases in %d templates, %s while nothing is due\n", row.leases, templatesFor(row.leases), *idle)
		printQuiet(w, row.quiet)
		for name := range row.late {
			fmt.Fprintf(w, "  %-12s was given up: it took too long\n", name)
		}
	}
	r.printRounds(w)
	r.printChanges(w)
	r.printAsked(w)
	printGoals(w, r.goals())
}

func templatesFor(leases int) int { return (leases + perTemplate - 1) / perTemplate }

func printQuiet(w io.Writer, by map[string]*quiet) {
	fmt.Fprintf(w, "  %-12s %8s %8s %8s %8s %8s %8s %8s %8s %10s\n", "", "ready s", "CPU s", "RSS MiB", "anon", "file", "PSS", "peak", "CPU %", "requests")
	for _, name := range stayNames {
		q := by[name]
		if q == nil {
			continue
		}
		fmt.Fprintf(w, "  %-12s %8.2f %8.2f %8.1f %8.1f %8.1f %8.1f %8.1f %8.3f %10d\n", name,
			q.ready.Seconds(), q.work.Seconds(), inMiB(q.rss), inMiB(q.anon), inMiB(q.file), inMiB(q.pss), inMiB(q.peak), q.share(), q.requests)
	}
	if l, a := by[nameLatchkey], by[nameAgent]; l != nil && a != nil {
		fmt.Fprintf(w, "  %-23s %5.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f\n", nameAgent+" / "+nameLatchkey, quotient(a.ready, l.ready),
			quotient(a.work, l.work), quotient(a.rss, l.rss), quotient(a.anon, l.anon), quotient(a.file, l.file), quotient(a.pss, l.pss), quotient(a.peak, l.peak), a.share()/l.share())
	}
}

func inMiB(bytes int64) float64 { return float64(bytes) / mib }

func quotient[T int64 | time.Duration](a, b T) float64 { return float64(a) / float64(b) }

func (r *stayReport) printRounds(w io.Writer) {
	if len(r.leases) == 0 {
		return
	}
	fmt.Fprintln(w, "\none round of renewals: CPU beyond what is used while nothing is due")
	fmt.Fprintf(w, "  %-12s %10s %10s %10s %14s %18s %14s\n", "", "leases", "took s", "CPU ms", "us per lease", "against the first", "RSS after MiB")
	for _, name := range stayNames {
		var first *round
		for _, row := range r.leases {
			one := row.round[name]
			if one == nil {
				continue
			}
			if first == nil {
				first = one
			}
			fmt.Fprintf(w, "  %-12s %10d %10.1f %10.1f %14.1f %16.2f x %14.1f\n", name, one.leases, one.took.Seconds(), ms(one.cpu),
				float64(one.perLease())/float64(time.Microsecond), quotient(one.perLease(), first.perLease()), inMiB(one.rss))
		}
	}
	for _, row := range r.leases {
		if l, a := row.round[nameLatchkey], row.round[nameAgent]; l != nil && a != nil {
			fmt.Fprintf(w, "  %-23s %6d %10s %10.2f\n", nameAgent+" / "+nameLatchkey, row.leases, "", quotient(a.cpu, l.cpu))
		}
	}
}

func (r *stayReport) printChanges(w io.Writer) {
	if r.changes == nil {
		return
	}
	fmt.Fprintf(w, "\nfrom a change of a secret to the new file, interval 1s (ms)\n")
	fmt.Fprintf(w, "  %-12s %8s %8s %8s %8s %8s %8s\n", "", "changes", "least", "p25", "median", "p90", "most")
	for _, name := range stayNames {
		c := r.changes[name]
		if len(c) == 0 {
			continue
		}
		fmt.Fprintf(w, "  %-12s %8d %8.0f %8.0f %8.0f %8.0f %8.0f\n", name, len(c),
			ms(slices.Min(c)), ms(quantile(c, 0.25)), ms(quantile(c, 0.5)), ms(quantile(c, 0.9)), ms(slices.Max(c)))
	}
	if l, a := r.changes[nameLatchkey], r.changes[nameAgent]; len(l) > 0 && len(a) > 0 {
		fmt.Fprintf(w, "  %-38s %8.2f %8.2f %8.2f\n", nameAgent+" / "+nameLatchkey,
			quotient(quantile(a, 0.5), quantile(l, 0.5)), quotient(quantile(a, 0.9), quantile(l, 0.9)), quotient(slices.Max(a), slices.Max(l)))
	}
}

// due is how often secrets are looked at in a time: a look comes 85 to 95 % of
// the interval after the last.
func due(of time.Duration, interval time.Duration, secrets int) (least, most int) {
	shortest, longest := float64(interval)*0.85, float64(interval)*0.95
	return secrets * int(float64(of)/longest), secrets * (int(float64(of)/shortest) + 1)
}

// beyond is how many of the requests were not due. A look at a secret is one
// request: at its version, or where there is none to be had, at its data.
func beyond(asked map[string]int, most int) int {
	looks := asked[kindPoll] + asked[kindRead]
	n := max(0, looks-most) - looks
	for _, c := range asked {
		n += c
	}
	return n
}

func (r *stayReport) printAsked(w io.Writer) {
	if r.asked == nil {
		return
	}
	least, most := due(*watch, requestInterval, requestSecrets)
	fmt.Fprintf(w, "\nrequests in %s for %d secrets with interval %s: %d to %d are due\n", *watch, requestSecrets, requestInterval, least, most)
	for _, name := range stayNames {
		asked := r.asked[name]
		if asked == nil {
			continue
		}
		total := 0
		var kinds []string
		for _, k := range slices.Sorted(maps.Keys(asked)) {
			total += asked[k]
			kinds = append(kinds, fmt.Sprintf("%d to %s", asked[k], k))
		}
		fmt.Fprintf(w, "  %-12s %d (%s), beyond what is due: %.0f in an hour\n", name, total, strings.Join(kinds, ", "),
			float64(beyond(asked, most))*float64(time.Hour)/float64(*watch))
	}
}

// goals judges what was measured and leaves out what was not.
func (r *stayReport) goals() []goal {
	var g []goal
	if q := r.idle[nameLatchkey]; q != nil {
		g = append(g,
			atMost("one template: resident memory", inMiB(q.rss), 24, " MiB"),
			goal{"one template: no request while nothing is due", fmt.Sprint(q.requests), q.requests == 0})
	}
	var first *round
	for _, row := range r.leases {
		if q := row.quiet[nameLatchkey]; q != nil && row.leases == 10000 {
			g = append(g,
				atMost("10000 leases: resident memory", inMiB(q.rss), 64, " MiB"),
				atMost("10000 leases: of one core while nothing is due", q.share(), 1, " %"),
				goal{"10000 leases: no request while nothing is due", fmt.Sprint(q.requests), q.requests == 0})
		}
		one := row.round[nameLatchkey]
		switch {
		case one == nil:
		case first == nil:
			first = one
		default:
			// A round of n log n takes log n for each.
			limit := math.Log(float64(one.leases)) / math.Log(float64(first.leases))
			g = append(g, atMost(fmt.Sprintf("%d renewals: CPU of each, against %d", one.leases, first.leases),
				quotient(one.perLease(), first.perLease()), math.Round(limit*100)/100, " x"))
		}
	}
	if c := r.changes[nameLatchkey]; len(c) > 0 {
		g = append(g, atMost("nine of ten changes are in the file within", quantile(c, 0.9).Seconds(), 1, " s"))
	}
	if asked := r.asked[nameLatchkey]; asked != nil {
		_, most := due(*watch, requestInterval, requestSecrets)
		n := beyond(asked, most)
		g = append(g, goal{"requests beyond what is due: none", fmt.Sprint(n), n == 0})
	}
	return g
}
