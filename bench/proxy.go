package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"latchkey/e2e/debian"
	vault "latchkey/e2e/server"
)

// What is asked for: a new token, a leased secret, both of which vault agent
// caches too, and a secret that only time makes old. The answers are a few
// hundred bytes.
var (
	token  = ask{"token", http.MethodPost, "/v1/auth/token/create", `{"policies":["default"],"ttl":"1h"}`}
	leased = ask{"leased", http.MethodGet, "/v1/rabbitmq/creds/00000", ""}
	static = ask{"static", http.MethodGet, "/v1/secret/data/bench/0000", ""}
)

// proxies measures the programs that stand between clients and the server.
func (t *tools) proxies(ctx context.Context, r *proxyReport) (err error) {
	if t.debian, err = debian.Unpack(os.Stderr, "wrk", "nginx"); err != nil {
		return err
	}
	if t.bare, err = build(ctx, t.work, ".", "./bare"); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "bench: starting %s\n", t.vault)
	if err := t.with(ctx, vault.Dev, 1, func(s *seeded) error {
		if err := s.lend(ctx, 1, time.Hour); err != nil {
			return err
		}
		if err := t.cached(ctx, s, r); err != nil {
			return err
		}
		return t.passing(ctx, s, r)
	}); err != nil {
		return err
	}
	if t.latchkey == "" {
		return nil
	}
	return t.crowded(ctx, r)
}

// race is programs that take turns.
type race struct {
	title string
	order []*served
	shots map[string][]shot
	held  map[string]int64 // after the load, by name
	// allocations are objects for each request, by name, of those who tell.
	allocations map[string]float64
}

func (c *race) stop() {
	for _, p := range c.order {
		if p.resident != nil {
			p.stop()
		}
	}
}

// enter takes a program that was started, or the error of that.
func (c *race) enter(p *served, err error) error {
	if err == nil {
		c.order = append(c.order, p)
	}
	return err
}

// run lets each program answer in turn, as often as -rounds says. Each turn
// begins with another one, so that nobody always follows the same.
func (t *tools) run(ctx context.Context, c *race) error {
	c.shots, c.held = map[string][]shot{}, map[string]int64{}
	for i := range *rounds + 1 {
		for j := range c.order {
			p := c.order[(i+j)%len(c.order)]
			length := *length
			if i == 0 {
				length = time.Second // warms up
			}
			fmt.Fprintf(os.Stderr, "\rbench: %s, turn %d of %d: %-30s", c.title, i, *rounds, p.name)
			s, err := t.watched(ctx, p, length)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if i > 0 {
				c.shots[p.name] = append(c.shots[p.name], s)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	for _, p := range c.order {
		if p.resident == nil {
			continue
		}
		var err error
		if c.held[p.name], err = p.held(); err != nil {
			return err
		}
	}
	return t.profiles(ctx, c)
}

// watched is a shot with the processor time of the program that answers.
func (t *tools) watched(ctx context.Context, p *served, length time.Duration) (shot, error) {
	if p.resident == nil {
		return t.shoot(ctx, p.aim, length)
	}
	before, err := p.familyCPU()
	if err != nil {
		return shot{}, err
	}
	s, err := t.shoot(ctx, p.aim, length)
	if err != nil {
		return shot{}, err
	}
	after, err := p.familyCPU()
	s.cpu = after - before
	return s, err
}

// profileTimes is how often: one profile watches the processor for a second, and
// `go tool pprof` adds up several.
const profileTimes = 5

// profiles has each latchkey of a race write its profiles while it answers, into
// the directory that -profiles names.
func (t *tools) profiles(ctx context.Context, c *race) error {
	if *profileDir == "" {
		return nil
	}
	for _, p := range c.order {
		if !strings.HasPrefix(p.name, nameLatchkey) {
			continue
		}
		into := filepath.Join(*profileDir, strings.NewReplacer(" ", "-", ",", "").Replace(c.title+" "+p.name))
		if err := errors.Join(os.RemoveAll(into), os.MkdirAll(into, 0o700)); err != nil {
			return err
		}
		ctx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() {
			_, err := t.shoot(ctx, p.aim, time.Hour)
			ended <- err
		}()
		err := wait(ctx, time.Second)
		for i := 0; i < profileTimes && err == nil; i++ {
			err = t.profile(ctx, p, filepath.Join(into, strconv.Itoa(i)))
		}
		stop()
		<-ended
		if err != nil {
			return err
		}
	}
	return nil
}

// profile has p write its profiles once.
func (t *tools) profile(ctx context.Context, p *served, into string) error {
	if err := syscall.Kill(p.pid, syscall.SIGUSR2); err != nil {
		return err
	}
	// The last that is written comes last.
	pattern := filepath.Join(t.work, "latchkey-pprof-*", "threadcreate.prof")
	var found []string
	if err := p.until(ctx, *patience, 50*time.Millisecond, func() bool {
		found, _ = filepath.Glob(pattern) // the pattern is good
		return len(found) == 1
	}); err != nil {
		return err
	}
	dir := filepath.Dir(found[0])
	return errors.Join(os.CopyFS(into, os.DirFS(dir)), os.RemoveAll(dir))
}

// aimAt has wrk ask p for a.
func (t *tools) aimAt(p *served, a ask) (err error) {
	p.aim = aim{url: p.url + a.path}
	if a.body != "" {
		p.aim, err = t.posting(p.url+a.path, a.body)
	}
	return err
}

// cached measures answers out of the cache, each kind by itself.
func (t *tools) cached(ctx context.Context, s *seeded, r *proxyReport) error {
	all := &race{}
	defer all.stop()
	bearer, err := s.login(ctx)
	if err != nil {
		return err
	}
	if err := all.enter(t.nginx(ctx, s, "nginx-hit", leased, bearer, true)); err != nil {
		return err
	}
	if err := all.enter(t.agent(ctx, s, nameAgent, "agent-hit", leased, "cache {}")); err != nil {
		return err
	}
	if t.latchkey != "" {
		if err := all.enter(t.agent(ctx, s, nameLatchkey, "latchkey-hit", leased, "cache {\n  static_ttl = \"1h\"\n}")); err != nil {
			return err
		}
	}
	// The bare handler says what the last of them says.
	said := map[string]answer{}
	for _, p := range all.order {
		for _, a := range []ask{token, leased, static} {
			if p.name == nameAgent && a == static {
				continue // which it does not cache
			}
			if said[a.path], err = p.hit(ctx, a); err != nil {
				return err
			}
		}
	}
	if err := all.enter(t.bareHandler(ctx, s, leased, said)); err != nil {
		return err
	}
	for _, a := range []ask{token, leased, static} {
		c := &race{title: "hit, " + a.kind}
		for _, p := range all.order {
			if p.name == nameAgent && a == static {
				continue
			}
			if err := t.aimAt(p, a); err != nil {
				return err
			}
			c.order = append(c.order, p)
		}
		if err := t.run(ctx, c); err != nil {
			return err
		}
		if err := t.allocations(ctx, c); err != nil {
			return err
		}
		r.hits = append(r.hits, c)
	}
	return nil
}

// allocations counts the objects that a request allocates, where the program
// says how many it has allocated since its start.
func (t *tools) allocations(ctx context.Context, c *race) error {
	c.allocations = map[string]float64{}
	for _, p := range c.order {
		count := p.mallocsOfBare
		switch p.name {
		case nameLatchkey, nameAgent:
			count = p.mallocsOfAgent
		case nameNginx:
			continue
		}
		fmt.Fprintf(os.Stderr, "\rbench: %s, allocations of %-30s", c.title, p.name)
		before, err := count(ctx)
		if err != nil {
			return err
		}
		s, err := t.shoot(ctx, p.aim, *length)
		if err != nil {
			return err
		}
		after, err := count(ctx)
		if err != nil {
			return err
		}
		c.allocations[p.name] = (after - before) / float64(s.requests)
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

func (p *served) mallocsOfBare(ctx context.Context) (float64, error) {
	a, err := p.get(ctx, "/mallocs")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(string(a.Body), 64)
}

// mallocsOfAgent waits for the next time that the program looks at itself, which
// it does every few seconds.
func (p *served) mallocsOfAgent(ctx context.Context) (float64, error) {
	look := func() (float64, error) {
		a, err := p.get(ctx, "/agent/v1/metrics")
		if err != nil {
			return 0, err
		}
		var m struct {
			Gauges []struct {
				Name  string
				Value float64
			}
		}
		if err := json.Unmarshal(a.Body, &m); err != nil {
			return 0, err
		}
		for _, g := range m.Gauges {
			if strings.HasSuffix(g.Name, "runtime.malloc_count") {
				return g.Value, nil
			}
		}
		return 0, nil // not looked yet
	}
	first, err := look()
	if err != nil {
		return 0, err
	}
	var next float64
	if waited := p.until(ctx, *patience, 200*time.Millisecond, func() bool {
		next, err = look()
		return err != nil || next != first && next != 0
	}); waited != nil {
		return 0, waited
	}
	return next, err
}

// passing measures answers that the server gives each time.
func (t *tools) passing(ctx context.Context, s *seeded, r *proxyReport) error {
	c := &race{title: "pass-through"}
	defer c.stop()
	bearer, err := s.login(ctx)
	if err != nil {
		return err
	}
	if err := c.enter(t.nginx(ctx, s, "nginx-pass", static, bearer, false)); err != nil {
		return err
	}
	if t.latchkey != "" {
		if err := c.enter(t.agent(ctx, s, nameLatchkey, "latchkey-pass", static, "")); err != nil {
			return err
		}
	}
	if err := c.enter(t.agent(ctx, s, nameAgent, "agent-pass", static, "")); err != nil {
		return err
	}
	if err := c.same(ctx, static); err != nil {
		return err
	}
	for _, p := range c.order {
		if err := t.aimAt(p, static); err != nil {
			return err
		}
	}
	c.order = append(c.order, &served{name: nameStraight, aim: aim{url: s.Addr + static.path, header: []string{"X-Vault-Token: " + bearer}}})
	if err := t.run(ctx, c); err != nil {
		return err
	}
	r.passing = c
	return nil
}

// same makes sure that all programs give the same secret.
func (c *race) same(ctx context.Context, a ask) error {
	var first json.RawMessage
	for _, p := range c.order {
		got, err := p.answer(ctx, a)
		if err != nil {
			return err
		}
		var body struct{ Data json.RawMessage }
		if err := json.Unmarshal(got.Body, &body); err != nil || got.Status != http.StatusOK {
			return fmt.Errorf("%s answers with %d, %w", p.name, got.Status, err)
		}
		if first == nil {
			first = body.Data
		}
		if !slices.Equal(first, body.Data) {
			return fmt.Errorf("%s gives another secret than %s", p.name, c.order[0].name)
		}
	}
	return nil
}
