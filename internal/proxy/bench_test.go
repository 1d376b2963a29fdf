package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/internal/exchange"
	"latchkey/internal/vault"
)

// sink is a ResponseWriter without a network.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

// one is a cache that always has the same answer.
type one struct {
	strict
	ans exchange.Answer
}

func (c *one) Look(*exchange.Ask) (*exchange.Answer, bool) { return &c.ans, true }

func hitAnswer(body []byte) exchange.Answer {
	return exchange.Answer{
		Status: 200, From: exchange.Hit, At: time.Now().Add(-time.Minute), Body: body,
		Header: http.Header{
			"Cache-Control": {"no-store"}, "Content-Type": {"application/json"}, "Strict-Transport-Security": {"max-age=31536000; includeSubDomains"},
		},
	}
}

// BenchmarkHit is what the proxy adds to a handler that writes the same bytes
// (BenchmarkBare): the difference of the two is its cost, the cache aside.
func BenchmarkHit(b *testing.B) {
	for _, who := range []string{"lent", "own token"} {
		b.Run(who, func(b *testing.B) {
			c, err := vault.New(vault.Config{Address: "http://127.0.0.1:1"})
			if err != nil {
				b.Fatal(err)
			}
			h := Handler(Options{Client: c, Lend: LendYes, Identity: &identity{}, Cache: &one{ans: hitAnswer(make([]byte, 1024))}})
			r := request("GET", "/v1/secret/data/app")
			if who == "own token" {
				r.Header["X-Vault-Token"] = []string{"hvs.mine"}
			}
			run(b, h, r)
		})
	}
}

// BenchmarkBare is the handler that a user could write.
func BenchmarkBare(b *testing.B) {
	body := make([]byte, 1024)
	run(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(body)
	}), request("GET", "/v1/secret/data/app"))
}

func request(method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Header = http.Header{"User-Agent": {"curl/8"}, "Accept": {"*/*"}, "X-Vault-Request": {"true"}}
	return r
}

func run(b *testing.B, h http.Handler, r *http.Request) {
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(&sink{header: make(http.Header)}, r)
	}
}

// BenchmarkPassThrough and BenchmarkStraight ask the same server, with a proxy
// between and without.
func BenchmarkPassThrough(b *testing.B) { through(b, false, false) }

func BenchmarkPassThroughMiss(b *testing.B) { through(b, false, true) }

func BenchmarkStraight(b *testing.B) { through(b, true, false) }

// never is a cache that has nothing and asks each time.
type never struct{ strict }

func (*never) Look(*exchange.Ask) (*exchange.Answer, bool) { return nil, false }

func through(b *testing.B, straight, cached bool) {
	body := `{"data":"` + strings.Repeat("x", 500) + `"}`
	s := set(b, asJSON(200, body), func(o *Options, _ *vault.Config) {
		o.Log, o.Lend = nil, LendNo
		if cached {
			o.Cache = &never{strict{kept: map[string]*exchange.Answer{}}}
		}
	})
	url := s.url
	if straight {
		url = s.up.URL
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := s.client.Get(url + "/v1/secret/data/app")
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(len(body)) {
			b.Fatal(n, err)
		}
		resp.Body.Close()
	}
}

// A hit costs at most six allocations more than a handler that has the bytes at
// hand; here are those of this room.
func TestAHitCostsFewAllocations(t *testing.T) {
	c, err := vault.New(vault.Config{Address: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(Options{Client: c, Cache: &one{ans: hitAnswer(make([]byte, 4096))}})
	for _, tc := range []struct {
		method, path, body string
	}{
		{"GET", "/v1/secret/data/app", ""},
		{"POST", "/v1/auth/token/create", `{"ttl":"1h"}`},
	} {
		t.Run(tc.method, func(t *testing.T) {
			r := request(tc.method, tc.path)
			r.Header["X-Vault-Token"] = []string{"hvs.mine"}
			body := strings.NewReader("")
			if tc.body != "" {
				r.Body, r.ContentLength = io.NopCloser(body), int64(len(tc.body))
			}
			w := &sink{header: make(http.Header)}
			if n := testing.AllocsPerRun(1000, func() {
				body.Reset(tc.body)
				h.ServeHTTP(w, r)
			}); n > 4 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
