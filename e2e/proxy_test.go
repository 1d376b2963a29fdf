//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/e2e/server"
	"latchkey/internal/vaulttest"
	"latchkey/internal/vaulttest/cases"
)

// The same requests go through a real vault agent and through latchkey daemon,
// each with the same configuration before the same Vault. What they answer is
// equal, but for what a step names as a difference: then docs/compatibility.md
// tells of it, and it is a failure that there is none.

// scene is one configuration and what is asked of it, in order.
type scene struct {
	config string
	steps  []step
}

// step is one request. In path, header and body {me} stands for the program's
// name, so that neither disturbs the other's secrets, and {x} for what an earlier
// step saved as x.
type step struct {
	what         string
	on           string // the listener: "" for the first, guarded, metrics, or unix
	method, path string // "GET" and below /v1/, unless it begins with a slash
	header       []string
	body         string
	save         map[string]string // name: dotted path into the answer
	// differs is a phrase of docs/compatibility.md about what is answered
	// otherwise, and latchkey what begins its answer: see answer.String.
	differs, latchkey string
	// shape compares no body: it is about the program itself.
	shape bool
	// evicts is how many entries the agent then drops from its cache. It does so
	// a moment after it has answered, and may drop what came in between.
	evicts int
	// quits: both programs then end.
	quits bool
}

// subject is one of the two programs at work.
type subject struct {
	*testing.T
	name   string
	binary string
	dir    string
	host   string
	front  *vaulttest.Proxy
	vars   map[string]string
	unix   *http.Client
	cmd    *exec.Cmd
	ended  <-chan struct{}
	log    *os.File
}

// Each subject has a host of loopback of its own: a port of 127.0.0.1 may be taken
// between the moment that it is chosen and the one that it is used.
var (
	network  = 0x100 + rand.IntN(0xfd00)
	subjects atomic.Int32
)

const firstPort = 18200

var ports = map[string]int{"": firstPort, "guarded": firstPort + 1, "metrics": firstPort + 2}

// serve starts a program with a configuration, and waits until it serves.
func serve(t *testing.T, name, binary, config string, site *vaulttest.Admin) *subject {
	t.Helper()
	s := &subject{
		T: t, name: name, binary: binary, dir: t.TempDir(), vars: map[string]string{"me": name},
		host: fmt.Sprintf("127.%d.%d.%d", network>>8, network&0xff, subjects.Add(1)), front: vaulttest.NewProxy(t, site.Addr, nil),
	}
	socket := filepath.Join(s.dir, "socket")
	s.unix = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(s.unix.CloseIdleConnections)
	s.write("role_id", site.Do("GET", "auth/proxy-login/role/app/role-id", nil).Str("data.role_id"))
	s.write("secret_id", site.SecretID("proxy-login", "app"))
	s.write("other_role_id", site.Do("GET", "auth/proxy-login/role/other/role-id", nil).Str("data.role_id"))
	s.write("other_secret_id", site.SecretID("proxy-login", "other"))
	s.write("config.hcl", strings.NewReplacer("{vault}", s.front.Addr(), "{host}", s.host, "{socket}", socket).Replace(config))
	var err error
	if s.log, err = os.Create(filepath.Join(s.dir, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		_ = s.log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(s.log.Name())
			t.Logf("%s said:\n%s", name, text[max(0, len(text)-8000):])
		}
	})
	s.start()
	return s
}

// start starts the program, or starts it again.
func (s *subject) start() {
	s.Helper()
	command := map[string]string{"agent": "agent", "latchkey": "daemon"}[s.name]
	s.cmd = exec.Command(s.binary, command, "-config=config.hcl", "-log-level=debug")
	s.cmd.Dir, s.cmd.Env = s.dir, append(environment(s.T), "LATCHKEY_E2E_KEY=a key for tests alone")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	var err error
	if s.ended, err = server.Start(s.cmd); err != nil {
		s.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(s.dir, "config.hcl"))
	if err != nil {
		s.Fatal(err)
	}
	s.until("it serves", func() bool {
		if bytes.Contains(config, []byte("sink")) {
			if _, err := os.Stat(filepath.Join(s.dir, "token")); err != nil {
				return false
			}
		}
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", s.host, firstPort), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// kill ends the program with no chance to do anything.
func (s *subject) kill() {
	if s.ended != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}

func (s *subject) write(name, text string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *subject) until(what string, yes func() bool) {
	s.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !yes() {
		select {
		case <-tick.C:
		case <-s.ended:
			s.Fatalf("%s ended before %s", s.name, what)
		case <-end:
			s.Fatalf("%s: waited in vain until %s", s.name, what)
		}
	}
}

// fill puts saved values in their places.
func (s *subject) fill(text string) string {
	for name, v := range s.vars {
		text = strings.ReplaceAll(text, "{"+name+"}", v)
	}
	return text
}

// answer is what came back, without what is another each time.
type answer struct {
	status int
	header http.Header
	body   string
}

// String begins with the status and how the cache was involved.
func (a answer) String() string {
	words := []string{fmt.Sprint(a.status)}
	for _, name := range []string{"X-Cache", "Age"} {
		if v := a.header.Get(name); v != "" {
			words = append(words, v)
		}
	}
	return strings.Join(append(words, a.body), " ")
}

// ask does one step.
func (s *subject) ask(st step) answer {
	s.Helper()
	path := s.fill(st.path)
	if !strings.HasPrefix(path, "/") {
		path = "/v1/" + path
	}
	method, client, base := st.method, http.DefaultClient, fmt.Sprintf("http://%s:%d", s.host, ports[st.on])
	if method == "" {
		method = "GET"
	}
	if st.on == "unix" {
		client, base = s.unix, "http://localhost"
	}
	ctx, cancel := context.WithTimeout(s.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(s.fill(st.body)))
	if err != nil {
		s.Fatal(err)
	}
	for _, line := range st.header {
		k, v, _ := strings.Cut(s.fill(line), ": ")
		req.Header.Add(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		s.Fatalf("%s: %s: %v", s.name, st.what, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatalf("%s: %s: %v", s.name, st.what, err)
	}
	for name, at := range st.save {
		v, ok := dig(body, at).(string)
		if !ok {
			s.Fatalf("%s: %s: no %s in %d %s", s.name, st.what, at, resp.StatusCode, body)
		}
		s.vars[name] = v
	}
	a := answer{status: resp.StatusCode, header: s.headers(resp.Header), body: s.mask(body)}
	if st.shape {
		a.body = ""
	}
	return a
}

// evicting is ask, and waits until the agent has evicted what it does then.
func (s *subject) evicting(st step) answer {
	s.Helper()
	const line = "evicting index from cache"
	count := func() int {
		text, err := os.ReadFile(s.log.Name())
		if err != nil {
			s.Fatal(err)
		}
		return bytes.Count(text, []byte(line))
	}
	before := 0
	if st.evicts > 0 {
		before = count()
	}
	a := s.ask(st)
	if st.evicts > 0 {
		s.until(fmt.Sprintf("it has evicted %d after: %s", st.evicts, st.what), func() bool { return count() >= before+st.evicts })
	}
	return a
}

func dig(body []byte, at string) any {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return nil
	}
	for key := range strings.SplitSeq(at, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// headers are those of an answer without what is another each time.
func (s *subject) headers(h http.Header) http.Header {
	h = h.Clone()
	h.Del("Date")
	h.Del("Content-Length") // of a masked body
	if h.Get("X-Cache") == "" && h.Get("Strict-Transport-Security") == "" {
		h.Del("Cache-Control") // no-store, on what is refused here; the server's own come with both
	}
	if h.Get("Age") != "" {
		h.Set("Age", "aged")
	}
	return h
}

// unsteady are the keys of an answer that are another each time, and ignored those
// that are also there at times only: the agent renews what it holds at once.
var unsteady = regexp.MustCompile(`^(request_id|wrapped_accessor|cluster_id|cluster_name|server_time_utc|role_id|client_id|deletion_time|lease_id|client_token|accessor|id|token|wrapping_accessor|creation_time|issue_time|expire_time|created_time|updated_time|ttl|lease_duration|entity_id|username|password|secret_id|secret_id_accessor|creation_ttl)$`)

var ignored = regexp.MustCompile(`^(last_renewal_time|last_renewal)$`)

// mask replaces what is another each time by a word, so that it still shows
// whether something was there.
func (s *subject) mask(body []byte) string {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	text := string(body)
	if err := dec.Decode(&v); err == nil {
		out, err := json.Marshal(masked("", v))
		if err != nil {
			s.Fatal(err)
		}
		text = string(out)
	}
	text = strings.ReplaceAll(text, s.front.Addr(), "VAULT")
	text = strings.ReplaceAll(text, strings.TrimPrefix(s.front.Addr(), "http://"), "VAULT")
	return strings.ReplaceAll(text, s.name, "ME")
}

func masked(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, in := range v {
			if !ignored.MatchString(k) {
				out[k] = masked(k, in)
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = masked(key, v[i])
		}
	case string:
		if v != "" && unsteady.MatchString(key) {
			return "some " + key
		}
	case json.Number:
		if v != "0" && unsteady.MatchString(key) {
			return "some " + key
		}
	}
	return v
}

func TestTheCachingProxy(t *testing.T) {
	t.Parallel()
	agent, err := server.Binary(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	latchkey := program(t)
	s := get(t, dev)
	site := vaulttest.NewAdmin(t, s.Addr, s.RootToken, nil, nil)
	furnish(t, site)
	docs, err := os.ReadFile("../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(scenes)) {
		t.Run("answers as the agent does/"+name, func(t *testing.T) {
			t.Parallel()
			scenes[name].play(t, site, agent, latchkey, string(docs))
		})
	}
	t.Run("does what the agent does not", func(t *testing.T) {
		t.Parallel()
		alone(t, serve(t, "latchkey", latchkey, aloneConfig, site), site)
	})
	p := serve(t, "latchkey", latchkey, scenes["lent"].config, site)
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		t.Run("serves/"+name, func(t *testing.T) {
			t.Parallel()
			clients[name](t, p)
		})
	}
}

// play asks both programs the same, one step after the other.
func (sc scene) play(t *testing.T, site *vaulttest.Admin, agent, latchkey, docs string) {
	t.Helper()
	theirs, ours := serve(t, "agent", agent, sc.config, site), serve(t, "latchkey", latchkey, sc.config, site)
	for _, s := range []*subject{theirs, ours} {
		s.vars["own"] = site.NewToken(vaulttest.Map{"policies": []string{"proxy-app"}, "ttl": "30m"})
	}
	for _, st := range sc.steps {
		compare(t, st, theirs.evicting(st), ours.ask(st), docs)
		if st.quits {
			theirs.quits()
			ours.quits()
		}
	}
}

// quits waits for the program's end, which has to be a good one.
func (s *subject) quits() {
	s.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		s.Fatalf("%s goes on after it was asked to quit", s.name)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.Errorf("%s quits with %d", s.name, code)
	}
}

func compare(t *testing.T, st step, agent, latchkey answer, docs string) {
	t.Helper()
	equal := agent.status == latchkey.status && agent.body == latchkey.body && maps.EqualFunc(agent.header, latchkey.header, slices.Equal[[]string])
	switch {
	case st.differs == "" && !equal:
		t.Errorf("%s: %s %s\n%s", st.what, st.method, st.path, apart(agent, latchkey))
	case st.differs == "":
	case equal:
		t.Errorf("%s: no difference any more: %s", st.what, agent)
	case !strings.HasPrefix(latchkey.String(), st.latchkey):
		t.Errorf("%s: %s\nwant a beginning of %s\nvault agent: %s", st.what, latchkey, st.latchkey, agent)
	case !strings.Contains(docs, st.differs):
		t.Errorf("%s: docs/compatibility.md does not tell of %q", st.what, st.differs)
	}
}

// apart shows two answers that differ, without what they have in common at their
// beginnings and ends.
func apart(agent, latchkey answer) string {
	a, b := fmt.Sprint(agent, " ", agent.header), fmt.Sprint(latchkey, " ", latchkey.header)
	from := 0
	for from < min(len(a), len(b)) && a[from] == b[from] {
		from++
	}
	from = max(from-40, 0)
	end := 0
	for end < min(len(a), len(b))-from && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	end = max(end-40, 0)
	return fmt.Sprintf("vault agent: %s… %s\nlatchkey:    %s… %s", a[:min(20, from)], a[from:len(a)-end], b[:min(20, from)], b[from:len(b)-end])
}

// furnish makes what the scenes ask for.
func furnish(t *testing.T, site *vaulttest.Admin) {
	t.Helper()
	broker := cases.NewBroker(t)
	site.Mount("proxy-kv", "kv", vaulttest.Map{"version": "2"})
	site.Mount("proxy-kv1", "kv", vaulttest.Map{"version": "1"})
	site.Mount("proxy-mq", "rabbitmq", nil)
	site.OK("POST", "proxy-mq/config/connection", vaulttest.Map{"connection_uri": broker.Addr, "username": "admin", "password": "admin"})
	site.OK("POST", "proxy-mq/config/lease", vaulttest.Map{"ttl": 600, "max_ttl": 1200})
	for _, role := range []string{"a", "b", "c", "d", "e", "f"} {
		site.OK("POST", "proxy-mq/roles/"+role, vaulttest.Map{"tags": "none", "vhosts": `{"/":{"configure":"","write":"","read":".*"}}`})
	}
	site.WriteKV1("proxy-kv1", "shared", vaulttest.Map{"a": "1"})
	all := []string{"create", "read", "update", "delete", "list", "sudo"}
	site.Policy("proxy-app", map[string][]string{
		"proxy-kv/*": all, "proxy-kv1/*": all, "proxy-mq/*": all, "auth/token/*": all, "auth/proxy-login/*": all,
		"sys/leases/*": all, "sys/wrapping/*": all, "sys/mounts": {"read"}, "sys/capabilities-self": {"update"},
	})
	site.Policy("proxy-other", map[string][]string{"proxy-kv/data/other/*": {"read"}})
	site.EnableAuth("proxy-login", "approle")
	site.AppRole("proxy-login", "other", vaulttest.Map{"token_policies": "proxy-other", "token_ttl": "20m"})
	site.AppRole("proxy-login", "app", vaulttest.Map{"token_policies": "proxy-app,default", "token_ttl": "20m", "token_max_ttl": "1h"})
}
