package cache

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/exchange"
)

// filled is a cache with n secrets of a kilobyte, and who asks for them.
func filled(tb testing.TB, n int) (*Cache, []*exchange.Ask) {
	c := New(Options{MaxBytes: 1 << 30, Server: newKV(), Static: Static{TTL: time.Hour, Stale: time.Hour, Capabilities: time.Hour}})
	asks := make([]*exchange.Ask, n)
	secret := strings.Repeat("x", 760)
	for i := range asks {
		asks[i] = &exchange.Ask{
			Method: "GET", Path: fmt.Sprintf("/v1/secret/data/team/app%06d/config", i), Namespace: "",
			Who: exchange.Who{Token: cred.Redact("hvs.CAESIJlU9JMYEhOPYv4igdhm9PnZDrabYTobQ4Ymnlq1qY-LGh4KHGh2cy43OVRNMnZakjZSRjlPU1p1ZWhh")},
			Header: http.Header{
				"Accept-Encoding": {"gzip"}, "User-Agent": {"Go-http-client/1.1"}, "X-Vault-Request": {"true"},
				"X-Vault-Token": {"there"}, "Traceparent": {fmt.Sprint(i)},
			},
		}
		_, err := c.Do(context.Background(), asks[i], func(context.Context) (*exchange.Answer, error) {
			return answer(200, fmt.Sprintf(`{"request_id":"2a3c5b1e-0000-0000-0000-%012d","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"v":%q},"metadata":{"created_time":"2026-01-02T03:04:05.123456789Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`, i, secret)), nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	if got := c.Stats().Entries; got != n {
		tb.Fatalf("%d entries of %d", got, n)
	}
	return c, asks
}

func TestAHitAllocatesNothing(t *testing.T) {
	c, asks := filled(t, 1)
	var missed bool
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := c.Look(asks[0]); !ok {
			missed = true
		}
	}); n != 0 || missed {
		t.Errorf("%v allocations, missed: %v", n, missed)
	}
}

// A hundred thousand are to fit into 220 MB, with what the collector leaves lying.
func TestASecretOfAKilobyteTakesLittleMore(t *testing.T) {
	const n = 20_000
	filled(t, 1) // what the runtime and the test need anyway
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c, asks := filled(t, n)
	for i := range asks {
		asks[i] = nil
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / n
	counted := c.Stats().Bytes / n
	t.Logf("%d bytes each, %d of them counted, %d objects each", each, counted, int64(after.HeapObjects-before.HeapObjects)/n)
	if each > 1600 {
		t.Errorf("an entry of a kilobyte takes %d bytes", each)
	}
	if counted < each-100 || counted > each+200 {
		t.Errorf("an entry takes %d bytes, and %d are counted", each, counted)
	}
}

func BenchmarkLook(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, asks := filled(b, n)
			b.ReportAllocs()
			// A request is at hand when it is looked at; what is kept is not.
			i, one, paths := 0, *asks[0], make([]string, n)
			for i, a := range asks {
				paths[i] = a.Path
			}
			for b.Loop() {
				one.Path = paths[i%n]
				if _, ok := c.Look(&one); !ok {
					b.Fatal("missed")
				}
				i += 7919
			}
		})
	}
}

func BenchmarkLookInParallel(b *testing.B) {
	c, asks := filled(b, 1000)
	b.ReportAllocs()
	var start atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for i := int(start.Add(331)); pb.Next(); i++ {
			if _, ok := c.Look(asks[i%len(asks)]); !ok {
				b.Error("missed")
			}
		}
	})
}

func BenchmarkFill(b *testing.B) {
	c, asks := filled(b, 1)
	var body []byte
	if ans, ok := c.Look(asks[0]); ok {
		body = ans.Body
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		a := *asks[0]
		a.Path = fmt.Sprint(a.Path, i)
		i++
		_, _ = c.Do(b.Context(), &a, func(context.Context) (*exchange.Answer, error) { return answer(200, string(body)), nil })
	}
}

func BenchmarkKey(b *testing.B) {
	_, asks := filled(b, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, how, _ := keyOf(asks[0], nil); how != usual {
			b.Fatal(how)
		}
	}
}
