package vaulttest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/vaulttest"
)

type fronted interface {
	Addr() string
	Rude(vaulttest.Match, vaulttest.Rudeness) func()
	Requests() []vaulttest.Request
	Count(method, path string) int
	Forget()
}

// each runs a test on a fake and on a proxy before one.
func each(t *testing.T, test func(t *testing.T, f fronted, s *vaulttest.Server)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) {
		s := vaulttest.New(t)
		test(t, s, s)
	})
	t.Run("proxy", func(t *testing.T) {
		s := vaulttest.New(t)
		test(t, vaulttest.NewProxy(t, s.Addr(), nil), s)
	})
}

func get(t *testing.T, f fronted, path string) (*http.Response, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.Addr()+"/v1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "front test")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

var health = vaulttest.Match{Method: "GET", Path: "sys/health"}

func TestAStatusComesSoOftenAndWithItsRetryAfter(t *testing.T) {
	each(t, func(t *testing.T, f fronted, _ *vaulttest.Server) {
		f.Rude(health, vaulttest.Rudeness{Skip: 1, Times: 2, Status: 429, Errors: []string{"slow down"}, RetryAfter: 1500 * time.Millisecond})
		for i, want := range []int{200, 429, 429, 200} {
			resp, body, err := get(t, f, "sys/health")
			if err != nil || resp.StatusCode != want {
				t.Fatalf("request %d: %v %v, want %d", i, resp, err, want)
			}
			if want == 429 && (resp.Header.Get("Retry-After") != "2" || body != "{\"errors\":[\"slow down\"]}\n") {
				t.Errorf("Retry-After %q, body %q", resp.Header.Get("Retry-After"), body)
			}
		}
		if _, body, err := get(t, f, "sys/seal-status"); err != nil || strings.Contains(body, "slow down") {
			t.Errorf("another path was treated rudely: %s %v", body, err)
		}
	})
}

func TestHalfABodyIsAnErrorForWhoReadsIt(t *testing.T) {
	each(t, func(t *testing.T, f fronted, _ *vaulttest.Server) {
		f.Rude(health, vaulttest.Rudeness{Half: true})
		resp, body, err := get(t, f, "sys/health")
		if resp == nil || resp.StatusCode != 200 || !errors.Is(err, io.ErrUnexpectedEOF) || body == "" {
			t.Errorf("got %v %q %v", resp, body, err)
		}
	})
}

func TestADroppedConnectionHasNoAnswer(t *testing.T) {
	each(t, func(t *testing.T, f fronted, _ *vaulttest.Server) {
		stop := f.Rude(health, vaulttest.Rudeness{Drop: true})
		if resp, _, err := get(t, f, "sys/health"); err == nil {
			t.Errorf("got %v", resp)
		}
		stop()
		if _, _, err := get(t, f, "sys/health"); err != nil {
			t.Errorf("after stop: %v", err)
		}
		if r := f.Requests(); len(r) != 2 || r[0].Status != 0 || r[1].Status != 200 {
			t.Errorf("recorded %+v", r)
		}
	})
}

func TestAHangingServerLetsGoWhenItCloses(t *testing.T) {
	s := vaulttest.New(t)
	s.Rude(health, vaulttest.Rudeness{Hang: true, Do: func() { go s.Close() }})
	if resp, _, err := get(t, s, "sys/health"); err == nil {
		t.Errorf("got %v", resp)
	}
}

func TestAHangingServerLetsGoOfAClientThatLeaves(t *testing.T) {
	s := vaulttest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.Rude(health, vaulttest.Rudeness{Hang: true, Do: cancel})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Addr()+"/v1/sys/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v %v", resp, err)
	}
}

func TestADelayAndThenTheTrueAnswer(t *testing.T) {
	each(t, func(t *testing.T, f fronted, _ *vaulttest.Server) {
		f.Rude(health, vaulttest.Rudeness{Delay: 100 * time.Millisecond})
		start := time.Now()
		resp, _, err := get(t, f, "sys/health")
		if err != nil || resp.StatusCode != 200 || time.Since(start) < 100*time.Millisecond {
			t.Errorf("got %v %v after %s", resp, err, time.Since(start))
		}
	})
}

func TestAnyBodyCanBeAnswered(t *testing.T) {
	each(t, func(t *testing.T, f fronted, _ *vaulttest.Server) {
		f.Rude(vaulttest.Match{}, vaulttest.Rudeness{Raw: "<html>"})
		if resp, body, err := get(t, f, "secret/data/x"); err != nil || resp.StatusCode != 200 || body != "<html>" {
			t.Errorf("got %v %q %v", resp, body, err)
		}
	})
}

func TestRequestsAreRecordedAndCounted(t *testing.T) {
	each(t, func(t *testing.T, f fronted, s *vaulttest.Server) {
		admin := vaulttest.NewAdmin(t, f.Addr(), s.RootToken, nil, nil).With("X-Vault-Namespace", "ns")
		admin.OK("POST", "secret/data/app", vaulttest.Map{"data": vaulttest.Map{"a": "b"}})
		admin.OK("GET", "secret/data/app?version=1", nil)
		admin.OK("GET", "secret/metadata?list=true", nil)
		for want, match := range map[vaulttest.Match]int{
			{Method: "PUT", Path: "secret/data/app"}: 1, {Method: "POST", Path: "secret/*"}: 1, {Method: "GET"}: 1,
			{Method: "LIST", Path: "secret/metadata"}: 1, {Path: "secret/*"}: 3, {Path: "secret"}: 0,
		} {
			if got := f.Count(want.Method, want.Path); got != match {
				t.Errorf("%s %s counted %d times, want %d", want.Method, want.Path, got, match)
			}
		}
		r := f.Requests()
		if string(r[0].Body) != `{"data":{"a":"b"}}` || r[0].Header.Get("X-Vault-Namespace") != "ns" || r[1].Query != "version=1" ||
			r[1].Status != 200 || !strings.Contains(string(r[1].Answer), `"a":"b"`) {
			t.Errorf("recorded %+v", r)
		}
		f.Forget()
		if len(f.Requests()) != 0 || f.Count("", "*") != 0 {
			t.Error("still recorded after Forget")
		}
	})
}

func TestThePeakIsHowManyWereOpenAtOnce(t *testing.T) {
	s := vaulttest.New(t)
	const n = 5
	arrived, free := make(chan struct{}, n), make(chan struct{})
	s.Rude(health, vaulttest.Rudeness{Do: func() { arrived <- struct{}{}; <-free }})
	errs := make(chan error, n)
	for range n {
		go func() {
			_, _, err := get(t, s, "sys/health")
			errs <- err
		}()
	}
	for range n {
		<-arrived
	}
	close(free)
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if s.Peak() != n {
		t.Errorf("peak %d, want %d", s.Peak(), n)
	}
	if ua := s.UserAgents(); len(ua) != 1 || ua[0] != "front test" {
		t.Errorf("user agents %q", ua)
	}
}

func TestALateAnswerTellsOfWhatWasBefore(t *testing.T) {
	each(t, func(t *testing.T, f fronted, s *vaulttest.Server) {
		f.Rude(health, vaulttest.Rudeness{Times: 1, Late: s.Seal})
		for i, want := range []int{200, 503} {
			if resp, body, err := get(t, f, health.Path); err != nil || resp.StatusCode != want {
				t.Errorf("request %d: %v %v %s, want %d", i, resp, err, body, want)
			}
		}
	})
}

func TestALargeBodyPassesWholeAndIsRecordedInPart(t *testing.T) {
	const size = 3 << 20
	each(t, func(t *testing.T, f fronted, s *vaulttest.Server) {
		want := s.Snapshots(size)
		admin := vaulttest.NewAdmin(t, f.Addr(), s.RootToken, nil, nil)
		down := admin.OK("GET", "sys/storage/raft/snapshot", nil)
		sum := sha256.Sum256(down.Body)
		if got := hex.EncodeToString(sum[:]); got != want || len(down.Body) != size {
			t.Errorf("%d bytes came down, others than were promised", len(down.Body))
		}
		admin.OK("POST", "sys/storage/raft/snapshot", down.Body)
		if n, got := s.Taken(); n != size || got != want {
			t.Errorf("%d bytes came up, others than were sent", n)
		}
		all := f.Requests()
		if len(all) != 2 || len(all[0].Answer) != 1<<20 || len(all[1].Body) != 1<<20 {
			t.Errorf("recorded were %d requests, %d and %d bytes", len(all), len(all[0].Answer), len(all[1].Body))
		}
	})
}

func TestOpenRequestsAreCounted(t *testing.T) {
	s := vaulttest.New(t)
	open := make(chan int, 1)
	s.Rude(health, vaulttest.Rudeness{Do: func() { open <- s.Open() }})
	if _, _, err := get(t, s, health.Path); err != nil {
		t.Fatal(err)
	}
	if n := <-open; n != 1 {
		t.Errorf("%d were open, want 1", n)
	}
}
