package telemetry

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/internal/config"
	"latchkey/internal/meter"
)

// collector takes pushes; each goes to got before it is answered.
type collector struct {
	*httptest.Server
	got    chan push
	answer func(w http.ResponseWriter)
}

type push struct {
	path   string
	header http.Header
	body   exportRequest
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{got: make(chan push, 100)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := push{path: r.URL.Path, header: r.Header.Clone()}
		text, err := io.ReadAll(r.Body)
		if err == nil {
			d := json.NewDecoder(strings.NewReader(string(text)))
			d.DisallowUnknownFields()
			err = d.Decode(&p.body)
		}
		if err != nil {
			t.Errorf("%v in %s", err, text)
		}
		c.got <- p
		if c.answer != nil {
			c.answer(w)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// next is the next push.
func (c *collector) next(t *testing.T) push {
	t.Helper()
	select {
	case p := <-c.got:
		return p
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was pushed")
		return push{}
	}
}

func otlp(endpoint string) *config.Telemetry {
	return &config.Telemetry{DisableHostname: true, OTLP: config.OTLP{Endpoint: endpoint, Interval: time.Second}}
}

func TestACollectorGetsEverything(t *testing.T) {
	c := newCollector(t)
	stanza := otlp(c.URL)
	stanza.DisableHostname = false // gauges are named with the host, but not here
	stanza.OTLP.Headers = config.Headers{"Api-Key": "hunter2"}
	tel, log := build(t, Options{Config: stanza, Host: "vm", Cluster: "blue", Version: "1.2.3"})
	tel.Gauge("token.ttl", 59.5)
	tel.Count("sink.success", 2, meter.Label{Name: "sink", Value: "file"})
	tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: "stdout"})
	tel.Time("auth.login.time", 3*time.Millisecond)
	defer run(t, tel)()
	p := c.next(t)
	if p.path != "/v1/metrics" || p.header.Get("Api-Key") != "hunter2" || p.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", p.path, p.header)
	}
	rm := p.body.ResourceMetrics[0]
	about := map[string]string{}
	for _, a := range rm.Resource.Attributes {
		about[a.Key] = a.Value.String
	}
	if about["service.name"] != "latchkey" || about["service.version"] != "1.2.3" || about["host.name"] != "vm" || about["cluster"] != "blue" {
		t.Errorf("%v", about)
	}
	all := map[string]metric{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		if _, twice := all[m.Name]; twice {
			t.Errorf("%s comes twice", m.Name)
		}
		all[m.Name] = m
	}
	if m := all["vault.agent.token.ttl"]; m.Gauge == nil || m.Gauge.DataPoints[0].Value != 59.5 || m.Unit != "s" {
		t.Errorf("%+v", m)
	}
	if m := all["vault.agent.sink.success"]; m.Sum == nil || !m.Sum.Monotonic || m.Sum.Temporality != cumulative || len(m.Sum.DataPoints) != 2 ||
		m.Sum.DataPoints[0].Value != 2 || m.Sum.DataPoints[0].Attributes[0] != (attribute{"sink", attrValue{"file"}}) {
		t.Errorf("%+v", m)
	}
	if m := all["vault.agent.auth.login.time"]; m.Histogram == nil || m.Unit != "ms" || m.Histogram.DataPoints[0].Count != "1" ||
		len(m.Histogram.DataPoints[0].Buckets) != len(bounds)+1 || m.Histogram.DataPoints[0].Buckets[2] != "1" {
		t.Errorf("%+v", m)
	}
	if m := all["vault.runtime.num_goroutines"]; m.Gauge == nil {
		t.Error("no runtime metrics")
	}
	if strings.Contains(log.String(), "hunter2") || strings.Contains(log.String(), "WARN") {
		t.Errorf("%s", log)
	}
}

func TestTheURLsPathHoldsWhereItHasOne(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://c:4318": "http://c:4318/v1/metrics", "http://c:4318/": "http://c:4318/v1/metrics",
		"https://c/otlp/v1/metrics?tenant=1": "https://c/otlp/v1/metrics?tenant=1", "http://[::1]:4318": "http://[::1]:4318/v1/metrics",
	} {
		e, err := newExporter(&pipe{c: *otlp(endpoint)})
		if err != nil || e.url != want {
			t.Errorf("%s: %v, %v", endpoint, e, err)
		}
	}
}

func TestTheLastPushComesAtTheEnd(t *testing.T) {
	c := newCollector(t)
	stanza := otlp(c.URL)
	stanza.OTLP.Interval = time.Hour
	tel, _ := build(t, Options{Config: stanza})
	stop := run(t, tel)
	tel.Count("auth.failure", 7)
	stop()
	for _, m := range c.next(t).body.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		if m.Name == "vault.agent.auth.failure" && m.Sum.DataPoints[0].Value == 7 {
			return
		}
	}
	t.Error("the last count is missing")
}

func TestACollectorThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	c := newCollector(t)
	release := make(chan struct{})
	defer close(release)
	c.answer = func(http.ResponseWriter) { <-release }
	tel, _ := build(t, Options{Config: otlp(c.URL)})
	stop := run(t, tel)
	c.next(t)
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestACollectorThatFailsIsToldOnceAndItsEndToo(t *testing.T) {
	c := newCollector(t)
	code := http.StatusBadGateway
	c.answer = func(w http.ResponseWriter) { w.WriteHeader(code) }
	u := strings.Replace(c.URL, "http://", "http://user:hunter2@", 1)
	var log buffer
	e, err := newExporter(&pipe{o: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, c: *otlp(u)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.client.CloseIdleConnections()
	s := newStore("", index())
	try := func() {
		_, err := e.push(t.Context(), s)
		e.tell(err)
	}
	try()
	try()
	code = http.StatusOK
	try()
	try()
	c.Close()
	try()
	try()
	if n := strings.Count(log.String(), "cannot be sent"); n != 2 || strings.Count(log.String(), "sent again") != 1 {
		t.Errorf("%s", &log)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a password is in the log: %s", &log)
	}
}

func TestHeadersGoToOneAddressOnly(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	c := newCollector(t)
	c.answer = func(w http.ResponseWriter) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	e, err := newExporter(&pipe{c: *otlp(c.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.client.CloseIdleConnections()
	if _, err := e.push(t.Context(), newStore("", index())); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("%v", err)
	}
}

func TestACollectorThatIsBusyIsLeftAlone(t *testing.T) {
	c := newCollector(t)
	c.answer = func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	e, err := newExporter(&pipe{c: *otlp(c.URL)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.client.CloseIdleConnections()
	if after, err := e.push(t.Context(), newStore("", index())); err == nil || after != 2*time.Minute {
		t.Errorf("%v, %v", after, err)
	}
}

// counting answers pushes without a network, so that a day passes at once.
type counting struct {
	at    []time.Time
	after string
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.at = append(c.at, time.Now())
	resp := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, Body: http.NoBody, Request: r}
	if c.after != "" {
		resp.StatusCode, resp.Status = 503, "503 Service Unavailable"
		resp.Header.Set("Retry-After", c.after)
	}
	return resp, nil
}

func TestPushesAreOneInEachInterval(t *testing.T) {
	for _, tc := range []struct {
		name, after    string
		interval, span time.Duration
		want           int
	}{
		{"a minute", "", time.Minute, 2 * time.Hour, 120},
		{"nothing said is a minute", "", 0, 2 * time.Hour, 120},
		{"never more often than each second", "", time.Millisecond, 5 * time.Minute, 300},
		{"a collector that wants ten minutes of peace", "600", time.Minute, 24 * time.Hour, 24 * 6},
		{"a collector that asks for a year gets an hour", "31536000", time.Minute, 24 * time.Hour, 24},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stanza := otlp("http://collector:4318")
				stanza.OTLP.Interval = tc.interval
				tel, _ := build(t, Options{Config: stanza})
				c := &counting{after: tc.after}
				tel.pipe.Load().otlp.client.Transport = c
				stop := run(t, tel)
				time.Sleep(tc.span + 500*time.Millisecond)
				stop()
				if n := len(c.at) - 1; n < tc.want-1 || n > tc.want {
					t.Errorf("%d pushes, want %d", n, tc.want)
				}
			})
		})
	}
}

func TestAPartThatWasRejectedIsAFailure(t *testing.T) {
	for body, has := range map[string]string{
		``: "", `{}`: "", `{"partialSuccess":{}}`: "", "\x0a\x00": "",
		`{"partialSuccess":{"rejectedDataPoints":"0","errorMessage":"deprecated"}}`: "",
		`{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"too old"}}`:    "3 data points were rejected: too old",
	} {
		err := rejected([]byte(body))
		if (err == nil) != (has == "") || err != nil && err.Error() != has {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// testdata/otlp.json and testdata/prometheus.txt are read by the official parsers
// in e2e; here they are held to what is written today.
func TestTheSamplesForTheOfficialParsersAreCurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // for its clock, which always begins at the same time
		c := otlp("http://collector:4318")
		c.MetricsPrefix, c.PrometheusRetentionTime = "9 \"odd\"\n", time.Hour
		tel, _ := build(t, Options{Config: c, Host: "vm\xff", Cluster: "a\"b\\c\nd", Version: "1.2.3"})
		reportAll(tel)
		tel.Count("sink.success", 1, meter.Label{Name: "sink", Value: "x\\\"\n\xff{}"})
		tel.pipe.Load().metrics.AddSample([]string{"runtime", "gc_pause_ns"}, 12345)
		p := tel.pipe.Load()
		text, err := json.MarshalIndent(p.otlp.encode(p.store.snapshot(), time.Now()), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		_, ours, _ := strings.Cut(scrape(t, tel), "# HELP _9__odd__")
		for name, got := range map[string]string{"otlp.json": string(text) + "\n", "prometheus.txt": "# HELP _9__odd__" + ours} {
			file := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what is written today: go test ./internal/telemetry -run OfficialParsers -update", file)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "-1", "99999999999", "Sat, 21 Nov 2026 21:22:29 GMT", "soon", ""} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 21, 21, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d := retryAfter(s, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q is %v", s, d)
		}
		_ = rejected([]byte(s))
	})
}

func FuzzOTLP(f *testing.F) {
	f.Add("vault", "vm", "file", 1.5, int64(5))
	f.Add("\xff", "", "\x00\"", -1e300, int64(-1))
	f.Fuzz(func(t *testing.T, prefix, host, label string, v float64, d int64) {
		c := otlp("http://collector:4318")
		c.MetricsPrefix, c.DisableHostname = prefix, false
		tel, err := New(Options{Config: c, Host: host, Version: label})
		if err != nil {
			t.Fatal(err)
		}
		tel.Gauge("token.ttl", v)
		tel.Time("sink.write.time", time.Duration(d), meter.Label{Name: "sink", Value: label})
		p := tel.pipe.Load()
		text, err := json.Marshal(p.otlp.encode(p.store.snapshot(), time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		var back exportRequest
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(back); err != nil || string(again) != string(text) {
			t.Errorf("%q came back otherwise (%v): %.300s", []string{prefix, host, label}, err, again)
		}
	})
}
