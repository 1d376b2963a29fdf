package cache

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestScanReadsAnAnswer(t *testing.T) {
	got, ok := scan([]byte(` {"request_id":"r","lease_id":"database/creds/a/\u0041","renewable":true,"lease_duration":3600,
		"data":{"lease_id":"inner","x":"}\"{"},"wrap_info":null,"warnings":["a,b"],"auth":{"client_token":"t"},"mount_type":"database"} `))
	if !ok || got.leaseID != "database/creds/a/A" || !got.renewable || got.leaseDuration != 3600 || got.hasWrap || !got.hasAuth ||
		string(got.auth) != `{"client_token":"t"}` || string(got.data) != `{"lease_id":"inner","x":"}\"{"}` || got.mountType != "database" {
		t.Errorf("%v %+v", ok, got)
	}
}

func TestScanRefusesWhatIsNoAnswer(t *testing.T) {
	for _, body := range []string{
		"", "null", "[]", `"x"`, "{", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1}}`, `{"a":1} x`, `{"a" 1}`, `{a:1}`, `{"data":{"x":1}`, `{"data":"\`,
		`{"lease_id":1}`, `{"renewable":"true"}`, `{"lease_duration":"1"}`, `{"lease_duration":1.5}`, `{"lease_duration":+1}`, `{"lease_duration":01}`,
		`{"lease_duration":99999999999999999999}`, `{"mount_type":{}}`, `{"lease\u005fid":"x"}`,
	} {
		if got, ok := scan([]byte(body)); ok {
			t.Errorf("%q: %+v", body, got)
		}
	}
}

func TestScanAllocatesNothingForASecret(t *testing.T) {
	body := answer(200, `{"request_id":"r","lease_id":"","renewable":false,"lease_duration":0,"data":{"data":{"v":"x"}},"wrap_info":null,"auth":null,"mount_type":"kv"}`).Body
	if n := testing.AllocsPerRun(100, func() { _, _ = scan(body) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Where encoding/json reads an answer, scan reads the same or refuses.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"lease_id":"a","renewable":true,"lease_duration":1,"data":{},"auth":null,"wrap_info":{},"mount_type":"kv"}`,
		`{"lease_id":"a","lease_id":null}`, `{"data":[1,{"a":"]"}],"data":"\\\""}`, ` { "renewable" : false } `, `{"lease_duration":-0}`, `{"a":1,"b":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := scan(body)
		var fields map[string]json.RawMessage
		if !json.Valid(body) || !ok {
			return
		}
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatalf("scan reads what is no object: %q", body)
		}
		str := func(name string) (s string) {
			if json.Unmarshal(fields[name], &s) != nil && len(fields[name]) > 0 {
				t.Fatalf("%s of %q", name, body)
			}
			return s
		}
		raw := func(name string) []byte {
			if v := bytes.TrimSpace(fields[name]); string(v) != "null" {
				return v
			}
			return nil
		}
		var n int64
		if v := raw("lease_duration"); v != nil && json.Unmarshal(v, &n) != nil {
			t.Fatalf("lease_duration of %q", body)
		}
		if got.leaseID != str("lease_id") || got.mountType != str("mount_type") || got.leaseDuration != n ||
			got.renewable != (string(raw("renewable")) == "true") || got.hasAuth != (raw("auth") != nil) || got.hasWrap != (raw("wrap_info") != nil) ||
			!bytes.Equal(got.auth, raw("auth")) || !bytes.Equal(got.data, raw("data")) {
			t.Fatalf("%q is read as %+v", body, got)
		}
	})
}
