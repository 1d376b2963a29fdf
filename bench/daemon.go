package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	vault "latchkey/e2e/server"
)

// daemons measures the programs that stay, on one server.
func (t *tools) daemons(ctx context.Context, leases []int, r *stayReport) error {
	fmt.Fprintf(os.Stderr, "bench: starting %s\n", t.vault)
	return t.with(ctx, vault.Dev, requestSecrets, func(s *seeded) error {
		rounds := []func(context.Context, *seeded, *stayReport) error{t.alongside, t.changed, t.asked}
		for _, n := range leases {
			rounds = append(rounds, func(ctx context.Context, s *seeded, r *stayReport) error { return t.leased(ctx, s, n, r) })
		}
		for _, round := range rounds {
			if err := round(ctx, s, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// stayers are the contenders of these rounds, by name.
func (t *tools) stayers() []string {
	switch {
	case t.latchkey == "":
		return []string{nameAgent}
	case !*peer:
		return []string{nameLatchkey}
	}
	return []string{nameLatchkey, nameAgent}
}

// task is what a program that stays has to keep: templates, by their text.
type task struct {
	interval  time.Duration // of static secrets; 0 for what the program does by itself
	templates []string
}

// kept is a program that stays, with the counter before its server.
type kept struct {
	*resident
	requests *counter
	// ready is the time from the start to the last file, work the processor time
	// of that.
	ready, work time.Duration
}

func (k *kept) close() {
	k.stop()
	k.requests.Close()
}

// begin starts a program with a task and waits until every file is there.
func (t *tools) begin(ctx context.Context, s *seeded, name string, task task) (*kept, error) {
	own := filepath.Join(s.dir, "stay-"+strings.ReplaceAll(name, " ", "-"))
	if err := errors.Join(os.RemoveAll(own), os.MkdirAll(filepath.Join(own, "out"), 0o700)); err != nil {
		return nil, err
	}
	c, err := startCounter(s.Addr)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	writeLogin(&b, s, c.URL, own)
	if task.interval > 0 {
		fmt.Fprintf(&b, "\ntemplate_config {\n  static_secret_render_interval = %q\n}\n", task.interval)
	}
	for i, contents := range task.templates {
		writeTemplate(&b, own, i, contents)
	}
	file := filepath.Join(own, "agent.hcl")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		c.Close()
		return nil, err
	}
	argv := []string{t.latchkey, "daemon", "-config", file}
	if name == nameAgent {
		argv = []string{t.vault, "agent", "-config", file}
	}
	start := time.Now()
	k := &kept{requests: c}
	if k.resident, err = t.stay(name, own, argv); err != nil {
		c.Close()
		return nil, err
	}
	next := 0
	err = k.until(ctx, *patience, 10*time.Millisecond, func() bool {
		for ; next < len(task.templates); next++ {
			if info, err := os.Stat(output(own, next)); err != nil || info.Size() == 0 {
				return false
			}
		}
		return true
	})
	if err != nil {
		k.close()
		return nil, err
	}
	k.ready = time.Since(start)
	if k.work, err = k.cpu(); err == nil {
		err = k.complete(task)
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

// complete looks at what was written: a line for each secret.
func (k *kept) complete(task task) error {
	for i, contents := range task.templates {
		got, err := os.ReadFile(output(k.own, i))
		if err != nil {
			return err
		}
		if want := strings.Count(contents, "{{ with "); bytes.Count(got, []byte{'\n'}) != want {
			return fmt.Errorf("%s: %d secrets in file %d, want %d%s", k.name, bytes.Count(got, []byte{'\n'}), i, want, tail(k.log))
		}
	}
	return nil
}

// beginAll starts every contender with the same task.
func (t *tools) beginAll(ctx context.Context, s *seeded, task task) (all []*kept, stop func(), err error) {
	stop = func() {
		for _, k := range all {
			k.close()
		}
	}
	for _, name := range t.stayers() {
		k, err := t.begin(ctx, s, name, task)
		if err != nil {
			stop()
			return nil, nil, err
		}
		all = append(all, k)
	}
	return all, stop, nil
}

// wait lets d pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func secretTemplate(path string) string {
	return fmt.Sprintf(`{{ with secret %q }}{{ .Data.data.username }}:{{ .Data.data.password }}`+"\n{{ end }}", path)
}

// alongside is the least that runs beside a program: one login, one sink, one
// template.
func (t *tools) alongside(ctx context.Context, s *seeded, r *stayReport) error {
	fmt.Fprintf(os.Stderr, "bench: idle with one template for %s\n", *idle)
	all, stop, err := t.beginAll(ctx, s, task{templates: []string{secretTemplate("secret/data/bench/0000")}})
	if err != nil {
		return err
	}
	defer stop()
	r.idle = map[string]*quiet{}
	return watchQuiet(ctx, all, r.idle)
}

// quiet is what a program takes while nothing is due.
type quiet struct {
	memory
	ready, work time.Duration // see kept
	cpu, of     time.Duration
	requests    int
}

// share is the part of one core, in percent.
func (q *quiet) share() float64 { return 100 * float64(q.cpu) / float64(q.of) }

// watchQuiet measures all at once, for as long as -idle says.
func watchQuiet(ctx context.Context, all []*kept, into map[string]*quiet) error {
	before := map[string]map[string]int{}
	start := time.Now()
	for _, k := range all {
		cpu, err := k.cpu()
		if err != nil {
			return err
		}
		before[k.name] = k.requests.counts()
		into[k.name] = &quiet{cpu: -cpu, ready: k.ready, work: k.work}
	}
	if err := wait(ctx, *idle); err != nil {
		return err
	}
	for _, k := range all {
		q := into[k.name]
		cpu, err := k.cpu()
		if err != nil {
			return err
		}
		q.cpu += cpu
		q.of = time.Since(start)
		for _, n := range k.requests.since(before[k.name]) {
			q.requests += n
		}
		if q.memory, err = k.memory(); err != nil {
			return err
		}
	}
	return nil
}

// changed measures the time from a change to the new file, for all at once: the
// same change at the same moment.
func (t *tools) changed(ctx context.Context, s *seeded, r *stayReport) error {
	all, stop, err := t.beginAll(ctx, s, task{interval: time.Second, templates: []string{secretTemplate("secret/data/bench/0000")}})
	if err != nil {
		return err
	}
	defer stop()
	r.changes = map[string][]time.Duration{}
	for i := range *changes {
		fmt.Fprintf(os.Stderr, "\rbench: change %d of %d", i+1, *changes)
		// At any moment of an interval.
		if err := wait(ctx, time.Second+rand.N(time.Second)); err != nil {
			return err
		}
		user := fmt.Sprintf("changed-%d", i)
		want := []byte(user + ":")
		start := time.Now()
		if err := s.call(ctx, http.MethodPost, "secret/data/bench/0000", map[string]any{"data": map[string]any{"username": user, "password": "p"}}, nil); err != nil {
			return err
		}
		took, errs := make([]time.Duration, len(all)), make([]error, len(all))
		var each sync.WaitGroup
		for j, k := range all {
			each.Go(func() {
				errs[j] = k.until(ctx, *patience, time.Millisecond, func() bool {
					got, err := os.ReadFile(output(k.own, 0))
					return err == nil && bytes.HasPrefix(got, want)
				})
				took[j] = time.Since(start)
			})
		}
		each.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for j, k := range all {
			r.changes[k.name] = append(r.changes[k.name], took[j])
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// What the round about requests keeps.
const (
	requestSecrets  = 3
	requestInterval = 30 * time.Second
)

// asked counts the requests for three secrets that are looked at again and again.
func (t *tools) asked(ctx context.Context, s *seeded, r *stayReport) error {
	fmt.Fprintf(os.Stderr, "bench: counting requests for %s\n", *watch)
	var task task
	task.interval = requestInterval
	for i := range requestSecrets {
		task.templates = append(task.templates, secretTemplate(fmt.Sprintf("secret/data/bench/%04d", i)))
	}
	all, stop, err := t.beginAll(ctx, s, task)
	if err != nil {
		return err
	}
	defer stop()
	// What belongs to the start is over when the first looks are due.
	if err := wait(ctx, requestInterval/2); err != nil {
		return err
	}
	before := map[string]map[string]int{}
	for _, k := range all {
		before[k.name] = k.requests.counts()
	}
	if err := wait(ctx, *watch); err != nil {
		return err
	}
	r.asked = map[string]map[string]int{}
	for _, k := range all {
		r.asked[k.name] = k.requests.since(before[k.name])
	}
	return nil
}
