package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"time"
)

// perTemplate is how many leases a template of the big rounds uses.
const perTemplate = 10

// leased measures n leases: how the program is while nothing is due, then one
// round of renewals.
func (t *tools) leased(ctx context.Context, s *seeded, n int, r *stayReport) error {
	// The first renewal comes at three fifths of a lease at the earliest: after
	// the start, which takes its time for many, and the quiet time.
	ttl := 2*(*settle+*idle) + time.Duration(n)*20*time.Millisecond
	if err := s.lend(ctx, n, ttl); err != nil {
		return err
	}
	row := &leaseRow{leases: n, ttl: ttl, quiet: map[string]*quiet{}, round: map[string]*round{}, late: map[string]bool{}}
	r.leases = append(r.leases, row)
	var task task
	for i := 0; i < n; i += perTemplate {
		var b strings.Builder
		for j := i; j < min(n, i+perTemplate); j++ {
			fmt.Fprintf(&b, `{{ with secret "rabbitmq/creds/%05d" }}{{ .Data.username }}:{{ .Data.password }}`+"\n{{ end }}", j)
		}
		task.templates = append(task.templates, b.String())
	}
	for _, name := range t.stayers() {
		err := t.renewals(ctx, s, name, task, row)
		if errors.Is(err, errPatience) {
			row.late[name] = true
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// renewals has one program hold the leases until each has been renewed once.
func (t *tools) renewals(ctx context.Context, s *seeded, name string, task task, row *leaseRow) error {
	fmt.Fprintf(os.Stderr, "bench: %d leases of %s, %s\n", row.leases, row.ttl, name)
	k, err := t.begin(ctx, s, name, task)
	if err != nil {
		return err
	}
	defer k.close()
	if err := wait(ctx, *settle); err != nil {
		return err
	}
	if err := watchQuiet(ctx, []*kept{k}, row.quiet); err != nil {
		return err
	}
	q := row.quiet[name]
	renewed := func() int { return k.requests.counts()[kindRenewal] }
	// There is one that renews each lease as soon as it has it.
	before := renewed()
	var from, to sample
	err = k.until(ctx, row.ttl, 50*time.Millisecond, func() bool {
		now := sample{at: time.Now(), renewed: renewed() - before}
		if now.cpu, err = k.cpu(); err != nil {
			return true
		}
		if from.at.IsZero() || now.renewed == 0 {
			from = now
		}
		to = now
		return now.renewed >= row.leases
	})
	if err != nil {
		return err
	}
	held, err := k.memory()
	if err != nil {
		return err
	}
	row.round[name] = &round{
		leases: to.renewed, rss: held.rss, took: to.at.Sub(from.at),
		cpu: to.cpu - from.cpu - time.Duration(float64(to.at.Sub(from.at))*q.share()/100),
	}
	return nil
}

type sample struct {
	at      time.Time
	cpu     time.Duration
	renewed int
}

// round is what it took to renew every lease once, without what the program
// takes while nothing is due.
type round struct {
	leases    int
	took, cpu time.Duration
	rss       int64 // when it is over
}

func (r *round) perLease() time.Duration { return r.cpu / time.Duration(r.leases) }

// lend sets up n leased secrets of ttl: users of a RabbitMQ, which is the leased
// engine of the real server that needs no database. What stands for RabbitMQ
// agrees to everything.
func (d *seeded) lend(ctx context.Context, n int, ttl time.Duration) error {
	type m = map[string]any
	if d.broker == nil {
		d.broker = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.Method {
			case http.MethodDelete:
				w.WriteHeader(http.StatusNoContent)
			case http.MethodPut:
				w.WriteHeader(http.StatusCreated)
			default:
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte("[]"))
			}
		}))
		if err := d.call(ctx, http.MethodPost, "sys/mounts/rabbitmq", m{"type": "rabbitmq"}, nil); err != nil {
			return err
		}
		if err := d.call(ctx, http.MethodPost, "rabbitmq/config/connection", m{"connection_uri": d.broker.URL, "username": "bench", "password": "bench"}, nil); err != nil {
			return err
		}
	}
	seconds := strconv.Itoa(int(ttl.Seconds()))
	if err := d.call(ctx, http.MethodPost, "rabbitmq/config/lease", m{"ttl": seconds, "max_ttl": 24 * 3600}, nil); err != nil {
		return err
	}
	for ; d.roles < n; d.roles++ {
		if err := d.call(ctx, http.MethodPost, fmt.Sprintf("rabbitmq/roles/%05d", d.roles), m{"tags": "none"}, nil); err != nil {
			return err
		}
	}
	return nil
}
