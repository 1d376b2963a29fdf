package vault

import (
	"context"
	"encoding/binary"
	"net"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/cred"
)

// The record behind a name is the only place that knows the port.
func TestAServerBehindAnSRVRecordIsFound(t *testing.T) {
	s := serve(t, answers(200, `{"data":{"a":"b"}}`))
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	answerSRV(t, "_http._tcp.vault.test", "localhost", port)
	c := client(t, Config{Address: "http://vault.test", SRVLookup: true}).As(cred.Redact("tok"))
	got, err := c.Read(t.Context(), "x", nil)
	if err != nil || got.Data["a"] != "b" {
		t.Errorf("read: %v %v", got, err)
	}
	_, addr, _ := c.Hop()
	if ips, err := c.Resolve(t.Context(), addr); err != nil || !strings.Contains(strings.Join(ips, " "), "127.0.0.1") {
		t.Errorf("resolve %s: %v %v", addr, ips, err)
	}
	if _, err := client(t, Config{Address: "http://vault.test"}).Read(t.Context(), "x", nil); err == nil {
		t.Error("the record was used without being asked for")
	}
}

// answerSRV is the name server of this test: one record, nothing else.
func answerSRV(t *testing.T, name, target, port string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = l.WriteTo(answerTo(buf[:n], labels(name), labels(target), uint16(number)), from)
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = l.Close()
		<-done
	})
}

// answerTo makes the message for a question of one name: its record, or that
// there is no such name.
func answerTo(query, name, target []byte, port uint16) []byte {
	const header, srv = 12, 33
	end := header + strings.IndexByte(string(query[header:]), 0) + 1
	question := query[header : end+4]
	msg := append([]byte(nil), query[:2]...)
	if string(query[header:end]) != string(name) || binary.BigEndian.Uint16(query[end:]) != srv {
		return append(append(msg, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0), question...)
	}
	msg = append(append(msg, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0), question...)
	msg = append(msg, 0xc0, header, 0, srv, 0, 1, 0, 0, 0, 60)
	msg = binary.BigEndian.AppendUint16(msg, uint16(6+len(target)))
	msg = append(msg, 0, 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(msg, port), target...)
}

// labels is a name as the protocol writes it.
func labels(name string) []byte {
	var out []byte
	for _, l := range strings.Split(name, ".") {
		out = append(append(out, byte(len(l))), l...)
	}
	return append(out, 0)
}
