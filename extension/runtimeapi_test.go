package extension

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// answers is a platform that closes each connection after one answer, and says
// nothing of it, and answers with these bodies.
func answers(t *testing.T, bodies ...string) (address string, asked func() []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var heard []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, body := range bodies {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				heard = append(heard, r.URL.Path)
				_, err = fmt.Fprint(conn, body)
			}
			if err != nil {
				t.Error(err)
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String(), func() []string { _ = l.Close(); <-done; return heard }
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: 1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func TestAPlatformThatClosesConnectionsIsAskedByAnother(t *testing.T) {
	address, asked := answers(t, ok("{}"), ok(`{"eventType":"INVOKE","deadlineMs":7}`),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"eventType\":\"SH\r\nB\r\nUTDOWN\"  }\n\r\n0\r\n\r\n")
	a := newRuntimeAPI(address, "x")
	if err := a.register(t.Context(), eventInvoke); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{eventInvoke, eventShutdown} {
		if e, err := a.next(t.Context()); err != nil || e.Type != want {
			t.Errorf("%+v, %v, not %s", e, err, want)
		}
	}
	if heard := strings.Join(asked(), " "); strings.Count(heard, "register") != 1 || strings.Count(heard, "next") != 2 {
		t.Error(heard)
	}
}

func TestAPlatformThatIsGoneIsNotAskedForEver(t *testing.T) {
	address, _ := answers(t, ok("{}"), "")
	a := newRuntimeAPI(address, "x")
	if err := a.register(t.Context(), eventInvoke); err != nil {
		t.Fatal(err)
	}
	if _, err := a.next(t.Context()); err == nil {
		t.Error("an answer of nobody")
	}
}

func TestWhatIsNoEventIsAnError(t *testing.T) {
	for _, body := range []string{"", "{", "null and void", `{"deadlineMs":"soon"}`, `[]`} {
		address, _ := answers(t, ok(body))
		if e, err := newRuntimeAPI(address, "x").next(t.Context()); err == nil {
			t.Errorf("%q is %+v", body, e)
		}
	}
}
