//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/e2e/debian"
	"latchkey/e2e/server"
	"latchkey/internal/vaulttest"
	"latchkey/internal/vaulttest/cases"
)

var load = flag.Duration("load", 0, "how long the proxy is under load, as fast as it goes (default: 15s, with pauses that leave room for the other tests)")

// loadSecrets is how many secrets and tokens are asked for.
const loadSecrets = 50

// TestTheProxyUnderLoadGivesNoWrongAnswerWhileVaultIsRestarted has wrk ask for
// secrets and tokens, out of the cache and past it, while Vault is killed, stays
// away, and comes back; beside it, secrets are written and read back. Every answer
// is looked at. Requests may fail that were under way while Vault was away, and no
// other. When all is over, no goroutine is left.
func TestTheProxyUnderLoadGivesNoWrongAnswerWhileVaultIsRestarted(t *testing.T) {
	t.Parallel()
	tree, err := debian.Unpack(os.Stderr, "wrk")
	if errors.Is(err, debian.ErrUnavailable) {
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED: the proxy under load. %v ***\n\n", err)
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	k, s, d := loaded(t)
	p := &loadedProxy{Kit: k, d: d, addr: d.addr}
	for i := range loadSecrets { // and the connections that stay
		if status, body := p.ask(t.Context(), "GET", fmt.Sprintf("secret/data/load/%d", i), nil); status != http.StatusOK {
			t.Fatalf("%d: %s", status, body)
		}
	}
	before := p.goroutines()
	length, pause := 15*time.Second, "4"
	if *load > 0 {
		length, pause = *load, "0"
	}

	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var fired *gunfire
	all.Go(func() { fired = p.fire(ctx, tree, length, pause) })
	writing, stop := context.WithCancel(ctx)
	defer stop()
	written := make([]written, 4)
	for i := range written {
		all.Go(func() { written[i].run(writing, p, i) })
	}
	third := length / 3
	k.For(third, p.lives)
	away := outage{from: time.Now()}
	s.Down()
	k.For(third/2, p.lives)
	if err := s.Up(); err != nil {
		t.Error(err)
	}
	away.to = time.Now()
	k.For(third, p.lives)
	stop()
	all.Wait()

	fired.judge(t, away)
	for i := range written {
		written[i].judge(t, away)
	}
	k.Until("no goroutine is left of the load", func() bool {
		n := p.goroutines()
		return n <= before
	})
	d.Stops()
}

// loadedDaemon is a daemon that lends its token, and where.
type loadedDaemon struct {
	*cases.Daemon
	addr string
}

// loaded is a server of its own with the secrets, and a daemon before it. It is
// reached directly: what stands between in other tests would answer for a server
// that is away.
func loaded(t *testing.T) (*cases.Kit, *server.Server, *loadedDaemon) {
	t.Helper()
	s, err := launch(server.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	k := cases.NewKit(t, vault{t}, program(t))
	site := k.Use(&cases.Site{Admin: vaulttest.NewAdmin(t, s.Addr, s.RootToken, s.CA.PEM, nil), Addr: s.Addr, CAFile: s.CAFile})
	for i := range loadSecrets {
		site.WriteKV2("secret", fmt.Sprintf("load/%d", i), map[string]any{"value": fmt.Sprintf("of %d", i)})
	}
	site.Policy("load", map[string][]string{
		"secret/data/load/*": {"read"}, "secret/metadata/*": {"read"},
		"secret/data/written/*": {"create", "update", "read"},
		"auth/token/create":     {"update"},
	})
	site.EnableAuth("load", "approle")
	k.Write("role_id", site.AppRole("load", "app", map[string]any{"token_policies": "load,default", "token_ttl": "1h"}))
	k.Write("secret_id", site.SecretID("load", "app"))
	port, err := server.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	// A host that nobody else uses: the port may be taken meanwhile on another.
	addr := fmt.Sprintf("127.9.0.1:%d", port)
	k.Write("latchkey.hcl", fmt.Sprintf(`
vault {
  address = %q
  ca_cert = %q
}
auto_auth {
  method "approle" {
    mount_path = "auth/load"
    config = {
      role_id_file_path   = "role_id"
      secret_id_file_path = "secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
}
api_proxy {
  use_auto_auth_token = true
}
cache {
  static_ttl = "1s"
}
listener "tcp" {
  address     = %q
  tls_disable = true
}
telemetry {
  prometheus_retention_time = "1h"
}
`, s.Addr, s.CAFile, addr))
	return k, s, &loadedDaemon{k.DaemonWith(nil, "-config=latchkey.hcl").Ready(), addr}
}

// loadedProxy is the daemon as a client sees it.
type loadedProxy struct {
	*cases.Kit
	d    *loadedDaemon
	addr string
}

func (p *loadedProxy) lives() {
	if !p.d.Running() {
		p.Fatal("the daemon has ended")
	}
}

// ask makes one request on a connection of its own; status 0 is no answer.
func (p *loadedProxy) ask(ctx context.Context, method, path string, body any) (int, string) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, err.Error()
	}
	if body == nil {
		data = nil
	}
	if !strings.HasPrefix(path, "/") {
		path = "/v1/" + path
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+path, bytes.NewReader(data))
	if err != nil {
		return 0, err.Error()
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)$`)

func (p *loadedProxy) goroutines() int {
	p.Helper()
	status, body := p.ask(p.Context(), "GET", "/agent/v1/metrics?format=prometheus", nil)
	m := goroutines.FindStringSubmatch(body)
	if status != http.StatusOK || m == nil {
		p.Fatalf("no number of goroutines: %d, %s", status, body)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		p.Fatal(err)
	}
	return n
}

// outage is when the server was away.
type outage struct{ from, to time.Time }

// excuses reports whether a request that was under way then may have failed.
func (o outage) excuses(asked, answered time.Time) bool {
	return asked.Before(o.to) && answered.After(o.from)
}

// gunfire is what wrk has to say.
type gunfire struct {
	out     string
	counts  map[string]int
	reports []string
	err     error
}

// fire runs wrk with testdata/load.lua.
func (p *loadedProxy) fire(ctx context.Context, tree debian.Tree, length time.Duration, pause string) *gunfire {
	g := &gunfire{counts: map[string]int{}}
	dir := filepath.Join(p.Dir, "wrk")
	if g.err = os.Mkdir(dir, 0o700); g.err != nil {
		return g
	}
	cmd, err := tree.Command("wrk", "-t", "8", "-c", "8", "-d", fmt.Sprint(int(length.Seconds()))+"s", "--timeout", "60s",
		"-s", "testdata/load.lua", "http://"+p.addr, dir, strconv.Itoa(loadSecrets), pause)
	if err != nil {
		g.err = err
		return g
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ended, err := server.Start(cmd)
	if err != nil {
		g.err = err
		return g
	}
	select {
	case <-ended:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-ended
	}
	g.out = out.String()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		g.err = fmt.Errorf("wrk ended with %d", code)
	}
	for _, m := range regexp.MustCompile(`(?m)^count (\w+) (\d+)$`).FindAllStringSubmatch(g.out, -1) {
		g.counts[m[1]], _ = strconv.Atoi(m[2]) // digits, and few
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	g.err = errors.Join(g.err, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		g.err = errors.Join(g.err, err)
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			g.reports = append(g.reports, lines.Text())
		}
	}
	return g
}

func (g *gunfire) judge(t *testing.T, away outage) {
	t.Helper()
	t.Logf("wrk: %v", g.counts)
	if g.err != nil {
		t.Fatalf("%v\n%s", g.err, g.out)
	}
	// The connections are to the daemon, which is there all the time.
	if strings.Contains(g.out, "Socket errors") {
		t.Errorf("connections failed:\n%s", g.out)
	}
	if g.counts["wrong"] > 0 {
		t.Errorf("%d wrong answers", g.counts["wrong"])
	}
	// Whether a request fails depends on how long the server is away: it is tried
	// again.
	for _, kind := range []string{"hit", "stale", "miss"} {
		if g.counts[kind] < loadSecrets {
			t.Errorf("%d answers of kind %s: the load does not show what it is to show", g.counts[kind], kind)
		}
	}
	shown := 0
	for _, line := range g.reports {
		var asked, answered, status int64
		if _, err := fmt.Sscanf(line, "%d %d %d", &asked, &answered, &status); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if status != http.StatusOK && away.excuses(time.UnixMilli(asked), time.UnixMilli(answered+1)) {
			continue
		}
		if shown++; shown <= 10 {
			t.Errorf("beyond the outage (%d to %d): %s", away.from.UnixMilli(), away.to.UnixMilli(), line)
		}
	}
	if shown > 10 {
		t.Errorf("and %d more", shown-10)
	}
}

// written is a secret that one client writes and reads back, again and again.
type written struct {
	rounds, failed int
	faults         []fault
}

type fault struct {
	asked, answered time.Time
	what            string
	wrong           bool
}

var number = regexp.MustCompile(`"n":(\d+)`)

// run counts up in the secret. What it reads is never older than what was last
// acknowledged; it may be newer, if a write that failed has arrived after all.
func (w *written) run(ctx context.Context, p *loadedProxy, i int) {
	path := fmt.Sprintf("secret/data/written/%d", i)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	acknowledged := 0
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// A request that is under way is waited for; else nobody knew how it ended.
		asked := time.Now()
		status, body := p.ask(context.WithoutCancel(ctx), "POST", path, map[string]any{"data": map[string]any{"n": n}})
		w.rounds++
		if status == http.StatusOK {
			acknowledged = n
		} else {
			w.failed++
			w.faults = append(w.faults, fault{asked, time.Now(), fmt.Sprintf("write %d: %d %s", n, status, body), false})
		}
		asked = time.Now()
		status, body = p.ask(context.WithoutCancel(ctx), "GET", path, nil)
		got := number.FindStringSubmatch(body)
		switch {
		case status == http.StatusNotFound && acknowledged == 0:
		case status != http.StatusOK || got == nil:
			w.failed++
			w.faults = append(w.faults, fault{asked, time.Now(), fmt.Sprintf("read after %d: %d %s", acknowledged, status, body), false})
		default:
			if value, err := strconv.Atoi(got[1]); err != nil || value < acknowledged || value > n {
				w.faults = append(w.faults, fault{asked, time.Now(), fmt.Sprintf("read %s after %d was acknowledged and %d written", got[1], acknowledged, n), true})
			}
		}
	}
}

func (w *written) judge(t *testing.T, away outage) {
	t.Helper()
	t.Logf("%d rounds of writing and reading, %d requests failed", w.rounds, w.failed)
	if w.rounds < 10 {
		t.Error("hardly anything was written")
	}
	shown := 0
	for _, f := range w.faults {
		if (f.wrong || !away.excuses(f.asked, f.answered)) && shown < 5 {
			shown++
			t.Errorf("%s to %s (away %s to %s): %s", f.asked, f.answered, away.from, away.to, f.what)
		}
	}
}
