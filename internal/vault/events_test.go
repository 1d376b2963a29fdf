package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"latchkey/internal/cred"
)

const written = `{"id":"a3be9fb1-b514-519f-5b25-b6f144a8c1ce","source":"vault://mycluster","specversion":"1.0","type":"*",` +
	`"data":{"event":{"id":"a3be9fb1","metadata":{"current_version":"1","data_path":"secret/data/foo","modified":"true","oldest_version":"0",` +
	`"operation":"data-write","path":"secret/data/foo"}},"event_type":"kv-v2/data-write","plugin_info":{"mount_class":"secret",` +
	`"mount_accessor":"kv_5dc4d18e","mount_path":"secret/","plugin":"kv"}},"datacontentype":"application/cloudevents","time":"2023-09-12T15:19:49.394915-07:00"}`

func TestWhatANotificationSays(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Event
	}{
		{"a write", written, Event{"kv-v2/data-write", "secret/data/foo", true}},
		{"a path alone", `{"data":{"event":{"metadata":{"path":"kv/foo","modified":true}},"event_type":"kv-v1/write"}}`, Event{"kv-v1/write", "kv/foo", true}},
		{"a path of the API", `{"data":{"event":{"metadata":{"path":"/v1/kv/foo/"}},"event_type":"kv-v1/read"}}`, Event{"kv-v1/read", "kv/foo", false}},
		{"a deletion, which names two paths", `{"data":{"event":{"metadata":{"path":"kv/destroy/foo","data_path":"kv/data/foo","modified":"true"}},"event_type":"kv-v2/destroy"}}`, Event{"kv-v2/destroy", "kv/data/foo", true}},
		{"no path", `{"data":{"event":{"metadata":null},"event_type":"x"}}`, Event{Type: "x"}},
		{"another shape", `{"data":[]}`, Event{}},
		{"no JSON", `hello`, Event{}},
		{"nothing", ``, Event{}},
	} {
		if got := parseEvent([]byte(c.text)); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(written))
	f.Add([]byte(`{"data":{"event":{"metadata":{"path":1,"modified":[]}}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e := parseEvent(data); strings.HasPrefix(e.Path, "/") || strings.HasSuffix(e.Path, "/") {
			t.Errorf("path %q", e.Path)
		}
	})
}

// hall is a server that tells of events.
func hall(t *testing.T, tell func(context.Context, *websocket.Conn)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/sys/events/subscribe/kv*" || r.URL.RawQuery != "json=true" || r.Header.Get("X-Vault-Token") != "hvs.token" ||
			r.Header.Get("X-Vault-Namespace") != "team/" || r.Header.Get("X-Vault-Request") != "true" {
			w.WriteHeader(400)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		tell(r.Context(), conn)
	}))
	t.Cleanup(s.Close)
	return s
}

func subscriber(t *testing.T, address string, seen func(cred.Redacted, error)) *Client {
	t.Helper()
	c, err := New(Config{Address: address, Namespace: "team", Seen: seen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.As(cred.Redact("hvs.token"))
}

func TestEventsAreToldInTheirOrderUntilTheConnectionEnds(t *testing.T) {
	s := hall(t, func(ctx context.Context, conn *websocket.Conn) {
		for _, text := range []string{written, `no event`, strings.ReplaceAll(written, "foo", "bar")} {
			if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
				t.Error(err)
			}
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	})
	var seen []error
	c := subscriber(t, s.URL, func(_ cred.Redacted, err error) { seen = append(seen, err) })
	var got []Event
	err := c.Subscribe(t.Context(), "kv*", func(e Event) { got = append(got, e) })
	want := []Event{{}, {"kv-v2/data-write", "secret/data/foo", true}, {"kv-v2/data-write", "secret/data/bar", true}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v", got)
	}
	if !errors.Is(err, ErrUnreachable) || !Temporary(err) {
		t.Errorf("ended with %v", err)
	}
	if len(seen) != 1 || seen[0] != nil {
		t.Errorf("the token's watcher saw %v", seen)
	}
}

func TestASubscriptionEndsWithItsContext(t *testing.T) {
	s := hall(t, func(ctx context.Context, conn *websocket.Conn) { _, _, _ = conn.Read(ctx) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := subscriber(t, s.URL, nil).Subscribe(ctx, "kv*", func(Event) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestASubscriptionFollowsOneRedirect(t *testing.T) {
	s := hall(t, func(context.Context, *websocket.Conn) {})
	standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, s.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer standby.Close()
	agreed := false
	err := subscriber(t, standby.URL, nil).Subscribe(t.Context(), "kv*", func(Event) { agreed = true })
	if !agreed {
		t.Errorf("the active node was not found: %v", err)
	}
}

func TestWhyThereAreNoEvents(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"a server without events", 404, `{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}`, ErrNotFound},
		{"a policy that does not allow them", 403, `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`, ErrDenied},
		{"an invalid token", 403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, ErrInvalidToken},
		{"a sealed server", 503, `{"errors":["Vault is sealed"]}`, ErrSealed},
		{"something else", 200, `<html>`, ErrServer},
		{"nobody", 0, ``, ErrUnreachable},
	} {
		s := gone
		if c.status > 0 {
			s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer s.Close()
		}
		var seen error
		client := subscriber(t, s.URL, func(_ cred.Redacted, err error) { seen = err })
		err := client.Subscribe(t.Context(), "kv*", func(Event) { t.Errorf("%s: agreed", c.name) })
		if !errors.Is(err, c.want) || !errors.Is(seen, c.want) {
			t.Errorf("%s: %v, the watcher saw %v", c.name, err, seen)
		}
		if text := err.Error(); strings.Contains(text, "WebSocket") || strings.Contains(text, "hvs.") {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

func TestNobodySubscribesWithoutAToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") }))
	defer s.Close()
	c, err := New(Config{Address: s.URL, Seen: func(cred.Redacted, error) { t.Error("a token was seen") }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Subscribe(t.Context(), "kv*", func(Event) { t.Error("agreed") }); !errors.Is(err, ErrNotLoggedIn) {
		t.Errorf("ended with %v", err)
	}
}

func TestASubscriptionNeverLeavesTLS(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token was sent in clear") }))
	defer plain.Close()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	c, err := New(Config{Address: s.URL, SkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.As(cred.Redact("hvs.token")).Subscribe(t.Context(), "kv*", func(Event) {}); !errors.Is(err, ErrInsecure) {
		t.Errorf("%v", err)
	}
}

func TestEventsOverTLSWithHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = conn.Write(r.Context(), websocket.MessageText, []byte(written))
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c, err := New(Config{Address: s.URL, SkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	n := 0
	if err := c.As(cred.Redact("hvs.token")).Subscribe(t.Context(), "kv*", func(Event) { n++ }); n != 2 {
		t.Errorf("%d calls: %v", n, err)
	}
}
