package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/cred"
	"latchkey/internal/retry"
	"latchkey/internal/vault"
)

// server counts requests and answers from a table "METHOD path" -> handler.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func serve(t *testing.T, routes map[string]func(w http.ResponseWriter, r *http.Request)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/v1/")
		line := r.Method + " " + path
		if r.URL.RawQuery != "" {
			line += "?" + r.URL.RawQuery
		}
		s.mu.Lock()
		s.seen = append(s.seen, line)
		s.mu.Unlock()
		if h := routes[r.Method+" "+path]; h != nil {
			h(w, r)
			return
		}
		if mount, ok := strings.CutPrefix(path, "sys/internal/ui/mounts/"); ok {
			first, _, _ := strings.Cut(mount, "/")
			switch first {
			case "kv2":
				_, _ = io.WriteString(w, `{"data":{"path":"kv2/","type":"kv","options":{"version":"2"}}}`)
			case "kv1":
				_, _ = io.WriteString(w, `{"data":{"path":"kv1/","type":"kv","options":{"version":"1"}}}`)
			case "team":
				second, _, _ := strings.Cut(strings.TrimPrefix(mount, "team/"), "/")
				fmt.Fprintf(w, `{"data":{"path":"team/%s/","type":"kv","options":{"version":"2"}}}`, second)
			default:
				w.WriteHeader(403)
				_, _ = io.WriteString(w, `{"errors":["preflight capability check returned 403"]}`)
			}
			return
		}
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"errors":[]}`)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := append([]string(nil), s.seen...)
	sort.Strings(out)
	return out
}

func data(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

func reader(t *testing.T, s *server, o Options) *Reader {
	t.Helper()
	c, err := vault.New(vault.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return New(c.As(cred.Redact("tok")), o)
}

func TestEachPathIsReadOnceAndEachMountAskedOnce(t *testing.T) {
	routes := map[string]func(http.ResponseWriter, *http.Request){}
	var reqs []cred.Request
	for i := range 50 {
		p := fmt.Sprintf("kv2/data/s%d", i)
		routes["GET "+p] = data(fmt.Sprintf(`{"data":{"data":{"n":"%d"},"metadata":{}}}`, i))
		reqs = append(reqs, cred.Request{Path: fmt.Sprintf("kv2/s%d", i)}, cred.Request{Path: fmt.Sprintf("kv2/s%d", i)})
	}
	s := serve(t, routes)
	r := reader(t, s, Options{})
	for range 2 {
		for i, res := range r.ReadAll(t.Context(), reqs) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
			if got := res.Secret.Data["data"].(map[string]any)["n"]; got != fmt.Sprint(i/2) {
				t.Errorf("answer %d is %v", i, got)
			}
		}
	}
	if n := len(s.requests()); n != 51 {
		t.Errorf("%d requests for 50 secrets of one mount, want 51", n)
	}
}

func TestASecretNamedInTwoWaysIsReadOnce(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv2/data/s": data(`{"data":{"data":{"n":"1"},"metadata":{}}}`),
	})
	r := reader(t, s, Options{Parallel: 2})
	reqs := []cred.Request{
		{Path: "kv2/s"}, {Path: "kv2/data/s"}, {Path: "kv2/data/s", Query: "version=1"}, {Path: "kv2/s", Query: "version=1"},
		{Path: "kv2/data/none"}, {Path: "kv2/none"},
	}
	for _, batch := range [][]cred.Request{reqs, reqs[:1], reqs} {
		for i, res := range r.ReadAll(t.Context(), batch) {
			if missing := i >= 4; errors.Is(res.Err, vault.ErrNotFound) != missing || (res.Err != nil) != missing {
				t.Errorf("%s: %v", batch[i], res.Err)
			}
		}
	}
	want := []string{"GET kv2/data/none", "GET kv2/data/s", "GET kv2/data/s?version=1"}
	var got []string
	for _, line := range s.requests() {
		if !strings.Contains(line, "sys/internal") {
			got = append(got, line)
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests %q, want %q", got, want)
	}
}

func TestPathsAreResolvedByTheMount(t *testing.T) {
	for _, c := range []struct {
		req  cred.Request
		want string
	}{
		{cred.Request{Path: "kv2/a/b"}, "GET kv2/data/a/b"},
		{cred.Request{Path: "kv2/data/a"}, "GET kv2/data/a"},
		{cred.Request{Path: "kv2/metadata/a"}, "GET kv2/metadata/a"},
		{cred.Request{Path: "kv2/subkeys/a"}, "GET kv2/subkeys/a"},
		{cred.Request{Path: "kv2/database"}, "GET kv2/data/database"},
		{cred.Request{Path: "kv2"}, "GET kv2/data"},
		{cred.Request{Path: "kv2/a", Query: "version=3"}, "GET kv2/data/a?version=3"},
		{cred.Request{Path: "kv1/a"}, "GET kv1/a"},
		{cred.Request{Path: "team/x/a"}, "GET team/x/data/a"},
		{cred.Request{Path: "denied/a"}, "GET denied/a"},
		{cred.Request{Op: cred.OpList, Path: "kv2/a"}, "GET kv2/metadata/a?list=true"},
		{cred.Request{Op: cred.OpList, Path: "kv2/metadata/a"}, "GET kv2/metadata/a?list=true"},
		{cred.Request{Op: cred.OpList, Path: "kv2"}, "GET kv2/metadata?list=true"},
		{cred.Request{Op: cred.OpList, Path: "kv1/a"}, "GET kv1/a?list=true"},
		{cred.Request{Op: cred.OpWrite, Path: "kv2/a", Body: map[string]any{"k": "v"}}, "PUT kv2/data/a"},
		{cred.Request{Op: cred.OpWrite, Path: "pki/issue/r", Body: map[string]any{"k": "v"}}, "PUT pki/issue/r"},
		{cred.Request{Path: "sys/policy"}, "GET sys/policy"},
	} {
		s := serve(t, nil)
		reader(t, s, Options{}).ReadAll(t.Context(), []cred.Request{c.req})
		found := false
		for _, line := range s.requests() {
			found = found || line == c.want
		}
		if !found {
			t.Errorf("%+v: want %s, the server saw %v", c.req, c.want, s.requests())
		}
	}
}

func TestMountsOfSeveralSegmentsAreEachAskedOnce(t *testing.T) {
	s := serve(t, nil)
	reader(t, s, Options{}).ReadAll(t.Context(), []cred.Request{{Path: "team/x/1"}, {Path: "team/x/2"}, {Path: "team/y/1"}, {Path: "team/y/2"}})
	n := 0
	for _, line := range s.requests() {
		if strings.Contains(line, "sys/internal/ui/mounts") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d preflights for two mounts: %v", n, s.requests())
	}
}

func TestAWriteToKV2IsWrappedInData(t *testing.T) {
	var body map[string]any
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"PUT kv2/data/a": func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewDecoder(r.Body).Decode(&body)
			_, _ = io.WriteString(w, `{"data":{"version":1}}`)
		},
	})
	reader(t, s, Options{}).ReadAll(t.Context(), []cred.Request{{Op: cred.OpWrite, Path: "kv2/a", Body: map[string]any{"k": "v"}}})
	if fmt.Sprint(body) != "map[data:map[k:v]]" {
		t.Errorf("body is %v", body)
	}
}

func TestAnEmptyListIsNoError(t *testing.T) {
	s := serve(t, nil)
	res := reader(t, s, Options{}).ReadAll(t.Context(), []cred.Request{{Op: cred.OpList, Path: "kv2/none"}})
	if res[0].Err != nil || res[0].Secret == nil {
		t.Errorf("%+v", res[0])
	}
}

func TestFaults(t *testing.T) {
	sched := retry.Schedule{Attempts: 3, Base: time.Millisecond, Max: time.Millisecond}
	for _, c := range []struct {
		name   string
		status []int
		want   error
		tries  int
	}{
		{"a missing secret is final", []int{404}, vault.ErrNotFound, 1},
		{"a denial is final", []int{403}, vault.ErrDenied, 1},
		{"a passing fault is tried again", []int{503, 429, 200}, nil, 3},
		{"attempts run out with the cause", []int{503, 503, 503, 503}, vault.ErrSealed, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
				"GET kv1/a": func(w http.ResponseWriter, _ *http.Request) {
					w.WriteHeader(c.status[n])
					n++
					_, _ = io.WriteString(w, `{"data":{"a":"b"}}`)
				},
			})
			r := reader(t, s, Options{Retry: sched})
			for range 2 {
				res := r.ReadAll(t.Context(), []cred.Request{{Path: "kv1/a"}})
				if !errors.Is(res[0].Err, c.want) || (res[0].Err == nil) != (c.want == nil) {
					t.Errorf("error %v, want %v", res[0].Err, c.want)
				}
			}
			if n != c.tries {
				t.Errorf("%d tries, want %d", n, c.tries)
			}
		})
	}
}

func TestAPreflightWithoutAnswerFailsTheReadWithItsCause(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET sys/internal/ui/mounts/kv2/a": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
	})
	res := reader(t, s, Options{}).ReadAll(t.Context(), []cred.Request{{Path: "kv2/a"}})
	if !errors.Is(res[0].Err, vault.ErrSealed) {
		t.Errorf("error is %v", res[0].Err)
	}
}

func TestCancelEndsAllReads(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv1/a": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	res := reader(t, s, Options{Retry: retry.Schedule{Attempts: 12, Base: time.Hour}}).ReadAll(ctx, []cred.Request{{Path: "kv1/a"}})
	if !errors.Is(res[0].Err, vault.ErrUnreachable) {
		t.Errorf("error is %v", res[0].Err)
	}
}

func TestLeasesAreKnown(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET database/creds/x": data(`{"lease_id":"database/creds/x/1","lease_duration":60,"renewable":true,"data":{"a":"b"}}`),
		"GET kv1/a":            data(`{"data":{"a":"b"},"lease_duration":2764800}`),
	})
	r := reader(t, s, Options{})
	r.ReadAll(t.Context(), []cred.Request{{Path: "database/creds/x"}, {Path: "kv1/a"}})
	if l := r.Leases(); len(l) != 1 || l[0].ID != "database/creds/x/1" {
		t.Errorf("leases are %v", l)
	}
}

func TestOneAPIPathNeedsNoPreflight(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){"GET kv2/data/a": data(`{"data":{"data":{"n":"1"},"metadata":{}}}`)})
	res := reader(t, s, Options{}).ReadAll(t.Context(), []cred.Request{{Path: "kv2/data/a"}})
	if res[0].Err != nil || fmt.Sprint(s.requests()) != "[GET kv2/data/a]" {
		t.Errorf("%v after %v", res[0].Err, s.requests())
	}
}

// beside serves two secrets, the second of which is answered only when the
// mount's preflight is there too: in sequence, nobody would come to an end.
func beside(t *testing.T, mount func(http.ResponseWriter, *http.Request)) *server {
	asked := make(chan struct{})
	preflight := func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		mount(w, r)
	}
	return serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv2/data/a": data(`{"data":{"data":{"n":"1"},"metadata":{}}}`),
		"GET kv2/data/b": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-asked:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, `{"data":{"data":{"n":"2"},"metadata":{}}}`)
		},
		"GET sys/internal/ui/mounts/kv2/data/a": preflight,
	})
}

func TestAPIPathsAreReadBesideTheirPreflight(t *testing.T) {
	s := beside(t, data(`{"data":{"path":"kv2/","type":"kv","options":{"version":"2"}}}`))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, res := range reader(t, s, Options{}).ReadAll(ctx, []cred.Request{{Path: "kv2/data/a"}, {Path: "kv2/data/b"}}) {
		if res.Err != nil {
			t.Error(res.Err)
		}
	}
	if len(s.requests()) != 3 {
		t.Errorf("requests: %v", s.requests())
	}
}

func TestAMountWhoseNameEndsInDataIsReadRight(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET team/data/data/a": data(`{"data":{"data":{"n":"right"},"metadata":{}}}`),
	})
	for _, parallel := range []int{1, 64} {
		r := reader(t, s, Options{Parallel: parallel})
		res := r.ReadAll(t.Context(), []cred.Request{{Path: "team/data/a"}, {Path: "team/data/b"}, {Path: "team/data/c"}})
		if res[0].Err != nil || res[0].Secret.Data["data"].(map[string]any)["n"] != "right" {
			t.Errorf("%v", res[0].Err)
		}
		if !errors.Is(res[1].Err, vault.ErrNotFound) || !strings.Contains(res[1].Err.Error(), "team/data/data/b") {
			t.Errorf("the error names the wrong path: %v", res[1].Err)
		}
	}
}

func TestAnswersAreHandedOverAsTheyArrive(t *testing.T) {
	first := make(chan struct{})
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv1/a": data(`{"data":{"n":"a"}}`),
		"GET kv1/b": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-first:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, `{"data":{"n":"b"}}`)
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := reader(t, s, Options{})
	var got []int
	r.ReadEach(ctx, []cred.Request{{Path: "kv1/b"}, {Path: "kv1/a"}, {Path: "kv1/b"}}, func(i int, res cred.Result) {
		if got = append(got, i); len(got) == 1 {
			close(first)
		}
		if res.Err != nil {
			t.Error(res.Err)
		}
	})
	if fmt.Sprint(got) != "[1 0 2]" {
		t.Errorf("answers came as %v", got)
	}
}

func TestAPreflightThatHangsDoesNotHoldUpWhatIsRead(t *testing.T) {
	s := beside(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, res := range reader(t, s, Options{}).ReadAll(ctx, []cred.Request{{Path: "kv2/data/a"}, {Path: "kv2/data/b"}}) {
		if res.Err != nil || ctx.Err() != nil {
			t.Errorf("%v, %v", res.Err, ctx.Err())
		}
	}
}

func TestAnUnansweredMountCostsOneMoreRoundAndNotOnePerPath(t *testing.T) {
	const n = 20
	var mu sync.Mutex
	together, most := 0, 0
	release := make(chan struct{})
	routes := map[string]func(http.ResponseWriter, *http.Request){}
	var reqs []cred.Request
	for i := range n {
		p := fmt.Sprintf("denied/%02d", i)
		reqs = append(reqs, cred.Request{Path: p})
		routes["GET "+p] = data(`{"data":{"n":"1"}}`)
		if i == 0 {
			continue // the first is refused at once
		}
		routes["GET sys/internal/ui/mounts/"+p] = func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			together++
			most = max(most, together)
			if together == n-1 {
				close(release)
			}
			mu.Unlock()
			select {
			case <-release:
			case <-r.Context().Done():
			}
			w.WriteHeader(403)
		}
	}
	s := serve(t, routes)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, res := range reader(t, s, Options{Parallel: 64}).ReadAll(ctx, reqs) {
		if res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if most != n-1 {
		t.Errorf("at most %d preflights together, want %d", most, n-1)
	}
}
