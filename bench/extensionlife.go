package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"latchkey/e2e/debian"
	vault "latchkey/e2e/server"
)

// life is what an extension holds and takes after its start.
type life struct {
	rss, used []int64 // after init; after proxiedRequests
	warm      warm
	shutdown  []time.Duration
}

// warm is what invocations took until the next event was asked for: each of them, and
// what each took of a processor, start by start.
type warm struct{ wall, cpu []time.Duration }

const (
	proxiedRequests = 10000
	invokes         = 200
	invokePause     = 5 * time.Millisecond
	lives           = 3
)

// lives measures what comes after a start.
func (t *tools) lives(ctx context.Context, s *stand, r *extensionReport) error {
	r.lives = map[string]*life{}
	for i := range lives {
		if err := t.idler(ctx, r); err != nil {
			return err
		}
		for _, e := range r.order {
			fmt.Fprintf(os.Stderr, "\rbench: memory and warm invokes, turn %d of %d: %-20s", i+1, lives, e.name)
			if r.lives[e.name] == nil {
				r.lives[e.name] = &life{}
			}
			on, err := t.coldStart(ctx, e, s, nil, false)
			if err != nil {
				return err
			}
			err = t.live(ctx, e, on, r.lives[e.name])
			on.end()
			if err != nil {
				return fmt.Errorf("%s: %w", e.name, err)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// idler invokes an extension that does nothing.
func (t *tools) idler(ctx context.Context, r *extensionReport) error {
	p, err := newLambda()
	if err != nil {
		return err
	}
	defer p.close()
	p.ext, _, err = t.exec(p.url, []string{t.trivial, "extension"}, filepath.Join(t.work, "idle.log"), nil)
	if err != nil {
		return err
	}
	defer p.ext.kill()
	close(p.launched)
	if err := p.await(ctx, &p.ready); err != nil {
		return fmt.Errorf("an extension that does nothing: %w", err)
	}
	return p.invokes(ctx, &r.idle)
}

// invokes notes what each of several invocations took, and what CPU all of them.
func (p *lambda) invokes(ctx context.Context, w *warm) error {
	before, err := p.ext.cpu()
	if err != nil {
		return err
	}
	for range invokes {
		if err := wait(ctx, invokePause); err != nil {
			return err
		}
		d, err := p.invoke(ctx)
		if err != nil {
			return err
		}
		w.wall = append(w.wall, d)
	}
	after, err := p.ext.cpu()
	w.cpu = append(w.cpu, (after-before)/invokes)
	return err
}

func (t *tools) live(ctx context.Context, e extension, on *started, l *life) error {
	if err := wait(ctx, 200*time.Millisecond); err != nil {
		return err
	}
	m, err := on.ext.memory()
	if err != nil {
		return err
	}
	l.rss = append(l.rss, m.rss)
	if err := on.invokes(ctx, &l.warm); err != nil {
		return err
	}
	if e.proxy {
		if err := askProxy(ctx, proxiedRequests); err != nil {
			return err
		}
		if m, err = on.ext.memory(); err != nil {
			return err
		}
		l.used = append(l.used, m.rss)
	}
	d, err := on.shutdown(ctx)
	l.shutdown = append(l.shutdown, d)
	return err
}

// askProxy sends so many requests through the proxy, eight at a time, none of
// which a cache answers.
func askProxy(ctx context.Context, count int) error {
	const clients = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		all.Go(func() {
			for range count / clients {
				if errs[i] = askOnce(ctx, client); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func askOnce(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+proxyAddress+"/v1/"+standSecret, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Request", "true")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(standValue))) {
		err = fmt.Errorf("the proxy answers %s: %s", resp.Status, text)
	}
	return err
}

// memoryOfProcessor is with how many MB a function has a whole processor.
const memoryOfProcessor = 1769

// extensionHits measures answers out of the cache of the proxy, beside a bare
// handler that says the same.
func (t *tools) extensionHits(ctx context.Context, s *stand, r *extensionReport) (err error) {
	if t.debian, err = debian.Unpack(os.Stderr, "wrk"); err != nil {
		return err
	}
	if t.bare, err = build(ctx, t.work, ".", "./bare"); err != nil {
		return err
	}
	static := ask{"static", http.MethodGet, "/v1/" + standSecret, ""}
	c := &race{title: "hit"}
	defer c.stop()
	said := map[string]answer{}
	for _, e := range r.order {
		if !e.proxy || e.name == nameFullExt {
			continue
		}
		address := proxyAddress
		more := []string{
			"VAULT_DEFAULT_CACHE_TTL=1h", "VAULT_DEFAULT_CACHE_ENABLED=true",
			// As large a function as this machine, which the bare handler has to itself, too.
			fmt.Sprintf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%d", memoryOfProcessor*runtime.NumCPU()),
		}
		if e.own {
			port, err := vault.FreePort()
			if err != nil {
				return err
			}
			address = fmt.Sprintf("127.0.0.1:%d", port)
			more = append(more, "LATCHKEY_LISTEN="+address)
		}
		on, err := t.coldStart(ctx, e, s, nil, false, more...)
		if err != nil {
			return err
		}
		defer on.end()
		p := &served{name: e.name, resident: on.ext, url: "http://" + address}
		c.order = append(c.order, p)
		before := s.reads.Load()
		for range 3 {
			if said[static.path], err = p.answer(ctx, static); err != nil {
				return err
			}
		}
		if n := s.reads.Load() - before; n != 1 {
			return fmt.Errorf("%s: 3 requests for the same secret read it %d times", e.name, n)
		}
	}
	if len(c.order) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp(t.work, "bare-")
	if err != nil {
		return err
	}
	if err := c.enter(t.bareHandler(ctx, &seeded{dir: dir}, static, said)); err != nil {
		return err
	}
	for _, p := range c.order {
		if err := t.aimAt(p, static); err != nil {
			return err
		}
	}
	r.hits = c
	return t.run(ctx, c)
}
