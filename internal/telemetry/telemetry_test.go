package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"latchkey/internal/config"
	"latchkey/internal/meter"
)

var update = flag.Bool("update", false, "write docs/metrics.md and the expected output anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// It is what rooms report to.
var _ meter.Meter = (*Telemetry)(nil)

// buffer is a log that may be written and read side by side.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	// wrote has something after a write; nil: nobody waits.
	wrote chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// build makes a Telemetry and the log it writes.
func build(t *testing.T, o Options) (*Telemetry, *buffer) {
	t.Helper()
	log := &buffer{wrote: make(chan struct{}, 1)}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	tel, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return tel, log
}

// prom is a stanza with Prometheus and plain names.
func prom() *config.Telemetry {
	return &config.Telemetry{PrometheusRetentionTime: 24 * time.Hour, DisableHostname: true}
}

// run runs a Telemetry until the returned function is called.
func run(t *testing.T, tel *Telemetry) (stop func()) {
	t.Helper()
	ended := errors.New("the test ended it")
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- tel.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel(ended)
		if err := <-done; !errors.Is(err, ended) {
			t.Errorf("Run: %v", err)
		}
	})
}

// get asks the endpoint.
func get(tel http.Handler, target string, accept ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", target, nil)
	for _, a := range accept {
		r.Header.Add("Accept", a)
	}
	w := httptest.NewRecorder()
	tel.ServeHTTP(w, r)
	return w
}

func scrape(t *testing.T, tel http.Handler) string {
	t.Helper()
	w := get(tel, "/agent/v1/metrics?format=prometheus")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// line is the value of one line of a scrape.
func line(t *testing.T, text, series string) float64 {
	t.Helper()
	for l := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(l, series+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no %s in\n%s", series, text)
	return 0
}

// reportAll reports every name once.
func reportAll(m meter.Meter) {
	for _, n := range Names {
		var labels []meter.Label
		for _, l := range n.Labels {
			labels = append(labels, meter.Label{Name: l, Value: "file"})
		}
		switch n.Kind {
		case Counter:
			m.Count(n.Name, 1, labels...)
		case Gauge:
			m.Gauge(n.Name, 1, labels...)
		case Histogram:
			m.Time(n.Name, 42*time.Millisecond, labels...)
		}
	}
}

func TestNewStartsNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	tel, _ := build(t, Options{Config: &config.Telemetry{
		StatsdAddress: "127.0.0.1:9", StatsiteAddress: "127.0.0.1:9", DogstatsdAddr: "127.0.0.1:9",
		PrometheusRetentionTime: time.Hour, OTLP: config.OTLP{Endpoint: "http://127.0.0.1:9"},
	}})
	reportAll(tel)
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines were started", now-before)
	}
}

func TestTheEndpointSpeaksWhatIsAskedFor(t *testing.T) {
	on, _ := build(t, Options{Config: prom()})
	off, _ := build(t, Options{})
	const js, text, plain = "application/json", contentType, "text/plain"
	for _, tc := range []struct {
		name, target, accept string
		tel                  *Telemetry
		code                 int
		typ                  string
	}{
		{"nothing said", "/", "", on, 200, js},
		{"JSON said", "/?format=json", "", on, 200, js},
		{"Prometheus said", "/?format=prometheus", "", on, 200, text},
		{"Prometheus' own header", "/", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", on, 200, text},
		{"the text format's header", "/", "text/plain;version=0.0.4", on, 200, text},
		{"Vault's own media type", "/", "prometheus/telemetry", on, 200, text},
		{"protobuf first, text later", "/", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;version=0.0.4;q=0.3", on, 200, text},
		{"a browser", "/", "text/html,application/xhtml+xml,*/*;q=0.8", on, 200, js},
		{"curl", "/", "*/*", on, 200, js},
		{"plain text", "/", "text/plain", on, 200, js},
		{"JSON said, Prometheus accepted", "/?format=json", "text/plain;version=0.0.4", on, 200, js},
		{"no header at all that can be read", "/", "\x00;;,/", on, 200, js},
		{"another format", "/?format=xml", "", on, 400, plain},
		{"Prometheus is off", "/?format=prometheus", "", off, 400, plain},
		{"Prometheus is off and accepted", "/", "prometheus/telemetry", off, 400, plain},
		{"JSON while Prometheus is off", "/", "", off, 200, js},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := get(tc.tel, tc.target, tc.accept)
			if w.Code != tc.code || w.Header().Get("Content-Type") != tc.typ || w.Body.Len() == 0 {
				t.Errorf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
		})
	}
	w := httptest.NewRecorder()
	on.ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != 405 || w.Header().Get("Allow") == "" || w.Body.String() != `{"errors":[]}`+"\n" {
		t.Errorf("POST: %d %s", w.Code, w.Body)
	}
}

// testdata/vault_agent.json is what Vault Agent 1.21 answered.
func TestTheJSONHasVaultAgentsShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel, _ := build(t, Options{Host: "vm"})
		stop := run(t, tel)
		defer stop()
		tel.Gauge("authenticated", 1)
		tel.Count("auth.success", 1)
		runtime.GC()
		time.Sleep(2 * step)
		shape := func(text []byte) map[string]bool {
			var v any
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			keys := map[string]bool{}
			var walk func(string, any)
			walk = func(at string, v any) {
				switch x := v.(type) {
				case map[string]any:
					for k, e := range x {
						keys[at+"."+k] = true
						walk(at+"."+k, e)
					}
				case []any:
					for _, e := range x {
						if m, ok := e.(map[string]any); ok && at != ".Samples" {
							keys[at+"="+m["Name"].(string)] = true
						}
						walk(at+"[]", e)
					}
				}
			}
			walk("", v)
			return keys
		}
		text, err := os.ReadFile(filepath.Join("testdata", "vault_agent.json"))
		if err != nil {
			t.Fatal(err)
		}
		// The counter's interval is over by now; its shape is that of samples.
		tel.Count("auth.success", 1)
		time.Sleep(step)
		want, got := shape(text), shape(get(tel, "/").Body.Bytes())
		for k := range want {
			if !got[k] && !strings.HasPrefix(k, ".Samples[]") {
				t.Errorf("missing: %s", k)
			}
		}
		for k := range got {
			if !want[k] && !strings.HasPrefix(k, ".Samples[]") && !strings.HasPrefix(k, ".Gauges=") {
				t.Errorf("extra: %s", k)
			}
		}
	})
}

// There, a gauge is gone ten seconds after it was set.
func TestTheJSONKeepsAGaugeForAsLongAsItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel, _ := build(t, Options{})
		tel.Gauge("authenticated", 1)
		time.Sleep(24 * time.Hour)
		if body := get(tel, "/").Body.String(); !strings.Contains(body, `{"Name":"vault.agent.authenticated","Value":1,"Labels":{}}`) {
			t.Errorf("%s", body)
		}
	})
}

// The host is in a gauge's name where Vault Agent 1.21 has it: with two places to
// send to, and not with one.
func TestNamesFollowTheStanza(t *testing.T) {
	const nobody = "127.0.0.1:9"
	yes, no := true, false
	for _, tc := range []struct {
		name    string
		c       *config.Telemetry
		gauge   string // of authenticated; "" for none
		counter string // of auth.success
	}{
		{"no stanza", nil, "vault.agent.authenticated", "vault.agent.auth.success"},
		{"an empty stanza", &config.Telemetry{}, "vault.agent.authenticated", "vault.agent.auth.success"},
		{"Prometheus alone", &config.Telemetry{PrometheusRetentionTime: time.Hour}, "vault.agent.authenticated", "vault.agent.auth.success"},
		{"statsd alone", &config.Telemetry{StatsdAddress: nobody}, "vault.agent.authenticated", "vault.agent.auth.success"},
		{"OTLP beside it", &config.Telemetry{StatsdAddress: nobody, OTLP: config.OTLP{Endpoint: "http://" + nobody, Interval: time.Minute}}, "vault.agent.authenticated", "vault.agent.auth.success"},
		{"the host in gauges", &config.Telemetry{PrometheusRetentionTime: time.Hour, StatsdAddress: nobody}, "vault.vm-1.agent.authenticated", "vault.agent.auth.success"},
		{"the same without Prometheus", &config.Telemetry{StatsiteAddress: nobody, DogstatsdAddr: nobody}, "vault.vm-1.agent.authenticated", "vault.agent.auth.success"},
		{"no host", &config.Telemetry{DisableHostname: true}, "vault.agent.authenticated", "vault.agent.auth.success"},
		{"a label for the host", &config.Telemetry{EnableHostnameLabel: true}, "vault.agent.authenticated host=vm-1", "vault.agent.auth.success host=vm-1"},
		{"another prefix", &config.Telemetry{DisableHostname: true, MetricsPrefix: "app"}, "app.agent.authenticated", "app.agent.auth.success"},
		{"one left out", &config.Telemetry{DisableHostname: true, PrefixFilter: []string{"-vault.agent.auth."}}, "vault.agent.authenticated", ""},
		{"only one", &config.Telemetry{DisableHostname: true, FilterDefault: &no, PrefixFilter: []string{"+vault.agent.auth.success"}}, "", "vault.agent.auth.success"},
		{"the longer rule wins", &config.Telemetry{DisableHostname: true, FilterDefault: &yes, PrefixFilter: []string{"-vault", "+vault.agent.authenticated"}}, "vault.agent.authenticated", ""},
		{"a rule that is none changes nothing", &config.Telemetry{DisableHostname: true, PrefixFilter: []string{"vault", "", "+"}}, "vault.agent.authenticated", "vault.agent.auth.success"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tel, _ := build(t, Options{Config: tc.c, Host: "vm-1"})
			tel.Gauge("authenticated", 1)
			tel.Count("auth.success", 1)
			var got summary
			if err := json.Unmarshal(get(tel, "/").Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, g := range got.Gauges {
				all = append(all, named(g.Name, g.Labels))
			}
			for _, c := range got.Counters {
				all = append(all, named(c.Name, c.Labels))
			}
			var want []string
			for _, n := range []string{tc.gauge, tc.counter} {
				if n != "" {
					want = append(want, n)
				}
			}
			if !slices.Equal(all, want) {
				t.Errorf("got %q, want %q", all, want)
			}
		})
	}
}

func named(name string, labels map[string]string) string {
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		name += " " + k + "=" + labels[k]
	}
	return name
}

func TestPrometheusGetsRealHistograms(t *testing.T) {
	tel, _ := build(t, Options{Config: prom()})
	for _, d := range []time.Duration{0, time.Millisecond, 1100 * time.Microsecond, 90 * time.Millisecond, time.Hour, -time.Second} {
		tel.Time("auth.login.time", d)
	}
	text := scrape(t, tel)
	for series, want := range map[string]float64{
		`vault_agent_auth_login_time_bucket{le="1"}`:     3, // 0, exactly 1, and what was negative
		`vault_agent_auth_login_time_bucket{le="2.5"}`:   4,
		`vault_agent_auth_login_time_bucket{le="50"}`:    4,
		`vault_agent_auth_login_time_bucket{le="100"}`:   5,
		`vault_agent_auth_login_time_bucket{le="60000"}`: 5,
		`vault_agent_auth_login_time_bucket{le="+Inf"}`:  6,
		`vault_agent_auth_login_time_count`:              6,
	} {
		if got := line(t, text, series); got != want {
			t.Errorf("%s is %v, want %v", series, got, want)
		}
	}
	if sum := line(t, text, "vault_agent_auth_login_time_sum"); math.Abs(sum-3600092.1) > 1 {
		t.Errorf("sum %v", sum)
	}
	if !strings.Contains(text, "# TYPE vault_agent_auth_login_time histogram\n") {
		t.Error("not a histogram")
	}
}

// A series that begins with its first failure has no increase that an alert
// could see.
func TestTheFirstFailureIsAStepFromZeroToOne(t *testing.T) {
	tel, _ := build(t, Options{Config: prom()})
	if v := line(t, scrape(t, tel), "vault_agent_auth_failure"); v != 0 {
		t.Errorf("before: %v", v)
	}
	tel.Count("auth.failure", 1)
	if v := line(t, scrape(t, tel), "vault_agent_auth_failure"); v != 1 {
		t.Errorf("after: %v", v)
	}
	if w := get(tel, "/"); strings.Contains(w.Body.String(), "cache.hit") {
		t.Errorf("JSON has what was never counted: %s", w.Body)
	}
}

func TestLabelsAndClusterComeOutInPrometheus(t *testing.T) {
	tel, _ := build(t, Options{Config: prom(), Cluster: "blue"})
	tel.Count("sink.success", 2, meter.Label{Name: "sink", Value: "file"})
	tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: "fd\"\\\n\xff"})
	text := scrape(t, tel)
	if v := line(t, text, `vault_agent_sink_success{cluster="blue",sink="file"}`); v != 2 {
		t.Errorf("%v", v)
	}
	if v := line(t, text, `vault_agent_sink_success{cluster="blue",sink="fd\"\\\n_"}`); v != 1 {
		t.Errorf("%v", v)
	}
}

func TestThePrometheusOutputTellsOfTheProcess(t *testing.T) {
	tel, _ := build(t, Options{Config: prom()})
	text := scrape(t, tel)
	for _, n := range processNames {
		if strings.HasPrefix(n.Name, "process_") && runtime.GOOS != "linux" {
			continue
		}
		series := n.Name
		if n.Name == "go_info" {
			series += `{version="` + runtime.Version() + `"}`
		}
		if v := line(t, text, series); v < 0 || v == 0 && n.Name != "process_cpu_seconds_total" {
			t.Errorf("%s is %v", n.Name, v)
		}
	}
	if runtime.GOOS == "linux" {
		started := time.Unix(int64(line(t, text, "process_start_time_seconds")), 0)
		if age := time.Since(started); age < -2*time.Second || age > time.Hour {
			t.Errorf("this process started %v ago", age)
		}
	}
}

func TestRetentionForgetsLabelsThatAreNotReportedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tel, _ := build(t, Options{Config: prom()})
		tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: "file"})
		tel.Gauge("token.ttl", 60)
		time.Sleep(23 * time.Hour)
		if !strings.Contains(scrape(t, tel), `sink="file"`) {
			t.Error("forgotten within the retention time")
		}
		time.Sleep(2 * time.Hour)
		text := scrape(t, tel)
		if strings.Contains(text, `sink="file"`) {
			t.Error("still there after it")
		}
		if line(t, text, "vault_agent_token_ttl") != 60 || line(t, text, "vault_agent_auth_failure") != 0 {
			t.Error("a gauge and a counter without labels must stay")
		}
	})
}

func TestMistakesAreLoggedOnceAndDropped(t *testing.T) {
	for _, tc := range []struct {
		name   string
		report func(meter.Meter)
		has    string
	}{
		{"a name nobody knows", func(m meter.Meter) { m.Count("no.such.name", 1) }, "not in the table"},
		{"a counter as a gauge", func(m meter.Meter) { m.Gauge("auth.success", 1) }, "another kind"},
		{"a gauge as a duration", func(m meter.Meter) { m.Time("token.ttl", 1) }, "another kind"},
		{"a counter that falls", func(m meter.Meter) { m.Count("auth.success", -1) }, "cannot have"},
		{"a gauge that is no number", func(m meter.Meter) { m.Gauge("token.ttl", math.NaN()) }, "cannot have"},
		{"a gauge without a bound", func(m meter.Meter) { m.Gauge("token.ttl", math.Inf(1)) }, "cannot have"},
		{"a label nobody knows", func(m meter.Meter) { m.Count("auth.success", 1, meter.Label{Name: "path", Value: "secret/x"}) }, "label"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tel, log := build(t, Options{Config: prom()})
			before := get(tel, "/").Body.String()
			for range 3 {
				tc.report(tel)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), tc.has) {
				t.Errorf("logged %d times: %s", n, log)
			}
			if strings.Contains(log.String(), "secret/x") {
				t.Errorf("a label's value is in the log: %s", log)
			}
			var a, b summary
			_ = json.Unmarshal([]byte(before), &a)
			if err := json.Unmarshal(get(tel, "/").Body.Bytes(), &b); err != nil || len(b.Gauges)+len(b.Counters)+len(b.Samples) != 0 {
				t.Errorf("it was counted: %+v, %v", b, err)
			}
		})
	}
}

func TestLabelsWithoutABoundDoNotGrowMemory(t *testing.T) {
	tel, log := build(t, Options{Config: prom()})
	for i := range 10 * maxVariants {
		tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: strconv.Itoa(i)})
	}
	if n := strings.Count(scrape(t, tel), "vault_agent_sink_success{"); n != maxVariants {
		t.Errorf("%d series", n)
	}
	if n := strings.Count(log.String(), "more different labels"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestDumpShowsWhatIsInMemory(t *testing.T) {
	tel, _ := build(t, Options{Config: prom()})
	tel.Gauge("token.ttl", 59)
	tel.Count("sink.success", 3, meter.Label{Name: "sink", Value: "file"})
	tel.Time("sink.write.time", 2*time.Millisecond, meter.Label{Name: "sink", Value: "file"})
	var b strings.Builder
	if err := tel.Dump(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"[G] 'vault.agent.token.ttl': 59.000\n",
		"[C] 'vault.agent.sink.success;sink=file': Count: 1 Sum: 3.000",
		"[S] 'vault.agent.sink.write.time;sink=file': Count: 1 Sum: 2.000",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	pr, pw := io.Pipe()
	_ = pr.Close()
	if err := tel.Dump(pw); err == nil {
		t.Error("no error from a pipe that is closed")
	}
}

func TestReportsFromEverywhereAddUp(t *testing.T) {
	tel, _ := build(t, Options{Config: prom()})
	stop := run(t, tel)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				tel.Count("auth.success", 1)
				tel.Gauge("token.ttl", 1)
				tel.Time("auth.login.time", time.Millisecond)
				_ = tel.Dump(io.Discard)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			_ = scrape(t, tel)
			_ = get(tel, "/")
		}
	})
	wg.Wait()
	stop()
	text := scrape(t, tel)
	if line(t, text, "vault_agent_auth_success") != 4000 || line(t, text, "vault_agent_auth_login_time_count") != 4000 {
		t.Errorf("something got lost:\n%s", text)
	}
}

func TestAReloadKeepsCountsUnlessNamesChange(t *testing.T) {
	tel, _ := build(t, Options{Config: prom(), Host: "vm"})
	stop := run(t, tel)
	defer stop()
	tel.Count("auth.success", 3)
	next := prom()
	next.PrometheusRetentionTime = time.Hour
	if err := tel.Reload(Options{Config: next, Host: "vm"}); err != nil {
		t.Fatal(err)
	}
	tel.Count("auth.success", 1)
	if v := line(t, scrape(t, tel), "vault_agent_auth_success"); v != 4 {
		t.Errorf("%v", v)
	}
	bad := prom()
	bad.StatsdAddress = "nowhere"
	var p *config.Problem
	if err := tel.Reload(Options{Config: bad, Host: "vm"}); !errors.As(err, &p) || p.Key != "telemetry.statsd_address" {
		t.Errorf("%v", err)
	}
	if v := line(t, scrape(t, tel), "vault_agent_auth_success"); v != 4 {
		t.Errorf("after a stanza that is bad: %v", v)
	}
	renamed := prom()
	renamed.MetricsPrefix = "app"
	if err := tel.Reload(Options{Config: renamed, Host: "vm"}); err != nil {
		t.Fatal(err)
	}
	if v := line(t, scrape(t, tel), "app_agent_auth_success"); v != 0 {
		t.Errorf("%v", v)
	}
	if err := tel.Reload(Options{}); err != nil {
		t.Fatal(err)
	}
	if w := get(tel, "/?format=prometheus"); w.Code != 400 {
		t.Errorf("Prometheus after the stanza is gone: %d", w.Code)
	}
}

func TestAStanzaThatCannotBeUsedIsToldWithItsPlace(t *testing.T) {
	pos := config.Pos{File: "agent.hcl", Line: 9, Column: 1}
	for _, tc := range []struct {
		name, key string
		c         config.Telemetry
	}{
		{"statsd without a port", "telemetry.statsd_address", config.Telemetry{StatsdAddress: "localhost"}},
		{"statsite with a URL", "telemetry.statsite_address", config.Telemetry{StatsiteAddress: "http://localhost:8125"}},
		{"DogStatsD without a host", "telemetry.dogstatsd_addr", config.Telemetry{DogstatsdAddr: ":8125"}},
		{"DogStatsD without a path", "telemetry.dogstatsd_addr", config.Telemetry{DogstatsdAddr: "unix://"}},
		{"OTLP without a scheme", "telemetry.otlp_endpoint", config.Telemetry{OTLP: config.OTLP{Endpoint: "collector:4318"}}},
		{"OTLP with a password and a bad URL", "telemetry.otlp_endpoint", config.Telemetry{OTLP: config.OTLP{Endpoint: "http://u:hunter2@[::1"}}},
		{"a header with a line break", "telemetry.otlp_headers", config.Telemetry{OTLP: config.OTLP{Endpoint: "http://c:1", Headers: config.Headers{"api-key": "hunter2\r\nX: y"}}}},
		{"a header with a space", "telemetry.otlp_headers", config.Telemetry{OTLP: config.OTLP{Endpoint: "http://c:1", Headers: config.Headers{"api key": "hunter2"}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.c.Pos = pos
			_, err := New(Options{Config: &tc.c})
			var p *config.Problem
			if !errors.As(err, &p) || p.Key != tc.key || p.Pos != pos {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a secret is in %v", err)
			}
		})
	}
}

func TestWhatIsNotDoneIsWarnedAbout(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    *config.Telemetry
		keys string
	}{
		{"no stanza", nil, ""},
		{"all is well", prom(), ""},
		{"services that are not supported", &config.Telemetry{Other: map[string]string{"stackdriver_project_id": "x", "circonus_api_token": "hunter2"}}, "telemetry.circonus_api_token telemetry.stackdriver_project_id"},
		{"rules that are none", &config.Telemetry{PrefixFilter: []string{"+a", "b", "", "+", "--c"}}, strings.TrimSpace(strings.Repeat("telemetry.prefix_filter ", 4))},
		{"Prometheus alone", &config.Telemetry{PrometheusRetentionTime: 1}, ""},
		{"hosts in Prometheus' names", &config.Telemetry{PrometheusRetentionTime: 1, StatsdAddress: "127.0.0.1:9"}, "telemetry.disable_hostname"},
		{"hosts in a label", &config.Telemetry{PrometheusRetentionTime: 1, StatsdAddress: "127.0.0.1:9", EnableHostnameLabel: true}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var keys []string
			for _, w := range Warnings(tc.c) {
				keys = append(keys, w.Key)
				if strings.Contains(w.String(), "hunter2") {
					t.Errorf("a secret is in %s", w)
				}
			}
			if got := strings.Join(keys, " "); got != tc.keys {
				t.Errorf("warned about %q, want %q", got, tc.keys)
			}
		})
	}
}

// The Prometheus text format as its documentation has it. The official parser
// reads testdata/prometheus.txt in e2e.
var (
	helpLine   = regexp.MustCompile(`^# HELP [a-zA-Z_:][a-zA-Z0-9_:]* [^\n]*$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*"(,[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\["\\n])*")*\})? (\S+)$`)
)

// checkExposition fails for what Prometheus would not read.
func checkExposition(t *testing.T, text string) {
	t.Helper()
	types, family, seen := map[string]string{}, "", map[string]bool{}
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line does not end")
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if m := typeLine.FindStringSubmatch(l); m != nil {
			if types[m[1]] != "" {
				t.Errorf("%s begins twice", m[1])
			}
			family, types[m[1]] = m[1], m[2]
			continue
		}
		if helpLine.MatchString(l) {
			continue
		}
		m := sampleLine.FindStringSubmatch(l)
		if m == nil {
			t.Errorf("not a line: %q", l)
			continue
		}
		name := m[1]
		if typ := types[family]; typ == "histogram" || typ == "summary" {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if base, ok := strings.CutSuffix(m[1], suffix); ok && base == family {
					name = base
				}
			}
		}
		if name != family {
			t.Errorf("%q stands below %s", l, family)
		}
		if seen[m[1]+m[2]] {
			t.Errorf("%s%s comes twice", m[1], m[2])
		}
		seen[m[1]+m[2]] = true
		if _, err := strconv.ParseFloat(m[6], 64); err != nil {
			t.Errorf("%q: %v", l, err)
		}
	}
}

func FuzzExposition(f *testing.F) {
	f.Add("vault", "vm-1.example", "blue", "file", 1.5)
	f.Add("9 lives", "\xff\x00", "a\"b\\c\nd", "{}", -1e300)
	f.Add("", "", "", "", 0.0)
	f.Fuzz(func(t *testing.T, prefix, host, cluster, label string, value float64) {
		for _, hostLabel := range []bool{true, false} {
			c := &config.Telemetry{PrometheusRetentionTime: time.Hour, MetricsPrefix: prefix, EnableHostnameLabel: hostLabel}
			tel, err := New(Options{Config: c, Host: host, Cluster: cluster})
			if err != nil {
				t.Fatal(err)
			}
			tel.Gauge("token.ttl", value)
			tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: label})
			tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: label + "2"})
			tel.Time("sink.write.time", time.Duration(value), meter.Label{Name: "sink", Value: label})
			checkExposition(t, scrape(t, tel))
			if body := get(tel, "/").Body.Bytes(); !json.Valid(body) {
				t.Errorf("no JSON: %s", body)
			}
		}
	})
}

func FuzzFilters(f *testing.F) {
	f.Add("+a")
	f.Add("-")
	f.Fuzz(func(t *testing.T, rule string) {
		allow, block, bad := filters([]string{rule})
		if len(allow)+len(block)+len(bad) != 1 {
			t.Fatalf("%q gives %q %q %q", rule, allow, block, bad)
		}
		for _, p := range slices.Concat(allow, block) {
			if p == "" || !strings.HasSuffix(rule, p) {
				t.Errorf("%q gives %q", rule, p)
			}
		}
	})
}
