package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// manyPrefix is where the secrets of a full cache are; six digits follow.
const manyPrefix = "/v1/secret/data/many/"

func manyPath(i int) string { return fmt.Sprintf("%s%06d", manyPrefix, i) }

// crowd is what was measured with very many secrets in the cache.
type crowd struct {
	*race
	entries int
	fill    time.Duration
	// filled is what is held when all are in, one with a single one in.
	filled, one int64
	// bodies is the size of what is held, as the clients see it.
	bodies int64
	// reached counts the reads that got to the server while all were hits.
	reached int64
}

// The contenders of this race are one program twice.
const (
	nameOne  = nameLatchkey + ", one entry"
	nameMany = nameLatchkey + ", full"
)

// crowded measures a full cache, and the herd, before a server that is none.
func (t *tools) crowded(ctx context.Context, r *proxyReport) error {
	dir, err := os.MkdirTemp(t.work, "fake-")
	if err != nil {
		return err
	}
	f := startFake()
	defer f.Close()
	s, err := f.seeded(dir)
	if err != nil {
		return err
	}
	c := &crowd{race: &race{title: "full cache"}, entries: *entries, bodies: int64(*entries) * entrySize}
	defer c.stop()
	cache := fmt.Sprintf("cache {\n  static_ttl  = \"1h\"\n  max_entries = %d\n  max_size    = \"1GiB\"\n}", *entries)
	for _, of := range []struct{ name, dir string }{{nameOne, "one"}, {nameMany, "many"}} {
		first := ask{"static", http.MethodGet, manyPath(0), ""}
		p, err := t.agent(ctx, s, of.name, of.dir, first, cache)
		if err := c.enter(p, err); err != nil {
			return err
		}
		if _, err := p.hit(ctx, first); err != nil {
			return err
		}
	}
	one, many := c.order[0], c.order[1]
	start := time.Now()
	if err := many.fill(ctx, *entries); err != nil {
		return err
	}
	c.fill = time.Since(start)
	if c.one, err = one.held(); err != nil {
		return err
	}
	if c.filled, err = many.held(); err != nil {
		return err
	}
	if one.aim, err = t.spreading(one.url, manyPrefix, 1); err != nil {
		return err
	}
	if many.aim, err = t.spreading(many.url, manyPrefix, *entries); err != nil {
		return err
	}
	before := f.reads.Load()
	if err := t.run(ctx, c.race); err != nil {
		return err
	}
	c.reached = f.reads.Load() - before
	r.crowd = c
	for _, path := range []string{"/v1/secret/data/herd", "/v1/creds/herd"} {
		h, err := stampede(ctx, f, one, path, *waiters)
		if err != nil {
			return err
		}
		r.herds = append(r.herds, h)
	}
	return nil
}

// fillers is how many ask at once while a cache is filled.
const fillers = 16

// fill asks for each secret once, and looks at each answer.
func (p *served) fill(ctx context.Context, count int) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: fillers}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range fillers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < count && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := p.fetch(ctx, client, manyPath(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

func (p *served) fetch(ctx context.Context, client *http.Client, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if want := string(secretBody(strings.TrimPrefix(path, "/v1/"))); resp.StatusCode != http.StatusOK || string(body) != want {
		return fmt.Errorf("%s answers %s with %s: %.200q%s", p.name, path, resp.Status, body, tail(p.log))
	}
	return nil
}

// herd is many clients that ask for the same at once, and nobody has it yet.
type herd struct {
	path             string
	waiters, reached int
	right            int           // clients that got the right answer
	took             time.Duration // from the server's answer to the last client's
	held             int64         // memory afterwards
}

// stampede has as many clients ask for path before the server answers the first.
func stampede(ctx context.Context, f *fake, p *served, path string, waiters int) (herd, error) {
	fmt.Fprintf(os.Stderr, "bench: %d clients miss %s\n", waiters, path)
	asked, release := f.holdBack(path)
	defer release()
	host := strings.TrimPrefix(p.url, "http://")
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	var dialer net.Dialer
	for range waiters {
		c, err := dialer.DialContext(ctx, "tcp", host)
		if err != nil {
			return herd{}, err
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
			return herd{}, err
		}
	}
	// Until the last of them waits. Nobody outside sees that; when it is too
	// short, those who come late find the answer in the cache.
	if err := wait(ctx, 2*time.Second); err != nil {
		return herd{}, err
	}
	h := herd{path: path, waiters: waiters}
	want := string(secretBody(strings.TrimPrefix(path, "/v1/")))
	start := time.Now()
	release()
	var right atomic.Int64
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(func() {
			_ = c.SetReadDeadline(start.Add(*patience))
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return
			}
			defer func() { _ = resp.Body.Close() }()
			if body, err := io.ReadAll(resp.Body); err == nil && resp.StatusCode == http.StatusOK && string(body) == want {
				right.Add(1)
			}
		})
	}
	all.Wait()
	h.took, h.right, h.reached = time.Since(start), int(right.Load()), asked()
	var err error
	h.held, err = p.held()
	return h, err
}
