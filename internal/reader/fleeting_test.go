package reader

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"latchkey/internal/cred"
	"latchkey/internal/vault"
)

func TestAFleetingReaderAsksEachTimeAndForTheMountOnce(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv2/data/a":       data(`{"data":{"data":{"n":"1"},"metadata":{}}}`),
		"GET database/creds/x": data(`{"lease_id":"database/creds/x/1","lease_duration":60,"renewable":true,"data":{"a":"b"}}`),
	})
	r := reader(t, s, Options{Fleeting: true})
	reqs := []cred.Request{{Path: "kv2/a"}, {Path: "database/creds/x"}}
	for range 3 {
		for _, res := range r.ReadAll(t.Context(), reqs) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
		}
	}
	if n := count(s, "GET kv2/data/a"); n != 3 {
		t.Errorf("%d reads, want 3", n)
	}
	if n := count(s, "GET sys/internal/ui/mounts/"); n != 2 {
		t.Errorf("%d preflights, want 2: %v", n, s.requests())
	}
	if len(r.Leases()) != 0 || len(r.known) != 0 || len(r.flights) != 0 {
		t.Error("something was kept")
	}
}

func count(s *server, prefix string) (n int) {
	for _, line := range s.requests() {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

func TestAFreshRequestIsAskedEachTimeAndItsLeaseKnown(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"PUT pki/issue/r": data(`{"lease_id":"pki/issue/r/1","lease_duration":60,"data":{"certificate":"c"}}`),
	})
	r := reader(t, s, Options{})
	req := cred.Request{Op: cred.OpWrite, Path: "pki/issue/r", Body: map[string]any{"common_name": "a"}, Fresh: true}
	for range 2 {
		if res := r.ReadAll(t.Context(), []cred.Request{req}); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
	}
	if n := count(s, "PUT pki/issue/r"); n != 2 || len(r.Leases()) != 2 {
		t.Errorf("%d writes, leases %v", n, r.Leases())
	}
}

func TestAMountThatBecameAnotherIsNoticedWhenItsReadFails(t *testing.T) {
	var upgraded atomic.Bool
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET sys/internal/ui/mounts/old/a": func(w http.ResponseWriter, _ *http.Request) {
			version := "1"
			if upgraded.Load() {
				version = "2"
			}
			_, _ = io.WriteString(w, `{"data":{"path":"old/","type":"kv","options":{"version":"`+version+`"}}}`)
		},
		"GET old/a": func(w http.ResponseWriter, _ *http.Request) {
			if upgraded.Load() {
				w.WriteHeader(404)
			}
			_, _ = io.WriteString(w, `{"data":{"n":"1"}}`)
		},
		"GET old/data/a": data(`{"data":{"data":{"n":"2"},"metadata":{}}}`),
	})
	r := reader(t, s, Options{Fleeting: true})
	read := func() error { return r.ReadAll(t.Context(), []cred.Request{{Path: "old/a"}})[0].Err }
	if err := read(); err != nil {
		t.Fatal(err)
	}
	upgraded.Store(true)
	if err := read(); !errors.Is(err, vault.ErrNotFound) {
		t.Fatalf("the read of a path that is gone says %v", err)
	}
	if err := read(); err != nil {
		t.Errorf("the upgraded mount is not noticed: %v", err)
	}
}

func TestAPreflightThatFailedIsTriedAgainAndAPassingFaultCostsNone(t *testing.T) {
	var down atomic.Bool
	outage := func(h func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if down.Load() {
				w.WriteHeader(503)
				return
			}
			h(w, r)
		}
	}
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET sys/internal/ui/mounts/kv2/a": outage(data(`{"data":{"path":"kv2/","type":"kv","options":{"version":"2"}}}`)),
		"GET kv2/data/a":                   outage(data(`{"data":{"data":{"n":"1"},"metadata":{}}}`)),
	})
	r := reader(t, s, Options{Fleeting: true})
	read := func() error { return r.ReadAll(t.Context(), []cred.Request{{Path: "kv2/a"}})[0].Err }
	down.Store(true)
	if err := read(); !errors.Is(err, vault.ErrSealed) {
		t.Fatalf("%v", err)
	}
	down.Store(false)
	if err := read(); err != nil {
		t.Fatalf("after the outage: %v", err)
	}
	down.Store(true)
	_ = read()
	down.Store(false)
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if n := count(s, "GET sys/internal/ui/mounts/"); n != 2 {
		t.Errorf("%d preflights, want the failed and the good one", n)
	}
}

const meta = `{"data":{"current_version":2,"custom_metadata":null,"versions":{` +
	`"1":{"created_time":"2026-01-02T03:04:05Z","deletion_time":"","destroyed":false},` +
	`"2":{"created_time":"2026-01-02T04:04:05Z","deletion_time":"","destroyed":false}}}}`

func TestVersion(t *testing.T) {
	status := func(code int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	denied := `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv2/metadata/a":      data(meta),
		"GET kv2/metadata/secret": status(403, denied),
		"GET kv2/metadata/gone":   status(404, `{"errors":[]}`),
		"GET kv2/metadata/late":   status(503, `{"errors":["Vault is sealed"]}`),
		"GET kv2/metadata/stale":  status(403, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`),
		"GET kv2/data/a":          data(`{"data":{"data":{"n":"1"},"metadata":{"version":2,"custom_metadata":null,"created_time":"2026-01-02T04:04:05Z","deletion_time":"","destroyed":false}}}`),
	})
	r := reader(t, s, Options{Fleeting: true})
	res := r.ReadAll(t.Context(), []cred.Request{{Path: "kv2/a"}})
	held := res[0].Secret.Version(res[0].Secret.Lease.Issued)
	for _, c := range []struct {
		name string
		req  cred.Request
		some bool
		ok   bool
		err  error
	}{
		{"newest", cred.Request{Path: "kv2/a"}, true, true, nil},
		{"with data/ in the path", cred.Request{Path: "kv2/data/a"}, true, true, nil},
		{"version=0", cred.Request{Path: "kv2/a", Query: "version=0"}, true, true, nil},
		{"pinned to what is newest", cred.Request{Path: "kv2/a", Query: "version=2"}, true, true, nil},
		{"pinned to one that is not kept", cred.Request{Path: "kv2/a", Query: "version=7"}, false, true, nil},
		{"metadata denied", cred.Request{Path: "kv2/secret"}, false, false, nil},
		{"never written", cred.Request{Path: "kv2/gone"}, false, true, nil},
		{"sealed", cred.Request{Path: "kv2/late"}, false, false, vault.ErrSealed},
		{"invalid token", cred.Request{Path: "kv2/stale"}, false, false, vault.ErrInvalidToken},
		{"version 1 engine", cred.Request{Path: "kv1/a"}, false, false, nil},
		{"metadata itself", cred.Request{Path: "kv2/metadata/a"}, false, false, nil},
		{"a list", cred.Request{Op: cred.OpList, Path: "kv2/a"}, false, false, nil},
		{"system", cred.Request{Path: "sys/policy"}, false, false, nil},
	} {
		v, ok, err := r.Version(t.Context(), c.req)
		if (v != "") != c.some || ok != c.ok || !errors.Is(err, c.err) || (c.err == nil) != (err == nil) {
			t.Errorf("%s: %q, %v, %v", c.name, v, ok, err)
		}
		if c.some && v != held {
			t.Errorf("%s: version %q is not that of the data, %q", c.name, v, held)
		}
	}
	if n := count(s, "GET sys/internal/ui/mounts/"); n != 2 {
		t.Errorf("%d preflights for two mounts", n)
	}
}

func TestWhatOutlivesAOneShotIsToldWithItsRequest(t *testing.T) {
	s := serve(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET kv2/data/a":         data(`{"data":{"data":{"n":"1"},"metadata":{}}}`),
		"GET database/creds/x":   data(`{"lease_id":"database/creds/x/1","lease_duration":60,"renewable":true,"data":{"a":"b"}}`),
		"PUT auth/token/create":  data(`{"auth":{"client_token":"hvs.x","accessor":"acc","lease_duration":60,"orphan":true}}`),
		"PUT database/creds/own": data(`{"lease_id":"database/creds/own/1","lease_duration":60,"data":{"a":"b"}}`),
	})
	r := reader(t, s, Options{})
	reqs := []cred.Request{
		{Path: "kv2/a"}, {Path: "database/creds/x"}, {Op: cred.OpWrite, Path: "auth/token/create", Body: map[string]any{"ttl": "1m"}},
		{Op: cred.OpWrite, Path: "database/creds/own", Fresh: true},
	}
	for range 2 {
		for _, res := range r.ReadAll(t.Context(), reqs) {
			if res.Err != nil {
				t.Fatal(res.Err)
			}
		}
	}
	got := map[string]bool{}
	for _, l := range r.Leased() {
		got[l.Request.Key()] = l.Secret.Lease.ID != "" || l.Secret.Auth != nil
	}
	if len(got) != 2 || !got[reqs[1].Key()] || !got[reqs[2].Key()] || len(r.Leased()) != 2 {
		t.Errorf("%v", r.Leased())
	}
}
