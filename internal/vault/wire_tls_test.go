package vault

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// counting is a server over TLS that counts its connections.
func counting(t *testing.T, conns *atomic.Int64, h http.HandlerFunc) (url string, ca []byte) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func TestOneConnectionOverTLSServesOneRequestAfterTheOther(t *testing.T) {
	var conns atomic.Int64
	url, ca := counting(t, &conns, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"data":{"proto":%q,"method":%q,"sent":%d}}`, r.Proto, r.Method, len(body))
	})
	c, err := New(Config{Address: url, CACertPEM: ca, HTTP1: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 5 {
		s, err := c.Write(t.Context(), "a/b", map[string]any{"x": "y"})
		if err != nil || s.Data["proto"] != "HTTP/1.1" || s.Data["method"] != "PUT" || fmt.Sprint(s.Data["sent"]) != "9" {
			t.Fatal(s, err)
		}
		if s, err = c.Read(t.Context(), "a/b", nil); err != nil || s.Data["method"] != "GET" {
			t.Fatal(s, err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestWhatGoesWrongWithTLSIsTold(t *testing.T) {
	var conns atomic.Int64
	url, ca := counting(t, &conns, func(http.ResponseWriter, *http.Request) {})
	clear := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(clear.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, tc := range map[string]struct {
		cfg  Config
		kind error
	}{
		"nobody vouches for it": {Config{Address: url}, ErrInsecure},
		"another name":          {Config{Address: url, CACertPEM: ca, TLSServerName: "vault.internal"}, ErrInsecure},
		"it speaks no TLS":      {Config{Address: "https" + clear.URL[len("http"):]}, ErrInsecure},
		"it says nothing":       {Config{Address: "https://" + silent.Addr().String(), DialTimeout: 100 * time.Millisecond}, ErrUnreachable},
	} {
		tc.cfg.HTTP1 = true
		c, err := New(tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Read(t.Context(), "a", nil)
		if !errors.Is(err, tc.kind) || StageOf(err) != StageTLS {
			t.Errorf("%s: stage %q: %v", name, StageOf(err), err)
		}
		_ = c.Close()
	}
}
