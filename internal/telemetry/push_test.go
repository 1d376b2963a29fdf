package telemetry

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-metrics"

	"latchkey/internal/config"
	"latchkey/internal/meter"
)

// packets receives datagrams and gives their lines.
type packets struct {
	net.PacketConn
	t    *testing.T
	seen []string
}

func receive(t *testing.T, network, address string) *packets {
	t.Helper()
	c, err := new(net.ListenConfig).ListenPacket(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &packets{PacketConn: c, t: t}
}

// until reads packets until one had the line, and returns all lines so far.
func (p *packets) until(want string) []string {
	p.t.Helper()
	b := make([]byte, 1<<16)
	for !slices.Contains(p.seen, want) {
		n, _, err := p.ReadFrom(b)
		if err != nil {
			p.t.Fatalf("no %q in %q: %v", want, p.seen, err)
		}
		if n > packetLen && strings.Count(string(b[:n]), "\n") > 1 {
			p.t.Errorf("a packet of %d bytes", n)
		}
		p.seen = slices.AppendSeq(p.seen, strings.SplitSeq(strings.TrimSuffix(string(b[:n]), "\n"), "\n"))
	}
	return p.seen
}

func file(n string) meter.Label { return meter.Label{Name: "sink", Value: n} }

// What Vault Agent 1.21 sends for the same: vault.vm.agent.authenticated:1.000000|g
// to statsd, vault.agent.authenticated:1|g|#a:b to DogStatsD.
func TestStatsdAndDogStatsDGetTheirLines(t *testing.T) {
	plain, dog := receive(t, "udp", "127.0.0.1:0"), receive(t, "udp", "127.0.0.1:0")
	tel, log := build(t, Options{Host: "vm", Cluster: "blue", Config: &config.Telemetry{
		StatsdAddress: plain.LocalAddr().String(), DogstatsdAddr: dog.LocalAddr().String(), DogstatsdTags: []string{"a:b"},
	}})
	defer run(t, tel)()
	tel.Gauge("authenticated", 1)
	tel.Count("auth.success", 1)
	tel.Time("auth.login.time", 1500*time.Microsecond)
	tel.Count("sink.success", 2, file("a b:c|d"))
	plain.until("vault.vm.agent.authenticated:1.000000|g")
	plain.until("vault.agent.auth.success:1.000000|c")
	plain.until("vault.agent.auth.login.time:1.500000|ms")
	plain.until("vault.agent.sink.success.a_b_c_d:2.000000|c")
	dog.until("vault.agent.authenticated:1|g|#a:b,cluster:blue")
	dog.until("vault.agent.auth.success:1|c|#a:b,cluster:blue")
	dog.until("vault.agent.auth.login.time:1.500000|ms|#a:b,cluster:blue")
	dog.until("vault.agent.sink.success:2|c|#a:b,cluster:blue,sink:a_b:c_d")
	if strings.Contains(log.String(), "WARN") {
		t.Errorf("%s", log)
	}
}

func TestRuntimeGaugesAreSent(t *testing.T) {
	plain := receive(t, "udp", "127.0.0.1:0")
	tel, _ := build(t, Options{Host: "vm", Config: &config.Telemetry{StatsdAddress: plain.LocalAddr().String()}})
	defer run(t, tel)()
	b := make([]byte, 1<<16)
	for missing, all := true, ""; missing; {
		n, _, err := plain.ReadFrom(b)
		if err != nil {
			t.Fatalf("%v; so far\n%s", err, all)
		}
		all += string(b[:n])
		missing = false
		for _, n := range runtimeNames {
			missing = missing || n.Kind == Gauge && !strings.Contains(all, "vault.runtime."+n.Name+":")
		}
	}
}

func TestDogStatsDThroughASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dsd.socket")
	dog := receive(t, "unixgram", path)
	tel, _ := build(t, Options{Config: &config.Telemetry{DogstatsdAddr: "unix://" + path, DisableHostname: true}})
	defer run(t, tel)()
	tel.Count("auth.failure", 1)
	dog.until("vault.agent.auth.failure:1|c")
}

func TestWhatWasReportedBeforeTheEndIsSent(t *testing.T) {
	plain := receive(t, "udp", "127.0.0.1:0")
	tel, _ := build(t, Options{Config: &config.Telemetry{StatsdAddress: plain.LocalAddr().String(), DisableHostname: true}})
	stop := run(t, tel)
	for range 200 {
		tel.Count("lease.poll", 1)
	}
	tel.Count("auth.failure", 7)
	stop()
	if n := strings.Count(strings.Join(plain.until("vault.agent.auth.failure:7.000000|c"), "\n"), "lease.poll:1"); n != 200 {
		t.Errorf("%d of 200 arrived", n)
	}
	tel.Count("auth.failure", 1) // after the end: counted, sent nowhere, no harm
}

// A server that comes late still gets what was counted meanwhile, and a server
// that comes back gets the rest.
func TestStatsiteIsConnectedToAgain(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	tel, log := build(t, Options{Config: &config.Telemetry{StatsiteAddress: ln.Addr().String(), DisableHostname: true}})
	stop := run(t, tel)
	defer stop()
	tel.Count("auth.failure", 1)
	first := accept(t, ln)
	want(t, first, "vault.agent.auth.failure:1.000000|c")
	_ = first.Close()
	// What is written into a connection that the other side has closed may be
	// lost; it is found out with the next write.
	again := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			again <- c
		}
	}()
	ticker := time.NewTicker(gather)
	defer ticker.Stop()
	for {
		select {
		case c := <-again:
			want(t, c, "vault.agent.auth.failure:2.000000|c")
			_ = c.Close()
			if n := strings.Count(log.String(), "metrics cannot be sent"); n != 1 {
				t.Errorf("told %d times: %s", n, log)
			}
			return
		case <-ticker.C:
			tel.Count("auth.failure", 2)
		}
	}
}

func accept(t *testing.T, ln net.Listener) net.Conn {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func want(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(c)
	for s.Scan() {
		if s.Text() == line {
			return
		}
	}
	t.Fatalf("no %q: %v", line, s.Err())
}

func TestNobodyListeningHoldsNothingUp(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := ln.Addr().String()
	_ = ln.Close()
	tel, log := build(t, Options{Config: &config.Telemetry{
		StatsiteAddress: gone, DogstatsdAddr: "unix://" + filepath.Join(t.TempDir(), "none"),
	}})
	stop := run(t, tel)
	for range 3 * queueLen {
		tel.Count("auth.failure", 1)
	}
	for strings.Count(log.String(), "metrics cannot be sent") < 2 {
		<-log.wrote
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if n := strings.Count(log.String(), "metrics cannot be sent"); n != 2 {
		t.Errorf("told %d times: %s", n, log)
	}
}

// To whom nobody listens, every second datagram goes out without an error.
func TestDatagramsThatNobodyTakesAreOneOutage(t *testing.T) {
	var log buffer
	p := &pusher{log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 10 {
		p.well()
		p.ill(errors.New("connection refused"))
	}
	if log.String() == "" || strings.Contains(log.String(), "again") || strings.Count(log.String(), "cannot be sent") != 1 {
		t.Errorf("%s", &log)
	}
	for range enough {
		p.well()
	}
	if strings.Count(log.String(), "sent again") != 1 || p.fails != 0 {
		t.Errorf("%s", &log)
	}
}

func TestAReloadSendsElsewhere(t *testing.T) {
	old, next := receive(t, "udp", "127.0.0.1:0"), receive(t, "udp", "127.0.0.1:0")
	tel, _ := build(t, Options{Config: &config.Telemetry{StatsdAddress: old.LocalAddr().String(), DisableHostname: true}})
	stop := run(t, tel)
	defer stop()
	tel.Count("auth.failure", 1)
	old.until("vault.agent.auth.failure:1.000000|c")
	if err := tel.Reload(Options{Config: &config.Telemetry{StatsdAddress: next.LocalAddr().String(), DisableHostname: true}}); err != nil {
		t.Fatal(err)
	}
	tel.Count("auth.failure", 2)
	next.until("vault.agent.auth.failure:2.000000|c")
}

// deaf is a connection that takes nothing.
type deaf struct{ net.Conn }

func (deaf) Write([]byte) (int, error)        { return 0, errors.New("deaf") }
func (deaf) Close() error                     { return nil }
func (deaf) SetWriteDeadline(time.Time) error { return nil }

func TestAPacketThatCouldNotBeSentIsKept(t *testing.T) {
	p := &pusher{conn: deaf{}, log: slog.New(slog.DiscardHandler)}
	p.packet.WriteString("a:1|c\n")
	if err := p.send(t.Context()); err == nil || p.packet.String() != "a:1|c\n" || p.conn != nil {
		t.Errorf("%v, %q, %v", err, p.packet.String(), p.conn)
	}
}

func TestADialThatIsEndedEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &pusher{network: "tcp", address: "192.0.2.1:1", log: slog.New(slog.DiscardHandler)}
	p.packet.WriteString("a:1|c\n")
	if err := p.send(ctx); err == nil {
		t.Error("no error")
	}
}

// Whatever a name or a label holds, it is one line, in the form that the
// protocol gives it.
func FuzzLines(f *testing.F) {
	f.Add("vault", "vm", "file", "a:b", 1.5)
	f.Add("x\ny:1|c", "#", "|@", ",\x00", -0.5)
	f.Fuzz(func(t *testing.T, prefix, host, label, tag string, v float64) {
		key := []string{prefix, host, "agent", "sink"}
		labels := []metrics.Label{{Name: "sink", Value: label}}
		for _, typ := range []string{"c", "g", "ms"} {
			for name, line := range map[string]string{
				"statsd":    statsd(key, v, typ, labels),
				"dogstatsd": dogstatsd(host, []string{tag})(key, v, typ, labels),
			} {
				body, ok := strings.CutSuffix(line, "\n")
				if !ok || strings.ContainsAny(body, "\n\r") {
					t.Errorf("%s: %q is not one line", name, line)
				}
				bars := 1
				if name == "dogstatsd" {
					bars = 2
				}
				head, _, _ := strings.Cut(body, "|")
				if strings.Count(body, "|") != bars || strings.Count(head, ":") != 1 || strings.Count(body, "#") != bars-1 {
					t.Errorf("%s: %q has another form", name, line)
				}
			}
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add(strings.Repeat("0123456789\n", 200))
	f.Add(strings.Repeat("x", 3000) + "\ny\n")
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return
		}
		n := head([]byte(s))
		if n < 1 || n > len(s) {
			t.Fatalf("%d of %d", n, len(s))
		}
		if n < len(s) && s[n-1] != '\n' {
			t.Errorf("a line is cut at %d", n)
		}
		if n > packetLen && strings.Contains(s[:n-1], "\n") {
			t.Errorf("%d bytes in several lines", n)
		}
	})
}
