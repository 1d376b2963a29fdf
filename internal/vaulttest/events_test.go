package vaulttest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// subscriber is the client's side of a subscription, as raw as it can be.
type subscriber struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (s *Server) subscriber(t *testing.T, token, kind string) (*subscriber, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Addr(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /v1/sys/events/subscribe/%s?json=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Vault-Token: %s\r\n\r\n", kind, token)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &subscriber{t, conn, r}, resp
}

// frame reads one frame.
func (s *subscriber) frame() (op byte, body []byte) {
	s.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		s.t.Fatal(err)
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(s.r, long[:]); err != nil {
			s.t.Fatal(err)
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(s.r, body); err != nil {
		s.t.Fatal(err)
	}
	return head[0] & 0xf, body
}

// event reads one message and returns its operation and its path.
func (s *subscriber) event() string {
	s.t.Helper()
	var e struct {
		Type string
		Data struct {
			Event struct{ Metadata map[string]string }
		}
	}
	op, body := s.frame()
	if op != opText {
		s.t.Fatalf("a frame of kind %x", op)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		s.t.Fatal(err)
	}
	return e.Type + " " + e.Data.Event.Metadata["data_path"] + " " + e.Data.Event.Metadata["current_version"]
}

func (s *subscriber) wants(want string) {
	s.t.Helper()
	if got := s.event(); got != want {
		s.t.Errorf("event %q, want %q", got, want)
	}
}

func TestASubscriberHearsOfWhatItMayRead(t *testing.T) {
	defer goleak.VerifyNone(t)
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Events(true)
	admin := s.Admin(t)
	admin.Policy("app", map[string][]string{"sys/events/subscribe/*": {"read"}, "secret/data/mine": {"subscribe"}})
	token := admin.NewToken(Map{"policies": []string{"app"}})
	mine, resp := s.subscriber(t, token, "kv-v2/data-*")
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%s %s", resp.Status, resp.Header)
	}
	all, _ := s.subscriber(t, s.RootToken, "*")
	if n := s.Subscribers(); n != 2 {
		t.Fatalf("%d subscribers", n)
	}
	admin.WriteKV2("secret", "other", Map{"a": 1})
	admin.WriteKV2("secret", "mine", Map{"a": 1})
	admin.WriteKV2("secret", "mine", Map{"a": 2})
	admin.OK("DELETE", "secret/data/mine", nil)
	mine.wants("kv-v2/data-write secret/data/mine 1")
	mine.wants("kv-v2/data-write secret/data/mine 2")
	mine.wants("kv-v2/data-delete secret/data/mine 2")
	all.wants("kv-v2/data-write secret/data/other 1")
	all.wants("kv-v2/data-write secret/data/mine 1")

	if _, err := mine.conn.Write([]byte{0x89, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2}); err != nil {
		t.Fatal(err)
	}
	if op, body := mine.frame(); op != opPong || string(body) != "hi" {
		t.Errorf("a ping is answered with %x %q", op, body)
	}
	admin.Revoke(token)
	admin.WriteKV2("secret", "mine", Map{"a": 3})
	if op, _ := mine.frame(); op != opClose {
		t.Errorf("the subscription of a revoked token goes on with %x", op)
	}
}

func TestASubscriptionEndsWithItsServer(t *testing.T) {
	defer goleak.VerifyNone(t)
	for name, end := range map[string]func(*Server){
		"down": (*Server).Down, "sealed": (*Server).Seal, "turned off": func(s *Server) { s.Events(false) },
	} {
		s, err := Start()
		if err != nil {
			t.Fatal(err)
		}
		s.Events(true)
		sub, _ := s.subscriber(t, s.RootToken, "kv-v2/data-write")
		end(s)
		if op, _ := sub.frame(); op != opClose {
			t.Errorf("%s: a frame of kind %x", name, op)
		}
		s.Close()
		if n := s.Subscribers(); n != 0 {
			t.Errorf("%s: %d subscribers left", name, n)
		}
	}
}

func TestASubscriptionIsRefusedAsOnTheFreeServer(t *testing.T) {
	s := New(t)
	if _, resp := s.subscriber(t, s.RootToken, "*"); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
	s.Events(true)
	plain := s.Admin(t).NewToken(Map{"policies": []string{"default"}})
	if _, resp := s.subscriber(t, plain, "*"); resp.StatusCode != http.StatusForbidden {
		t.Error(resp.Status)
	}
}

func TestAKindFitsItsPattern(t *testing.T) {
	for pattern, want := range map[string]bool{
		"*": true, "kv*": true, "kv-v2/data-write": true, "kv-v2/*": true, "*write": true, "k*2/*-w*e": true,
		"kv": false, "kv-v1/*": false, "*delete": false, "kv-v2/data-write/": false, "": false,
	} {
		if got := fitsKind(pattern, "kv-v2/data-write"); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}
