// Command bench puts latchkey, vault agent and the least a program can do side
// by side, against one real Vault on this machine, and prints what each costs
// as ratios beside the goals. Absolute times belong to the machine; ratios
// travel.
//
//	go run . -n 1,50,2000
//	go run . -daemon -leases 100,1000,10000
//	go run . -proxy
//	go run . -extension
//
// The contenders take turns, so that a busy moment hits all of them. The
// server is the real one, on the loopback, in plain HTTP; requests are counted
// in runs of their own, because counting needs a proxy. A last round puts a
// distance of 20 ms and TLS between.
//
// With -daemon it measures the programs that stay instead, latchkey daemon and
// vault agent: memory and CPU while nothing is due, with one template and with
// thousands of leases; what a round of renewals takes; how soon a change is in
// the file; and the requests beyond those that are due. All of that goes through
// the counting proxy, which is no part of what is measured. It reads /proc, so
// it needs Linux, and takes about a quarter of an hour, most of it waiting.
//
// With -proxy it measures what answers for the server, all with wrk, which like
// nginx comes out of Debian's packages: latchkey, vault agent and nginx out of
// their caches beside a bare handler that returns the same bytes, then passing
// requests on beside the server itself. What it takes to hold very many secrets,
// and what happens when all clients miss the same one at once, is measured before
// a fake server, which answers at once or when it is told. That takes ten
// minutes.
//
// With -extension it measures what stands beside a function in Lambda: latchkey's
// two extensions, the bare floor of one and, where LATCHKEY_VLE names its binary,
// vault-lambda-extension, with the whole of a processor and with what a function of
// 128 MB has of one. The platform and the server are handlers of its own, which
// answer at once. Linux, five minutes; the limit needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"latchkey/e2e/debian"
	vault "latchkey/e2e/server"
)

var (
	sizes     = flag.String("n", "1,50,2000", "numbers of secrets to fetch, separated by commas")
	vaultBin  = flag.String("vault", "", "vault binary (default: LATCHKEY_VAULT_BIN, else that of e2e, built if need be)")
	latchkey  = flag.String("latchkey", "", "latchkey binary, stripped (default: built for this run; none: only the others)")
	runs      = flag.Int("runs", 0, "runs of each (default: 15 for few secrets, 3 for a thousand and more)")
	roundTrip = flag.Duration("rtt", 20*time.Millisecond, "round trip of the distant server; 0 leaves that part out")
	patience  = flag.Duration("patience", 3*time.Minute, "give a run up after this time")

	daemon  = flag.Bool("daemon", false, "measure the programs that stay")
	peer    = flag.Bool("peer", true, "-daemon: measure vault agent too")
	lease   = flag.String("leases", "100,1000,10000", "-daemon: numbers of leases to hold, ten to a template")
	settle  = flag.Duration("settle", 15*time.Second, "-daemon: how long a program with leases is left alone after its start")
	idle    = flag.Duration("idle", 30*time.Second, "-daemon: how long it is watched while nothing is due")
	changes = flag.Int("changes", 20, "-daemon: changes of a secret")
	watch   = flag.Duration("watch", 3*time.Minute, "-daemon: how long requests are counted")

	proxy       = flag.Bool("proxy", false, "measure the programs that answer for the server")
	rounds      = flag.Int("rounds", 5, "-proxy: turns of each")
	length      = flag.Duration("for", 5*time.Second, "-proxy: how long a turn is, whole seconds")
	threads     = flag.Int("threads", 2, "-proxy: threads of wrk")
	connections = flag.Int("connections", 8, "-proxy: connections of wrk")
	entries     = flag.Int("entries", 100000, "-proxy: secrets in a full cache")
	waiters     = flag.Int("waiters", 1000, "-proxy: clients that miss the same secret at once")
	profileDir  = flag.String("profiles", "", "-proxy: directory for profiles of latchkey under each load")

	lambdas    = flag.Bool("extension", false, "measure the extensions of Lambda functions")
	startTimes = flag.Int("starts", 30, "-extension: cold starts of each")
	layer      = flag.String("layer", "../dist", "-extension: directory that make layer wrote")
	small      = flag.String("small", "", "-extension: measure this program in place of the small layer's")
	parts      = flag.String("parts", "starts,limited,lives,herd,hits", "-extension: what is measured")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	ns, err := numbers("-n", *sizes, 9999)
	if err != nil {
		return err
	}
	leases, err := numbers("-leases", *lease, 99999)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "latchkey-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if *lambdas {
		var r extensionReport
		if err := (&tools{work: work}).extensions(ctx, &r); err != nil {
			return err
		}
		r.print(os.Stdout)
		return nil
	}
	t, err := prepare(ctx, work)
	if err != nil {
		return err
	}
	if *daemon {
		var r stayReport
		if err := t.daemons(ctx, leases, &r); err != nil {
			return err
		}
		r.print(os.Stdout)
		return nil
	}
	if *proxy {
		var r proxyReport
		if err := t.proxies(ctx, &r); err != nil {
			return err
		}
		r.print(os.Stdout)
		return nil
	}
	var r report
	if err := t.near(ctx, ns, &r); err != nil {
		return err
	}
	if *roundTrip > 0 {
		if err := t.far(ctx, &r); err != nil {
			return err
		}
	}
	if t.latchkey != "" {
		if err := t.alone(ctx, &r); err != nil {
			return err
		}
	}
	r.print(os.Stdout)
	return nil
}

// numbers reads the value of a flag: whole numbers, separated by commas.
func numbers(name, text string, most int) ([]int, error) {
	var ns []int
	for f := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%s: %q is no number from 1 to %d", name, f, most)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// tools are the programs of a run, by their paths.
type tools struct {
	work                            string
	measure, floor, latchkey, vault string
	bare, trivial                   string
	debian                          debian.Tree
}

func prepare(ctx context.Context, work string) (*tools, error) {
	t := &tools{work: work}
	var err error
	if t.measure, err = build(ctx, work, ".", "./measure"); err != nil {
		return nil, err
	}
	if t.floor, err = build(ctx, work, ".", "./floor"); err != nil {
		return nil, err
	}
	switch *latchkey {
	case "none":
	case "":
		t.latchkey, err = build(ctx, work, "..", "./cmd/latchkey")
	default:
		t.latchkey, err = filepath.Abs(*latchkey)
	}
	if err != nil {
		return nil, err
	}
	t.vault, err = findVault()
	return t, err
}

// build builds a package of the module in dir as releases are built.
func build(ctx context.Context, work, dir, pkg string) (string, error) {
	out := filepath.Join(work, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return out, nil
}

// near measures with the server next door, for each number of secrets.
func (t *tools) near(ctx context.Context, ns []int, r *report) error {
	most := slices.Max(ns)
	fmt.Fprintf(os.Stderr, "bench: starting %s with %d secrets\n", t.vault, most)
	return t.with(ctx, vault.Dev, most, func(s *seeded) error {
		for _, n := range ns {
			row, err := t.turns(ctx, s, s.Addr, n, runsFor(n))
			if err != nil {
				return err
			}
			if err := t.count(ctx, s, n, row); err != nil {
				return err
			}
			r.near = append(r.near, row)
		}
		return nil
	})
}

// with starts a server, seeds it with n secrets, and stops it after use.
func (t *tools) with(ctx context.Context, start func(string) (*vault.Server, error), n int, use func(*seeded) error) error {
	dir, err := os.MkdirTemp(t.work, "server-")
	if err != nil {
		return err
	}
	s, err := start(t.vault)
	if err != nil {
		return err
	}
	defer s.Stop()
	d, err := seed(ctx, s, dir, n)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	defer d.close()
	return use(d)
}

func runsFor(n int) int {
	switch {
	case *runs > 0:
		return *runs
	case n >= 1000:
		return 3
	}
	return 15
}

// turns lets every contender run in turn.
func (t *tools) turns(ctx context.Context, s *seeded, address string, n, times int) (*row, error) {
	row := &row{n: n, costs: map[string]*costs{}}
	for i := range times + 1 {
		for _, c := range t.contenders() {
			if row.gaveUp[c.name] {
				continue
			}
			fmt.Fprintf(os.Stderr, "\rbench: %d secrets, turn %d of %d: %-12s", n, i, times, c.name)
			one, err := t.once(ctx, c, s, address, n)
			switch {
			case errors.Is(err, errPatience):
				row.giveUp(c.name)
			case err != nil:
				return nil, fmt.Errorf("%s with %d secrets: %w", c.name, n, err)
			case i > 0: // the first turn warms the page cache
				row.add(c.name, one)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return row, nil
}

func (t *tools) count(ctx context.Context, s *seeded, n int, row *row) error {
	c, err := startCounter(s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, who := range t.contenders() {
		if row.gaveUp[who.name] {
			continue
		}
		c.n.Store(0)
		if _, err := t.once(ctx, who, s, c.URL, n); err != nil && !errors.Is(err, errPatience) {
			return err
		}
		row.costs[who.name].requests = c.n.Load()
	}
	return nil
}

// farSecrets is how many secrets the distant round fetches.
const farSecrets = 50

// far measures with TLS and a distance between, and with twice the distance:
// what the second costs more is waiting, the rest is work.
func (t *tools) far(ctx context.Context, r *report) error {
	return t.with(ctx, vault.TLS, farSecrets, func(s *seeded) error {
		for _, leg := range []struct {
			roundTrip time.Duration
			into      **row
		}{{*roundTrip, &r.far}, {2 * *roundTrip, &r.twice}} {
			d, err := startDelay(strings.TrimPrefix(s.Addr, "https://"), leg.roundTrip)
			if err != nil {
				return err
			}
			*leg.into, err = t.turns(ctx, s, "https://"+d.Addr().String(), farSecrets, farRuns())
			if err := errors.Join(err, d.Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

func farRuns() int {
	if *runs > 0 {
		return *runs
	}
	return 5
}

// alone measures what latchkey costs without a server.
func (t *tools) alone(ctx context.Context, r *report) error {
	for range 15 {
		c, err := t.cost(ctx, os.DevNull, []string{t.latchkey, "version"})
		if err != nil {
			return err
		}
		r.version.add(c)
	}
	info, err := os.Stat(t.latchkey)
	if err != nil {
		return err
	}
	r.binary = info.Size()
	return nil
}
