//go:build unix

package cases

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

// Who may ask a listener, and how much of it.
var _ = add(map[string]func(*Kit){
	"proxy: what a guard refuses never reaches the server": guards,
	"proxy: a listener's limits":                           listenerLimits,
	"proxy: a connection too many is told to come back":    tooMany,
	"proxy: an answer that does not begin in time":         notInTime,
	"proxy: a unix socket for certain users":               unixPeers,
	"proxy: client certificates, and HTTP/2":               clientCertificates,
	"proxy: a listener for metrics serves nothing else":    metricsOnly,
	"proxy: paths that could be read in two ways":          crookedPaths,
})

// prometheus has metrics be what they are at the moment.
const prometheus = "telemetry {\n prometheus_retention_time = \"1h\"\n}\n"

// guarded is one listener, who is let in there and who is not.
type guarded struct {
	key    string
	good   view
	status int
	bad    views
	// method and path are what is asked for, when it is not GET and the case's
	// secret.
	method, path string
}

// view is a client as a listener sees it.
type (
	view  func(*vaulttest.Admin) *vaulttest.Admin
	views map[string]view
)

func header(name, value string) view {
	return func(c *vaulttest.Admin) *vaulttest.Admin { return c.With(name, value) }
}

func plain(c *vaulttest.Admin) *vaulttest.Admin { return c }

func guards(k *Kit) {
	k.Shared()
	cfg := k.lent() + lends + caches + prometheus
	k.mayAll()
	k.Write("caller", canary+"the callers' token\n")
	path := k.name + "/data/app"
	all := []guarded{
		{key: "require_request_header = true", status: 412, good: header("X-Vault-Request", "true"), bad: views{
			"without": plain, "false": header("X-Vault-Request", "false"), "empty": header("X-Vault-Request", ""), "another spelling": header("X-Vault-Request", "TRUE"),
		}},
		{key: "guard = true", status: 403, good: header("Host", "localhost:8200"), bad: views{
			"a name of somebody else's": header("Host", "evil.test"), "an address of another machine": header("Host", "10.0.0.1"),
			"a page": header("Origin", "http://localhost"), "a browser": header("Sec-Fetch-Site", "none"),
			"forwarded": header("X-Forwarded-For", "127.0.0.1"), "forwarded otherwise": header("Forwarded", "for=127.0.0.1"), "via": header("Via", "1.1 x"),
		}},
		{key: `caller_token_file = "caller"`, status: 403, good: header("X-Latchkey-Token", canary+"the callers' token"), bad: views{
			"without": plain, "empty": header("X-Latchkey-Token", ""), "another": header("X-Latchkey-Token", canary+"the callers' toke"),
			"in the other header": header("X-Vault-Token", canary+"the callers' token"),
		}},
		{key: `caller_token_env = "CALLERS"`, status: 403, good: header("X-Latchkey-Token", canary+"from the environment"), bad: views{
			"without": plain, "the other one": header("X-Latchkey-Token", canary+"the callers' token"),
		}},
		{key: "read_only = true", status: 405, good: plain, method: "PUT", bad: views{"a write": plain}},
		{key: `allow_paths = ["` + path + `"]`, status: 403, good: plain, path: path + "2", bad: views{"another path": plain}},
		{key: `allow_paths = ["` + path + `"]`, status: 403, good: plain, bad: views{"another namespace": header("X-Vault-Namespace", "team")}},
	}
	for i, g := range all {
		cfg += listener(i, g.key)
	}
	k.Cleanup(k.oneToken)
	k.Write("latchkey.hcl", cfg)
	d := k.DaemonWith([]string{"CALLERS=" + canary + "from the environment"}, "-config=latchkey.hcl", "-log-level=trace").Ready()
	for i, g := range all {
		client := d.At(i)
		if ans := g.good(client).Do("GET", path, nil); ans.Status != 200 {
			k.Errorf("%s: who may is answered %d %s", g.key, ans.Status, ans.Body)
		}
		k.Site.Front.Forget()
		method, asked := "GET", path
		if g.method != "" {
			method = g.method
		}
		if g.path != "" {
			asked = g.path
		}
		for what, view := range g.bad {
			ans := view(client).Do(method, asked, nil)
			if ans.Status != g.status || len(ans.Errors()) != 1 || ans.Header.Get("Content-Type") != "application/json" {
				k.Errorf("%s: %s: %d %s", g.key, what, ans.Status, ans.Body)
			}
			if strings.Contains(string(ans.Body), canary) {
				k.Errorf("%s: %s: the answer tells a secret: %s", g.key, what, ans.Body)
			}
			// Our own endpoints are no back door.
			if g.path == "" && what != "another namespace" {
				k.refused(view(client).Do(method, "/agent/v1/cache-clear", nil), g.status)
			}
		}
		k.Asked(0, "", "*")
	}
	metrics := string(d.At(4).Do("GET", "/agent/v1/metrics?format=prometheus", nil).Body)
	if !strings.Contains(metrics, "guard_refused") {
		k.Errorf("no refusal is counted:\n%s", metrics)
	}
	// A new token for callers is good at once, or nearly.
	k.Write("caller", canary+"the next token\n")
	k.Soon("the next token is good", func() bool {
		return d.At(2).With("X-Latchkey-Token", canary+"the next token").Do("GET", path, nil).Status == 200
	})
	k.refused(all[2].good(d.At(2)).Do("GET", path, nil), 403)
	for _, r := range k.Site.Front.Requests() {
		if r.Header.Get("X-Latchkey-Token") != "" {
			k.Error("the server saw the callers' token")
		}
	}
	d.Stops()
}

func listenerLimits(k *Kit) {
	k.Shared()
	cfg := k.lent()
	k.mayAll()
	d, client := k.serve(cfg + lends + listener(0, `max_body_size = "1KiB"`, `max_header_size = "4KiB"`))
	path := k.name + "/data/app"
	body := func(n int) m { return m{"data": m{"password": strings.Repeat("x", n)}} }
	k.is(client.Do("PUT", path, body(500)), 200, "")
	k.refused(client.Do("PUT", path, body(2000)), 413)
	k.Asked(1, "PUT", path)
	if ans := client.With("X-Large", strings.Repeat("x", 32<<10)).Do("GET", path, nil); ans.Status != 431 {
		k.Errorf("%d %s", ans.Status, ans.Body)
	}
	k.Asked(0, "GET", path)
	k.is(client.Do("GET", path, nil), 200, "")
	d.Stops()
}

func tooMany(k *Kit) {
	k.Shared()
	d, _ := k.serve(k.lent() + lends + listener(0, "max_connections = 2"))
	path := k.name + "/data/app"
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", d.address(0))
		k.must(err)
		defer conn.Close()
		held = append(held, conn)
		_, err = fmt.Fprintf(conn, "GET /v1/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
		k.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		k.must(err)
		if resp.StatusCode != 200 {
			k.Errorf("%s", resp.Status)
		}
	}
	ans := d.At(0).Do("GET", path, nil)
	k.refused(ans, 503)
	if ans.Header.Get("Retry-After") == "" {
		k.Error("nobody is told when to come back")
	}
	k.Asked(2, "GET", path)
	k.must(held[0].Close())
	k.Soon("there is room again", func() bool {
		ans, err := d.At(0).Try("GET", path, nil)
		return err == nil && ans.Status == 200
	})
	d.Stops()
}

func notInTime(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + listener(0, `request_timeout = "300ms"`))
	path := k.name + "/data/app"
	k.is(client.Do("GET", path, nil), 200, "")
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Hang: true, Times: 1})
	start := time.Now()
	k.refused(client.Do("GET", path, nil), 504)
	if took := time.Since(start); took > 300*time.Millisecond+slack {
		k.Errorf("it took %s", took)
	}
	k.Soon("the server is not asked any more", func() bool { return k.Site.Front.Open() == 0 })
	k.is(client.Do("GET", path, nil), 200, "")
	d.Stops()
}

// over returns a client of a unix socket.
func (k *Kit) over(socket string) *vaulttest.Admin {
	k.Helper()
	return vaulttest.NewAdmin(k.T, "http://localhost", "", nil, nil).Over(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	})
}

func unixPeers(k *Kit) {
	k.Shared()
	// A socket's path is short; that of a case's directory may not be.
	dir, err := os.MkdirTemp("", "lk")
	k.must(err)
	k.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg, me := k.lent()+lends, os.Getuid()
	sockets := []string{filepath.Join(dir, "mine"), filepath.Join(dir, "theirs"), filepath.Join(dir, "all")}
	for i, peers := range []string{fmt.Sprintf(`allow_peers = ["gid:4242424", "uid:%d"]`, me), fmt.Sprintf(`allow_peers = ["uid:%d"]`, me+1), "guard = true"} {
		cfg += fmt.Sprintf("listener \"unix\" {\n address = %q\n tls_disable = true\n socket_mode = \"0600\"\n %s\n}\n", sockets[i], peers)
	}
	k.Cleanup(k.oneToken)
	d := k.Daemon(cfg).Ready()
	path := k.name + "/data/app"
	k.is(k.over(sockets[0]).Do("GET", path, nil), 200, "")
	k.refused(k.over(sockets[1]).Do("GET", path, nil), 403)
	k.refused(k.over(sockets[1]).Do("GET", "/agent/v1/health", nil), 403)
	k.is(k.over(sockets[2]).With("Host", "whatever").Do("GET", path, nil), 200, "")
	k.refused(k.over(sockets[2]).With("Origin", "http://evil.test").Do("GET", path, nil), 403)
	k.Asked(2, "GET", path)
	for _, s := range sockets {
		if fi, err := os.Stat(s); err != nil || fi.Mode().Perm() != 0o600 {
			k.Errorf("%s: %v %v", s, fi.Mode(), err)
		}
	}
	d.Stops()
	for _, s := range sockets {
		if _, err := os.Lstat(s); err == nil {
			k.Errorf("%s is there", s)
		}
	}
}

// certificates writes those of a listener, and returns the CA.
func (k *Kit) certificates() *vaulttest.CA {
	k.Helper()
	ca, err := vaulttest.NewCA("clients")
	k.must(err)
	pair, err := ca.Server()
	k.must(err)
	k.Write("ca.pem", string(ca.PEM))
	k.Write("server.pem", string(pair.Cert))
	k.Write("server.key", string(pair.Key))
	return ca
}

func (k *Kit) certificateOf(ca *vaulttest.CA) *tls.Certificate {
	k.Helper()
	pair, err := ca.Client("app")
	k.must(err)
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	k.must(err)
	return &cert
}

func clientCertificates(k *Kit) {
	k.Shared()
	ca := k.certificates()
	stranger, err := vaulttest.NewCA("somebody")
	k.must(err)
	tlsKeys := "tls_disable = false\n tls_cert_file = \"server.pem\"\n tls_key_file = \"server.key\"\n"
	with := strings.Replace(listener(0, `tls_client_ca_file = "ca.pem"`, "tls_require_and_verify_client_cert = true"), "tls_disable = true\n", tlsKeys, 1)
	without := strings.Replace(listener(1), "tls_disable = true\n", tlsKeys, 1)
	cfg := k.lent() + lends + caches
	k.Cleanup(k.oneToken)
	d := k.Daemon(cfg + with + without).Ready()
	path := k.name + "/data/app"
	at := func(n int, cert *tls.Certificate) *vaulttest.Admin {
		return vaulttest.NewAdmin(k.T, "https://"+d.address(n), "", ca.PEM, cert)
	}
	mine := at(0, k.certificateOf(ca))
	k.is(mine.Do("GET", path, nil), 200, "MISS")
	if ans := k.is(mine.Do("GET", path, nil), 200, "HIT"); ans.Proto != "HTTP/2.0" {
		k.Errorf("it speaks %s", ans.Proto)
	}
	for _, ans := range k.atOnce(50, func(i int) (*vaulttest.Answer, error) {
		return mine.Try("GET", fmt.Sprintf("%s?n=%d", path, i%5), nil)
	}) {
		if ans.Status != 200 || ans.Proto != "HTTP/2.0" {
			k.Fatalf("%s %d %s", ans.Proto, ans.Status, ans.Body)
		}
	}
	k.is(at(1, nil).Do("GET", path, nil), 200, "HIT")
	k.Site.Front.Forget()
	for what, cert := range map[string]*tls.Certificate{"no certificate": nil, "one of another CA": k.certificateOf(stranger)} {
		if ans, err := at(0, cert).Try("GET", path+"?x=1", nil); err == nil {
			k.Errorf("with %s: %d", what, ans.Status)
		}
	}
	k.Asked(0, "", "*")
	d.Stops()
}

func metricsOnly(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + prometheus + tcpListener + listener(1, `role = "metrics_only"`))
	metrics, path := d.At(1), k.name+"/data/app"
	k.password(client, "MISS")
	for method, asked := range map[string]string{"GET": "/v1/" + path, "POST": "/agent/v1/cache-clear", "LIST": "/v1/" + k.name + "/metadata", "HEAD": "/agent/v1/health"} {
		if ans := metrics.Do(method, asked, nil); ans.Status != 404 {
			k.Errorf("%s %s: %d %s", method, asked, ans.Status, ans.Body)
		}
	}
	k.password(client, "HIT")
	// Requests are counted in sums.
	k.Soon("what was asked is counted", func() bool {
		ans := metrics.Do("GET", "/agent/v1/metrics?format=prometheus", nil)
		return ans.Status == 200 && strings.Contains(string(ans.Body), "proxy_success") && strings.Contains(string(ans.Body), "cache_hit")
	})
	d.Stops()
}

// crookedPaths: what one reads as allowed and another as something else is refused
// before our token goes along.
func crookedPaths(k *Kit) {
	k.Shared()
	path := k.name + "/data/app"
	d, client := k.serve(k.lent() + lends + caches + listener(0, `allow_paths = ["`+k.name+`/data/open/*"]`) + listener(1))
	k.Site.WriteKV2(k.name, "open/app", m{"password": canary + "open"})
	k.is(client.Do("GET", k.name+"/data/open/app", nil), 200, "MISS")
	k.Site.Front.Forget()
	for _, crooked := range []string{
		path, k.name + "/data/open/../app", k.name + "/data/open/..%2fapp", k.name + "/data/open/%2e%2e/app", k.name + "/data/open//../app",
		"/v1/" + k.name + "/data/open/%2e%2e%2fapp", "//v1/" + path, "/v1//" + path, "/V1/" + path, "/", "/ui/", "/agent/v1/../../v1/" + path,
	} {
		ans := client.Do("GET", crooked, nil)
		if ans.Status/100 == 2 || ans.Status >= 500 || strings.Contains(string(ans.Body), canary) {
			k.Errorf("%s: %d %s", crooked, ans.Status, ans.Body)
		}
		if to := ans.Header.Get("Location"); ans.Status/100 == 3 && !strings.HasPrefix(to, "/v1/") {
			k.Errorf("%s leads to %s", crooked, to)
		}
	}
	k.Asked(0, "", "*")
	for _, nothing := range []string{"/", "/ui/", "/v2/x", "/agent/v1/none", "/v1"} {
		if ans := d.At(1).Do("GET", nothing, nil); ans.Status != 404 {
			k.Errorf("%s: %d", nothing, ans.Status)
		}
	}
	k.Asked(0, "", "*")
	d.Stops()
}
