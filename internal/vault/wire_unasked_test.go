package vault

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// held is a connection whose writes go when they are let go, all at once.
type held struct {
	net.Conn
	kept bytes.Buffer
	hold bool
}

func (h *held) Write(p []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(p)
	}
	return h.kept.Write(p)
}

func (h *held) release() {
	_, _ = h.Conn.Write(h.kept.Bytes())
	h.kept.Reset()
}

// A server, or what stands before it, that answers once too often must not have the
// next client, who may have another token, get what was not asked for: over TLS it
// comes along with the answer before it, where no look at the socket finds it.
func TestAnAnswerTooManyOverTLSIsNobodys(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.StartTLS()
	t.Cleanup(s.Close)
	ca, config := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), s.TLS.Clone()
	config.NextProtos = nil
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve := func(raw net.Conn) {
		defer raw.Close()
		h := &held{Conn: raw}
		conn := tls.Server(h, config)
		r := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			h.hold = true
			for _, whose := range []string{req.URL.Path, "somebody else's"} {
				body := `{"data":{"whose":"` + whose + `"}}`
				_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body))
			}
			h.release()
		}
	}
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go serve(raw)
		}
	}()
	c, err := New(Config{Address: "https://" + l.Addr().String(), CACertPEM: ca, HTTP1: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, path := range []string{"one", "two", "three"} {
		s, err := c.Read(t.Context(), path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s.Data["whose"] != "/v1/"+path {
			t.Errorf("asked for %s, and got %v", path, s.Data["whose"])
		}
	}
}
