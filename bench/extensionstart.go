package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// start is what one start cost, from exec on.
type start struct {
	cpu, wall time.Duration // until it registers
	ready     time.Duration // until it asks for the first event: CPU
	init      time.Duration // until extension and runtime ask for it: wall
}

// starts measures starts that nothing limits.
func (t *tools) starts(ctx context.Context, s *stand, r *extensionReport) error {
	title := "plain HTTP"
	if s.ca != "" {
		title = "TLS"
	}
	c := &startRace{title: title, by: map[string][]start{}}
	r.starts = append(r.starts, c)
	return t.startTurns(ctx, c, r.order, s, nil, *startTimes)
}

// bundles are where systems keep the CAs that they trust.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

// startsWithBundle measures starts where AWS_CA_BUNDLE names the CAs for AWS, as
// behind a firewall that opens TLS. A login needs none of them.
func (t *tools) startsWithBundle(ctx context.Context, s *stand, r *extensionReport) error {
	for _, file := range bundles {
		if _, err := os.Stat(file); err == nil {
			c := &startRace{title: "plain HTTP, AWS_CA_BUNDLE set", by: map[string][]start{}}
			r.starts = append(r.starts, c)
			return t.startTurns(ctx, c, r.order, s, nil, *startTimes, "AWS_CA_BUNDLE="+file)
		}
	}
	return nil
}

// startTurns lets each extension start in turn.
func (t *tools) startTurns(ctx context.Context, c *startRace, order []extension, s *stand, l *limit, times int, more ...string) error {
	for i := range times + 1 {
		for j := range order {
			e := order[(i+j)%len(order)]
			fmt.Fprintf(os.Stderr, "\rbench: cold starts, %s, turn %d of %d: %-20s", c.title, i, times, e.name)
			if err := l.rest(ctx); err != nil {
				return err
			}
			on, err := t.coldStart(ctx, e, s, l, l != nil, more...)
			if err != nil {
				return err
			}
			on.end()
			if i == 0 {
				continue // fills the page cache
			}
			one := start{cpu: on.registered.cpu, wall: on.registered.at.Sub(on.started), ready: on.ready.cpu}
			one.init = on.ready.at.Sub(on.started)
			if l != nil {
				one.init = max(one.init, on.runtime.at.Sub(on.started))
			}
			c.by[e.name] = append(c.by[e.name], one)
		}
		if l != nil {
			if err := l.rest(ctx); err != nil {
				return err
			}
			alone, err := t.runtimeAlone(ctx, l)
			if err != nil {
				return err
			}
			if i > 0 {
				c.alone = append(c.alone, alone)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// runtimeAlone is an INIT without any extension.
func (t *tools) runtimeAlone(ctx context.Context, l *limit) (time.Duration, error) {
	p, err := newLambda()
	if err != nil {
		return 0, err
	}
	defer p.close()
	r, at, err := t.exec(p.url, []string{t.trivial}, filepath.Join(t.work, "runtime.log"), l)
	if err != nil {
		return 0, err
	}
	defer r.kill()
	p.ext = r
	if err := p.await(ctx, &p.runtime); err != nil {
		return 0, fmt.Errorf("runtime alone: %w", err)
	}
	return p.runtime.at.Sub(at), nil
}

// throttled measures starts with the part of a processor that a small function
// has. It is granted in periods: a start waits for as many as it needs slices. The
// kernel's own are 100 ms; of Lambda's, 20 ms are reported.
func (t *tools) throttled(ctx context.Context, s *stand, r *extensionReport) error {
	for _, period := range []time.Duration{100 * time.Millisecond, 20 * time.Millisecond} {
		l, err := newLimit(slice{quota: time.Duration(part * float64(period)), period: period})
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: not limited:", err)
			r.unlimited = err
			return nil
		}
		c := &startRace{title: fmt.Sprintf("%.1f %% of a processor in periods of %s", part*100, period), by: map[string][]start{}, limited: true}
		r.starts = append(r.starts, c)
		err = t.startTurns(ctx, c, r.order, s, l, *startTimes)
		if err := errors.Join(err, l.remove()); err != nil {
			return err
		}
	}
	return nil
}

// manyStarts is how many start at once.
const manyStarts = 50

// stampedeOfStarts is what so many starts at once took.
type stampedeOfStarts struct {
	all           time.Duration // until the last was ready
	cpu           []time.Duration
	logins, reads int64
	failed        []error
}

// herdOfStarts starts many of one extension at once. They write files alone: the
// proxies would all want the same port.
func (t *tools) herdOfStarts(ctx context.Context, s *stand, r *extensionReport) error {
	r.herds = map[string]*stampedeOfStarts{}
	for _, e := range r.order {
		fmt.Fprintf(os.Stderr, "\rbench: %d cold starts at once: %-20s", manyStarts, e.name)
		h := &stampedeOfStarts{logins: -s.logins.Load(), reads: -s.reads.Load()}
		on := make([]*started, manyStarts)
		errs := make([]error, manyStarts)
		begin := time.Now()
		var all sync.WaitGroup
		for i := range manyStarts {
			all.Go(func() { on[i], errs[i] = t.coldStart(ctx, e, s, nil, false, "VAULT_RUN_MODE=file") })
		}
		all.Wait()
		for i := range on {
			if errs[i] != nil {
				h.failed = append(h.failed, errs[i])
				continue
			}
			h.all = max(h.all, on[i].ready.at.Sub(begin))
			h.cpu = append(h.cpu, on[i].registered.cpu)
			on[i].end()
		}
		h.logins += s.logins.Load()
		h.reads += s.reads.Load()
		r.herds[e.name] = h
	}
	fmt.Fprintln(os.Stderr)
	return nil
}
