package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/exchange"
)

// crowd asks n times at once and gives what each got when all have it.
func (b *bench) crowd(n int, ask func(i int) *exchange.Ask, fetch exchange.Fetch) []*exchange.Answer {
	out := make([]*exchange.Answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			a := ask(i)
			ans, ok := b.Look(a)
			if !ok {
				var err error
				if ans, err = b.Do(context.Background(), a, fetch); err != nil {
					b.t.Errorf("%d: %v", i, err)
				}
			}
			out[i] = ans
		})
	}
	wg.Wait()
	return out
}

func TestAThousandWhoMissTheSameMakeOneRequest(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBench(t, Options{})
	b.set("a", "one")
	gate := make(chan struct{})
	b.gate = gate
	a := get("t", "secret/data/a")
	var came atomic.Int64
	answers := b.crowd(1000, func(int) *exchange.Ask {
		if came.Add(1) == 1000 {
			close(gate)
		}
		return a
	}, b.fetch(a, "t"))
	if n := b.reads.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	misses := 0
	for _, ans := range answers {
		if ans.Status != 200 || !strings.Contains(string(ans.Body), "one") {
			t.Fatalf("%+v", ans)
		}
		if ans.From == exchange.Miss {
			misses++
		}
	}
	s := b.Stats()
	if misses != 1 || s.Misses != 1 || s.Hits != 999 {
		t.Errorf("%d misses; %+v", misses, s)
	}
}

func TestWhatIsNotKeptIsSharedOnlyWithThoseWhoCameBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		var sent, under, most atomic.Int64
		fetch := func(context.Context) (*exchange.Answer, error) {
			n := sent.Add(1)
			most.Store(max(most.Load(), under.Add(1)))
			time.Sleep(time.Second)
			under.Add(-1)
			return answer(200, `{"lease_id":"","data":{"n":`+string('0'+rune(n))+`},"mount_type":"pki"}`), nil
		}
		a := get("t", "pki/cert/x")
		began := time.Now()
		first := b.crowd(1000, func(int) *exchange.Ask { return a }, fetch)
		if n := sent.Load(); n != 2 {
			t.Errorf("%d requests", n)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		seconds := 0
		for _, ans := range first {
			if strings.Contains(string(ans.Body), `"n":2`) {
				seconds++
			}
		}
		if seconds != 999 {
			t.Errorf("%d got the second answer", seconds)
		}
		// Whoever comes while one is under way sees nothing from before he came.
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 400 * time.Millisecond)
				n := sent.Load()
				ans, err := b.Do(context.Background(), a, fetch)
				if err != nil || i > 0 && strings.Contains(string(ans.Body), string('0'+rune(n))) {
					t.Errorf("%d: %s, %v", i, ans.Body, err)
				}
			})
		}
		wg.Wait()
		if n := sent.Load(); n != 4 || most.Load() != 1 {
			t.Errorf("%d requests, %d at once", n, most.Load())
		}
	})
}

func TestWhatConcernsOneAloneIsAskedForByEachAtOnce(t *testing.T) {
	lease := `{"lease_id":"database/creds/a/1","renewable":false,"lease_duration":60,"data":{},"mount_type":"database"}`
	for name, c := range map[string]struct {
		a    *exchange.Ask
		body string
	}{
		"a lease":   {get("t", "database/creds/a"), lease},
		"a write":   {put("t", "transit/encrypt/a", "{}"), `{"data":{"ciphertext":"x"}}`},
		"a wrap":    {get("t", "cubbyhole/x"), `{"wrap_info":{"token":"x"}}`},
		"not JSON":  {get("t", "pki/ca/pem"), "-----BEGIN"},
		"a refusal": {put("t", "database/x", "{}"), `{"errors":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, Options{})
				var sent atomic.Int64
				fetch := func(context.Context) (*exchange.Answer, error) {
					sent.Add(1)
					time.Sleep(time.Second)
					return answer(200, c.body), nil
				}
				for round, limit := range []time.Duration{2 * time.Second, time.Second} {
					sent.Store(0)
					began := time.Now()
					answers := b.crowd(100, func(int) *exchange.Ask { return c.a }, fetch)
					slices.SortFunc(answers, func(x, y *exchange.Answer) int { return strings.Compare(string(x.Body), string(y.Body)) })
					if n := sent.Load(); n != 100 {
						t.Errorf("round %d: %d requests", round, n)
					}
					if took := time.Since(began); took != limit {
						t.Errorf("round %d took %v", round, took)
					}
				}
			})
		})
	}
}

func TestWhoHangsUpEndsTheRequestOnlyWhenNobodyElseWaits(t *testing.T) {
	for _, stays := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{})
			b.set("a", "one")
			gate := make(chan struct{})
			b.gate = gate
			a := get("t", "secret/data/a")
			ended := make(chan error, 1)
			fetch := func(ctx context.Context) (*exchange.Answer, error) {
				ans, err := b.fetch(a, "t")(ctx)
				ended <- err
				return ans, err
			}
			ctx, hangUp := context.WithCancel(context.Background())
			gone := make(chan error, 2)
			for range 2 {
				go func() {
					_, err := b.Do(ctx, a, fetch)
					gone <- err
				}()
			}
			synctest.Wait()
			got := make(chan error, 1)
			if stays {
				go func() {
					ans, err := b.Do(context.Background(), a, fetch)
					if err == nil && ans.From != exchange.Hit {
						err = errors.New("it was another request")
					}
					got <- err
				}()
			}
			synctest.Wait()
			hangUp()
			synctest.Wait()
			if stays {
				if len(ended) != 0 {
					t.Fatal("the request ended with its first client")
				}
				close(gate)
				if err := <-got; err != nil {
					t.Error(err)
				}
			} else if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the request ended with %v", err)
			}
			<-gone
			<-gone
			if n := b.reads.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
			// Nobody waits for what was given up.
			if !stays {
				b.gate = nil
				b.want(a, 200, exchange.Miss, "one")
			}
		})
	}
}

func TestUnrelatedRequestsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		b.set("a", "one")
		b.set("b", "other")
		gate := make(chan struct{})
		slow := make(chan struct{})
		a := get("t", "secret/data/a")
		go func() {
			defer close(slow)
			_, _ = b.Do(context.Background(), a, func(ctx context.Context) (*exchange.Answer, error) {
				<-gate
				return b.fetch(a, "t")(ctx)
			})
		}()
		synctest.Wait()
		b.want(get("t", "secret/data/b"), 200, exchange.Miss, "other")
		b.want(get("u", "secret/data/a"), 200, exchange.Miss, "one")
		b.want(get("t", "secret/data/a?version=1"), 200, exchange.Miss, "one")
		b.want(put("t", "secret/data/c", "x"), 200, exchange.Miss, "version")
		close(gate)
		<-slow
	})
}

func TestAStreamBelongsToWhoAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		a := get("t", "storage/snapshot")
		var ctxs []context.Context
		var mu sync.Mutex
		fetch := func(ctx context.Context) (*exchange.Answer, error) {
			mu.Lock()
			ctxs = append(ctxs, ctx)
			mu.Unlock()
			time.Sleep(time.Second)
			ans := answer(200, "")
			ans.Body = nil
			ans.Stream = &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("long"))}
			return ans, nil
		}
		ctx, cancel := context.WithCancel(context.Background())
		streams := map[*http.Response]bool{}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				ans, err := b.Do(ctx, a, fetch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				streams[ans.Stream] = true
			})
		}
		wg.Wait()
		if len(streams) != 3 || len(ctxs) != 3 {
			t.Fatalf("%d streams, %d requests", len(streams), len(ctxs))
		}
		// They are read after Do returned, and end with their clients.
		for _, c := range ctxs {
			if c.Err() != nil {
				t.Error("a stream was ended before it was read")
			}
		}
		cancel()
		synctest.Wait()
		for _, c := range ctxs {
			if c.Err() == nil {
				t.Error("a stream goes on without its client")
			}
		}
	})
}

func TestAnErrorIsSharedWhereNothingWasDone(t *testing.T) {
	for _, method := range []string{"GET", "PUT"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Options{})
			a := get("t", "secret/data/a")
			a.Method = method
			var sent, failed atomic.Int64
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if _, err := b.Do(context.Background(), a, func(context.Context) (*exchange.Answer, error) {
						sent.Add(1)
						time.Sleep(time.Second)
						return nil, unreachable
					}); errors.Is(err, unreachable) {
						failed.Add(1)
					}
				})
			}
			wg.Wait()
			want := map[string]int64{"GET": 1, "PUT": 50}[method]
			if sent.Load() != want || failed.Load() != 50 {
				t.Errorf("%s: %d requests, %d errors", method, sent.Load(), failed.Load())
			}
		})
	}
}

func TestAPanicLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{})
		b.set("a", "one")
		a := get("t", "secret/data/a")
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_, _ = b.Do(context.Background(), a, func(context.Context) (*exchange.Answer, error) {
				time.Sleep(time.Second)
				panic(http.ErrAbortHandler)
			})
		}()
		synctest.Wait()
		b.want(a, 200, exchange.Miss, "one")
		if got := <-panicked; got != http.ErrAbortHandler {
			t.Errorf("%v", got)
		}
	})
}

func BenchmarkMiss(b *testing.B) {
	c := New(Options{Static: Static{TTL: time.Hour}})
	a := get("t", "pki/cert/x")
	ans := answer(200, `{"lease_id":"","data":{"n":1},"mount_type":"pki"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.Look(a); ok {
			b.Fatal("kept")
		}
		if _, err := c.Do(b.Context(), a, func(context.Context) (*exchange.Answer, error) { return ans, nil }); err != nil {
			b.Fatal(err)
		}
	}
}
