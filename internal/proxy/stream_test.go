package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"latchkey/internal/vault"
)

func response(status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}
}

// flood is so many bytes of no great interest.
func flood(n int64) io.Reader { return io.LimitReader(endlessly{}, n) }

type endlessly struct{}

func (endlessly) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

const huge = 100 << 20

func TestASnapshotStreamsInLittleMemory(t *testing.T) {
	sum := func(r io.Reader) [32]byte {
		h := sha256.New()
		_, _ = io.Copy(h, r)
		return [32]byte(h.Sum(nil))
	}
	got := make(chan [32]byte, 1)
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			got <- sum(r.Body)
			w.WriteHeader(204)
			return
		}
		w.Header().Set("Content-Type", "application/gzip")
		_, _ = io.Copy(w, flood(huge))
	}, withCache)
	want := sum(flood(huge))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, length := range []int64{huge, -1} {
		req, _ := http.NewRequest("POST", b.url+"/v1/sys/storage/raft/snapshot", io.NopCloser(flood(huge)))
		req.ContentLength = length
		resp, err := b.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 204 || <-got != want {
			t.Errorf("up, length %d: %d", length, resp.StatusCode)
		}
	}
	resp, err := b.client.Get(b.url + "/v1/sys/storage/raft/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	if sum(resp.Body) != want {
		t.Error("down: other bytes")
	}
	resp.Body.Close()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("300 MB cost %d MB of memory in all", grown>>20)
	}
}

func TestAMonitorsLinesComeAsTheyAreWritten(t *testing.T) {
	next := make(chan struct{})
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("log_format") == "json" {
			w.Header().Set("Content-Type", "application/json")
		}
		for range 3 {
			_, _ = io.WriteString(w, "line\n")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}, withCache)
	for _, query := range []string{"", "?log_format=json"} {
		resp, err := b.client.Get(b.url + "/v1/sys/monitor" + query)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(resp.Body)
		for range 3 {
			if line, err := lines.ReadString('\n'); err != nil || line != "line\n" {
				t.Errorf("%q, %v", line, err)
			}
			next <- struct{}{}
		}
		resp.Body.Close()
	}
}

func TestHalfAnAnswerIsNotTakenForAWholeOne(t *testing.T) {
	for _, kind := range []string{"text/plain", "application/json"} {
		b := set(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, `{"half":`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, nil)
		resp, err := b.client.Get(b.url + "/v1/secret/a")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Errorf("%s: a whole answer", kind)
		}
	}
	t.Run("cached", func(t *testing.T) {
		calls := 0
		b := set(t, func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				w.Header().Set("Content-Length", "100")
			}
			asJSON(200, `{"a":1}`)(w, r)
		}, func(o *Options, c *vault.Config) {
			withCache(o, c)
			o.Retry = soon
		})
		if resp, body := b.ask(t, "GET", "/v1/secret/a", ""); resp.StatusCode != 200 || body != `{"a":1}` || calls != 2 {
			t.Errorf("a read: %d %s after %d", resp.StatusCode, body, calls)
		}
		calls = 0
		if resp, body := b.ask(t, "POST", "/v1/secret/a", ""); resp.StatusCode != 502 || !strings.Contains(reason(t, body), "broke off") || calls != 1 {
			t.Errorf("a write: %d %s after %d", resp.StatusCode, body, calls)
		}
	})
}

func TestAStandbyNamesTheActiveNode(t *testing.T) {
	var active string
	standby := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-To") != "" {
			w.Header().Set("Location", r.Header.Get("X-To"))
		} else {
			w.Header().Set("Location", active+r.RequestURI)
		}
		w.WriteHeader(307)
	}
	var got heard
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = heard{r.Method, r.RequestURI, string(body), r.Header}
		asJSON(200, `{}`)(w, r)
	}))
	defer up.Close()
	active = up.URL
	b := set(t, standby, func(o *Options, _ *vault.Config) { o.MaxBuffer = 10 })
	resp, _ := b.ask(t, "PUT", "/v1/secret/a%2Fb?x=1", "held")
	if resp.StatusCode != 200 || got.method != "PUT" || got.uri != "/v1/secret/a%2Fb?x=1" || got.body != "held" || got.header.Get("X-Vault-Token") != canary {
		t.Errorf("%d, %+v", resp.StatusCode, got)
	}
	if resp, _ := b.ask(t, "PUT", "/v1/secret/a", "more than is held"); resp.StatusCode != 307 || resp.Header.Get("Location") != active+"/v1/secret/a" {
		t.Errorf("streamed: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := b.ask(t, "GET", "/v1/secret/a", "", "X-To", b.up.URL+"/v1/again"); resp.StatusCode != 307 {
		t.Errorf("from one standby to another: %d", resp.StatusCode)
	}
}

func TestARedirectFromHTTPSToHTTPIsNotFollowed(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent in clear") }))
	defer plain.Close()
	up := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", plain.URL+r.RequestURI)
		w.WriteHeader(307)
	}))
	defer up.Close()
	b := set(t, nil, func(_ *Options, c *vault.Config) { c.Address, c.SkipVerify = up.URL, true })
	if resp, body := b.ask(t, "GET", "/v1/secret/a", ""); resp.StatusCode != 502 || !strings.Contains(reason(t, body), "in clear") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestEventsOverAWebSocket(t *testing.T) {
	ended := make(chan error, 1)
	upstream := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") == canary {
			asJSON(403, unknownToken)(w, r)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		for {
			kind, data, err := conn.Read(context.Background())
			if err != nil {
				ended <- err
				return
			}
			_ = conn.Write(context.Background(), kind, append([]byte("echo "), data...))
		}
	}
	b := set(t, upstream, withCache)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// The first token is replaced on the way, as for any request.
	conn, resp, err := websocket.Dial(ctx, b.url+"/v1/sys/events/subscribe/kv*?json=true", &websocket.DialOptions{HTTPClient: b.client})
	if err != nil {
		t.Fatal(resp, err)
	}
	for range 3 {
		if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, data, err := conn.Read(ctx); err != nil || string(data) != "echo hello" {
			t.Fatalf("%s %v", data, err)
		}
	}
	if got := b.last(t); got.uri != "/v1/sys/events/subscribe/kv*?json=true" || got.header.Get("X-Vault-Token") != canary+"-2" {
		t.Errorf("%+v", got)
	}
	_ = conn.CloseNow()
	if err := <-ended; err == nil {
		t.Error("the server's side goes on")
	}
	_, resp, err = websocket.Dial(ctx, b.url+"/v1/sys/events/subscribe/kv*", &websocket.DialOptions{
		HTTPClient: b.client, HTTPHeader: http.Header{"X-Vault-Token": {canary}},
	})
	if err == nil || resp.StatusCode != 403 {
		t.Errorf("with a token that is not good: %v", err)
	}
}

func TestASocketThatTheServerEndsEndsForTheClient(t *testing.T) {
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, "got "+line)
		conn.Close()
	}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// What comes with the request must not be lost in anybody's buffer.
	_, _ = io.WriteString(conn, "GET /v1/sys/events/subscribe/x HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\nearly\n")
	all, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, net.ErrClosed) || !bytes.HasPrefix(all, []byte("HTTP/1.1 101 ")) || !bytes.HasSuffix(all, []byte("\r\n\r\nfirstgot early\n")) {
		t.Errorf("%q, %v", all, err)
	}
}

func TestAnUpgradeThatNobodyAskedForIsRefused(t *testing.T) {
	b := set(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}, nil)
	if resp, body := b.ask(t, "GET", "/v1/secret/a", ""); resp.StatusCode != 502 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestAListenersDeadlinesDoNotCutAStream(t *testing.T) {
	b := set(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		for range 4 {
			_, _ = io.WriteString(w, strings.Repeat("x", 10))
			_ = http.NewResponseController(w).Flush()
			<-time.After(100 * time.Millisecond)
		}
		if n != 20 {
			t.Errorf("%d bytes of the body", n)
		}
	}, func(o *Options, _ *vault.Config) { o.MaxBuffer = 10 })
	// The same handler behind a server with deadlines.
	target := b.up.URL
	c, err := vault.New(vault.Config{Address: target})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	front := httptest.NewUnstartedServer(Handler(Options{Client: c, MaxBuffer: 10}))
	front.Config.ReadTimeout, front.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	front.Start()
	defer front.Close()
	body, w := io.Pipe()
	go func() {
		for range 2 {
			_, _ = io.WriteString(w, strings.Repeat("y", 10))
			<-time.After(200 * time.Millisecond)
		}
		w.Close()
	}()
	req, _ := http.NewRequest("POST", front.URL+"/v1/sys/storage/raft/snapshot", body)
	req.ContentLength = 20
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if all, err := io.ReadAll(resp.Body); err != nil || len(all) != 40 {
		t.Errorf("%d bytes, %v", len(all), err)
	}
}
