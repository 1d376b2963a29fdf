package lease

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/cred"
)

// instant is a server that answers at once and remembers nothing.
type instant struct{ renewed chan struct{} }

func (instant) ReadEach(_ context.Context, reqs []cred.Request, each func(int, cred.Result)) {
	for i, req := range reqs {
		each(i, cred.Result{Secret: &cred.Secret{
			RequestID: "68e0bd6d-e6db-22e3-5ec5-fd2cc061848b",
			Lease:     cred.Lease{ID: req.Path + "/lcHX4RMS4uAWxSWLvsYHeFcQ", Duration: time.Hour, Renewable: true, Issued: cred.Wall(time.Now())},
			Data:      map[string]any{"username": "v-approle-app-lcHX4RMS4uAWxSWLvsYH-1795296344", "password": "A1a-5ooxVvHr9dPhKqQzWm3T"},
		}})
	}
}

func (instant) Version(context.Context, cred.Request) (string, bool, error) { return "", false, nil }

func (i instant) Renew(_ context.Context, id string, d time.Duration) (cred.Lease, error) {
	if i.renewed != nil {
		i.renewed <- struct{}{}
	}
	return cred.Lease{ID: id, Duration: d, Renewable: true, Issued: cred.Wall(time.Now())}, nil
}

func leases(n int) []cred.Request {
	reqs := make([]cred.Request, n)
	for i := range reqs {
		reqs[i].Path = fmt.Sprintf("database/creds/application-%05d", i)
	}
	return reqs
}

func BenchmarkRound100(b *testing.B)   { benchmarkRound(b, 100) }
func BenchmarkRound1000(b *testing.B)  { benchmarkRound(b, 1_000) }
func BenchmarkRound10000(b *testing.B) { benchmarkRound(b, 10_000) }

// benchmarkRound renews n leases that are due together, by a server that costs
// nothing.
func benchmarkRound(b *testing.B, n int) {
	m := New(Options{Log: quiet(), Parallel: 64})
	server := instant{renewed: make(chan struct{}, n)}
	m.Use(server)
	m.ReadEach(b.Context(), leases(n), func(int, cred.Result) {})
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = m.Keep(ctx, func([]string) {}) })
	b.ReportAllocs()
	for b.Loop() {
		m.dueNow()
		for range n {
			<-server.renewed
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/lease")
}

// dueNow makes all there is due, once all are back from the round before.
func (m *Manager) dueNow() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) < len(m.entries) {
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
	}
	now := cred.Wall(time.Now())
	for _, e := range m.entries {
		e.due = now
	}
	m.nudge()
}

func TestTenThousandLeasesNeedLittleMemory(t *testing.T) {
	const n, most = 10_000, 1500 // bytes for each
	reqs := leases(n)
	before := inUse()
	m := New(Options{Log: quiet()})
	m.Use(instant{})
	var good atomic.Int64
	m.ReadEach(t.Context(), reqs, func(_ int, res cred.Result) {
		if res.Err == nil {
			good.Add(1)
		}
	})
	if good.Load() != n {
		t.Fatalf("%d of %d answers", good.Load(), n)
	}
	per := (int64(inUse()) - int64(before)) / n
	if per > most {
		t.Errorf("%d bytes for each lease, want at most %d", per, most)
	}
	t.Logf("%d bytes for each lease", per)
	runtime.KeepAlive(m)
	runtime.KeepAlive(reqs)
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func BenchmarkRenewer100(b *testing.B)   { benchmarkRenewer(b, 100) }
func BenchmarkRenewer1000(b *testing.B)  { benchmarkRenewer(b, 1_000) }
func BenchmarkRenewer10000(b *testing.B) { benchmarkRenewer(b, 10_000) }

// benchmarkRenewer is benchmarkRound for a Renewer.
func benchmarkRenewer(b *testing.B, n int) {
	r := NewRenewer(Options{Log: quiet(), Parallel: 64})
	server := instant{renewed: make(chan struct{}, n)}
	for _, req := range leases(n) {
		id := req.Path + "/lcHX4RMS4uAWxSWLvsYHeFcQ"
		r.Hold(Held{
			Key: id, Lease: cred.Lease{ID: id, Duration: time.Hour, Renewable: true},
			Renew: func(ctx context.Context, d time.Duration) (cred.Lease, error) { return server.Renew(ctx, id, d) },
		})
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = r.Run(ctx) })
	b.ReportAllocs()
	for b.Loop() {
		r.dueNow()
		for range n {
			<-server.renewed
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/lease")
}

// dueNow makes all there is due, once all are back from the round before.
func (r *Renewer) dueNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.queue) < len(r.holds) {
		r.mu.Unlock()
		runtime.Gosched()
		r.mu.Lock()
	}
	now := cred.Wall(time.Now())
	for _, h := range r.holds {
		h.due = now
	}
	r.nudge()
}
