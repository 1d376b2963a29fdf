package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/internal/cred"
)

func TestALeaseIsRenewedAndRevoked(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		got = append(got, fmt.Sprint(r.Method, " ", r.URL.Path, " ", body))
		switch {
		case r.Header.Get("X-Vault-Wrap-TTL") != "":
			w.WriteHeader(400)
		case r.URL.Path == "/v1/sys/leases/revoke":
			w.WriteHeader(204)
		case body["lease_id"] == "kv/b/over":
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"errors":["lease not found"]}`))
		default:
			_, _ = w.Write([]byte(`{"lease_id":"kv/b/1","renewable":true,"lease_duration":5,"data":null,"warnings":["TTL of \"10s\" exceeded the effective max_ttl of \"5s\"; TTL value is capped accordingly"]}`))
		}
	}))
	defer s.Close()
	client, err := New(Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	c := client.As(cred.Redact("hvs.token")).Wrapping(time.Minute)
	before := cred.Wall(time.Now())
	l, err := c.RenewLease(t.Context(), "kv/b/1", 9500*time.Millisecond)
	if err != nil || l.ID != "kv/b/1" || l.Duration != 5*time.Second || !l.Renewable || l.Issued.Before(before) {
		t.Errorf("%+v, %v", l, err)
	}
	var e *Error
	if _, err := c.RenewLease(t.Context(), "kv/b/over", 0); !errors.As(err, &e) || e.Kind != ErrBadRequest || fmt.Sprint(e.Messages) != "[lease not found]" {
		t.Errorf("%v", err)
	}
	want := "[PUT /v1/sys/leases/renew map[increment:10 lease_id:kv/b/1]" +
		" PUT /v1/sys/leases/renew map[increment:0 lease_id:kv/b/over]]"
	if fmt.Sprint(got) != want {
		t.Errorf("requests %v", got)
	}
}
