//go:build unix

package cases

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/vaulttest"
)

// What goes through a listener without being held, and what ends in the middle.
var _ = add(map[string]func(*Kit){
	"proxy: a large download streams":                         download,
	"proxy: a large upload streams":                           upload,
	"proxy: a subscription goes through":                      subscription,
	"proxy: a client that hangs up is not asked for any more": hangUp,
	"proxy: who waits along goes on when the first hangs up":  hangUpOfFirst,
	"proxy: an answer that breaks off breaks off":             breaksOff,
	"proxy: it ends in time whatever is under way":            endsInTime,
	"proxy: it ends with the answers that are under way":      endsWithAnswers,
})

// large is the size of what streams; frugal what the daemon may need at its peak,
// in bytes.
const (
	large  = 50 << 20
	frugal = 64 << 20
)

const snapshotPath = "sys/storage/raft/snapshot"

// snapshots is a daemon whose token may read and write snapshots; the sum is empty
// where the server has none.
func (k *Kit) snapshots(size int64) (d *Daemon, client *vaulttest.Admin, sum string) {
	k.Helper()
	k.Shared()
	if k.Site.Snapshots != nil {
		sum = k.Site.Snapshots(size)
	}
	cfg := k.lent()
	k.Site.Policy(k.name, map[string][]string{snapshotPath: {"read", "update"}})
	d, client = k.serve(cfg + lends + caches + tcpListener)
	return d, client, sum
}

// peak is how much memory the daemon has ever needed, 0 where the system does not
// tell.
func (d *Daemon) peak() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ := strings.Cut(rest, " kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n << 10
}

// stayedSmall fails the case when the daemon held what it was to pass on.
func (d *Daemon) stayedSmall() {
	d.k.Helper()
	if peak := d.peak(); peak > frugal {
		d.k.Errorf("the daemon needed %d MiB", peak>>20)
	}
}

// once has a connection for each request.
var once = &http.Transport{DisableKeepAlives: true}

// sends makes a request whose body or answer is too large for an Admin, and
// returns the answer.
func (k *Kit) sends(ctx context.Context, client *vaulttest.Admin, method, path string, body io.Reader, length int64) (*http.Response, error) {
	k.Helper()
	req, err := http.NewRequestWithContext(ctx, method, client.Addr+"/v1/"+path, body)
	k.must(err)
	req.ContentLength = length
	return once.RoundTrip(req)
}

func download(k *Kit) {
	d, client, sum := k.snapshots(large)
	if sum == "" {
		// This server has none, and says so through the proxy as well.
		k.is(client.Do("GET", snapshotPath, nil), 404, "")
		d.Stops()
		return
	}
	resp, err := k.sends(k.Context(), client, "GET", snapshotPath, nil, 0)
	k.must(err)
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	if err != nil || n != large || hex.EncodeToString(h.Sum(nil)) != sum {
		k.Errorf("%d bytes came, others than were sent: %v", n, err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/gzip" {
		k.Errorf("it is %q", kind)
	}
	d.stayedSmall()
	d.Stops()
}

func upload(k *Kit) {
	d, client, sum := k.snapshots(1)
	if sum == "" {
		k.is(client.Do("POST", snapshotPath, "x"), 404, "")
		d.Stops()
		return
	}
	for _, length := range []int64{large, -1} {
		h := sha256.New()
		// What is sent waits in the middle until the beginning has come: nobody holds
		// it back until it is whole.
		content := io.LimitReader(rand.NewChaCha8([32]byte{2}), large)
		wait := readerFunc(func([]byte) (int, error) {
			k.Until("the beginning is there", func() bool { n, _ := k.Site.Taken(); return n > large/4 })
			return 0, io.EOF
		})
		body := io.TeeReader(io.MultiReader(io.LimitReader(content, large/2), wait, content), h)
		resp, err := k.sends(k.Context(), client, "POST", snapshotPath, body, length)
		k.must(err)
		resp.Body.Close()
		n, got := k.Site.Taken()
		if resp.StatusCode != 204 || n != large || got != hex.EncodeToString(h.Sum(nil)) {
			k.Errorf("%s: %d bytes came, or others than were sent", resp.Status, n)
		}
	}
	d.stayedSmall()
	d.Stops()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// socket is the client's side of a websocket.
type socket struct {
	k    *Kit
	conn net.Conn
	r    *bufio.Reader
}

// subscribe opens a subscription through a listener, or returns the refusal.
func (k *Kit) subscribe(addr, path string) (*socket, *http.Response) {
	k.Helper()
	conn, err := net.Dial("tcp", addr)
	k.must(err)
	k.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /v1/%s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
	k.must(err)
	k.must(conn.SetReadDeadline(time.Now().Add(long)))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	k.must(err)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp
	}
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		k.Errorf("the handshake has %q", got)
	}
	return &socket{k, conn, r}, nil
}

// next reads one message; false when the other side has closed.
func (s *socket) next() (string, bool) {
	s.k.Helper()
	var head [2]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return "", false
	}
	n := uint64(head[1] & 0x7f)
	for size, bytes := range map[uint64]int{126: 2, 127: 8} {
		if n == size {
			long := make([]byte, 8)
			if _, err := io.ReadFull(s.r, long[8-bytes:]); err != nil {
				return "", false
			}
			n = binary.BigEndian.Uint64(long)
			break
		}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(s.r, body); err != nil {
		return "", false
	}
	return string(body), head[0]&0xf == 1
}

const subscriptionPath = "sys/events/subscribe/kv-v2/*?json=true"

func subscription(k *Kit) {
	k.Shared()
	if k.Site.Events != nil {
		k.Site.Events(true)
	}
	cfg := k.lent()
	k.Site.Policy(k.name, map[string][]string{k.name + "/*": {"read", "subscribe"}, "sys/events/subscribe/*": {"read"}})
	d, _ := k.serve(cfg + lends + caches + tcpListener)
	s, refusal := k.subscribe(d.address(0), subscriptionPath)
	if k.Site.Events == nil {
		if refusal == nil || refusal.StatusCode != k.Site.Do("GET", subscriptionPath, nil).Status {
			k.Errorf("a server without events: %v", refusal)
		}
		d.Stops()
		return
	}
	if s == nil {
		k.Fatalf("%s", refusal.Status)
	}
	k.bore("sys/events/subscribe/kv-v2/*", k.Read("token"))
	for i := range 3 {
		k.Site.WriteKV2(k.name, fmt.Sprintf("event%d", i), m{"password": canary + "1"})
		if text, ok := s.next(); !ok || !strings.Contains(text, fmt.Sprintf("%s/data/event%d", k.name, i)) {
			k.Fatalf("the message is %q", text)
		}
	}
	// Either side's end is the other's.
	k.must(s.conn.Close())
	k.Soon("the server is rid of it", func() bool { return k.Site.Front.Open() == 0 })
	s, _ = k.subscribe(d.address(0), subscriptionPath)
	k.Site.Events(false)
	if text, ok := s.next(); ok {
		k.Errorf("a message after the end: %q", text)
	}
	d.Stops()
}

// hung waits until the server hangs on so many requests.
func (k *Kit) hung(n int) {
	k.Helper()
	k.Soon(fmt.Sprintf("%d requests are under way", n), func() bool { return k.Site.Front.Open() == n })
}

func hangUp(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	path := k.name + "/data/app"
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Hang: true})
	for _, query := range []string{"", "?version=1", "?nothing=1"} {
		ctx, cancel := context.WithCancel(k.Context())
		ended := make(chan error, 1)
		go func() {
			resp, err := k.sends(ctx, client, "GET", path+query, nil, 0)
			if err == nil {
				resp.Body.Close()
			}
			ended <- err
		}()
		k.hung(1)
		cancel()
		if err := <-ended; err == nil {
			k.Error("there was an answer")
		}
		k.hung(0)
	}
	k.Asked(3, "GET", path)
	d.Stops()
}

// hangUpOfFirst: two ask the same, and who asked first does not wait.
func hangUpOfFirst(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	path := k.name + "/data/app"
	gate := make(chan struct{})
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Do: func() { <-gate }})
	ctx, cancel := context.WithCancel(k.Context())
	first := make(chan error, 1)
	go func() {
		resp, err := k.sends(ctx, client, "GET", path, nil, 0)
		if err == nil {
			resp.Body.Close()
		}
		first <- err
	}()
	k.hung(1)
	second := make(chan *vaulttest.Answer, 1)
	conn, err := net.Dial("tcp", d.address(0))
	k.must(err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /v1/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	k.must(err)
	// A third who asks something else is answered after the second has been heard.
	k.is(client.Do("GET", "auth/token/lookup-self", nil), 200, "MISS")
	go func() {
		ans := &vaulttest.Answer{}
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			ans.Status, ans.Header = resp.StatusCode, resp.Header
			resp.Body.Close()
		}
		second <- ans
	}()
	cancel()
	if err := <-first; err == nil {
		k.Error("who hung up got an answer")
	}
	close(gate)
	if ans := <-second; ans.Status != 200 {
		k.Errorf("who waited along got %d", ans.Status)
	}
	d.Stops()
}

// breaksOff: half an answer is not handed on as if it were whole.
func breaksOff(k *Kit) {
	d, client, sum := k.snapshots(8 << 20)
	if sum != "" {
		k.Site.Front.Rude(vaulttest.Match{Path: snapshotPath}, vaulttest.Rudeness{Half: true})
		resp, err := k.sends(k.Context(), client, "GET", snapshotPath, nil, 0)
		k.must(err)
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil {
			k.Errorf("%d bytes look like all there are", n)
		}
		k.Asked(1, "GET", snapshotPath)
	}
	// What was held is asked for again.
	k.Site.Policy(k.name, map[string][]string{k.name + "/*": {"read"}})
	path := k.name + "/data/app"
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Half: true, Times: 1})
	k.password(client, "MISS")
	k.Asked(2, "GET", path)
	d.Stops()
}

func endsInTime(k *Kit) {
	d, client, sum := k.snapshots(large)
	k.Site.Policy(k.name, map[string][]string{
		k.name + "/*": {"read", "subscribe"}, snapshotPath: {"read", "update"}, "sys/events/subscribe/*": {"read"},
	})
	path, under := k.name+"/data/app", 0
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Hang: true})
	ended := make(chan error, 4)
	for i := range 3 {
		under++
		go func() {
			resp, err := k.sends(k.Context(), client, "GET", fmt.Sprintf("%s?n=%d", path, i), nil, 0)
			if err == nil {
				resp.Body.Close()
			}
			ended <- err
		}()
	}
	if sum != "" {
		k.Site.Events(true)
		s, refusal := k.subscribe(d.address(0), subscriptionPath)
		if s == nil {
			k.Fatalf("%s", refusal.Status)
		}
		resp, err := k.sends(k.Context(), client, "GET", snapshotPath, nil, 0)
		k.must(err)
		defer resp.Body.Close()
		_, err = io.CopyN(io.Discard, resp.Body, 1<<20) // and the rest nobody reads
		k.must(err)
		under += 2
	}
	k.hung(under)
	d.Stops()
	for range 3 {
		<-ended
	}
	k.hung(0)
}

func endsWithAnswers(k *Kit) {
	k.Shared()
	d, client := k.serve(k.lent() + lends + caches + tcpListener)
	path := k.name + "/data/app"
	k.Site.Front.Rude(vaulttest.Match{Path: path}, vaulttest.Rudeness{Delay: 200 * time.Millisecond})
	ended := make(chan error, 1)
	var body []byte
	go func() {
		resp, err := k.sends(k.Context(), client, "GET", path, nil, 0)
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		ended <- err
	}()
	k.hung(1)
	d.Stops()
	if err := <-ended; err != nil || !bytes.Contains(body, []byte(canary+"1")) {
		k.Errorf("the answer under way: %v %s", err, body)
	}
}
